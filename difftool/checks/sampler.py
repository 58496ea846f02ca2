"""What makes a sampler a sampler: it runs everywhere, it is what its plan says, and its claims hold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from difftool.checks.finding import Finding, at_least, at_most, attempt, holds, near
from difftool.checks.orders import global_order, one_step_order, weak_order
from difftool.errors import DifftoolError, NotAffine
from difftool.grids import FlowGrid
from difftool.models import Bound, GaussianMixture
from difftool.models.parametrization import errors_of
from difftool.plan import trace
from difftool.plan.analysis import Gaussian, output_law
from difftool.plan.stability import amplification, stability
from difftool.samplers.base import Sampler, finish, nfe_of
from difftool.sampling import Job, make_path, prepare, sample
from difftool.schedules import VE, Cosine, DDPMLinear, Flow, Point, Schedule, VPLinear

SCHEDULES = (VPLinear(), DDPMLinear(), Cosine(), VE(), Flow())
MEAN, VARIANCE = [0.4, -0.7, 0.0], [0.3, 0.01, 1.0]
TOLERANCE = 0.15  # of a measured order
ROUNDED = 1e-7  # a variance of 0 is computed to 1e-16 of the start's, a standard deviation to its square root


def check_sampler(sampler: Sampler) -> list[Finding]:
    """The contract of a sampler, with figures.

    Finite on every built-in schedule at 1, 2, 3 and 10 steps; upwards too, or refused there if it says so; network
    evaluations and noise as declared; the same numbers twice, and in any batches if it is batch independent; its plan,
    the plan driven step by step and the plain loop agree; point mass (unless it declares otherwise); the law of its
    samples on Gaussian data is the one that the analysis computes; the orders that it claims.
    """
    findings = [
        holds("runs on every schedule, 1 to 10 steps", "finite", lambda: _runs(sampler)),
        holds("network evaluations", "as declared", lambda: _evaluations(sampler)),
        holds("noise", "as declared", lambda: _noise(sampler)),
        holds("upwards", "refused" if sampler.downwards_only else "finite", lambda: _upwards(sampler)),
        at_most("the same numbers twice", lambda: _twice(sampler), 0.0),
    ]
    if sampler.batch_independent:
        findings.append(at_most("the same in batches of 1, 2 and 3", lambda: _batches(sampler), 1e-6))
    why = _why_no_plan(sampler)
    if why is not None:
        return [*findings, Finding("plan", "any", why, True), *_orders(sampler, plan=False)]
    findings.append(at_most("plan = plain loop = stepper", lambda: _plan_is_loop(sampler), 1e-10))
    if sampler.point_mass:
        findings.append(at_most("point mass: ends at the point, with sigma_end", lambda: _point_mass(sampler), ROUNDED))
    if sampler.stochastic:
        findings.append(at_most("analysis = Monte Carlo (standard errors)", lambda: _monte_carlo(sampler), 5.0))
    if sampler.accuracy is not None or sampler.weak_order is not None:
        findings += [
            attempt("stability intervals", "above 0", lambda: _steep(sampler)),
            holds("errors of the network, in 10 steps", "any", lambda: _amplified(sampler)),
        ]
    return findings + _orders(sampler)


def _steep(sampler: Sampler) -> Finding:
    """How steep a network may be, in steps of s; nothing at all is zero-instability.

    Not of what draws noise: steps this short are nothing beside the noise of churn, and no steps at all for lcm.
    """
    found = stability(sampler)
    if found is None:
        return Finding("stability intervals", "any", "unknown: no step is like the one before", True)
    text = f"real {found.real:.3g}, complex {found.disc:.3g}"
    return Finding("stability intervals", "above 0", text, found.real > 0 or sampler.stochastic)


def _amplified(sampler: Sampler) -> str:
    """What independent errors of size 1 of a network's answers become on ddpm-linear."""
    plan = job(sampler, max(10, sampler.needs_steps), schedule=DDPMLinear()).plan
    assert plan is not None
    if any(row.channels > 1 for row in plan.rows):
        return "unknown: it takes more than x0"
    return ", ".join(f"x {amplification(plan, errors_of(kind)):.2f} ({kind})" for kind in ("eps", "x0", "v"))


