"""Exact models: the data law itself is known, and with it E[x_0 | x_t], the density and the samples."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from torch import Tensor

from difftool.models.base import Model
from difftool.schedules.base import Point


class ExactModel(Model):
    """The model of a known law of x_0; what its samples should be is known, so that runs are compared with it.

    A new one implements `x0`, `draw`, `log_density` and `moments`. `label` stands for the class, of models that have
    classes; None (and -1) for the whole law.
    """

    @abstractmethod
    def draw(self, count: int, seed: int = 0, label: int | None = None) -> Tensor:
        """`count` exact samples of x_0, (count, ...), float32, that follow from the seed alone."""

    @abstractmethod
    def log_density(self, x: Tensor, p: Point, label: Any = None) -> Tensor:
        """log p_t(x) of x_t = alpha x_0 + sigma eps at p, shape (B,), float64."""

    @abstractmethod
    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean (D,) and covariance (D, D) of the flattened x_0, float64."""

    def score(self, x: Tensor, p: Point, label: Any = None) -> Tensor:
        """The gradient of the log density of x_t, (alpha x0 - x) / sigma^2 (Tweedie), same shape as x; sigma > 0."""
        if label is None:
            cond = {}
        else:
            cond = {"label": label}
        return (p.alpha * self.x0(x, p, **cond) - x) / p.sigma**2
