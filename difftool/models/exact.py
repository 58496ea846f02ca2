"""Exact models: the data distribution is known, and with it E[x_0 | x_t] and the density."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from torch import Tensor

from difftool.models.base import Model
from difftool.schedules.base import Point


class ExactModel(Model):
    """The model of a known distribution of x_0, which sampler output can be compared with.

    A new one implements `x0`, `draw`, `log_density` and `moments`. `label` is the class, in
    models that have classes; None (or -1) means the whole distribution.
    """

    @abstractmethod
    def draw(self, count: int, seed: int = 0, label: int | None = None) -> Tensor:
        """`count` exact samples of x_0, (count, ...), float32, determined by the seed."""

    @abstractmethod
    def log_density(self, x: Tensor, p: Point, label: Any = None) -> Tensor:
        """log p_t(x) of x_t = alpha x_0 + sigma eps at p, shape (B,), float64."""

    @abstractmethod
    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean (D,) and covariance (D, D) of the flattened x_0, float64."""

    def score(self, x: Tensor, p: Point, label: Any = None) -> Tensor:
        """The gradient of log p_t, (alpha x0 - x) / sigma^2 (Tweedie), like x; sigma > 0."""
        if label is None:
            cond = {}
        else:
            cond = {"label": label}
        return (p.alpha * self.x0(x, p, **cond) - x) / p.sigma**2