def _orders(sampler: Sampler, plan: bool = True) -> list[Finding]:
    """The orders that it claims; without a plan only that over a run can be measured."""
    out = []
    quiet = without_noise(sampler)
    at = " at zero noise" if sampler.stochastic else ""
    if plan and quiet is not None and quiet.accuracy is not None:
        out.append(
            near(f"order of one step{at}, exact history", lambda: one_step_order(quiet), quiet.accuracy, TOLERANCE)
        )
    over_a_run = None if quiet is None else quiet.global_order or quiet.accuracy
    if quiet is not None and over_a_run is not None:
        out.append(near(f"order over a run{at}", lambda: global_order(quiet), over_a_run, TOLERANCE))
    if not plan and sampler.stochastic and sampler.weak_order is not None:
        measured = "cannot be measured without a plan; claim none"
        out.append(Finding("weak order over a run", f"{sampler.weak_order:g}", measured, False))
    elif sampler.stochastic and sampler.weak_order is not None:
        out.append(at_least("weak order over a run", lambda: weak_order(sampler), sampler.weak_order - TOLERANCE))
    return out


def without_noise(sampler: Sampler) -> Sampler | None:
    """The sampler with its noise option at 0; itself if it is deterministic, None if its noise cannot be left out."""
    if not sampler.stochastic:
        return sampler
    if sampler.noise_option is None:
        return None
    return replace(sampler, **{sampler.noise_option: 0})


class _Exact(GaussianMixture):
    """A mixture that gives, where it is asked for two outputs, v = 1/2 as a network with a learned variance would."""

    def bind(self, schedule: Schedule | None, cond: Mapping[str, Any] | None = None) -> Bound:
        return _BoundExact(self, schedule, dict(cond or {}))


class _BoundExact(Bound):
    def more(self, x: Tensor, p: Point, outputs: int) -> Any:
        return self(x, p), torch.full_like(x, 0.5)


def model() -> GaussianMixture:
    """Three components in three dimensions: the exact model that samplers are run on here."""
    return _Exact(torch.tensor([[0.5, -0.3, 0.1], [-0.6, 0.4, 0.2], [0.1, 0.9, -0.8]]), 0.04)


def job(sampler: Sampler, steps: int = 6, count: int = 6, **options: object) -> Job:
    """A small run of the sampler in float64; adaptive samplers ignore the steps."""
    wanted = None if sampler.adaptive else steps
    options.setdefault("schedule", VPLinear())
    return prepare(model(), sampler, shape=(count, 3), steps=wanted, dtype=torch.float64, **options)  # type: ignore[arg-type]


def _runs(sampler: Sampler) -> str:
    for schedule in SCHEDULES:
        for steps in (1,) if sampler.adaptive else (1, 2, 3, 10):
            run = job(sampler, max(steps, sampler.needs_steps), schedule=schedule)
            run.batch(0, 6)
    return f"{len(SCHEDULES)} schedules"


def _upwards(sampler: Sampler) -> str:
    steps = max(4, sampler.needs_steps)
    times = [0.1, 0.8] if sampler.adaptive else [0.1 + 0.7 * i / steps for i in range(steps + 1)]
    x = torch.linspace(-1.0, 1.0, 18, dtype=torch.float64).reshape(6, 3)
    try:
        out = sample(model(), sampler, x=x, grid=times, schedule=VPLinear())
    except DifftoolError:
        if sampler.downwards_only:
            return "refused"
        raise
    assert torch.isfinite(out).all() and not sampler.downwards_only, "declared to run downwards only, it ran upwards"
    return "finite"


def _evaluations(sampler: Sampler) -> str:
    counts = []
    for end in (None, 0.01):
        for steps in (1,) if sampler.adaptive else sorted({max(n, sampler.needs_steps) for n in (1, 2, 7)}):
            run = job(sampler, steps, grid=None if sampler.adaptive else FlowGrid(end=end))
            assert run.path is not None
            declared, planned = nfe_of(sampler, run.path, run.last), run.plan.nfe if run.plan else None
            run.plan = None
            run.batch(0, 6)
            assert declared in (None, run.nfe), f"{declared} declared, {run.nfe} made in {steps} steps"
            assert planned in (None, run.nfe), f"{planned} in the plan, {run.nfe} made in {steps} steps"
            counts.append(str(run.nfe))
    half = len(counts) // 2
    return f"{', '.join(counts[:half])} in 1, 2, 7 steps; {', '.join(counts[half:])} above sigma = 0"


