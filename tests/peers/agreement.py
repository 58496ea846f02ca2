"""What all comparisons with public libraries share: one exact model, the same grid, the same noises, float64.

A `Case` is a row of a table: a configuration of the peer, the spec of our sampler, and how far apart the two may end.
Where the peer departs from the paper there are two rows: one says by how much they differ at least and why, the other
puts the peer's line right (`repair`) and finds agreement, so that nothing else differs.
"""

from __future__ import annotations

import contextlib
import importlib.util
import math
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from difftool.models import GaussianMixture
from difftool.names.specs import make
from difftool.samplers import Sampler
from difftool.schedules import DDPMLinear, Path, Point, Schedule

EXACT = 1e-12  # two ways to compute the same numbers in float64


@dataclass(frozen=True)
class Case:
    """One comparison.

    peer, options, step_options: the peer's class or function, and how it is made and called.
    ours: the spec of our sampler.
    tolerance: the largest difference; above 1e-12 with a reason.
    differs: the least difference, where they must differ; with a reason.
    repair: texts in the peer's source and what stands in their place.
    every: the peer counts stages as steps, that many to one of ours.
    """

    peer: str
    options: dict[str, Any]
    ours: str
    tolerance: float = EXACT
    reason: str = ""
    steps: int = 7
    step_options: dict[str, Any] = field(default_factory=dict)
    differs: float = 0.0
    repair: tuple[tuple[str, str], ...] = ()
    every: int = 1

    def __post_init__(self) -> None:
        assert self.reason or (self.tolerance <= EXACT and not self.differs and not self.repair), f"no reason: {self}"

    def __str__(self) -> str:
        options = {**self.options, **self.step_options}
        told = ",".join(f"{k}={getattr(v, '__name__', v)}" for k, v in options.items())
        return f"{self.peer}({told}){' repaired' * bool(self.repair)} ~ {self.ours}"


def mixture(components: int = 5, size: int = 8) -> GaussianMixture:
    """5 Gaussians of several widths in 8 dimensions, exact in float64."""
    g = torch.Generator().manual_seed(0)
    means = torch.randn(components, size, generator=g, dtype=torch.float64)
    variance = (0.1 + 0.4 * torch.rand(components, generator=g, dtype=torch.float64)) ** 2
    weights = 0.2 + torch.rand(components, generator=g, dtype=torch.float64)
    return GaussianMixture(means, variance, weights)


MODEL = mixture()


def x0_of(x: Tensor, p: Point, answers: tuple[str, ...] = ("x0",)) -> Any:
    """The exact estimate, and a v for learned variances where two outputs are asked for; x / alpha at sigma = 0."""
    x0 = x / p.alpha if p.sigma == 0 else MODEL.x0(x, p)
    return x0 if len(answers) == 1 else (x0, v_of(x))


def v_of(x: Tensor) -> Tensor:
    """Some v of the state, for samplers with a learned variance."""
    return torch.sigmoid(x)


def eps_of(x: Tensor, p: Point) -> Tensor:
    """The exact noise estimate, what an eps network returns."""
    return (x - p.alpha * x0_of(x, p)) / p.sigma


def preserving(level: float) -> Point:
    """The point of that noise level sigma / alpha with alpha^2 + sigma^2 = 1."""
    alpha = 1 / math.sqrt(1 + level**2)
    return Point(math.nan, alpha, level * alpha)


def normal(seed: int = 0, count: int = 3) -> Tensor:
    """Unit normal, (count, 8), float64."""
    return torch.randn(count, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


class Shadow:
    """A module in which some names mean something else."""

    def __init__(self, module: Any, **names: Any):
        self.__dict__.update(names, shadowed=module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["shadowed"], name)


@contextlib.contextmanager
def replaced(module: Any, dtype: torch.dtype = torch.float64, **names: Any) -> Iterator[None]:
    """The module with these names replaced where it has them, and torch with that default dtype."""
    before = {name: getattr(module, name) for name in names if hasattr(module, name)}
    default = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        module.__dict__.update({name: names[name] for name in before})
        yield
    finally:
        torch.set_default_dtype(default)
        module.__dict__.update(before)


class Noises:
    """The n-th draw of either side is the same tensor, whoever asks and with whatever arguments; `skip` the first."""

    def __init__(self, skip: int = 0) -> None:
        self.count = skip

    def __call__(self, *ignored: Any, **also_ignored: Any) -> Tensor:
        self.count += 1
        return normal(1000 + self.count)


class Increments(Noises):
    """The normalised increments of one path in the noise level: the same for the same interval, in any order.

    The path is a smooth one, which does not matter here: both sides are given the same numbers.
    """

    def at(self, level: float) -> Tensor:
        return torch.stack([normal(2000 + k) * math.sin(k * math.log1p(level)) for k in range(1, 6)]).sum(0)

    def between(self, a: float, b: float) -> Tensor:
        self.count += 1
        low, high = sorted((float(a), float(b)))
        return (self.at(high) - self.at(low)) / math.sqrt(high - low)

    def __call__(self, now: Point, nxt: Point) -> Tensor:  # type: ignore[override]
        return self.between(now.level, nxt.level)


def ours(
    spec: str, levels: Sequence[float], x: Tensor, noise: Noises | None = None, schedule: Schedule | None = None
) -> Tensor:
    """Our sampler from x along these noise levels, on the schedule (default: DDPM's table)."""
    schedule = schedule or DDPMLinear()
    path = Path(schedule, [min(schedule.t_at_level(level), schedule.domain[1]) for level in levels])
    sampler: Sampler = make("samplers", spec)
    return sampler(x0_of, x, path, noise or Noises())


def distinct(levels: Sequence[float], every: int = 1) -> list[float]:
    """The levels without repetitions, as floats; of all but the last every n-th."""
    values = [float(level) for level in levels]
    values = [values[0], *(b for a, b in pairwise(values) if a != b)]
    return [*values[:-1:every], values[-1]]


def repaired(name: str, repair: Sequence[tuple[str, str]]) -> Any:
    """A copy of the module with texts of its source replaced; each must occur."""
    spec = importlib.util.find_spec(name)
    source = spec.loader.get_source(name)  # type: ignore[union-attr]
    for old, new in repair:
        assert old in source, f"{name} no longer has {old!r}: is it put right?"
        source = source.replace(old, new)
    module = types.ModuleType(name)
    module.__dict__.update(__package__=name.rpartition(".")[0], __file__=spec.origin)  # type: ignore[union-attr]
    exec(compile(source, f"{name} repaired", "exec"), module.__dict__)
    return module


def check(case: Case, peers: Tensor, own: Tensor) -> None:
    """Assert that both end as near to (or as far from) each other as the case says."""
    gap = float((peers - own).abs().max())
    assert torch.isfinite(own).all() and torch.isfinite(peers).all()
    if case.differs:
        assert gap > case.differs, f"{case}: they agree now ({gap:.1e}); was: {case.reason}"
    else:
        assert gap <= case.tolerance, f"{case}: differ by {gap:.2e}, allowed {case.tolerance:.0e}"
