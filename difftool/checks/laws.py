"""The law of a sampler's samples, on Gaussian data: by its plan exactly, else by many samples."""

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
# samples of a law that no plan tells, at most and at first, and time for them
COUNT, FIRST, SECONDS = 100_000, 64, 2.0
# tolerances at which the law of an adaptive one is looked at
TIGHT = {
    "rtol": 0.01,
    "atol": 0.003,
}
FAR_OFF, ASTRAY = 4.0, 0.02  # standard errors; units of the data
SO_MANY, AWAY = 192, 1.0  # steps, and how much further off these may end than a quarter of them
FEW = 6  # steps from which on one more is no worse
# up to how many steps, and how much worse than its neighbours a run may be
SWEEP, WORSE = 40, 1.25


def promised(sampler: Sampler) -> float:
    """The order to which the law of its samples tends to that of the data; 1 where nothing is said, 0: it does not."""
    if sampler.weak_order is not None:
        return sampler.weak_order
    if sampler.stochastic:
        return 1.0
    return sampler.run_order or 1.0


def point_mass(sampler: Sampler) -> float:
    """Deviation of mean and standard deviation at the end from (alpha mu, sigma) for data N(mu, 0), any schedule."""
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
    """Largest deviation of a sample's means and variances from the analysis, in standard errors."""
    run = job(sampler, count=count, model=_gaussian(), seed=7)
    assert run.plan is not None
    data = Gaussian.of(MEAN, VARIANCE)
    law = output_law(run.plan, data, Gaussian.of([0.0] * 3, run.origin.sigma**2))
    x = run.batch(0, count).numpy()
    means = (x.mean(0) - law.mean) / np.sqrt(law.variance / count)
    variances = (x.var(0) / law.variance - 1) / math.sqrt(2 / count)
    return worst_of(float(abs(means).max()), float(abs(variances).max()))


def of_many(sampler: Sampler) -> tuple[float, float]:
    """(drift, correlation) of as many samples as there is time for, for what has no plan; over their sampling errors.

    drift: the mean relative deviation of standard deviations from those of the data, extrapolated from 64 and 128 steps
    by order 1, or with tolerances rtol and atol that are tight. correlation: the largest one of two elements, of data
    whose elements are independent.
    """
    x = _sampled(_tight(sampler), 128)
    root = math.sqrt(len(x))
    correlation = float(abs(np.corrcoef(x.T) - np.eye(x.shape[1])).max() * root)
    if sampler.adaptive:
        return abs(_wide(x)) * root / _WIDE, correlation
    coarse = _sampled(sampler, 64, len(x))
    return abs(2 * _wide(x) - _wide(coarse)) * root / (math.sqrt(5) * _WIDE), correlation


def _sampled(sampler: Sampler, steps: int, count: int | None = None) -> Array:
    """Samples of the Gaussian; count: as many as there is time for, more and more each time."""
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


# the standard error of that, times the root of the number of samples
_WIDE = 1 / math.sqrt(2 * len(VARIANCE))


def _tight(sampler: Sampler) -> Sampler:
    # deterministic ones gain steps slowly
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
    """How far an adaptive sampler ends from the probability flow, down and up, in units of the data."""
    data, way = Mixture(), np.array([-0.8, 0.8])
    ends = {}
    for name, half_log_snrs in (("downwards", way), ("upwards", -way)):
        path = path_at(VPLinear(), half_log_snrs)
        ends[name] = float(data.error(end_of(_tight(sampler), path, data), path[-1]).max())
    return worst_of(*(Worst(error, name) for name, error in ends.items()))


def _gaussian() -> GaussianMixture:
    return mixture([MEAN], [VARIANCE])


def worst_number_of_steps(sampler: Sampler, patience: float) -> Worst:
    """The error of the law in N steps over the larger of those in N - 1 and N + 1."""
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
    """How much further off a run ends in many steps than in few, of what claims no law; in standard deviations.

    It may be anywhere, but more steps must not lead it away.
    """
    few, many = (_off(sampler, steps) for steps in (SO_MANY // 4, SO_MANY))
    return many - few


def _off(sampler: Sampler, steps: int) -> float:
    """The largest error of a mean, or of a standard deviation, at the end of a run."""
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
    """How the law of the states is wrong, looked at quickly and on one schedule; None if it is not."""
    worst = left_over_on(sampler, promised(sampler), schedule, look=QUICK)
    if worst.figure:
        return f"the law is off by {100 * worst.figure:.2g}% {worst.where}"
    return None
