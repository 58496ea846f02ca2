"""The contract of models: they behave alike everywhere, and x0 is an estimate of clean data."""

from __future__ import annotations

import math
import warnings
from inspect import signature

import torch
from torch import Tensor

from difftool.checks.finding import Finding, Worst, at_most, attempt, failed, holds, worst_of
from difftool.errors import DifftoolError
from difftool.models import BoundModel, ExactModel, Model
from difftool.models.base import Wrapped
from difftool.sampling import sample
from difftool.schedules import VE, Cosine, Flow, Point, Schedule, VPLinear

LOWEST, HIGHEST = 1e-3, 1e3  # noise levels to try, if the model supports them
BETWEEN = 9
ALONG = (VPLinear(), Cosine(), VE(), Flow())
MANY = 100  # size of the batch that no sample may depend on
# samples drawn to be noised: at least so many, and so many elements in all
FEWEST, NUMBERS = 16, 2**14
DRAWN, MOST = 16, 20_000  # factor for exact models; most samples
STEPS = 25
ERROR, WORSE = "noised samples: error / best linear error", 1.15
SLOPE, STEEP = "noised samples: |slope on x0 - 1|", 0.06
MEAN, ASIDE = "noised samples: bias of x0, in std", 0.2
OUTSIDE = 0.01
SEED = 190_319  # unlike the seeds with which data is drawn
TELLING = 0.2  # fraction of the variance that x0 must have for its slope to be meaningful
PULL = 0.5  # fraction of x / alpha that may remain in x0 at the highest noise level


def check_model(model: Model, shape: tuple[int, ...] | None = None) -> list[Finding]:
    """The contract of a model, with figures.

    shape: the shape of one sample, if the model does not declare it.

    From the lowest noise level to where runs start, x0 is finite and has the shape, dtype and
    device of x. A sample does not depend on the others in its batch, nor on their labels or
    points. Gradients flow through. The estimate depends on x / alpha and sigma / alpha only, so
    that it is the same on every sampling schedule. Raw output and affine form, which plans use,
    agree with x0.

    x0 is also an estimate of clean data. Pure noise is mostly removed. On noised samples of the
    model itself it is as accurate as the best linear estimate, and neither too small nor too
    large, at every level. The score and x0 of a density match it. A network is checked in eval
    mode, as it is sampled.
    """
    with model.evaluating():
        return _findings(model, shape or model.shape or (2,), bool(shape or model.shape))


def _findings(model: Model, size: tuple[int, ...], known: bool) -> list[Finding]:
    own = model.schedule or VE(sigma_max=HIGHEST)
    points = _points(model, own)
    bound = model.bind(own)
    y = torch.randn(
        MANY, *size, generator=torch.Generator().manual_seed(SEED), dtype=torch.float64
    )
    takes = attempt("takes x", "yes", lambda: _takes(bound, points[0], y[:4], size, known))
    if not takes.ok:
        return [takes]
    few = y[:4]  # of x / (alpha + sigma)
    shapes = "; times have shape (B,), points (B, 1, ...): one per sample, not one for all"
    findings = [
        holds(
            "x0 is finite and matches x",
            "shape, dtype, device",
            lambda: _like(model, bound, points, few),
        ),
        at_most(
            "a sample does not depend on its batch", lambda: _batch(bound, points, y), 1e-5
        ),
        _hint(
            at_most("one point per sample", lambda: _point_each(bound, points, few), 1e-4),
            shapes,
        ),
        holds("gradients flow through", "finite", lambda: _gradient(bound, points, few)),
        at_most("outputs are not overwritten", lambda: _kept(bound, points, few), 0.0),
        at_most(
            "the same on vp-linear, cosine, ve, flow",
            lambda: _schedules(model, points, few),
            1e-4,
        ),
        at_most(
            "raw output and affine form give x0", lambda: _affine(bound, points, few), 1e-5
        ),
        holds(
            "pure noise is mostly removed",
            f"x0 <= {PULL:g} x / alpha",
            lambda: _from_noise(bound, points[-1], y),
        ),
        *_own_samples(model, size, points),
    ]
    classes = model.classes or 0
    if classes > 1:
        check = "one label per sample"
        findings.append(
            at_most(check, lambda: _label_each(model, own, points, few, classes), 1e-5)
        )
    if classes > 1 or (
        not isinstance(model, Wrapped | ExactModel)
        and "label" in signature(model.x0).parameters
    ):
        findings.append(
            holds(
                "another label changes the output",
                "somewhere",
                lambda: _labels(model, own, points, few),
            )
        )
    if isinstance(model, ExactModel):
        findings += [
            at_most(
                "score is the gradient of the log density",
                lambda: _score(model, points, few),
                1e-6,
            ),
            at_most(
                "x0 is (x + sigma^2 score) / alpha", lambda: _tweedie(model, points, few), 1e-6
            ),
        ]
    return findings


