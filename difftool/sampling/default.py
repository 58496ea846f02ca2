"""What runs where no sampler is named, and why. Found on trained networks; docs/choosing.md has the figures.

A network's answers are steep and wrong, and both decide more than the order does. Guidance makes them steeper by its
scale w, so that nearly everything below is said of N / w: steps per unit of guidance.

eps, score: an error of eps is an error of x0 times sigma / alpha, 157 at the start of DDPM's table. What such a network
    says there has to be averaged over many answers: steps equal in log SNR, down to a level of 0.4 / N (0.02 below 20
    steps), with UniPC-2, its end tapered. For N < 8 Adams-Bashforth-Moulton of order 1 on the velocity, which
    extrapolates nothing. Under guidance DDIM for N < 8, then UniPC-1 below w^2 steps. A run that starts below a level
    of 40 needs less of this: a line of x0 in the flow time for N < 8, from 16 steps on as v, of order 2; under
    guidance, from w steps to 6.5 w, as v.
x0: an error of x0 is one of the velocity over s, so that the end is steep: x0 is what is interpolated.
v, flow, others: the velocity eps - x0 is regular at both ends, so Adams-Bashforth-Moulton in the flow time. Each order
    halves what is stable (a Lipschitz constant of 1, 0.55, 0.30, 0.16 over the step, see `plan.stability`), so that the
    order grows with log2 N: 2 below 8 w steps, 3 below 48 w, 4 above. Under guidance the corrector, which costs half
    of the stability, is left out below 6.5 w steps: Adams-Bashforth. The fewer steps, the more of them near the data:
    a data set of tight clusters is all detail, and an error at its end is there to stay.
guidance: where the plan shows that a run would end several times as large as the data even so, DDIM runs, if it ends
    smaller.
stochastic: flow-sde, whose noise fades towards the data, half of it below 8 steps; for eps, in equal steps of log SNR
    again, SDE-DPM-Solver++(2M) with half of the noise, and below 8 steps, wherever the run starts, ER-SDE, whose noise
    is large where the level is.

No rule asks whether a model is exact.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence

from difftool.errors.validation import check_kind
from difftool.grids import FlowGrid, Grid, HalfLogSNR, check_steps
from difftool.models.base import Model
from difftool.plan.stability import guided_growth
from difftool.plan.trace import trace
from difftool.samplers import DDIM, ERSDE, Adams, FlowABM, FlowSDE, UniPC
from difftool.samplers.base import Sampler
from difftool.samplers.dpmpp import dpmpp_2m_sde
from difftool.sampling.rule import DEFAULT_STEPS, as_grid, check_nfe, make_path
from difftool.schedules import Schedule

NOISE = "eps", "score"  # predictions whose error is multiplied by sigma / alpha
STEEP = 40.0  # sigma / alpha at the start, from which on an error of eps there is what decides
FEW = 8  # steps
CORRECTED = 6.5  # steps per unit of guidance from which on a corrector's gain is more than what it costs of stability
SMOOTH = 20  # steps per unit of guidance from which on the first steps may be smaller than equal ones in sqrt(s)
ENOUGH = 20  # steps; with fewer the last level is as with these, for what lies below it is lost in one step
LARGEST = 5.6  # times the size of the data: a guided run that ends larger than this runs away

Choice = tuple[Sampler, Grid]


def choose(
    model: Model,
    *,
    steps: int | None = None,
    nfe: int | None = None,
    grid: Grid | Sequence[float] | None = None,
    schedule: Schedule | None = None,
    stochastic: bool = False,
) -> Choice:
    """The sampler and the grid of a run in which no sampler is named.

    It follows from what the model predicts, from the level its schedule starts at, from its guidance and from the
    number of steps N (`steps`, or `nfe` over the evaluations of an answer, for all that is chosen asks once a step;
    default 50; an explicit grid has its own), and from nothing else. grid: the one that was named; it is then the
    second answer. schedule: that of the run, if not the model's own.
    """
    check_kind("model", model, Model)
    if nfe is not None:
        check_nfe(nfe)
    named = None if grid is None else as_grid(grid)
    n = DEFAULT_STEPS
    if named is not None and named.own_steps is not None:
        n = named.own_steps
    elif nfe is not None:
        n = max(operator.index(nfe) // model.nfe, 1)
    elif steps is not None:
        n = steps
    check_steps(n)
    n = operator.index(n)
    if stochastic:
        sampler, own = _stochastic(model, n)
    else:
        sampler, own = _usual(model, n)
    used = named
    if used is None:
        used = own
    if stochastic or model.guidance <= 1:
        return sampler, used
    growth = _growth(model, n, sampler, used, schedule)
    if growth > LARGEST and _growth(model, n, DDIM(), used, schedule) < growth:
        return DDIM(), used
    return sampler, used


def _stochastic(model: Model, n: int) -> Choice:
    if model.predicts in NOISE and n < FEW:
        return ERSDE(), _log_snr(n, 1.5)
    if _noisy(model):
        return dpmpp_2m_sde(eta=0.5), _log_snr(n)
    return FlowSDE(tau=0.5 if n < FEW else 1.0), FlowGrid(b=2.0)


def _usual(model: Model, n: int) -> Choice:
    """The choice for N steps, but for guidance under which it would run away."""
    # below 0 it goes away from the condition, as steeply
    scale = max(model.guidance, 1 - model.guidance, 1.0)
    if model.predicts == "x0":
        return FlowSDE(tau=0.0), FlowGrid(b=2.0)
    if _noisy(model):
        return _averaging(n, scale)
    if model.predicts in NOISE:
        return _less_noisy(n, scale)
    if scale > 1 and n < CORRECTED * scale:
        return _bashforth(n), FlowGrid(a=9 / 8, b=9 / 4)
    if n < FEW * scale:
        order = 2
    elif n < 48 * scale:
        order = 3
    else:
        order = 4
    grid = FlowGrid(a=9 / 7, b=9 / 4)
    if n < SMOOTH * scale:
        grid = FlowGrid(b=2.0)
    return FlowABM(min(n, order)), grid


def _bashforth(n: int) -> Sampler:
    return Adams(min(n, 2), interpolates="flow", variable="flow")


def _averaging(n: int, scale: float) -> Choice:
    """The choice for a network whose error of x0 at the start is a multiple of what it says."""
    if n < FEW:
        return (FlowABM(1) if scale == 1 else DDIM()), _log_snr(n)
    if n / scale < scale:
        return UniPC(1), _log_snr(n)
    return UniPC(2, taper=True), _log_snr(max(n, ENOUGH) if scale == 1 else n)


def _less_noisy(n: int, scale: float) -> Choice:
    """The choice for such a network where that multiple is not so large."""
    if scale > 1:
        if scale <= n < CORRECTED * scale:
            return (_bashforth(n), FlowGrid(a=5 / 4, b=9 / 4))
        return _averaging(n, scale)
    if n < FEW:
        return FlowSDE(tau=0.0), FlowGrid(b=2.0)
    if n < 2 * FEW:
        return _averaging(n, scale)
    return (FlowABM(2), FlowGrid(a=9 / 7, b=9 / 4))


def _noisy(model: Model) -> bool:
    """Whether it predicts the noise, and starts where an error of that is a much larger one of x0."""
    schedule = model.schedule
    if model.predicts not in NOISE or schedule is None:
        return False
    return float(schedule.level(schedule.t_start(model.divides_by_alpha))) > STEEP


def _log_snr(n: int, end: float = 0.4) -> Grid:
    """Equal steps of log SNR to a level of end / N, and a last one into sigma = 0."""
    return HalfLogSNR(level_min=float(f"{end / n:.4g}"))


def _growth(
    model: Model, n: int, sampler: Sampler, grid: Grid, schedule: Schedule | None
) -> float:
    """How large a guided run ends, see `plan.stability.guided_growth`."""
    path = make_path(model, sampler, steps=n, grid=grid, schedule=schedule)
    return guided_growth(trace(sampler, path), model.guidance)
