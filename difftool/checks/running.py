"""Checks of runs: finite, reproducible, as declared, and equal to their plan."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import torch
from torch import Tensor

from difftool.checks.finding import Finding, at_most, holds, worst_of
from difftool.checks.patience import patient
from difftool.errors import DifftoolError, NotAffine
from difftool.grids import FlowGrid
from difftool.models import BoundModel, GaussianMixture
from difftool.plan import trace
from difftool.request import Request
from difftool.samplers.base import Sampler, finish, nfe_of
from difftool.sampling import Job, prepare, sample
from difftool.schedules import (
    VE,
    Cosine,
    DDPMLinear,
    Flow,
    Path,
    Point,
    Schedule,
    SubVP,
    VPLinear,
)

SCHEDULES = (VPLinear(), DDPMLinear(), Cosine(), VE(), Flow(), SubVP())
BEYOND = VE(sigma_max=2000.0)  # beyond the usual noise levels
STEPS = 1, 2, 3, 10, 33
SHAPES = (3,), (3, 1, 1), (1, 1, 3), (1, 3), (1, 1, 1, 3)  # of a sample with three elements
MANY_STEPS = 257  # of a run whose evaluations are counted
MANY = 64  # size of a batch that is also run in parts


def runs_everywhere(sampler: Sampler) -> Finding:
    """Whether the sampler runs at all."""
    return holds("runs on every schedule, 1 to 33 steps", "finite", lambda: _runs(sampler))


def runs(sampler: Sampler) -> list[Finding]:
    """The checks of every sampler, with or without a plan."""
    findings = [
        holds("network evaluations", "as declared", lambda: _evaluations(sampler)),
        holds("noise", "as declared", lambda: _noise(sampler)),
        holds(
            "runs upwards",
            "refused" if sampler.downwards_only else "finite",
            lambda: _upwards(sampler),
        ),
        at_most("reproducible: the same numbers twice", lambda: _twice(sampler), 0.0),
        holds("evaluated at points of the schedule", "all", lambda: _points(sampler)),
        at_most("the same for any sample shape", lambda: _shapes(sampler), 1e-10),
    ]
    if sampler.batch_independent:
        findings.append(
            at_most("the same in batches of 1, 2, 3 and 64", lambda: _batches(sampler), 1e-6)
        )
    if not sampler.adaptive:
        findings.append(
            at_most("gradient, against finite differences", lambda: _gradient(sampler), 1e-4)
        )
    return findings


def plan_of(sampler: Sampler) -> Finding | None:
    """Why the sampler has no plan, which is allowed, or does not run; None if it has a plan."""
    run = None
    with suppress(Exception):  # reported by other checks
        run = job(sampler)
    if run is None or run.path is None:
        return Finding("plan", "optional", "the sampler does not run", False)
    if run.plan is not None:
        return None
    try:
        trace(sampler, run.path)
    except NotAffine as error:
        reason = str(error)
        return Finding(
            "plan",
            "optional",
            reason if "plain loop" in reason else f"runs as the plain loop: {reason}",
            True,
        )
    return Finding("plan", "optional", "runs as the plain loop", True)


def plan_is_loop(sampler: Sampler) -> float:
    """The largest difference between plan, plan driven step by step, and plain loop."""
    worst = 0.0
    for schedule in SCHEDULES:
        if schedule is SCHEDULES[0]:
            count = MANY
        else:
            count = 6
        run = job(sampler, count=count, schedule=schedule)
        out, stepped = run.batch(0, count), _stepped(run)
        loop = run.loop.batch(0, count)
        worst = worst_of(worst, _distance(out, loop), _distance(stepped, loop))
    return worst


class _Exact(GaussianMixture):
    """A mixture that also answers requests for a learned variance, with v = 1/2."""

    @property
    def answers(self) -> frozenset[str]:
        return frozenset({"x0", "variance"})

    def _bound(self, schedule: Schedule | None, cond: dict[str, Any]) -> BoundModel:
        return _BoundExact(self, schedule, cond)


class _BoundExact(BoundModel):
    def several(self, x: Tensor, p: Point, request: Request) -> tuple[Tensor, ...]:
        known = {"x0": self.evaluate(x, p), "variance": torch.full_like(x, 0.5)}
        return tuple(known[name] for name in request.answers)


def mixture(means: Any, variances: Any) -> GaussianMixture:
    """An exact model that can stand in for a network with a learned variance."""
    return _Exact(
        torch.as_tensor(means, dtype=torch.float64),
        torch.as_tensor(variances, dtype=torch.float64),
    )


def model() -> GaussianMixture:
    """The exact model of these checks: three components in three dimensions."""
    return mixture(_MEANS, 0.04)


_MEANS = torch.tensor(
    [[0.5, -0.3, 0.1], [-0.6, 0.4, 0.2], [0.1, 0.9, -0.8]], dtype=torch.float64
)


def job(sampler: Sampler, steps: int = 6, count: int = 6, **options: Any) -> Job:
    """A small run in float64; adaptive samplers ignore `steps`."""
    if sampler.adaptive:
        wanted = None
    else:
        wanted = max(steps, sampler.needs_steps)
    options = {
        "schedule": VPLinear(),
        "steps": wanted,
        "dtype": torch.float64,
        "shape": (count, 3),
        **options,
    }
    return prepare(options.pop("model", None) or model(), sampler, **options)


def _runs(sampler: Sampler) -> str:
    tried = 0
    for schedule in patient(SCHEDULES if sampler.adaptive else (*SCHEDULES, BEYOND), 1.5, 2):
        tried += 1
        for steps in (1,) if sampler.adaptive else STEPS:
            try:
                out = job(sampler, steps, schedule=schedule).batch(0, 6)
            except Exception as error:  # whatever a plugin's code raises
                error.add_note(f"on {schedule!r} in {steps} steps")
                raise
            assert out.dtype == torch.float64, f"a float64 run returned {out.dtype}"
    return f"{tried} schedules"


def _upwards(sampler: Sampler) -> str:
    steps = max(4, sampler.needs_steps)
    if sampler.adaptive:
        times = [0.1, 0.8]
    else:
        times = [0.1 + 0.7 * i / steps for i in range(steps + 1)]
    x = torch.linspace(-1.0, 1.0, 18, dtype=torch.float64).reshape(6, 3)
    try:
        out = sample(model(), sampler, x=x, grid=times, schedule=VPLinear())
    except DifftoolError:
        if sampler.downwards_only:
            return "refused"
        raise
    assert torch.isfinite(out).all() and not sampler.downwards_only, (
        "declared downwards_only, but it ran upwards"
    )
    return "finite"


def _evaluations(sampler: Sampler) -> str:
    counts: dict[float | None, list[str]] = {}
    ends = ((None, (1, 2, 7, MANY_STEPS)), (0.01, (1, 2, 7)))
    for end, counted in ends[:1] if sampler.adaptive else ends:
        for steps in (
            (1,) if sampler.adaptive else sorted({max(n, sampler.needs_steps) for n in counted})
        ):
            run = job(sampler, steps, grid=None if sampler.adaptive else FlowGrid(end=end))
            assert run.path is not None
            declared, planned = (
                nfe_of(sampler, run.path, run.last),
                run.plan.nfe if run.plan else None,
            )
            if run.plan is None or steps < MANY_STEPS:
                run = run.loop
                run.batch(0, 6)
            way_out = "define nfe(path) if it is not evaluations times steps"
            assert declared in (None, run.nfe), (
                f"{declared} declared, {run.nfe} counted in {steps} steps; {way_out}"
            )
            assert planned in (None, run.nfe), (
                f"{planned} in the plan, {run.nfe} counted in {steps} steps"
            )
            counts.setdefault(end, []).append(str(run.nfe))
    return "; ".join(
        ", ".join(some) + " above sigma = 0" * (end is not None) for end, some in counts.items()
    )


def _noise(sampler: Sampler) -> str:
    run = job(sampler, 3)
    assert run.path is not None
    bound, source = run.start(0, 6)
    draws: list[tuple[Point | None, Point | None]] = []

    def noise(now: Point | None = None, nxt: Point | None = None) -> Tensor:
        draws.append((now, nxt))
        return source(now, nxt)

    finish(sampler, bound, run.origin.sigma * source.initial(), run.path, noise, run.last)
    if sampler.stochastic:
        declared = "stochastic"
    else:
        declared = "deterministic"
    text = f"{declared}, {len(draws)} draws in {len(run.path) - 1} steps"
    if sampler.stochastic:
        way_out = "draw noise only with noise(now, nxt)"
    else:
        way_out = "set stochastic = True"
    assert bool(draws) == sampler.stochastic, f"declared {text}; {way_out}"
    assert sampler.stochastic or not sampler.weak_order or sampler.accuracy is not None, (
        "declares a weak order, but stochastic = False"
    )
    if not sampler.adaptive:
        for now, nxt in draws:
            assert now is not None, (
                "noise is drawn without points; call noise(now, nxt), "
                "or noise(now) for independent noise"
            )
            assert nxt is None or _within_a_step(run.path, now, nxt), (
                f"noise between levels {now.level:.3g} and {nxt.level:.3g} lies within no step"
            )
        _in_their_steps(sampler, job(sampler, 7).path)
    return text


def _within_a_step(path: Path, now: Point, nxt: Point) -> bool:
    low, high = sorted((now.level, nxt.level))
    steps = zip(path[1:], path, strict=False)
    return any(_below(end.level, low) and _below(high, begin.level) for end, begin in steps)


def _in_their_steps(sampler: Sampler, path: Path | None) -> None:
    """Check that noise enters the state in its own step, or path noise would be wrong."""
    assert path is not None
    try:
        plan = trace(sampler, path, correlated=True)
    except NotAffine:
        return
    seen: set[int] = set()
    for row in plan.rows:
        if row.kind == "grid":
            step = row.index - 1
        else:
            step = row.index
        for j in {j for j, _ in row.z} - seen:
            seen.add(j)
            if (interval := plan.noises[j].interval) is not None:
                inside = _below(path[step + 1].level, interval[0]) and _below(
                    interval[1], path[step].level
                )
                what = f"noise between levels {interval[0]:.3g} and {interval[1]:.3g} enters"
                assert inside, (
                    f"{what} in the step from {path[step].level:.3g} to {path[step + 1].level:.3g}"
                )


def _below(a: float, b: float) -> bool:
    return a <= b * (1 + 1e-9) + 1e-12


def _twice(sampler: Sampler) -> float:
    return _distance(job(sampler).batch(0, 6), job(sampler).batch(0, 6))


def _batches(sampler: Sampler) -> float:
    run, many = job(sampler), job(sampler, count=MANY)
    far = job(
        sampler, model=mixture([[0.1, 0.0, -0.1], [-0.1, 0.1, 0.0], [12.0, 1.0, -8.0]], 0.04)
    )
    few = [
        _distance(
            torch.cat([each.batch(0, 1), each.batch(1, 2), each.batch(3, 3)]), each.batch(0, 6)
        )
        for each in (run, far)
    ]
    return worst_of(
        *few,
        _distance(torch.cat([many.batch(0, 1), many.batch(1, MANY - 1)]), many.batch(0, MANY)),
    )


def _points(sampler: Sampler) -> str:
    """Check that points of evaluation have the alpha and sigma of their time."""
    count = 0
    for schedule in (VPLinear(), Flow()):
        run = job(sampler, schedule=schedule)
        bound, source = run.start(0, 6)
        points: list[Point] = []

        def model(
            x: Any,
            p: Point,
            bound: BoundModel = bound,
            points: list[Point] = points,
            **request: Any,
        ) -> Any:
            points.append(p)
            return bound(x, p, **request)

        assert run.path is not None
        finish(sampler, model, run.origin.sigma * source.initial(), run.path, source, run.last)
        for p in points:
            own = schedule.at(p.t)
            off = max(
                abs(torch.as_tensor(getattr(p, name) - getattr(own, name))).max()
                for name in ("alpha", "sigma")
            )
            assert off < 1e-6, (
                f"evaluated at t = {p.t:.4g} with alpha = {p.alpha:.4g}, "
                f"sigma = {p.sigma:.4g}, where {schedule!r} has {own.alpha:.4g}, "
                f"{own.sigma:.4g}; take points from the path: path.at(t), "
                f"path.at_half_log_snr(v)"
            )
        count += len(points)
    return f"{count} points"


def _shapes(sampler: Sampler) -> float:
    """The largest difference between states with more axes and the same states flattened."""
    shapes = list(SHAPES)
    if sampler.adaptive:  # these are slow
        shapes = shapes[:3]
    flat, *others = (
        job(sampler, model=mixture(_MEANS.reshape(3, *s), 0.04), shape=(6, *s)).loop
        for s in shapes
    )
    out = flat.batch(0, 6)
    return worst_of(*(_distance(run.batch(0, 6).reshape(6, 3), out) for run in others))


def _gradient(sampler: Sampler) -> float:
    """The error of one directional derivative of the run, against a central difference."""
    run, generator = job(sampler, 3, 2), torch.Generator().manual_seed(5)
    x, v, w = (torch.randn(2, 3, generator=generator, dtype=torch.float64) for _ in range(3))
    x = (run.origin.sigma * x).requires_grad_()
    (gradient,) = torch.autograd.grad((run.batch(0, 2, x, grad=True) * w).sum(), x)
    h = 1e-5 * run.origin.sigma
    with torch.no_grad():
        ahead, behind = (float((run.batch(0, 2, x + k * h * v) * w).sum()) for k in (1, -1))
    along, difference = float((gradient * v).sum()), (ahead - behind) / (2 * h)
    return abs(along - difference) / (1e-3 + abs(difference))


def _stepped(run: Job) -> Tensor:
    bound, source = run.start(0, run.total)
    assert run.plan is not None
    with torch.no_grad():
        steps = run.plan.steps(run.origin.sigma * source.initial(), noise=source)
        x, p, row = next(steps)
        while row.request is not None:
            x, p, row = steps.send(bound.answer(x, p, row.request))
    return x


def _distance(a: Tensor, b: Tensor) -> float:
    if a.shape != b.shape or a.dtype != b.dtype:
        raise DifftoolError(
            f"shapes or dtypes differ: {tuple(a.shape)} {a.dtype}, {tuple(b.shape)} {b.dtype}"
        )
    return float((a - b).abs().max() / (1 + b.abs().max()))
