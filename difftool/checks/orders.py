"""Orders of accuracy, of one step, over a run and weak, measured on exact models (`exact`)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np

from difftool.checks.exact import Mixture, exact_history, run
from difftool.errors import NotAffine
from difftool.plan.analysis import Array, Gaussian, error
from difftool.plan.trace import trace
from difftool.samplers.base import Sampler
from difftool.schedules import Path, Schedule, VPLinear

NOTHING = 1e-8  # length of a negligible step, in half-log-SNR
ROUNDING = 3e-14  # smaller errors are rounding
MOST_STEPS, SETTLED = 1024, 0.02  # where the limit of an order over a run stops
LONGEST, HALVINGS, SMALL = 0.32, 8, 100  # first step size; halvings; multiple of rounding
# relative lengths of the steps before the measured one, and of that one
LENGTHS = np.array([0.9, 1.1, 1.0, 1.2, 0.85, 1.05, 0.95, 1.0])
DATA = Gaussian.of([0.3, -0.5, 0.0], [0.5, 0.05, 1.5])  # for the weak order


def one_step_order(sampler: Sampler, schedule: Schedule | None = None) -> float:
    """The order of one full step with exact history.

    It is the slope of log defect over log step size, less 1. The step size is halved while
    defects are well above rounding; the last two slopes are extrapolated.
    """
    defects: list[float] = []
    for h in LONGEST / 2 ** np.arange(HALVINGS):
        defects.append(defect(sampler, float(h), schedule or VPLinear()))
        if defects[-1] < SMALL * ROUNDING:
            break
    slopes = [math.log2(a / b) for a, b in pairwise(e for e in defects if e > SMALL * ROUNDING)]
    if not slopes:
        return math.inf
    if len(slopes) < 2:
        return slopes[-1] - 1
    return 2 * slopes[-1] - slopes[-2] - 1


def last_step(sampler: Sampler, schedule: Schedule | None = None) -> float | None:
    """The error of the last step, into sigma = 0, over that of E[x_0 | x], with exact history.

    The levels are 0.02 apart. There the noise eps of a state is proportional to the level:
    Euler and the mean are equally good (1), methods of order 2 that use history are better, and
    an output that is one step old is three times as bad. None for samplers whose last step does
    not start from the previous state (Picard's sums).
    """
    schedule, data = schedule or VPLinear(), Mixture()
    path = Path(
        schedule,
        [*(schedule.t_at_level(0.02 * k) for k in range(8, 0, -1)), schedule.domain[0]],
    )
    plan, final = trace(sampler, path), len(path) - 2
    if any(plan.rows[k].index < final - 1 for k, _ in plan.rows[-1].x):
        return None
    out = run(plan, data, exact_history(plan, path, final, data))
    mean = data.x0(data.at(path[-2]), path[-2])
    return float(data.error(out, path[-1]).mean() / data.error(mean, path[-1]).mean())


def global_order(
    sampler: Sampler,
    schedule: Schedule | None = None,
    centre: float = 0.0,
    upwards: bool = False,
) -> float:
    """The order of the end point over a fixed interval from the exact state, start-up included.

    centre: the half-log-SNR of the interval's center, where the data is scaled to be as large
    as the noise. upwards: from data to noise.
    """
    if upwards:
        half = -0.4
    else:
        half = 0.4
    return _limit(lambda n: _end_error(sampler, schedule or VPLinear(), centre, half, n))


def global_order_in(sampler: Sampler, steps: int) -> float:
    """`global_order` estimated from `steps` and `steps / 2` alone."""
    coarse, fine = (_end_error(sampler, VPLinear(), 0.0, 0.4, n) for n in (steps // 2, steps))
    if fine < SMALL * ROUNDING:
        return math.inf
    return math.log2(coarse / fine)


def _end_error(
    sampler: Sampler, schedule: Schedule, centre: float, half: float, steps: int
) -> float:
    data = Mixture(math.exp(-centre))
    path = path_at(schedule, centre + np.linspace(-half, half, steps + 1))
    return float(np.sqrt((data.error(end_of(sampler, path, data), path[-1]) ** 2).mean()))


def end_of(sampler: Sampler, path: Path, data: Mixture) -> Array:
    """The end point of a run from the exact state, by the plan or else the plain loop."""
    import torch

    try:
        return run(trace(sampler, path, "step"), data, {0: data.at(path[0])})
    except NotAffine:
        model = lambda x, p, **_: torch.from_numpy(data.x0(x.numpy()[:, 0], p))[:, None]  # noqa: E731
        x = torch.from_numpy(data.at(path[0]).copy())[:, None]  # a loop may modify it in place
        return sampler(model, x, path, lambda now=None, nxt=None: 0.0 * x).numpy()[:, 0]


def weak_order(sampler: Sampler, schedule: Schedule | None = None) -> float:
    """The order in distribution (exact W2) over a fixed interval on Gaussian data."""
    return _limit(lambda n: _law_error(sampler, schedule or VPLinear(), n))


def weak_order_from(sampler: Sampler, steps: int, schedule: Schedule) -> float:
    """`weak_order` estimated from `steps` and `2 * steps` alone."""
    coarse, fine = (_law_error(sampler, schedule, n) for n in (steps, 2 * steps))
    if fine < ROUNDING:
        return math.inf
    return math.log2(coarse / fine)


def _law_error(sampler: Sampler, schedule: Schedule, steps: int) -> float:
    path = path_at(schedule, np.linspace(-1.5, 1.5, steps + 1))
    return error(trace(sampler, path, "step"), DATA)


def _limit(error_of: Callable[[int], float]) -> float:
    """The order from doubling the steps until it settles; infinite if only rounding is left."""
    before, slope, n = error_of(16), math.inf, 32
    while n <= MOST_STEPS:
        after = error_of(n)
        if after < ROUNDING:
            break
        last, slope = slope, math.log2(before / after)
        if abs(slope - last) < SETTLED:
            break
        before, n = after, 2 * n
    return slope


def path_at(schedule: Schedule, half_log_snrs: Sequence[float] | Array) -> Path:
    """The path through points at these half-log-SNRs."""
    return Path(schedule, [schedule.t_at_half_log_snr(float(v)) for v in half_log_snrs])


def defect(sampler: Sampler, h: float, schedule: Schedule, centre: float = 0.0) -> float:
    """The mean error of the last of eight uneven steps of about h, in units of the data.

    All states before it are exact. It ends at the half-log-SNR `centre`, where the data is
    scaled to be as large as the noise. A negligible step follows, so that a corrector at the
    end of the measured step is included.
    """
    lengths, data = h * LENGTHS, Mixture(math.exp(-centre))
    before = np.concatenate([[0.0], lengths.cumsum()]) - lengths.sum()
    path = path_at(schedule, centre + np.array([*before, NOTHING]))
    plan = trace(sampler, path, "step")
    out = run(plan, data, exact_history(plan, path, len(path) - 3, data))
    return float(data.error(out, path[-1]).mean())
