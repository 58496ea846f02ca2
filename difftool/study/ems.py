"""Empirical model statistics (EMS) of a model, for DPM-Solver-v3.

With y = x / alpha, lambda = log(alpha / sigma) and f = (1 - l) y - x0, at each lambda

    l = E[ mean_d sigma d eps_d / d x_d ] = 1 - E[ mean_d d x0_d / d y_d ]     f depends on x as little as possible
    s = E[f f'] / E[f^2]                                                       f' = s f as well as possible

or, with a constant b, s = (E[f f'] - E[f] E[f']) / (E[f^2] - E[f]^2) and b = E[f'] - s E[f]. f'
is the derivative along the probability flow; means are over samples and elements, so all three
are scalars. Derivatives are central differences: along random signs of a tenth of the noise for
l (Hutchinson 1990), along DDIM steps of +-H for f'. Where f is less than 1% of the data, it
grows from almost nothing (centered data at high noise, f' = 3 f and more), and s would amplify
errors in l a thousandfold: therefore RIDGE E[x_0^2] is added to the denominators. Source: Zheng
et al. 2023 (arXiv 2310.13268), there per element, with b, and without the ridge.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from difftool.errors import DifftoolError
from difftool.models.base import BoundModel, Model
from difftool.names.specs import make
from difftool.noise import check_seed
from difftool.samplers.options import check_whole
from difftool.samplers.statistics import Curve, Statistics
from difftool.sampling import sample
from difftool.schedules import Flow, Point, Schedule

H = 0.02  # step in lambda
TENTH = 0.1
RIDGE = 1e-4

Parts = list[tuple[Tensor, Tensor, Tensor]]


def model_statistics(
    model: Model,
    data: Tensor | None = None,
    *,
    points: int = 120,
    count: int = 1024,
    level_min: float = 0.002,
    level_max: float | None = None,
    bias: bool = False,
    seed: int = 0,
    batch_size: int = 256,
) -> Statistics:
    """l, s and b of `model` at `points` equally spaced half-log-SNRs.

    data: samples of the training data, (B, ...); default: `count` exact samples if the model
        can draw them, else `count` samples from the default sampler.
    level_min, level_max: the noise levels sigma / alpha at the ends; level_max=None: the
        largest at which a run can start.
    bias: whether to fit b; DPM-Solver-v3 has no plan unless b is 0.

    It costs 6 `points` `count` evaluations. Raises `DifftoolError` for values out of range and
    for a model whose shape is unknown.
    """
    check_whole("statistics", "points", points, 2)
    check_whole("statistics", "count", count, 1, 1_000_000)
    seed = check_seed(seed)
    schedule = model.schedule or Flow()
    # leave room for the central differences
    most = schedule.level(schedule.t_start(True)) * math.exp(-2 * H)
    if level_max is None:
        top = most
    else:
        top = level_max
    if not 0 < level_min < top <= most:
        raise DifftoolError(
            f"statistics take 0 < level_min < level_max <= {most:g} here, got {level_min:g}, {top:g}"
        )
    clean = (_samples(model, count, seed ^ 1) if data is None else data).to(
        model.device, torch.float64
    )
    if not clean.numel() or model.shape not in (None, tuple(clean.shape[1:])):
        raise DifftoolError(
            f"statistics take data of shape (B, *{model.shape}), got {tuple(clean.shape)}"
        )
    parts, bound = _with_noise(clean, seed, batch_size), model.bind(schedule)
    step = math.log(top / level_min) / (points - 1)
    # one more point, for the slope of l at the end
    at = [step * i - math.log(top) for i in range(points + 1)]
    with torch.no_grad():
        l = [_linear(bound, _point(schedule, u), parts) for u in at]  # noqa: E741
        curve = Curve(at, l)
        ridge = RIDGE * float(clean.square().mean())
        fitted = [
            _fit(_moments(bound, schedule, u, curve, parts), ridge, bias) for u in at[:-1]
        ]
    s, b = zip(*fitted, strict=True)
    return Statistics(tuple(at[:-1]), tuple(l[:-1]), s, b)


def statistics_of(model: str, **options: object) -> Statistics:
    """`model_statistics` of a model given by name."""
    return model_statistics(make("models", model), **options)  # type: ignore[arg-type]


def _samples(model: Model, count: int, seed: int) -> Tensor:
    """Exact samples of the model's data if it can draw them, else samples of the model."""
    draw = getattr(model, "draw", None)
    if draw is not None:
        return draw(count, seed=seed)
    if model.shape is None:
        raise DifftoolError("this model does not define the shape of its samples; pass data")
    return sample(model, shape=(count, *model.shape), seed=seed)


def _with_noise(clean: Tensor, seed: int, size: int) -> Parts:
    """The samples in batches, each with its noise and random signs."""
    g = torch.Generator().manual_seed(seed)
    noise, signs = (
        torch.randn(clean.shape, generator=g, dtype=torch.float64).to(clean.device)
        for _ in range(2)
    )
    return list(
        zip(clean.split(size), noise.split(size), signs.sign().split(size), strict=True)
    )


def _point(schedule: Schedule, half_log_snr: float) -> Point:
    return schedule.at(schedule.t_at_half_log_snr(half_log_snr))


def _linear(bound: BoundModel, p: Point, parts: Parts) -> float:
    """l at p."""
    total = 0.0
    for clean, noise, signs in parts:
        x, h = p.alpha * clean + p.sigma * noise, TENTH * p.sigma
        total += float(((bound(x + h * signs, p) - bound(x - h * signs, p)) * signs).sum()) / (
            2 * h
        )
    return 1 - p.alpha * total / sum(clean.numel() for clean, *_ in parts)


def _moments(
    bound: BoundModel,
    schedule: Schedule,
    u: float,
    l: Curve,  # noqa: E741  the paper's symbol
    parts: Parts,
) -> list[float]:
    """E[f], E[f'], E[f^2], E[f f'] at the half-log-SNR u."""
    p, nearby = _point(schedule, u), [(v, _point(schedule, v)) for v in (u - H, u + H)]
    sums = torch.zeros(4, dtype=torch.float64)
    for clean, noise, _ in parts:
        x = p.alpha * clean + p.sigma * noise
        x0 = bound(x, p)
        eps = (x - p.alpha * x0) / p.sigma
        ends = [
            (1 - l(v)) * (x0 + q.level * eps) - bound(q.alpha * x0 + q.sigma * eps, q)
            for v, q in nearby
        ]
        f, slope = (1 - l(u)) / p.alpha * x - x0, (ends[1] - ends[0]) / (2 * H)
        sums += torch.stack([f.sum(), slope.sum(), (f * f).sum(), (f * slope).sum()]).cpu()
    return (sums / sum(clean.numel() for clean, *_ in parts)).tolist()


def _fit(moments: list[float], ridge: float, bias: bool) -> tuple[float, float]:
    """s and b."""
    f, slope, square, product = moments
    if bias:
        variance, covariance = (square - f * f, product - f * slope)
    else:
        variance, covariance = (square, product)
    if variance + ridge > 0:
        s = covariance / (variance + ridge)
    else:
        s = 0.0
    return s, slope - s * f if bias else 0.0