def _noise(sampler: Sampler) -> str:
    run = job(sampler, max(3, sampler.needs_steps))
    assert run.path is not None
    bound, source = run.start(0, 6)
    draws = 0

    def noise(now: Point | None = None, nxt: Point | None = None) -> Tensor:
        nonlocal draws
        draws += 1
        return source(now, nxt)

    finish(sampler, bound, run.origin.sigma * source.initial(), run.path, noise, run.last)
    declared = "stochastic" if sampler.stochastic else "deterministic"
    assert (draws > 0) == sampler.stochastic, f"declared {declared}, {draws} draws in {len(run.path) - 1} steps"
    assert sampler.stochastic or sampler.weak_order is None or sampler.accuracy is not None, (
        "declared deterministic, with a weak order"
    )
    return f"{declared}, {draws} draws in {len(run.path) - 1} steps"


def _twice(sampler: Sampler) -> float:
    return _distance(job(sampler).batch(0, 6), job(sampler).batch(0, 6))


def _batches(sampler: Sampler) -> float:
    run = job(sampler)
    return _distance(torch.cat([run.batch(0, 1), run.batch(1, 2), run.batch(3, 3)]), run.batch(0, 6))


def _why_no_plan(sampler: Sampler) -> str | None:
    """Why it runs as the plain loop; None if it has a plan."""
    run = None
    with suppress(Exception):  # reported by the checks above
        run = job(sampler, max(6, sampler.needs_steps))
    if run is None or run.path is None:
        return "it does not run"
    if run.plan is not None:
        return None
    try:
        trace(sampler, run.path)
    except NotAffine as error:
        return f"runs as the plain loop: {error}"
    return "runs as the plain loop"


def _plan_is_loop(sampler: Sampler) -> float:
    worst = 0.0
    for schedule in SCHEDULES:
        run = job(sampler, schedule=schedule)
        out, stepped = run.batch(0, 6), _stepped(run)
        run.plan = None
        loop = run.batch(0, 6)
        worst = max(worst, _distance(out, loop), _distance(stepped, loop))
    return worst


def _stepped(run: Job) -> Tensor:
    bound, source = run.start(0, 6)
    assert run.plan is not None
    with torch.no_grad():
        steps = run.plan.steps(run.origin.sigma * source.initial(), noise=source)
        x, p, row = next(steps)
        while row.channels:
            x, p, row = steps.send(bound(x, p))
    return x


def _point_mass(sampler: Sampler) -> float:
    """Deviation of mean and standard deviation at the end from (alpha mu, sigma) for data N(mu, 0), any schedule."""
    data = Gaussian.of([0.4, -0.7], 0.0)
    worst = 0.0
    for schedule in SCHEDULES:
        for end in (None, schedule.t_at_level(0.05)):
            path = make_path(model(), sampler, steps=7, schedule=schedule)
            times = path.times if end is None else (*(t for t in path.times if t > end * 1.01), end)
            plan = prepare(model(), sampler, shape=(1, 3), grid=times, schedule=schedule).plan
            assert plan is not None
            law, exact = output_law(plan, data), data.at(plan.rows[-1].point)
            std = np.sqrt(law.variance) - np.sqrt(exact.variance)
            worst = max(worst, float(abs(law.mean - exact.mean).max()), float(abs(std).max()))
    return worst


def _monte_carlo(sampler: Sampler, count: int = 20000) -> float:
    """Largest deviation of a sample's means and variances from the analysis, in standard errors."""
    mean, variance = torch.tensor(MEAN, dtype=torch.float64), torch.tensor(VARIANCE, dtype=torch.float64)
    gaussian = GaussianMixture(mean[None], variance[None])
    run = prepare(gaussian, sampler, shape=(count, 3), steps=6, schedule=VPLinear(), dtype=torch.float64, seed=7)
    assert run.plan is not None
    data = Gaussian.of(MEAN, VARIANCE)
    law = output_law(run.plan, data, Gaussian.of([0.0] * 3, run.origin.sigma**2))
    x = run.batch(0, count).numpy()
    means = (x.mean(0) - law.mean) / np.sqrt(law.variance / count)
    variances = (x.var(0) / law.variance - 1) / math.sqrt(2 / count)
    return float(max(abs(means).max(), abs(variances).max()))


def _distance(a: Tensor, b: Tensor) -> float:
    if a.shape != b.shape:
        raise DifftoolError(f"shapes differ: {tuple(a.shape)}, {tuple(b.shape)}")
    return float((a - b).abs().max() / (1 + b.abs().max()))
