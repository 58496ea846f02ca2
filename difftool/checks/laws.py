"""The distribution of samples on Gaussian data, exact by a plan or else estimated."""

from __future__ import annotations

import math
from dataclasses import replace
from time import thread_time

import numpy as np

from difftool.checks.everywhere import QUICK, left_over_on
from difftool.checks.exact import Mixture
from difftool.checks.finding import Worst, worst_of
from difftool.checks.orders import DATA, end_of, path_at
from difftool.checks.patience import patient
from difftool.checks.running import SCHEDULES, job, mixture, model
from difftool.models import GaussianMixture
from difftool.plan import trace
from difftool.plan.analysis import Array, Gaussian, error, output_law
from difftool.samplers.base import Sampler
from difftool.sampling import make_path, prepare
from difftool.schedules import Schedule, VPLinear

MEAN, VARIANCE = [0.4, -0.7, 0.0], [0.3, 0.01, 1.0]
# without a plan: the most samples, the first batch of them, and seconds to draw them
COUNT, FIRST, SECONDS = 100_000, 64, 2.0
# tolerances at which adaptive samplers are checked
TIGHT = {
    "rtol": 0.01,
    "atol": 0.003,
}
FAR_OFF, ASTRAY = 4.0, 0.02  # standard errors; units of the data
SO_MANY, AWAY = 192, 1.0  # steps; by how much the error may grow from a quarter of them
FEW = 6  # steps from which on one more must not be worse
# largest number of steps, and how much worse than its neighbors it may be
SWEEP, WORSE = 40, 1.25


def promised(sampler: Sampler) -> float:
    """The order of convergence in distribution to the data; 1 if undeclared, 0 if none."""
    if sampler.weak_order is not None:
        return sampler.weak_order
    if sampler.stochastic:
        return 1.0
    return sampler.run_order or 1.0


def point_mass(sampler: Sampler) -> float:
    """The largest error of mean and standard deviation at the end for data that is a point."""
    data = Gaussian.of([0.4, -0.7], 0.0)
    worst = 0.0
    for schedule in SCHEDULES:
        for end in (None, schedule.t_at_level(0.05)):
            path = make_path(model(), sampler, steps=7, schedule=schedule)
            if end is None:
                times = path.times
            else:
                times = (*(t for t in path.times if t > end * 1.01), end)
            plan = prepare(model(), sampler, shape=(1, 3), grid=times, schedule=schedule).plan
            assert plan is not None
            law, exact = output_law(plan, data), data.at(plan.rows[-1].point)
            std = np.sqrt(law.variance) - np.sqrt(exact.variance)
            worst = worst_of(
                worst, float(abs(law.mean - exact.mean).max()), float(abs(std).max())
            )
    return worst


def monte_carlo(sampler: Sampler, count: int = 20000) -> float:
    """The largest deviation of sample moments from the analysis, in standard errors."""
    run = job(sampler, count=count, model=_gaussian(), seed=7)
    assert run.plan is not None
    data = Gaussian.of(MEAN, VARIANCE)
    law = output_law(run.plan, data, Gaussian.of([0.0] * 3, run.origin.sigma**2))
    x = run.batch(0, count).numpy()
    means = (x.mean(0) - law.mean) / np.sqrt(law.variance / count)
    variances = (x.var(0) / law.variance - 1) / math.sqrt(2 / count)
    return worst_of(float(abs(means).max()), float(abs(variances).max()))


def of_many(sampler: Sampler) -> tuple[float, float]:
    """(drift, correlation) over their sampling errors, of a sampler without a plan.

    From as many samples as time allows. drift: the mean relative error of the standard
    deviations, extrapolated from 64 and 128 steps by order 1, or, for adaptive samplers, with
    tight tolerances rtol and atol. correlation: the largest between two elements, which are
    independent in the data.
    """
    x = _sampled(_tight(sampler), 128)
    root = math.sqrt(len(x))
    correlation = float(abs(np.corrcoef(x.T) - np.eye(x.shape[1])).max() * root)
    if sampler.adaptive:
        return abs(_wide(x)) * root / _WIDE, correlation
    coarse = _sampled(sampler, 64, len(x))
    return abs(2 * _wide(x) - _wide(coarse)) * root / (math.sqrt(5) * _WIDE), correlation


