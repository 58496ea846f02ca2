"""Laws that hold at every noise level, on every kind of schedule: an order, and the law of the states.

Samplers are the same at all levels but for their mistakes: every probe scales the data to be as much as the noise where
it looks, so that nothing hides where the data is small beside the noise, or the noise beside the data.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import numpy as np

from difftool.checks.finding import Worst, worst_of
from difftool.checks.orders import ROUNDING, SMALL, defect, last_step, path_at
from difftool.checks.patience import patient
from difftool.plan.analysis import Array, Gaussian, laws
from difftool.plan.trace import trace
from difftool.samplers.base import Sampler
from difftool.schedules import VE, Flow, Path, Schedule, SubVP, VPLinear

KINDS: tuple[Schedule, ...] = (VPLinear(), VE(), Flow(), SubVP())
CLEANEST = 6.5  # half-log-snr where the last probes are; the first are where a run starts
# of the steps whose defects are compared, and how many places on every schedule
STEP, PROBES = 0.02, 24
LEAST = 8  # places that are always looked at
SCALES = np.geomspace(0.003, 1000.0, 12)  # of the directions of the data whose law is followed
LAW = Gaussian.of(0.5 * SCALES, SCALES**2)
UNSURE = 0.15  # the part of an error that extrapolation may leave
INSIDE = 1e-6  # of the half-log-snr of an end, beside which its time would be rounded out of the domain


@dataclass(frozen=True)
class Look:
    """How closely a law is looked at.

    steps: of the runs, more only where the law is not yet settled; fewer: as many times fewer from order 2 on.
    left: an error that is none; falls: what falls so many times with each number of steps goes away.
    unstable: an error from which on the steps are too long for the sampler, which says nothing of its law.
    """

    steps: tuple[int, ...]
    fewer: int
    left: float
    falls: float
    unstable: float = math.inf


CLOSE, QUICK = Look((768, 1536, 3072), 4, 0.003, 2), Look((192, 768), 2, 0.006, 3, 1e3)


def least_order(sampler: Sampler, enough: float, patience: float) -> Worst:
    """The least order of one step, with exact values in its history, from noise to data on all kinds of schedules."""
    worst = Worst(math.inf, "anywhere")
    for schedule, centre in patient(_places(), patience, LEAST):
        order = order_there(sampler, schedule, centre, enough)
        if not (order >= worst.figure):
            worst = Worst(order, _at(schedule, centre))
    return worst


def order_there(sampler: Sampler, schedule: Schedule, centre: float, enough: float) -> float:
    """The order of one step at that half-log-snr, by two sizes of it; infinite if only rounding is left.

    Where that is not enough by a smaller size, too: an error may cross 0 between the two.
    """
    coarse, fine, finer = (
        partial(defect, sampler, STEP / k, schedule, centre) for k in (1, 2, 4)
    )
    first, second = coarse(), fine()
    if second < ROUNDING:
        return math.inf
    if first > 0:
        order = math.log2(first / second) - 1
    else:
        order = -math.inf
    if order >= enough or (third := finer()) < SMALL * ROUNDING:
        return order
    return max(order, math.log2(second / third) - 1)


def _places() -> list[tuple[Schedule, float]]:
    """Kinds of schedules and half-log-snrs, no two the same."""
    out = []
    for i, schedule in enumerate(KINDS):
        first = _noisiest(schedule) + 10 * STEP
        places = (
            first + (CLEANEST - first) * (np.arange(PROBES) + (i + 0.5) / len(KINDS)) / PROBES
        )
        out += [(schedule, float(centre)) for centre in places]
    return out


def _noisiest(schedule: Schedule) -> float:
    """The half-log-snr where a run starts that divides by alpha."""
    return float(schedule.half_log_snr(schedule.t_start(True))) + INSIDE


def worst_last_step(sampler: Sampler) -> Worst | None:
    """The largest ratio of `last_step`; None where it says nothing."""
    ratios = [(last_step(sampler, schedule), schedule) for schedule in KINDS[:3]]
    found = [
        Worst(ratio, f"on {type(schedule).__name__}")
        for ratio, schedule in ratios
        if ratio is not None
    ]
    if found:
        return worst_of(*found)
    return None


def left_over(sampler: Sampler, order: float, patience: float) -> Worst:
    """The largest `left_over_on` of all kinds of schedules."""
    return worst_of(
        *(left_over_on(sampler, order, schedule) for schedule in patient(KINDS, patience, 1))
    )


def left_over_on(
    sampler: Sampler,
    order: float,
    schedule: Schedule,
    correlated: bool = False,
    look: Look = CLOSE,
) -> Worst:
    """The error of the law of the states that no number of steps takes away, at any noise level of a schedule.

    The largest relative error of a standard deviation, or of a mean in standard deviations, in any direction of
    Gaussian data at any point of a run from the exact law: what is left of it when it is extrapolated by the claimed
    order, or by a higher one that it shows. 0 where that is within what the extrapolation itself may be wrong by.
    correlated: with path noise.
    """
    before = rest = math.inf
    for most in look.steps:
        if order < 2:
            steps = most
        else:
            steps = most // look.fewer
        before, (rest, size, where) = (
            rest,
            extrapolated(sampler, order, schedule, steps, correlated),
        )
        if rest <= max(look.left, UNSURE * size) or size > look.unstable:
            return Worst(0.0, "anywhere")
    return Worst(
        0.0 if rest < before / look.falls else rest, f"of a standard deviation {where}"
    )


def extrapolated(
    sampler: Sampler, order: float, schedule: Schedule, steps: int, correlated: bool = False
) -> tuple[float, float, str]:
    """What is left of the errors in so many steps and fewer; their size; where."""
    base = steps // 4
    points = [_half_log_snrs(schedule, steps // k) for k in (4, 2, 1)]
    errors = [
        law_errors(sampler, path_at(schedule, at), correlated)[:: len(at) // base]
        for at in points
    ]
    held = ~np.isnan(sum(errors)).any((1, 2))  # churn holds no state at some points
    first, second, last = (e[held] for e in errors)
    before, after = abs(first - second).max(), abs(second - last).max()
    if after > 0 and before > 0:
        shown = math.log2(before / after)
    else:
        shown = math.inf
    rest = abs(last - (second - last) / (2.0 ** max(order, shown) - 1)).max((1, 2))
    return (
        float(rest.max()),
        float(abs(last).max()),
        _at(schedule, float(points[0][held][rest.argmax()])),
    )


def _half_log_snrs(schedule: Schedule, steps: int) -> Array:
    return np.linspace(_noisiest(schedule), CLEANEST, steps + 1)


def law_errors(sampler: Sampler, path: Path, correlated: bool = False) -> Array:
    """(points, 2, directions): relative errors of standard deviations, and of means in these, at all points."""
    plan = trace(sampler, path, "step", correlated)
    out = np.full((len(path), 2, len(SCALES)), np.nan)
    for row, law in zip(plan.rows, laws(plan, LAW), strict=True):
        if row.kind == "grid":
            exact = LAW.at(row.point)
            std = np.sqrt(exact.variance)
            out[row.index] = np.sqrt(law.variance) / std - 1, (law.mean - exact.mean) / std
    return out


def _at(schedule: Schedule, half_log_snr: float) -> str:
    return f"at noise level {math.exp(-half_log_snr):.3g} of {type(schedule).__name__}"
