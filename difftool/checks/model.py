"""What makes a model a model."""

from __future__ import annotations

import torch
from torch import Tensor

from difftool.checks.finding import Finding, at_most, holds
from difftool.models import Bound, GaussianMixture, Model
from difftool.schedules import VE, Cosine, Flow, Point, VPLinear

LEVELS = (0.01, 0.1, 1.0, 10.0, 70.0)  # noise levels that are tried


def check_model(model: Model, shape: tuple[int, ...] | None = None) -> list[Finding]:
    """The contract of a model, with figures. shape: of one sample, if the model does not say.

    x0 has the shape, dtype and device of x and is finite; a sample does not depend on its batch; the estimate depends
    on x / alpha and sigma / alpha only, so that every sampling schedule gives the same; the plan's way of evaluating
    it (raw output, affine form) agrees with x0; for mixtures, the score is the gradient of the log density.
    """
    size = shape or model.shape or (2,)
    g = torch.Generator().manual_seed(0)
    y = torch.randn(4, *size, generator=g, dtype=torch.float64)  # x / (alpha + sigma)
    own = model.schedule or VPLinear()
    top = own.level(own.t_start(model.divides_by_alpha))
    levels = [level for level in LEVELS if level < top]
    points = [own.at(own.t_at_level(level)) for level in levels]
    bound = model.bind(own)
    findings = [
        holds("x0 is like x, and finite", "shape, dtype, device", lambda: _like(bound, points, y)),
        at_most("a sample does not depend on its batch", lambda: _batch(bound, points, y), 1e-5),
        at_most("the same along vp-linear, cosine, ve, flow", lambda: _schedules(model, levels, y), 1e-4),
        at_most("raw output and affine form give x0", lambda: _affine(bound, points, y), 1e-5),
    ]
    if isinstance(model, GaussianMixture):
        findings.append(at_most("score is the gradient of the log density", lambda: _score(model, points, y), 1e-8))
    return findings


def _x(y: Tensor, p: Point, dtype: torch.dtype = torch.float32) -> Tensor:
    return ((p.alpha + p.sigma) * y).to(dtype)


def _like(bound: Bound, points: list[Point], y: Tensor) -> str:
    for p in points:
        out = bound(_x(y, p), p)
        assert bool(torch.isfinite(out).all()), f"not finite at noise level {p.level:g}"
    return f"{len(points)} noise levels"


def _batch(bound: Bound, points: list[Point], y: Tensor) -> float:
    worst = 0.0
    for p in points:
        x = _x(y, p)
        single = torch.cat([bound(x[i : i + 1], p) for i in range(len(x))])
        worst = max(worst, _relative(bound(x, p), single))
    return worst


def _schedules(model: Model, levels: list[float], y: Tensor) -> float:
    worst = 0.0
    for level in levels:
        answers = []
        for schedule in (VPLinear(), Cosine(), VE(), Flow()):
            p = schedule.at(schedule.t_at_level(level))
            answers.append(model.bind(schedule)(_x(y, p), p))
        worst = max(worst, *(_relative(a, answers[0]) for a in answers[1:]))
    return worst


def _affine(bound: Bound, points: list[Point], y: Tensor) -> float:
    worst = 0.0
    for i, p in enumerate(points):
        x = _x(y, p)
        (call, told), affine = bound.prepare(points, x), bound.affine(p)
        out = call(x, told[i])
        worst = max(worst, _relative(out if affine is None else affine.skip * x + affine.out * out, bound(x, p)))
    return worst


def _score(model: GaussianMixture, points: list[Point], y: Tensor) -> float:
    worst = 0.0
    for p in points:
        x = _x(y, p, torch.float64).requires_grad_()
        (gradient,) = torch.autograd.grad(model.log_density(x, p).sum(), x)
        worst = max(worst, _relative(model.score(x.detach(), p), gradient))
    return worst


def _relative(a: Tensor, b: Tensor) -> float:
    return float((a - b).detach().abs().max() / (1 + b.detach().abs().max()))
