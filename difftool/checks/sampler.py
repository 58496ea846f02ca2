"""What makes a sampler a sampler: it runs everywhere, it is what its plan says, and its claims hold."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from functools import cache, partial

from difftool.checks.everywhere import (
    least_order,
    left_over,
    left_over_on,
    order_there,
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

TOLERANCE = 0.06  # of a measured order, or TOLERANCE_PART of it
TOLERANCE_PART = 0.03
COARSE = 0.25  # of an order measured at two sizes of a step only, or COARSE_PART of it
COARSE_PART = 0.1
PATIENCE = 1.5  # seconds
LONG = 192  # steps of a long run
FAR = 20.0, 0.05  # noise levels about which the order of a run is measured, too
STALE = (
    2.5  # times the error of the mean: a last step with an answer that is one step old has 3
)
ROUNDED = 1e-7  # a variance of 0 is computed to 1e-16 of the start's, a standard deviation to its square root
STEEP = 0.05  # the least real stability interval of a deterministic sampler
LOUD = 10.0  # what independent errors of size 1 of answers v may become


def check_sampler(sampler: Sampler, patience: float = PATIENCE) -> list[Finding]:
    """The contract of a sampler, with figures.

    Finite on every built-in schedule at 1 to 33 steps; upwards too, or refused there if it says so; network
    evaluations and noise as declared, each noise in its step; the same numbers twice, and in any batches if it is batch
    independent; its plan, the plan driven step by step and the plain loop agree; point mass (unless it declares
    otherwise); the orders that it claims, at every noise level, on variance preserving, variance exploding, sub-VP and
    flow schedules; the law of its states on Gaussian data, which tends to the true one (unless weak_order is 0); the
    last step; every number of steps; and the same with other options.

    patience: seconds that each of the laws with many probes may take, after its first few.
    """
    return list(findings(sampler, patience))


def findings(sampler: Sampler, patience: float = PATIENCE) -> Iterator[Finding]:
    """The findings of `check_sampler`, each when it is asked for."""
    it_runs = runs_everywhere(sampler)
    yield it_runs
    if not it_runs.ok:  # else the same is said a dozen times
        yield Finding("all else", "any", "not looked at: it does not run", False)
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
            "point mass: ends at the point, with sigma_end",
            lambda: point_mass(sampler),
            ROUNDED,
        )
    if sampler.stochastic:
        yield at_most(
            "analysis = Monte Carlo (standard errors)", lambda: monte_carlo(sampler), 5.0
        )
    yield from _steady(sampler)
    yield from _orders(sampler, patience)
    if order := promised(sampler):
        yield at_most(
            "error in N steps over that in N - 1, N + 1",
            lambda: worst_number_of_steps(sampler, patience),
            WORSE,
        )
        yield at_most(
            "law at every level, in small steps",
            lambda: left_over(sampler, order, patience),
            0.0,
        )
        if sampler.stochastic:
            yield at_most(
                "law with path noise", lambda: left_over_on(sampler, 1.0, VPLinear(), True), 0.0
            )
    else:
        yield at_most(
            "law that is claimed by nobody, in more steps", lambda: grows(sampler), AWAY
        )
    yield holds(
        "the same with other options", "claims and law", lambda: _others(sampler, patience)
    )


def _steady(sampler: Sampler) -> Iterator[Finding]:
    """What becomes of steep networks and of wrong ones."""
    if sampler.accuracy is not None or sampler.weak_order:
        yield attempt("stability intervals", f"real >= {STEEP}", lambda: _steep(sampler))
        yield attempt(
            "errors of the network, in 10 steps",
            f"<= x {LOUD:g} of v",
            lambda: _amplified(sampler),
        )


def _steep(sampler: Sampler) -> Finding:
    """How steep a network may be, in steps of s; nothing at all is zero-instability.

    Not of what draws noise: steps this short are nothing beside the noise of churn, and no steps at all for lcm.
    """
    check, expected, found = "stability intervals", f"real >= {STEEP}", stability(sampler)
    if found is None:
        return Finding(check, expected, "unknown: no step is like the one before", True)
    text = f"real {found.real:.3g}, complex {found.disc:.3g}"
    return Finding(check, expected, text, found.real >= STEEP or sampler.stochastic)


def _amplified(sampler: Sampler) -> Finding:
    """What independent errors of size 1 of a network's answers become on ddpm-linear."""
    check, expected = "errors of the network, in 10 steps", f"<= x {LOUD:g} of v"
    plan = job(sampler, 10, schedule=DDPMLinear()).plan
    assert plan is not None
    if beyond_x0(plan) is not None:
        return Finding(check, expected, "unknown: it takes more than x0", True)
    gains = {kind: amplification(plan, errors_of(kind)) for kind in ("eps", "x0", "v")}
    text = ", ".join(f"x {gain:.2f} ({kind})" for kind, gain in gains.items())
    return Finding(check, expected, text, gains["v"] <= LOUD)


