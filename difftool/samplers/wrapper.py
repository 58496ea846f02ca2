"""Wrappers around another sampler: its steps go down, and fresh noise goes up between them.

Adding noise is exact: with the noise level l = sigma / alpha, it takes x_a to the distribution
of x_b at a higher level,

    x_b = alpha_b / alpha_a x_a + s sqrt(sigma_b^2 - (alpha_b sigma_a / alpha_a)^2) z,    s = 1

A step down by a solver of order p, then up by noise, has a local error of O(h^(p+1)) in
distribution: the weak order of a wrapper is the order of its solver. With s (`s_noise`) other
than 1 the distribution is wrong, and the weak order is 0.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable
from typing import ClassVar

from difftool.errors import DifftoolError
from difftool.samplers.base import Denoiser, Last, NoiseSource, Sampler, State
from difftool.samplers.noised import Noised
from difftool.schedules.base import Point
from difftool.schedules.flow import Flow
from difftool.schedules.path import Path


class Wrapper(Noised):
    """A sampler that takes the steps of another, its `solver`, with noise between them."""

    solver: Sampler

    option: ClassVar[str] = ""  # the option that scales the wrapper's noise
    one_step: ClassVar[bool] = True  # False if the solver may take several steps at once
    own_interval: ClassVar[bool] = False  # True if steps do not overlap in noise level

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.solver, Sampler):
            raise DifftoolError(
                f"the solver of {self.name} must be a sampler, got {self.solver!r}"
            )
        kind = type(self.solver).__name__
        if self.solver.adaptive or self.solver.evaluations is None:
            raise DifftoolError(
                f"{self.name} takes a solver with fixed steps; {kind} chooses its own"
            )
        if self.one_step and not takes_single_steps(self.solver):
            raise DifftoolError(
                f"{self.name} takes a single-step solver (euler, heun, dpm-2, ..); {kind} keeps history between steps"
            )

    @property
    @abstractmethod
    def own_noise(self) -> bool:
        """Whether the wrapper itself adds noise."""

    @abstractmethod
    def ways(self, path: Path) -> Iterable[Path]:
        """The downward paths for the solver.

        Where a path does not begin at the end of the previous one, noise leads up to its start.
        """

    def __call__(self, model: Denoiser, x: State, path: Path, noise: NoiseSource) -> State:
        if not self.own_noise:
            return self.solver(model, x, path, noise)
        begin = now = path[0]
        for way in [*self.ways(path), path[-1:]]:
            if way[0] != now:
                if self.own_interval:
                    z = noise(begin, way[0])
                else:
                    z = noise(now)
                x = raise_noise(x, now, way[0], self.s_noise, z)
            if len(way) > 1:
                x = self.solver(model, x, way, _independent(noise))
            begin, now = way[0], way[-1]
        return x

    def nfe(self, path: Path) -> int | None:
        if not self.own_noise:
            return self.solver.nfe(path) or 0
        return sum(self.solver.nfe(way) or 0 for way in self.ways(path))

    @property
    def noise_option(self) -> str | None:
        if self.solver.stochastic:
            return None
        return self.option

    @property
    def stochastic(self) -> bool:
        return self.own_noise or self.solver.stochastic

    @property
    def downwards_only(self) -> bool:
        return self.own_noise or self.solver.downwards_only

    @property
    def needs_steps(self) -> int:
        return self.solver.needs_steps

    @property
    def accuracy(self) -> float | None:
        return self.solver.accuracy

    @property
    def global_order(self) -> float | None:
        return self.solver.global_order

    @property
    def order_of_law(self) -> float | None:
        if self.solver.stochastic:
            return self.solver.weak_order
        return self.solver.global_order or self.solver.accuracy

    @property
    def evaluations(self) -> int | None:
        return self.solver.evaluations

    @property
    def last(self) -> Last:
        return self.solver.last

    @property
    def point_mass(self) -> bool:
        return super().point_mass and self.solver.point_mass

    @property
    def divides_by_alpha(self) -> bool:
        return self.solver.divides_by_alpha

    @property
    def batch_independent(self) -> bool:
        return self.solver.batch_independent


def takes_single_steps(sampler: Sampler) -> bool:
    """Whether many steps in one call are the same as one step after another.

    It is tried on numbers; True for samplers that only take tensors.
    """
    path, x = Path(Flow(), tuple(0.95 - 0.1 * i for i in range(9))), 1.0
    model, noise = lambda x, p, **asked: 0.2 * x + p.t**2, lambda now=None, nxt=None: 0.1
    try:
        at_once, one_by_one = sampler(model, x, path, noise), x
        for i in range(len(path) - 1):
            one_by_one = sampler(model, one_by_one, path[i : i + 2], noise)
        return bool(abs(at_once - one_by_one) < 1e-9)
    except (AttributeError, TypeError):
        return True


def _independent(noise: NoiseSource) -> NoiseSource:
    """Independent noise per step: increments of one path would repeat where steps overlap."""
    return lambda now=None, nxt=None: noise(now)


def time_at(level: float, path: Path) -> float:
    """The time of a noise level, clamped to the schedule's domain."""
    low, high = path.schedule.domain
    return min(max(path.schedule.t_at_level(level), low), high)


def raise_noise(x: State, now: Point, high: Point, s_noise: float, z: State) -> State:
    """The state at the higher level `high`, from that at `now`, by adding fresh noise z."""
    kept = high.alpha * now.sigma / now.alpha
    return (
        high.alpha / now.alpha * x
        + s_noise * math.sqrt(max(high.sigma - kept, 0.0) * (high.sigma + kept)) * z
    )
