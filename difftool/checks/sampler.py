"""The contract of samplers: they run everywhere, match their plans and keep their claims."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import cache, partial

from difftool.checks.everywhere import (
    left_over,
    left_over_on,
    lowest_order,
    step_order_at,
    worst_last_step,
)
from difftool.checks.finding import Finding, at_least, at_most, attempt, holds, near
from difftool.checks.laws import (
    ASTRAY,
    AWAY,
    FAR_OFF,
    WORSE,
    astray,
    grows,
    monte_carlo,
    of_many,
    off_law,
    point_mass,
    promised,
    worst_number_of_steps,
)
from difftool.checks.orders import (
    global_order,
    global_order_in,
    one_step_order,
    weak_order,
    weak_order_from,
)
from difftool.checks.running import job, plan_is_loop, plan_of, runs, runs_everywhere
from difftool.checks.variants import changed, others_hold, variants
from difftool.errors import DifftoolError
from difftool.models.parametrization import errors_of
from difftool.plan.analysis import beyond_x0
from difftool.plan.stability import amplification, stability
from difftool.samplers.base import Sampler
from difftool.schedules import VE, DDPMLinear, Flow, Schedule, VPLinear

TOLERANCE = 0.06  # of a measured order, absolute, or TOLERANCE_PART of it if larger
TOLERANCE_PART = 0.03
COARSE = 0.25  # tolerance of an order from two step sizes only, or COARSE_PART of it
COARSE_PART = 0.1
PATIENCE = 1.5  # seconds
LONG = 192  # steps of a long run
FAR = 20.0, 0.05  # further noise levels around which the order over a run is measured
STALE = 2.5  # times the error of the mean; a last step with an output one step old has 3
# a variance of 0 has an error of 1e-16 of the start's, a standard deviation its square root
ROUNDED = 1e-7
STEEP = 0.05  # the smallest real stability interval of a deterministic sampler
LOUD = 10.0  # the largest amplification of independent unit errors of v


def check_sampler(sampler: Sampler, patience: float = PATIENCE) -> list[Finding]:
    """The contract of a sampler, with figures.

    Runs: finite on every built-in schedule in 1 to 33 steps, and upwards, unless declared
    `downwards_only`; network evaluations and noise as declared, each noise in its own step;
    reproducible, and independent of the batch if declared so. The plan, the plan driven step by
    step and the plain loop agree.

    Accuracy: the claimed orders at every noise level, on variance-preserving,
    variance-exploding, sub-VP and flow schedules; the distribution of states on Gaussian data,
    which converges to the true one unless `weak_order` is 0; a point mass, unless declared
    otherwise; the last step; any number of steps. All of it holds with other options too.

    patience: seconds for each check with many probes, after its first few.
    """
    return list(findings(sampler, patience))


def findings(sampler: Sampler, patience: float = PATIENCE) -> Iterator[Finding]:
    """The findings of `check_sampler`, one by one as they are measured."""
    it_runs = runs_everywhere(sampler)
    yield it_runs
    if not it_runs.ok:  # otherwise every check would report the same error
        yield Finding("all other checks", "run", "skipped: the sampler does not run", False)
        return
    yield from runs(sampler)
    without_plan = plan_of(sampler)
    if without_plan is not None:
        yield without_plan
        yield from _unplanned(sampler)
        return
    yield at_most("plan = plain loop = stepper", lambda: plan_is_loop(sampler), 1e-10)
    if sampler.point_mass:
        yield at_most(
            "point mass: ends at alpha mu, std sigma",
            lambda: point_mass(sampler),
            ROUNDED,
        )
    if sampler.stochastic:
        yield at_most(
            "analysis = Monte Carlo, in standard errors", lambda: monte_carlo(sampler), 5.0
        )
    yield from _steady(sampler)
    yield from _orders(sampler, patience)
    if order := promised(sampler):
        yield at_most(
            "error in N steps / in N - 1 and N + 1",
            lambda: worst_number_of_steps(sampler, patience),
            WORSE,
        )
        yield at_most(
            "distribution at every level, in small steps",
            lambda: left_over(sampler, order, patience),
            0.0,
        )
        if sampler.stochastic:
            yield at_most(
                "distribution with path noise",
                lambda: left_over_on(sampler, 1.0, VPLinear(), True),
                0.0,
            )
    else:
        yield at_most("growth of the error with more steps", lambda: grows(sampler), AWAY)
    yield holds(
        "holds with other options",
        "claims and distribution",
        lambda: _others(sampler, patience),
    )


def _steady(sampler: Sampler) -> Iterator[Finding]:
    """Stability on steep networks, and amplification of network errors."""
    if sampler.accuracy is not None or sampler.weak_order:
        yield attempt("stability intervals", f"real >= {STEEP}", lambda: _steep(sampler))
        yield attempt(
            "amplified network errors, in 10 steps",
            f"<= x {LOUD:g} (v)",
            lambda: _amplified(sampler),
        )


def _steep(sampler: Sampler) -> Finding:
    """Stability intervals, in steps of s; an empty interval means zero-instability.

    Stochastic samplers always pass: such short steps are negligible against the noise of churn,
    and lcm does not take steps at all.
    """
    check, expected, found = "stability intervals", f"real >= {STEEP}", stability(sampler)
    if found is None:
        return Finding(check, expected, "unknown: no two consecutive steps are alike", True)
    text = f"real {found.real:.3g}, complex {found.disc:.3g}"
    return Finding(check, expected, text, found.real >= STEEP or sampler.stochastic)


def _amplified(sampler: Sampler) -> Finding:
    """How much independent unit errors of the network are amplified on ddpm-linear."""
    check, expected = "amplified network errors, in 10 steps", f"<= x {LOUD:g} (v)"
    plan = job(sampler, 10, schedule=DDPMLinear()).plan
    assert plan is not None
    if beyond_x0(plan) is not None:
        return Finding(check, expected, "unknown: the plan uses more than x0", True)
    gains = {kind: amplification(plan, errors_of(kind)) for kind in ("eps", "x0", "v")}
    text = ", ".join(f"x {gain:.2f} ({kind})" for kind, gain in gains.items())
    return Finding(check, expected, text, gains["v"] <= LOUD)


def _orders(sampler: Sampler, patience: float) -> Iterator[Finding]:
    """The claimed orders of a sampler with a plan."""
    quiet = without_noise(sampler)
    if sampler.stochastic:
        at = " at zero noise"
    else:
        at = ""
    if quiet is not None and (claimed := quiet.accuracy) is not None:
        one = f"order of one step{at}"
        yield near(
            f"{one}, exact history", lambda: one_step_order(quiet), claimed, _tolerance(claimed)
        )
        yield _order_everywhere(quiet, f"{one}, everywhere", claimed, patience)
    if quiet is not None and promised(quiet):
        yield at_most(
            f"last step{at}: error / mean's error",
            lambda: worst_last_step(quiet),
            STALE,
        )
        yield from _over_a_run(quiet, at)
    loud = _with_noise(sampler)
    if loud.stochastic and loud.weak_order:
        if loud is sampler:
            with_noise = ""
        else:
            with_noise = f" with {loud.noise_option} = 1"
        least = loud.weak_order - _tolerance(loud.weak_order)
        yield at_least(f"weak order over a run{with_noise}", lambda: weak_order(loud), least)


def _with_noise(sampler: Sampler) -> Sampler:
    """The sampler, with its noise option at 1 if that is 0."""
    if sampler.stochastic or sampler.noise_option is None:
        return sampler
    return changed(sampler, **{sampler.noise_option: 1.0}) or sampler


def _order_everywhere(sampler: Sampler, check: str, claimed: float, patience: float) -> Finding:
    limit = _lowest(claimed)

    def finding() -> Finding:
        worst = lowest_order(sampler, limit, patience)
        return Finding(
            check, f">= {limit:g}", f"{worst.figure:.2f} {worst.where}", worst.figure >= limit
        )

    return attempt(check, f">= {limit:g}", finding)


def _over_a_run(sampler: Sampler, at: str) -> Iterator[Finding]:
    claimed = sampler.run_order
    if claimed is None:
        return
    found = near(
        f"order over a run{at}", lambda: global_order(sampler), claimed, _tolerance(claimed)
    )
    yield (
        found
        if found.ok
        else found._replace(
            measured=f"{found.measured}; if the order over a run differs, declare global_order"
        )
    )
    yield at_least(
        f"order over a run{at}, in {LONG} steps",
        lambda: global_order_in(sampler, LONG),
        _lowest(claimed),
    )
    if not sampler.downwards_only:
        upwards = partial(global_order, sampler, upwards=True)
        yield at_least(f"order over a run{at}, upwards", upwards, _lowest(claimed))


def _unplanned(sampler: Sampler) -> Iterator[Finding]:
    """The checks without a plan: orders over runs, distribution from samples."""
    quiet = without_noise(sampler)
    if sampler.stochastic:
        at = " at zero noise"
    else:
        at = ""
    if quiet is not None and (claimed := quiet.run_order) is not None:
        yield from _over_a_run(quiet, at)
        for level in FAR:
            check, measure = (
                f"order over a run{at}, around noise level {level:g}",
                partial(_order_about, quiet, level),
            )
            yield near(check, measure, claimed, _coarse(claimed))
    if sampler.stochastic and sampler.weak_order:
        measured = "cannot be measured without a plan; use only + - * /, or claim no weak order"
        yield Finding("weak order over a run", f"{sampler.weak_order:g}", measured, False)
    if promised(sampler):
        many = cache(partial(of_many, sampler))
        yield at_most(
            "distribution of many samples / sampling error", lambda: many()[0], FAR_OFF
        )
        yield at_most("correlation of elements / sampling error", lambda: many()[1], FAR_OFF)
    if sampler.adaptive and not sampler.downwards_only:
        yield at_most("end point, downwards and upwards", lambda: astray(sampler), ASTRAY)


def _order_about(sampler: Sampler, level: float) -> float:
    return global_order(sampler, centre=-math.log(level))


def _others(sampler: Sampler, patience: float) -> str:
    choices, loud = variants(sampler), _with_noise(sampler)
    if loud is not sampler:
        choices += [
            (f"{sampler.noise_option}=1,{text}", other) for text, other in variants(loud)
        ]
    return others_hold(choices, patience, QUICK_CHECKS)


def _wrong(schedule: Schedule, sampler: Sampler) -> str | None:
    """What a quick check on a schedule finds wrong with a sampler; None if nothing."""
    try:
        run = job(sampler)
        run.batch(0, 6)
    except DifftoolError:  # an option that does not fit such a small run
        return None
    if run.plan is None:
        return None
    quiet = without_noise(sampler)
    if quiet is not None and (claimed := quiet.accuracy) is not None:
        for centre in (-3.0, 1.0, 4.0):
            order = step_order_at(quiet, schedule, centre, _lowest(claimed))
            if order < _lowest(claimed):
                found = f"one step has order {order:.2f} (claimed: {claimed:g})"
                return f"{found} on {type(schedule).__name__}"
    if sampler.stochastic and (weak := sampler.weak_order):
        enough = (64, 256, 512)  # below about a hundred steps churn is capped
        orders = (weak_order_from(sampler, steps, schedule) for steps in enough)
        if not any(order >= _lowest(weak) for order in orders):
            return f"the weak order is not {weak:g}, as claimed, on {type(schedule).__name__}"
    if promised(sampler):
        return off_law(sampler, schedule)
    return None


# for each choice of options
QUICK_CHECKS = [partial(_wrong, schedule) for schedule in (VPLinear(), Flow(), VE())]


def _tolerance(order: float) -> float:
    return max(TOLERANCE, TOLERANCE_PART * order)


def _coarse(order: float) -> float:
    return max(COARSE, COARSE_PART * order)


def _lowest(order: float) -> float:
    """The lowest value that passes for a claimed order where it is measured coarsely."""
    return order - _coarse(order)


def without_noise(sampler: Sampler) -> Sampler | None:
    """The sampler with its noise option at 0; None if its noise cannot be switched off."""
    if not sampler.stochastic:
        return sampler
    if sampler.noise_option is None:
        return None
    return replace(sampler, **{sampler.noise_option: 0})