def _points(model: Model, own: Schedule) -> list[Point]:
    """Points from the lowest level of the model to where its runs start, both included."""
    top = own.at(own.t_start(True))
    low = max(LOWEST, own.lowest)
    levels = [low * (top.level / low) ** (i / (BETWEEN + 1)) for i in range(BETWEEN + 1)]
    return [*(own.at(own.t_at_level(level)) for level in levels), top]


def _takes(
    bound: BoundModel, p: Point, y: Tensor, size: tuple[int, ...], known: bool
) -> Finding:
    try:
        bound(_x(y, p), p)
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        if known or isinstance(error, DifftoolError):
            raise
        what = f"the model does not take samples of shape {size}"
        way_out = "call check_model(model, shape=(3, 32, 32)), or give the model a shape"
        raise DifftoolError(f"{what}; {way_out}") from None
    return Finding("takes x", "yes", "yes", True)


def _x(y: Tensor, p: Point, dtype: torch.dtype = torch.float32) -> Tensor:
    return ((p.alpha + p.sigma) * y).to(dtype)


def _like(model: Model, bound: BoundModel, points: list[Point], y: Tensor) -> str:
    for p in points:
        out = bound(_x(y, p), p)
        assert bool(torch.isfinite(out).all()), f"not finite at noise level {p.level:g}"
    schedule = model.schedule or Flow()
    end = schedule.at(schedule.domain[1])
    if end.alpha == 0 and not model.divides_by_alpha:
        out = model.bind(schedule)(_x(y, end), end)
        assert bool(torch.isfinite(out).all()), (
            "not finite at alpha = 0; set divides_by_alpha = True"
        )
    return f"noise levels {points[0].level:.2g} to {points[-1].level:.4g}"