def _sampled(sampler: Sampler, steps: int, count: int | None = None) -> Array:
    """Samples of the Gaussian: `count`, or, in growing batches, as many as time allows."""
    size = count or FIRST
    while True:
        began = thread_time()
        x = job(sampler, steps, size, model=_gaussian(), seed=11).batch(0, size).numpy()
        larger = min(size * min(round(SECONDS / (thread_time() - began)), 8), COUNT)
        if count is not None or larger < 2 * size:
            return x
        size = larger


def _wide(x: Array) -> float:
    return float((x.std(0) / np.sqrt(VARIANCE) - 1).mean())


# the standard error of `_wide`, times the square root of the number of samples
_WIDE = 1 / math.sqrt(2 * len(VARIANCE))


def _tight(sampler: Sampler) -> Sampler:
    # deterministic samplers take few more steps at tighter tolerances
    if sampler.stochastic:
        finer = 1.0
    else:
        finer = 0.1
    tight = {
        k: min(getattr(sampler, k), finer * most)
        for k, most in TIGHT.items()
        if hasattr(sampler, k)
    }
    return replace(sampler, **tight)


def astray(sampler: Sampler) -> Worst:
    """The end-point error of an adaptive sampler, down and up, in units of the data."""
    data, way = Mixture(), np.array([-0.8, 0.8])
    ends = {}
    for name, half_log_snrs in (("downwards", way), ("upwards", -way)):
        path = path_at(VPLinear(), half_log_snrs)
        ends[name] = float(data.error(end_of(_tight(sampler), path, data), path[-1]).max())
    return worst_of(*(Worst(error, name) for name, error in ends.items()))


def _gaussian() -> GaussianMixture:
    return mixture([MEAN], [VARIANCE])


def worst_number_of_steps(sampler: Sampler, patience: float) -> Worst:
    """The largest ratio of the error in N steps to the larger one in N - 1 and N + 1."""
    errors: dict[int, float] = {}

    def error_of(steps: int) -> float:
        if steps not in errors:
            errors[steps] = error(
                trace(sampler, make_path(model(), sampler, steps=steps, schedule=VPLinear())),
                DATA,
            )
        return errors[steps]

    worst = Worst(0.0, "in any number of steps")
    least = max(FEW, sampler.needs_steps + 1)
    for steps in patient(range(least, max(SWEEP, least + 4)), patience, 4):
        near = max(error_of(steps - 1), error_of(steps + 1))
        worst = worst_of(
            worst, Worst(error_of(steps) / near if near > 0 else 1.0, f"in {steps} steps")
        )
    return worst


def grows(sampler: Sampler) -> float:
    """The growth of the error from few to many steps, in standard deviations.

    For samplers that claim no convergence: they may end anywhere, but must not diverge.
    """
    few, many = (_off(sampler, steps) for steps in (SO_MANY // 4, SO_MANY))
    return many - few


def _off(sampler: Sampler, steps: int) -> float:
    """The largest relative error of a mean or a standard deviation at the end of a run."""
    run = job(sampler, steps, FIRST, model=_gaussian(), seed=11)
    exact = Gaussian.of(MEAN, VARIANCE).at(run.end)
    if run.plan is None:
        x = run.batch(0, FIRST).numpy()
        mean, variance = x.mean(0), x.var(0)
    else:
        law = output_law(run.plan, Gaussian.of(MEAN, VARIANCE))
        mean, variance = law.mean, law.variance
    std = np.sqrt(exact.variance)
    return worst_of(
        float(abs(np.sqrt(variance) / std - 1).max()),
        float((abs(mean - exact.mean) / std).max()),
    )


def off_law(sampler: Sampler, schedule: Schedule) -> str | None:
    """What a quick check on one schedule finds wrong with the distribution; None if nothing."""
    worst = left_over_on(sampler, promised(sampler), schedule, resolution=QUICK)
    if worst.figure:
        return f"the distribution is off by {100 * worst.figure:.2g}% {worst.where}"
    return None