def _orders(sampler: Sampler, patience: float) -> Iterator[Finding]:
    """The orders that it claims, by its plan."""
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
        yield at_most(f"last step{at}, over the mean", lambda: worst_last_step(quiet), STALE)
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
    """The sampler, or, where its noise is an option that it leaves at 0, with that option at 1."""
    if sampler.stochastic or sampler.noise_option is None:
        return sampler
    return changed(sampler, **{sampler.noise_option: 1.0}) or sampler


def _order_everywhere(sampler: Sampler, check: str, claimed: float, patience: float) -> Finding:
    limit = _least(claimed)

    def finding() -> Finding:
        worst = least_order(sampler, limit, patience)
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
        else found._replace(measured=f"{found.measured}; what it is over a run: global_order")
    )
    yield at_least(
        f"order over a run{at}, in {LONG} steps",
        lambda: global_order_in(sampler, LONG),
        _least(claimed),
    )
    if not sampler.downwards_only:
        upwards = partial(global_order, sampler, upwards=True)
        yield at_least(f"order over a run{at}, upwards", upwards, _least(claimed))


def _unplanned(sampler: Sampler) -> Iterator[Finding]:
    """What can be measured without a plan: orders over runs, the law by samples."""
    quiet = without_noise(sampler)
    if sampler.stochastic:
        at = " at zero noise"
    else:
        at = ""
    if quiet is not None and (claimed := quiet.run_order) is not None:
        yield from _over_a_run(quiet, at)
        for level in FAR:
            check, measure = (
                f"order over a run{at}, about noise level {level:g}",
                partial(_order_about, quiet, level),
            )
            yield near(check, measure, claimed, _coarse(claimed))
    if sampler.stochastic and sampler.weak_order:
        measured = (
            "cannot be measured without a plan; write it with + - * / alone, or claim none"
        )
        yield Finding("weak order over a run", f"{sampler.weak_order:g}", measured, False)
    if promised(sampler):
        many = cache(partial(of_many, sampler))
        yield at_most(
            "law of many samples, over its sampling error", lambda: many()[0], FAR_OFF
        )
        yield at_most(
            "correlation of elements, over its sampling error", lambda: many()[1], FAR_OFF
        )
    if sampler.adaptive and not sampler.downwards_only:
        yield at_most("where it ends, downwards and upwards", lambda: astray(sampler), ASTRAY)


def _order_about(sampler: Sampler, level: float) -> float:
    return global_order(sampler, centre=-math.log(level))


def _others(sampler: Sampler, patience: float) -> str:
    choices, loud = variants(sampler), _with_noise(sampler)
    if loud is not sampler:
        choices += [(f"{sampler.noise_option}=1,{text}", made) for text, made in variants(loud)]
    return others_hold(choices, patience, LOOKS)


def _wrong(schedule: Schedule, sampler: Sampler) -> str | None:
    """What a quick look on a schedule finds wrong with a sampler; None if nothing."""
    try:
        run = job(sampler)
        run.batch(0, 6)
    except DifftoolError:  # an option that does not fit so small a run
        return None
    if run.plan is None:
        return None
    quiet = without_noise(sampler)
    if quiet is not None and (claimed := quiet.accuracy) is not None:
        for centre in (-3.0, 1.0, 4.0):
            order = order_there(quiet, schedule, centre, _least(claimed))
            if order < _least(claimed):
                return f"one step is of order {order:.2f} (claimed: {claimed:g}) on {type(schedule).__name__}"
    if sampler.stochastic and (weak := sampler.weak_order):
        enough = (64, 256, 512)  # churn is itself from a hundred steps on
        orders = (weak_order_from(sampler, steps, schedule) for steps in enough)
        if not any(order >= _least(weak) for order in orders):
            return f"its law is not of order {weak:g}, as claimed, on {type(schedule).__name__}"
    if promised(sampler):
        return off_law(sampler, schedule)
    return None


# with each choice of options
LOOKS = [partial(_wrong, schedule) for schedule in (VPLinear(), Flow(), VE())]


def _tolerance(order: float) -> float:
    return max(TOLERANCE, TOLERANCE_PART * order)


def _coarse(order: float) -> float:
    return max(COARSE, COARSE_PART * order)


def _least(order: float) -> float:
    """What a claimed order must come to where it is measured coarsely."""
    return order - _coarse(order)


def without_noise(sampler: Sampler) -> Sampler | None:
    """The sampler with its noise option at 0; itself if it is deterministic, None if its noise cannot be left out."""
    if not sampler.stochastic:
        return sampler
    if sampler.noise_option is None:
        return None
    return replace(sampler, **{sampler.noise_option: 0})
