"""Two-dimensional toy data of about unit scale: `n` points, drawn once from a seed."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor

from difftool.data.base import Arrays
from difftool.errors import DifftoolError

MOST = 10_000_000


def moons(n: int = 20_000, noise: float = 0.05, seed: int = 0) -> Arrays:
    """Points on two interleaved half circles, one class each.

    Options: `n` points, `noise`, the standard deviation around the curves (>= 0), `seed`.
    """

    def draw(g: Generator, label: Tensor) -> Tensor:
        angle, side = math.pi * torch.rand(n, generator=g), 1.0 - 2.0 * label
        return torch.stack([side * angle.cos() + label - 0.5, side * (angle.sin() - 0.25)], 1)

    return _points(n, noise, seed, 2, draw)


def rings(n: int = 20_000, noise: float = 0.02, seed: int = 0) -> Arrays:
    """Points on four concentric circles, of radius 1/4 to 1, one class each.

    Options: `n` points, `noise`, the standard deviation around the circles (>= 0), `seed`.
    """

    def draw(g: Generator, label: Tensor) -> Tensor:
        angle = 2 * math.pi * torch.rand(n, generator=g)
        return (label[:, None] + 1) / 4 * torch.stack([angle.cos(), angle.sin()], 1)

    return _points(n, noise, seed, 4, draw)


def eight_gaussians(n: int = 20_000, noise: float = 0.1, seed: int = 0) -> Arrays:
    """Eight Gaussians on the unit circle, one class each, counterclockwise from the right.

    Options: `n` points, `noise`, the standard deviation of each (>= 0), `seed`.
    """

    def draw(g: Generator, label: Tensor) -> Tensor:
        angle = label * (math.pi / 4)
        return torch.stack([angle.cos(), angle.sin()], 1)

    return _points(n, noise, seed, 8, draw)


def swiss_roll(n: int = 20_000, noise: float = 0.02, seed: int = 0) -> Arrays:
    """Points on a spiral of one and a half turns, uniform in the angle.

    Options: `n` points, `noise`, the standard deviation around the curve (>= 0), `seed`.
    """

    def draw(g: Generator, label: Tensor) -> Tensor:
        angle = 1.5 * math.pi * (1 + 2 * torch.rand(n, generator=g))
        return angle[:, None] / (4.5 * math.pi) * torch.stack([angle.cos(), angle.sin()], 1)

    return _points(n, noise, seed, None, draw)


def checkerboard(n: int = 20_000, noise: float = 0.0, seed: int = 0) -> Arrays:
    """Points uniform on every other field of a 4 x 4 board on [-1, 1]^2.

    Options: `n` points, `noise`, the standard deviation added (>= 0), `seed`.
    """

    def draw(g: Generator, label: Tensor) -> Tensor:
        row, half = (torch.randint(k, (n,), generator=g) for k in (4, 2))
        field = torch.stack([2 * half + row % 2, row], 1)
        return (field + torch.rand(n, 2, generator=g)) / 2 - 1

    return _points(n, noise, seed, None, draw)


def grid(n: int = 20_000, noise: float = 0.05, side: int = 5, seed: int = 0) -> Arrays:
    """Gaussians on a square grid on [-1, 1]^2, one class each, row by row from below.

    Options: `n` points, `noise`, the standard deviation of each (>= 0), `side`, Gaussians per
    side (>= 2), `seed`.
    """
    if side < 2:
        raise DifftoolError(f"grid takes side >= 2, got {side}")

    def draw(g: Generator, label: Tensor) -> Tensor:
        return (
            torch.stack([label % side, label.div(side, rounding_mode="floor")], 1)
            * (2 / (side - 1))
            - 1
        )

    return _points(n, noise, seed, side * side, draw)


def _points(
    n: int,
    noise: float,
    seed: int,
    classes: int | None,
    draw: Callable[[Generator, Tensor], Tensor],
) -> Arrays:
    """The points of `draw` for random classes, with noise added."""
    if not 1 <= n <= MOST or not 0 <= noise < math.inf or not 0 <= seed < 2**63:
        raise DifftoolError(
            f"toy data takes 1 <= n <= {MOST}, noise >= 0 and seed >= 0, got n={n}, {noise=}, {seed=}"
        )
    g = torch.Generator().manual_seed(seed)
    label = torch.randint(classes or 1, (n,), generator=g)
    x = draw(g, label.float()) + noise * torch.randn(n, 2, generator=g)
    return Arrays(x, label if classes else None)