def _point_each(bound: BoundModel, points: list[Point], y: Tensor) -> float:
    """The difference between one point per sample, as (B, 1, ...), and one sample at a time."""
    chosen = [points[i * (len(points) - 1) // (len(y) - 1)] for i in range(len(y))]
    x = torch.cat([_x(y[i : i + 1], p) for i, p in enumerate(chosen)])
    column = (len(y), *[1] * (y.ndim - 1))
    each = Point(
        *(
            torch.tensor([p[k] for p in chosen], dtype=torch.float64).reshape(column)
            for k in range(3)
        )
    )
    return _relative(
        bound(x, each), torch.cat([bound(x[i : i + 1], p) for i, p in enumerate(chosen)])
    )


def _label_each(
    model: Model, own: Schedule, points: list[Point], y: Tensor, classes: int
) -> float:
    labels, p = torch.arange(len(y)) % classes, points[len(points) // 2]
    x = _x(y, p)
    alone = [
        model.bind(own, {"label": labels[i : i + 1]})(x[i : i + 1], p) for i in range(len(y))
    ]
    return _relative(model.bind(own, {"label": labels})(x, p), torch.cat(alone))


def _labels(model: Model, own: Schedule, points: list[Point], y: Tensor) -> str:
    """The difference of outputs for labels 0 and 1; an untrained network may ignore them."""
    try:
        answers = [
            [_raw(model.bind(own, {"label": torch.full((len(y),), k)}), p, y) for p in points]
            for k in range(2)
        ]
    except (DifftoolError, IndexError):
        return "no second label"
    if all(bool((raw == raw[:1]).all()) for raw in answers[0]):
        return "untrained: the output does not depend on x"
    apart = worst_of(*(_relative(a, b) for a, b in zip(*answers, strict=True)))
    assert apart > 0, "the label changes nothing"
    return f"{apart:.2g}"


def _raw(bound: BoundModel, p: Point, y: Tensor) -> Tensor:
    x = _x(y, p)
    call, times = bound.prepare([p], x)
    out: Tensor = call(x, times[0])
    return out.detach()


def _kept(bound: BoundModel, points: list[Point], y: Tensor) -> float:
    """How much an output changes at the next call: a network may write all into one buffer."""
    x = _x(y, points[0])
    first = bound(x, points[0])
    before = first.clone()
    bound(2 * x, points[-1])
    return float((first - before).abs().max())


def _batch(bound: BoundModel, points: list[Point], y: Tensor) -> float:
    worst = 0.0
    for p in (points[0], points[len(points) // 2], points[-1]):
        x = _x(y, p)
        parts = torch.cat([bound(part, p) for part in (x[:1], x[1:8], x[8:])])
        worst = worst_of(worst, _relative(bound(x, p), parts))
    return worst


def _gradient(bound: BoundModel, points: list[Point], y: Tensor) -> str:
    for p in points:
        x = _x(y, p).requires_grad_()
        with torch.enable_grad():
            out = bound(x, p)
            assert out.requires_grad, (
                "x0 is detached from x; remove no_grad() and detach() from the model"
            )
            (gradient,) = torch.autograd.grad(out.square().sum(), x)
        assert bool(torch.isfinite(gradient).all()), (
            f"the gradient is not finite at noise level {p.level:g}"
        )
    return "finite"


def _schedules(model: Model, points: list[Point], y: Tensor) -> float:
    worst = 0.0
    for level in (p.level for p in points[:-1]):
        answers = []
        for schedule in ALONG:
            if level < schedule.level(schedule.t_start(True)):
                p = schedule.at(schedule.t_at_level(level))
                answers.append(model.bind(schedule)(_x(y, p), p))
        worst = worst_of(worst, *(_relative(a, answers[0]) for a in answers[1:]))
    return worst


def _affine(bound: BoundModel, points: list[Point], y: Tensor) -> float:
    worst = 0.0
    for i, p in enumerate(points):
        x = _x(y, p)
        (call, times), affine = bound.prepare(points, x), bound.affine(p)
        out = call(x, times[i])
        worst = worst_of(
            worst,
            _relative(
                out if affine is None else affine.skip * x + affine.out * out, bound(x, p)
            ),
        )
    return worst


def _from_noise(bound: BoundModel, p: Point, y: Tensor) -> str:
    """How much of x / alpha remains in x0 where runs start."""
    x = (p.sigma * y).float()
    left = float(
        bound(x, p).detach().square().mean().sqrt() / (x / p.alpha).square().mean().sqrt()
    )
    assert left <= PULL, (
        f"{left:.2g} x / alpha at noise level {p.level:.4g}; "
        f"check the parametrization (eps, v, score) and its sign"
    )
    return f"{left:.2g} at noise level {p.level:.4g}"


def _estimates(model: Model, clean: Tensor, points: list[Point]) -> list[Finding]:
    """How well x0 of noised samples estimates them at the worst level, less 4 standard errors.

    error: the mean square error over that of the best linear estimate
    V / (V + level^2) (x / alpha - m) + m, with m and V the samples' mean and variance.
    slope: that of the regression of the samples on x0, 1 for E[x_0 | x].
    mean: the root mean square of the bias of x0, in standard deviations.
    """
    assert bool(torch.isfinite(clean).all()), "the model's samples are not finite"
    bound = model.bind(model.schedule or VE(sigma_max=HIGHEST))
    eps = torch.randn(clean.shape, generator=torch.Generator().manual_seed(SEED + 1))
    centred = clean - clean.mean(0)
    variance = float(centred.square().mean())
    error, slope, mean = [], [], []
    for p in points:
        out = bound(p.alpha * clean + p.sigma * eps, p).detach()
        linear = p.level**2 * variance / (variance + p.level**2)
        where = f"at noise level {p.level:.3g}"
        each = _of_each((out - clean).square()) / linear
        error.append(Worst(float(each.mean()) - 4 * _uncertain(each), where))
        centred_out = out - out.mean(0)
        share = float(centred_out.square().mean())
        if share > TELLING * variance:
            value = float((centred_out * centred).mean()) / share
            unsure = _uncertain(_of_each(centred_out * (centred - value * centred_out))) / share
            if value < 1:
                size = "too large"
            else:
                size = "too small"
            slope.append(Worst(max(abs(value - 1) - 4 * unsure, 0.0), f"{size} {where}"))
        apart = float((out - clean).mean(0).square().mean().sqrt())
        unsure = float((out - clean).std(0).mean()) / len(clean) ** 0.5
        mean.append(Worst(max(apart - 4 * unsure, 0.0) / variance**0.5, where))
    findings = [
        at_most(ERROR, lambda: worst_of(*error), WORSE),
        at_most(SLOPE, lambda: worst_of(*slope) if slope else None, STEEP),
        at_most(MEAN, lambda: worst_of(*mean), ASIDE),
    ]
    hint = "; x0 is wrong; check input scale, network time, parametrization and schedule"
    findings = [_hint(finding, hint) for finding in findings]
    if model.data_range is not None:
        low, high = model.data_range
        outside = float(
            ((clean < low - 0.1 * (high - low)) | (clean > high + 0.1 * (high - low)))
            .float()
            .mean()
        )
        findings.append(
            at_most("fraction of samples outside data_range", lambda: outside, OUTSIDE)
        )
    return findings


def _hint(finding: Finding, hint: str) -> Finding:
    """The finding, with a hint appended if it failed."""
    if finding.ok:
        return finding
    return finding._replace(measured=finding.measured + hint)


def _of_each(values: Tensor) -> Tensor:
    return values.flatten(1).mean(1)


def _uncertain(each: Tensor) -> float:
    """The standard error of the mean of per-sample values."""
    return float(each.std()) / len(each) ** 0.5


def _own_samples(model: Model, size: tuple[int, ...], points: list[Point]) -> list[Finding]:
    """The findings on samples that the model itself draws."""
    count = max(FEWEST, NUMBERS // math.prod(size))
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            if isinstance(model, ExactModel):
                clean = model.draw(min(DRAWN * count, MOST), seed=SEED)
            else:
                clean = sample(model, shape=(count, *size), steps=STEPS, seed=3).float()
            return _estimates(model, clean, points)
    except Exception as error:  # whatever a plugin's code raises
        return [failed(ERROR, f"<= {WORSE:g}", error)]


def _score(model: ExactModel, points: list[Point], y: Tensor) -> float:
    worst = 0.0
    for p in points:
        x = _x(y, p, torch.float64).requires_grad_()
        (gradient,) = torch.autograd.grad(model.log_density(x, p).sum(), x)
        worst = worst_of(worst, _relative(model.score(x.detach(), p), gradient))
    return worst


def _tweedie(model: ExactModel, points: list[Point], y: Tensor) -> float:
    worst = 0.0
    for p in points:
        x = _x(y, p, torch.float64)
        worst = worst_of(
            worst, _relative((x + p.sigma**2 * model.score(x, p)) / p.alpha, model.x0(x, p))
        )
    return worst


def _relative(a: Tensor, b: Tensor) -> float:
    return float((a - b).detach().abs().max() / (1 + b.detach().abs().max()))
