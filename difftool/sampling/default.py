"""The default sampler and grid, with reasons. Measurements on networks: docs/choosing.md.

A network's output is steep (it changes fast with x) and inexact, and both matter more than the
order of a sampler. Guidance makes it steeper by its scale w, so most
thresholds below are on N / w, the steps per unit of guidance.

eps, score: an error of eps is multiplied by sigma / alpha in x0, 157 at the start of DDPM's
    table. There the output has to be averaged over many evaluations: equal steps in log SNR,
    down to a noise level of 0.4 / N (0.02 below 20 steps), with UniPC-2, tapered at the end.
    For N < 8, Adams-Bashforth-Moulton of order 1 on the velocity, which does not extrapolate.
    With guidance, DDIM for N < 8, then UniPC-1 below w^2 steps. A run that starts below level
    40 needs less averaging: x0 linear in the flow time for N < 8, and from 16 steps on as v, of
    order 2; with guidance, as v from w to 6.5 w steps.
x0: an error of x0 is divided by s in the velocity, which makes it steep at the end, so x0 is
    interpolated instead.
v, flow, others: the velocity eps - x0 is regular at both ends, so Adams-Bashforth-Moulton in
    the flow time. Each order halves the stability limit (a Lipschitz constant times the step of
    1, 0.55, 0.30, 0.16; see `plan.stability`), so the order grows with log2 N: 2 below 8 w
    steps, 3 below 48 w, 4 above. With guidance, the corrector, which costs half of the
    stability, is left out below 6.5 w steps (Adams-Bashforth). The fewer the steps, the more of
    them are near the data: tightly clustered data is all detail, and an error made at the end
    remains.
guidance: if the plan predicts that samples would still end up several times as large as the
    data, DDIM runs instead, provided that its samples end up smaller.
stochastic: flow-sde, whose noise fades toward the data, with half the noise below 8 steps. For
    eps, SDE-DPM-Solver++(2M) with half the noise, again in equal steps of log SNR, and below 8
    steps, at any starting level, ER-SDE, whose noise is large at large noise levels.

No rule depends on whether a model is exact.
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

NOISE = "eps", "score"  # predictions whose error is multiplied by sigma / alpha in x0
STEEP = 40.0  # sigma / alpha at the start, above which errors of eps dominate
FEW = 8  # steps
# steps per unit of guidance from which a corrector gains more than it costs in stability
CORRECTED = 6.5
# steps per unit of guidance from which first steps may be smaller than equal ones in sqrt(s)
SMOOTH = 20
# steps; with fewer, the last level is that of 20: what is below it is lost in one step
ENOUGH = 20
LARGEST = 5.6  # times the size of the data: guided samples that end up larger than this diverge

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
    """The default sampler and grid of a run.

    The choice depends only on what the model predicts, the noise level at which its schedule
    starts, its guidance, and the number of steps N: `steps`, or `nfe` divided by the network
    evaluations per step (all choices evaluate the model once per step); default 50, or as many
    as an explicit grid has. grid: returned in place of the default grid. schedule: that of the
    run, if not the model's own.
    """
    check_kind("model", model, Model)
    if nfe is not None:
        check_nfe(nfe)
    requested = None if grid is None else as_grid(grid)
    n = DEFAULT_STEPS
    if requested is not None and requested.own_steps is not None:
        n = requested.own_steps
    elif nfe is not None:
        n = max(operator.index(nfe) // model.nfe, 1)
    elif steps is not None:
        n = steps
    check_steps(n)
    n = operator.index(n)
    if stochastic:
        sampler, default = _stochastic(model, n)
    else:
        sampler, default = _usual(model, n)
    chosen = requested
    if chosen is None:
        chosen = default
    if stochastic or model.guidance <= 1:
        return sampler, chosen
    growth = _growth(model, n, sampler, chosen, schedule)
    if growth > LARGEST and _growth(model, n, DDIM(), chosen, schedule) < growth:
        return DDIM(), chosen
    return sampler, chosen


def _stochastic(model: Model, n: int) -> Choice:
    if model.predicts in NOISE and n < FEW:
        return ERSDE(), _log_snr(n, 1.5)
    if _noisy(model):
        return dpmpp_2m_sde(eta=0.5), _log_snr(n)
    return FlowSDE(tau=0.5 if n < FEW else 1.0), FlowGrid(b=2.0)


def _usual(model: Model, n: int) -> Choice:
    """The deterministic choice for N steps, before the check whether guided samples diverge."""
    # negative guidance is as steep, away from the condition
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
    """The choice for a network whose error is greatly multiplied in x0 at the start."""
    if n < FEW:
        return (FlowABM(1) if scale == 1 else DDIM()), _log_snr(n)
    if n / scale < scale:
        return UniPC(1), _log_snr(n)
    return UniPC(2, taper=True), _log_snr(max(n, ENOUGH) if scale == 1 else n)


def _less_noisy(n: int, scale: float) -> Choice:
    """The choice for a network that predicts the noise and starts at a moderate level."""
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
    """Whether the model predicts the noise and starts where its errors are far larger in x0."""
    schedule = model.schedule
    if model.predicts not in NOISE or schedule is None:
        return False
    return float(schedule.level(schedule.t_start(model.divides_by_alpha))) > STEEP


def _log_snr(n: int, end: float = 0.4) -> Grid:
    """Equal steps in log SNR to a noise level of end / N, and a last step to sigma = 0."""
    return HalfLogSNR(level_min=float(f"{end / n:.4g}"))


def _growth(
    model: Model, n: int, sampler: Sampler, grid: Grid, schedule: Schedule | None
) -> float:
    """How large the samples of a guided run end up, see `plan.stability.guided_growth`."""
    path = make_path(model, sampler, steps=n, grid=grid, schedule=schedule)
    return guided_growth(trace(sampler, path), model.guidance)
