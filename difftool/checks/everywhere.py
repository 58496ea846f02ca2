"""Checks at every noise level, on every kind of schedule: order and distribution of states.

A correct sampler behaves alike at all levels. Every probe therefore scales the data to be as
large as the noise at its own level, so that no mistake is hidden where one dwarfs the other.
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
CLEANEST = 6.5  # half-log-SNR of the last probes; the first are where a run starts
# size of the steps whose defects are compared; number of probes per schedule
STEP, PROBES = 0.02, 24
LEAST = 8  # probes that always run
SCALES = np.geomspace(0.003, 1000.0, 12)  # of the directions of the Gaussian data
LAW = Gaussian.of(0.5 * SCALES, SCALES**2)
UNSURE = 0.15  # fraction of an error that extrapolation may leave
# added to the half-log-SNR of the start, whose time could otherwise round out of the domain
INSIDE = 1e-6


@dataclass(frozen=True)
class Resolution:
    """How closely a distribution is checked.

    steps: numbers of steps, tried in turn until the error settles.
    fewer: the factor by which they are reduced from order 2 on.
    left: the largest error that counts as zero.
    falls: an error that shrinks by this factor from one number of steps to the next vanishes.
    unstable: beyond this error the steps are too long for the sampler to judge its
        distribution.
    """

    steps: tuple[int, ...]
    fewer: int
    left: float
    falls: float
    unstable: float = math.inf


CLOSE = Resolution((768, 1536, 3072), 4, 0.003, 2)
QUICK = Resolution((192, 768), 2, 0.006, 3, 1e3)


def lowest_order(sampler: Sampler, enough: float, patience: float) -> Worst:
    """The lowest order of one step, with exact history, at any level of any schedule."""
    worst = Worst(math.inf, "anywhere")
    for schedule, centre in patient(_probes(), patience, LEAST):
        order = step_order_at(sampler, schedule, centre, enough)
        if not (order >= worst.figure):
            worst = Worst(order, _at(schedule, centre))
    return worst


def step_order_at(sampler: Sampler, schedule: Schedule, centre: float, enough: float) -> float:
    """The order of one step that ends at a half-log-SNR; infinite if only rounding is left.

    Measured from two step sizes. If the order is below `enough`, a third, smaller size is
    tried, since the error may cross 0 between the first two.
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


def _probes() -> list[tuple[Schedule, float]]:
    """Schedules and half-log-SNRs to probe, no two of them the same."""
    out = []
    for i, schedule in enumerate(KINDS):
        first = _noisiest(schedule) + 10 * STEP
        places = (
            first + (CLEANEST - first) * (np.arange(PROBES) + (i + 0.5) / len(KINDS)) / PROBES
        )
        out += [(schedule, float(centre)) for centre in places]
    return out


def _noisiest(schedule: Schedule) -> float:
    """The half-log-SNR at the start of a run that divides by alpha."""
    return float(schedule.half_log_snr(schedule.t_start(True))) + INSIDE


def worst_last_step(sampler: Sampler) -> Worst | None:
    """The largest ratio of `last_step` on any schedule; None if it does not apply."""
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
    """The largest `left_over_on` over all kinds of schedules."""
    return worst_of(
        *(left_over_on(sampler, order, schedule) for schedule in patient(KINDS, patience, 1))
    )


def left_over_on(
    sampler: Sampler,
    order: float,
    schedule: Schedule,
    correlated: bool = False,
    resolution: Resolution = CLOSE,
) -> Worst:
    """The error in distribution that does not vanish with more steps, at any noise level.

    A run starts from the exact distribution of Gaussian data. The largest relative error of a
    standard deviation, or of a mean in standard deviations, in any direction and at any point
    of the run is extrapolated to infinitely many steps, by the claimed order or by the observed
    one if that is higher. 0 if the result is within the uncertainty of the extrapolation.
    correlated: with path noise.
    """
    before = rest = math.inf
    for most in resolution.steps:
        if order < 2:
            steps = most
        else:
            steps = most // resolution.fewer
        before, (rest, size, where) = (
            rest,
            extrapolated(sampler, order, schedule, steps, correlated),
        )
        if rest <= max(resolution.left, UNSURE * size) or size > resolution.unstable:
            return Worst(0.0, "anywhere")
    return Worst(
        0.0 if rest < before / resolution.falls else rest, f"of a standard deviation {where}"
    )


def extrapolated(
    sampler: Sampler, order: float, schedule: Schedule, steps: int, correlated: bool = False
) -> tuple[float, float, str]:
    """The extrapolated error, the error in N = `steps`, and where the first is largest.

    Extrapolated from N, N / 2 and N / 4 steps.
    """
    base = steps // 4
    points = [_half_log_snrs(schedule, steps // k) for k in (4, 2, 1)]
    errors = [
        law_errors(sampler, path_at(schedule, at), correlated)[:: len(at) // base]
        for at in points
    ]
    held = ~np.isnan(sum(errors)).any((1, 2))  # churn has no state at some points
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
    """Relative errors of standard deviation and mean at all points: (points, 2, directions)."""
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
