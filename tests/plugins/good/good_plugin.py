"""A plugin as its author would publish it: a sampler, a schedule, a grid, a model and a command.

Everything is registered by name; no module of difftool is changed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any

import typer

from difftool.grids import Grid
from difftool.hookspecs import hookimpl
from difftool.samplers.base import Denoiser, NoiseSource, Sampler, State
from difftool.schedules import Path, Schedule


@dataclass(frozen=True)
class Midway(Sampler):
    """Euler's method in the flow time, written by a stranger. It equals DDIM at eta = 0.

    Option: `damping`, a factor on the slope (0 < damping <= 1); below 1 it has no order of accuracy.
    """

    damping: float = 1.0

    reference = "A. Stranger 2024, arXiv 0000.00000"

    @property
    def accuracy(self) -> float | None:
        return 1 if self.damping == 1 else None

    @property
    def weak_order(self) -> float | None:
        return None if self.damping == 1 else 0

    @property
    def point_mass(self) -> bool:
        return self.damping == 1

    def __call__(self, model: Denoiser, x: State, path: Path, noise: NoiseSource) -> State:
        for now, nxt in pairwise(path):
            x0 = model(x, now)
            y = 1 / (now.alpha + now.sigma) * x
            slope = 1 / now.flow * (y - x0)
            y = y + self.damping * (nxt.flow - now.flow) * slope
            x = (nxt.alpha + nxt.sigma) * y
        return x


@dataclass(frozen=True)
class Sine(Schedule):
    """alpha = cos(pi t / 2), sigma = sin(pi t / 2)."""

    def alpha(self, t: Any) -> Any:
        return self._of(math.cos, "cos", t)

    def sigma(self, t: Any) -> Any:
        return self._of(math.sin, "sin", t)

    def _of(self, plain: Any, name: str, t: Any) -> Any:
        angle = math.pi / 2 * t
        if hasattr(t, name):
            return getattr(angle, name)()
        if isinstance(t, (int, float)):
            return plain(angle)
        import numpy as np

        return getattr(np, name)(angle)


@dataclass(frozen=True)
class Thirds(Grid):
    """Steps that shrink by a constant factor: t_i = start r^i, then the end. Option: `r`."""

    r: float = 1 / 3

    def between(self, schedule: Schedule, steps: int, start: float, end: float) -> list[float]:
        return [start * self.r**i for i in range(steps)] + [end]


@dataclass(frozen=True)
class Three(Grid):
    """Exactly three steps, the last ones shorter."""

    own_steps = 3

    def between(self, schedule: Schedule, steps: int, start: float, end: float) -> list[float]:
        return [end + part * (start - end) for part in (1, 0.5, 0.2, 0)]


def coin(std: float = 0.1) -> Any:
    """Heads or tails: two Gaussians in one dimension. Option: `std` of each."""
    import torch

    from difftool.models import GaussianMixture

    return GaussianMixture(torch.tensor([[-1.0], [1.0]]), std**2, labels=torch.tensor([0, 1]))


def dart() -> Any:
    """Where a dart hits: one Gaussian in the plane, an exact model written from scratch."""
    import torch

    from difftool.models import ExactModel

    mean, std = torch.tensor([1.0, -0.5], dtype=torch.float64), 0.3

    class Dart(ExactModel):
        shape = (2,)

        def x0(self, x: Any, p: Any, **cond: Any) -> Any:
            gain = p.alpha * std**2 / (p.alpha**2 * std**2 + p.sigma**2)
            return mean.to(x) + gain * (x - p.alpha * mean.to(x))

        def draw(self, count: int, seed: int = 0, label: int | None = None) -> Any:
            g = torch.Generator().manual_seed(seed)
            return (mean + std * torch.randn(count, 2, generator=g, dtype=torch.float64)).float()

        def log_density(self, x: Any, p: Any, label: Any = None) -> Any:
            variance = p.alpha**2 * std**2 + p.sigma**2
            square = (x.double() - p.alpha * mean).square().sum(1)
            return -square / (2 * variance) - math.log(2 * math.pi * variance)

        def moments(self) -> Any:
            return mean, std**2 * torch.eye(2, dtype=torch.float64)

    return Dart()


def greet(name: str, loud: Annotated[bool, typer.Option("--loud", help="Shout.")] = False) -> None:
    """Say hello to NAME."""
    print(f"HELLO {name.upper()}" if loud else f"hello {name}")


@hookimpl
def difftool_samplers() -> dict[str, Any]:
    return {"midway": "good_plugin:Midway"}


@hookimpl
def difftool_schedules() -> dict[str, Any]:
    return {"sine": Sine}


@hookimpl
def difftool_grids() -> dict[str, Any]:
    return {"thirds": Thirds, "three": Three}


@hookimpl
def difftool_models() -> dict[str, Any]:
    return {"coin": coin, "dart": dart}


@hookimpl
def difftool_commands() -> dict[str, Any]:
    return {"greet": greet}
