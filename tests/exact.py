"""Random Gaussian mixtures, and the networks that perfect training on them would give."""

from __future__ import annotations

import math

import torch
from hypothesis import strategies as st
from registered import SCHEDULES

from difftool.models import GaussianMixture
from difftool.schedules import Point

KINDS = ["shared", "per element", "per component", "per component and element"]

seeds = st.integers(0, 2**31)
schedules = st.sampled_from(SCHEDULES)
# fractions of a schedule's domain, both ends and tiny noise included (sigma = 0 itself costs no evaluation)
places = st.one_of(st.floats(0.001, 1.0), st.sampled_from([1e-9, 1e-6, 1e-4, 0.5, 1.0]))


def gen(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def randn(seed: int, *shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, generator=gen(seed), dtype=torch.float64).to(dtype)


def mixture(
    seed: int = 0, *, kind: str = "shared", components: int = 5, shape: tuple[int, ...] = (3,), std: float = 0.3
) -> GaussianMixture:
    """Means around 0, variances around std^2, uneven weights, classes 0, 1, 2, 0, 1, 2, ..."""
    sizes = {
        "shared": (),
        "per element": (1, *shape),
        "per component": (components,),
        "per component and element": (components, *shape),
    }[kind]
    spread = (std * (0.2 + torch.rand(sizes, generator=gen(seed + 1), dtype=torch.float64))) ** 2
    weights = 0.1 + torch.rand(components, generator=gen(seed + 2), dtype=torch.float64)
    return GaussianMixture(randn(seed, components, *shape), spread, weights, torch.arange(components) % 3)


def at(schedule, u: float) -> Point:
    """The point at the fraction u of the schedule's domain."""
    low, high = schedule.domain
    return schedule.at(low + u * (high - low))


def states(model: GaussianMixture, p: Point, seed: int, count: int = 7) -> torch.Tensor:
    """Draws of x_t, float64; every third one three times as far out."""
    x = p.alpha * model.draw(count, seed=seed).double()
    x = x + p.sigma * randn(seed, *x.shape)
    x[::3] *= 3
    return x


class ExactNetwork(torch.nn.Module):
    """What the perfectly trained network of a parametrization returns, from the definition of its target.

    It is told the point by its number in a list, so that nothing is lost in the float32 of a time: give
    `time=network.number` to the model.
    """

    def __init__(self, exact: GaussianMixture, predicts: str, std: float = 0.5, dtype: torch.dtype = torch.float64):
        super().__init__()
        self.exact, self.predicts, self.std = exact, predicts, std
        self.anchor = torch.nn.Parameter(torch.zeros((), dtype=dtype))  # it is what says the network's dtype
        self.points: list[Point] = []
        self.calls = 0

    def number(self, p: Point):
        if isinstance(p.t, torch.Tensor):  # (B, 1, ...): a number for each sample
            return torch.tensor(
                [self.number(Point(*row)) for row in zip(*(v.flatten().tolist() for v in p), strict=True)]
            )
        self.points.append(p)
        return len(self.points) - 1

    def forward(self, x: torch.Tensor, number: torch.Tensor, **cond) -> torch.Tensor:
        self.calls += 1
        numbers = number.tolist()
        if len(set(numbers)) == 1:
            return self.target(x, self.points[numbers[0]], **cond)
        return torch.cat([self.target(x[i : i + 1], self.points[n]) for i, n in enumerate(numbers)])

    def target(self, x: torch.Tensor, p: Point, **cond) -> torch.Tensor:
        alpha, sigma = p.alpha, p.sigma
        if self.predicts == "edm":  # Karras et al. 2022, table 1, in y = x / alpha with noise level l; it is fed c_in y
            s = self.std
            if alpha == 0:  # the limit
                return self.exact.x0(sigma * x, p, **cond) / s
            level = sigma / alpha
            y = x * math.sqrt(s**2 + level**2)
            x0 = self.exact.x0(alpha * y, p, **cond)
            return (x0 - s**2 / (s**2 + level**2) * y) / (level * s / math.sqrt(s**2 + level**2))
        x0 = self.exact.x0(x, p, **cond)
        eps = (x - alpha * x0) / sigma
        return {"eps": eps, "x0": x0, "v": alpha * eps - sigma * x0, "flow": eps - x0, "score": -eps / sigma}[
            self.predicts
        ]
