"""Gaussian mixtures: data distributions with an exact diffusion model on every schedule.

x_0 ~ sum_k w_k N(c_k, S_k) with S_k diagonal. At a point (alpha, sigma) the distribution of x_t
is again a mixture, with means alpha c_k and variances V_k = alpha^2 S_k + sigma^2, so

    r_k(x) = softmax_k( log w_k + log N(x; alpha c_k, V_k) )                  the responsibilities
    x0     = sum_k r_k ( c_k + (alpha S_k / V_k) (x - alpha c_k) )            E[x_0 | x_t = x]
    score  = sum_k r_k (alpha c_k - x) / V_k                                  = (alpha x0 - x) / sigma^2 (Tweedie)

Everything is computed by matrix products of (B, K) and (K, D). A tensor of shape (B, K, D) is
allocated only if the variances differ between components and every sample has a separate point.
"""

from __future__ import annotations

import math
from typing import Any, Self

import torch
from torch import Tensor

from difftool.errors import DifftoolError
from difftool.errors.validation import check_whole
from difftool.models.base import BoundModel, one_each
from difftool.models.exact import ExactModel
from difftool.models.labels import whole_labels
from difftool.schedules.base import Point, Schedule


class GaussianMixture(ExactModel):
    """The exact model of a Gaussian mixture.

    means: (K, ...), the centers; the trailing dimensions are the shape of a sample.
    variance: a number, or a tensor that broadcasts to (K, ...): shared, per component, or per
        component and element ((K,) is per component).
    weights: (K,), need not be normalized (default: equal weights).
    labels: (K,) integers, optional: the class of each component. Then `cond={"label": y}` with
        y of shape (B,) restricts sample b to the components of class y_b; -1 means no
        restriction.

    Raises `DifftoolError` for negative or infinite numbers, mismatched shapes, and unknown
    labels.
    """

    def __init__(
        self,
        means: Tensor,
        variance: float | Tensor,
        weights: Tensor | None = None,
        labels: Tensor | None = None,
    ):
        means = _numbers(means, "means")
        if means.ndim < 2 or 0 in means.shape:
            raise DifftoolError(
                f"means has shape {tuple(means.shape)}, expected (components, ...), each at least 1"
            )
        count, self.shape = len(means), tuple(means.shape[1:])
        spread = _numbers(variance, "variance")
        if spread.ndim == 1:
            spread = spread.reshape(*spread.shape, *[1] * (means.ndim - spread.ndim))
        try:
            spread.expand(means.shape)
        except RuntimeError:
            raise DifftoolError(
                f"variance does not broadcast to the shape of the means, {tuple(means.shape)}"
            ) from None
        if not bool((spread >= 0).all()):
            raise DifftoolError(f"variances must be >= 0, got {float(spread.min())}")
        self._means = means.reshape(count, -1)
        self._var = _flatten(spread, means.shape)
        if weights is None:
            weights = torch.ones(count).double()
        else:
            weights = _numbers(weights, "weights")
        if (
            weights.shape != (count,)
            or not bool((weights >= 0).all())
            or not float(weights.sum()) > 0
        ):
            raise DifftoolError(f"weights must be {count} numbers >= 0 with a positive sum")
        self._log_w = (weights / weights.sum()).log()
        if labels is None:
            classes = None
        else:
            classes = _numbers(labels, "labels")
        if classes is not None and (
            classes.shape != (count,) or bool((classes != classes.floor()).any())
        ):
            raise DifftoolError(f"labels must be {count} whole numbers, one for each component")
        self.labels = None if classes is None else classes.long()
        if self.labels is None:
            self.classes = None
        else:
            self.classes = int(self.labels.max()) + 1
        self._var_min = float(self._var.min())
        self._norm2_max = float((self._means**2).sum(1).max())
        self._cache: dict[Any, tuple[Tensor, ...]] = {}

    @property
    def means(self) -> Tensor:
        """The centers (K, ...), float64."""
        return self._means.reshape(-1, *self._sample_shape)

    @property
    def variance(self) -> Tensor:
        """The variances, broadcastable to the centers, float64."""
        if self._var.shape[1] == 1:
            return self._var.reshape(-1, *[1] * len(self._sample_shape))
        return self._var.reshape(-1, *self._sample_shape)

    @property
    def _sample_shape(self) -> tuple[int, ...]:
        assert self.shape is not None
        return self.shape

    def at(self, p: Point) -> Self:
        """The distribution of x_t = alpha x_0 + sigma eps at p: again a mixture."""
        return type(self)(
            p.alpha * self.means,
            p.alpha**2 * self.variance + p.sigma**2,
            self._log_w.exp(),
            self.labels,
        )

    def _bound(self, schedule: Schedule | None, cond: dict[str, Any]) -> BoundModel:
        """The only conditioning is `label`, which is checked once, here."""
        if set(cond) - {"label"}:
            raise DifftoolError(
                f"a mixture takes cond={{'label': ...}}, got {', '.join(sorted(cond))}"
            )
        label = cond.get("label")
        return BoundModel(
            self, schedule, {} if label is None else {"mask": self._allowed(label)}
        )

    def x0(self, x: Tensor, p: Point, label: Any = None, mask: Tensor | None = None) -> Tensor:  # type: ignore[override]
        """E[x_0 | x_t = x], within the class `label` (or the components `mask`, (B, K))."""
        if one_each(p):
            return self._x0_each(x, p, self._mask(x, label, mask))
        flat, means, var, r = self._posterior(x, p, label, mask)
        gain = p.alpha * var / (p.alpha**2 * var + p.sigma**2)
        return _mixed(r, flat, means * (1 - p.alpha * gain), gain).to(x.dtype).reshape(x.shape)

    def _x0_each(self, x: Tensor, p: Point, mask: Tensor | None) -> Tensor:
        """`x0` at a separate point for each sample; V_k is (B, 1 or K, 1 or D)."""
        means, var, log_w = self._kept(x.device, torch.float64)
        flat = x.reshape(len(x), -1).to(means.dtype)
        alpha, sigma = (v.to(means).reshape(-1, 1, 1) for v in (p.alpha, p.sigma))
        inv = 1 / (alpha**2 * var + sigma**2)
        gain = alpha * var * inv
        if len(var) == 1:
            inv, gain, alpha = inv[:, 0], gain[:, 0], alpha[:, 0]
            square = alpha**2 * (inv.expand_as(flat) @ (means**2).T) - 2 * (
                (alpha * inv * flat) @ means.T
            )
            r = _masked(log_w - 0.5 * square, mask).softmax(1)
            return (r @ means * (1 - alpha * gain) + gain * flat).to(x.dtype).reshape(x.shape)
        away = flat[:, None] - alpha * means
        r = _masked(log_w - 0.5 * (away**2 * inv - inv.log()).sum(2), mask).softmax(1)
        return (r[:, :, None] * (means + gain * away)).sum(1).to(x.dtype).reshape(x.shape)

    def score(self, x: Tensor, p: Point, label: Any = None) -> Tensor:
        """The gradient of log p_t, like x; defined at sigma = 0 too if no variance is 0."""
        flat, means, var, r = self._posterior(x, p, label, None)
        inv = 1 / (p.alpha**2 * var + p.sigma**2)
        return _mixed(r, flat, p.alpha * means * inv, -inv).to(x.dtype).reshape(x.shape)

    def log_density(self, x: Tensor, p: Point, label: Any = None) -> Tensor:
        """log p_t(x), shape (B,), float64; with a label, the density of that class."""
        p = _one(p)
        flat = x.reshape(len(x), -1).double()
        means, var, log_w = (a.to(x.device) for a in (self._means, self._var, self._log_w))
        v = p.alpha**2 * var + p.sigma**2
        mask = self._mask(x, label)
        prior = log_w.expand(len(x), -1)
        if mask is not None:
            prior = prior.masked_fill(~mask, -math.inf)
        out = self._logits(flat, p, means, var, log_w, mask).logsumexp(1) - prior.logsumexp(1)
        if len(v) == 1:  # the terms shared by all components, which _logits omits
            out = out - 0.5 * (flat**2 / v + v.log()).sum(1)
        return out - 0.5 * flat.shape[1] * math.log(2 * math.pi)

    def draw(self, count: int, seed: int = 0, label: int | None = None) -> Tensor:
        """`count` exact samples of x_0, (count, ...), float32; of one class if `label` >= 0."""
        count = check_whole("the number of samples must be", count, 1)
        g = torch.Generator().manual_seed(seed)
        weights = self._log_w.exp()
        if label is not None:
            weights = weights * self._allowed(label)[0]
        which = torch.multinomial(weights, count, replacement=True, generator=g)
        std = self._var.expand(len(self._means), -1).sqrt()[which]
        eps = torch.randn(count, self._means.shape[1], generator=g, dtype=torch.float64)
        return (self._means[which] + std * eps).reshape(count, *self._sample_shape).float()

    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean (D,) and covariance (D, D) of the flattened data, float64."""
        w = self._log_w.exp()[:, None]
        mean = (w * self._means).sum(0)
        centered = self._means - mean
        inner = (w * self._var.expand_as(self._means)).sum(0)
        return mean, (w * centered).T @ centered + inner.diag()

    def _posterior(
        self, x: Tensor, p: Point, label: Any, mask: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """x as (B, D), means, variances and responsibilities (B, K), all of one dtype."""
        p = _one(p)
        flat = x.reshape(len(x), -1)
        means, var, log_w = self._tensors(flat, p)
        flat = flat.to(means.dtype)
        mask = self._mask(x, label, mask)
        return (
            flat,
            means,
            var,
            torch.softmax(self._logits(flat, p, means, var, log_w, mask), dim=1),
        )

    def _logits(
        self,
        x: Tensor,
        p: Point,
        means: Tensor,
        var: Tensor,
        log_w: Tensor,
        mask: Tensor | None,
    ) -> Tensor:
        """log w_k + log N(x; alpha c_k, V_k), (B, K), up to terms that do not depend on k."""
        inv = 1 / (p.alpha**2 * var + p.sigma**2)
        scaled = means * (p.alpha * inv)
        offset = log_w - 0.5 * p.alpha * (means * scaled).sum(1)
        out = torch.addmm(offset, x, scaled.T)
        if len(var) > 1:
            inv = inv.expand(-1, x.shape[1])
            out = out - 0.5 * ((x**2) @ inv.T - inv.log().sum(1))
        return _masked(out, mask)

    def _mask(self, x: Tensor, label: Any, mask: Tensor | None = None) -> Tensor | None:
        """`mask`, or the mask of `label`, on x's device; must have 1 or len(x) rows."""
        if mask is None and label is None:
            return None
        mask = (self._allowed(label) if mask is None else mask).to(x.device)
        if len(mask) not in (1, len(x)):
            raise DifftoolError(
                f"got {len(mask)} labels for {len(x)} samples; pass a tensor with one label per sample"
            )
        return mask

    def _allowed(self, label: Any) -> Tensor:
        """The mask of allowed components: (B, K) for labels (B,), (1, K) for one label."""
        if self.labels is None:
            raise DifftoolError(
                "this mixture has no labels; leave out --class (cond['label']), or create it with labels"
            )
        wanted = whole_labels(label, self._known()).reshape(-1, 1)
        mask = (self.labels.to(wanted.device) == wanted) | (wanted < 0)
        mask = mask & (self._log_w > -math.inf).to(wanted.device)
        empty = ~mask.any(dim=1)
        if bool(empty.any()):
            first = int(wanted[empty].min())
            raise DifftoolError(f"unknown class {first}; the model knows: {self._known()}")
        return mask

    def _known(self) -> str:
        if self.labels is not None:
            return ", ".join(map(str, sorted(set(self.labels.tolist()))))
        return "none"

    def _tensors(self, x: Tensor, p: Point) -> tuple[Tensor, Tensor, Tensor]:
        """Means, variances, log weights on x's device, with three digits in the logits."""
        size = (
            p.alpha**2 * self._norm2_max / max(p.alpha**2 * self._var_min + p.sigma**2, 1e-300)
        )
        return self._kept(
            x.device, torch.float64 if x.dtype == torch.float64 or size > 3e4 else torch.float32
        )

    def _kept(self, device: torch.device, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
        """Means, variances, log weights on a device; float32 if it has no float64 (mps)."""
        key = (device, torch.float32 if device.type == "mps" else dtype)
        if key not in self._cache:
            self._cache[key] = tuple(a.to(*key) for a in (self._means, self._var, self._log_w))
        means, var, log_w = self._cache[key]
        return means, var, log_w


def _flatten(variance: Tensor, shape: torch.Size) -> Tensor:
    """Variances as (1 or K, 1 or D), in the smallest equivalent shape."""
    full = variance.reshape(*[1] * (len(shape) - variance.ndim), *variance.shape)
    rows = full.shape[0]
    if all(n == 1 for n in full.shape[1:]):
        return full.reshape(rows, 1)
    return full.expand(rows, *shape[1:]).reshape(rows, -1)


def _numbers(values: Any, name: str) -> Tensor:
    """Convert to a float64 tensor; `DifftoolError` unless all values are finite numbers."""
    try:
        out = torch.as_tensor(values, dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        raise DifftoolError(f"{name} must be numbers, got {values!r}") from None
    if not bool(torch.isfinite(out).all()):
        raise DifftoolError(f"{name} must be finite numbers")
    return out


def _one(p: Point) -> Point:
    """p as floats; `DifftoolError` unless it is one point for the whole batch."""
    if not isinstance(p.sigma, Tensor):
        return p
    if p.sigma.numel() != 1:
        raise DifftoolError(
            f"a mixture needs one point for the whole batch here, got {p.sigma.numel()}"
        )
    return Point(*map(float, p))


def _masked(logits: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None:
        return logits
    return logits.masked_fill(~mask, -math.inf)


def _mixed(r: Tensor, x: Tensor, centers: Tensor, gain: Tensor) -> Tensor:
    """sum_k r_k (center_k + gain_k x), with gain (1 or K, 1 or D)."""
    if len(gain) == 1:
        return torch.addmm(x * gain, r, centers)
    return r @ centers + x * (r @ gain)
