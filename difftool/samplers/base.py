"""Samplers: the update rules, written as the loops of their papers.

A sampler is a frozen dataclass. Its fields are its options; calling it walks a path:

    sampler(model, x, path, noise) -> x at the end of the path

    model(x, p)       x0 = E[x_0 | x_t = x] at the point p; x / alpha, free of charge, where sigma = 0
    model(x, p, answers=("x0", "uncond")), model(x, p, condition="source"), model(x, p, to=q)
                      more answers (a tuple), those under a named condition, or those of a flow
                      map on the way to q: see `difftool.request`
    path              the points of the run and, between them, `at`, `drift`, `diffusion2`
    noise(now, nxt)   a unit normal like x for the step from now to nxt; noise(now) one of its own, drawn at now

The state x, the estimates and the noises are only ever scaled by floats and added (samplers that do more still run,
as the plain loop). All state lives in local variables.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Protocol

from difftool.errors import DifftoolError
from difftool.grids import FlowGrid, Grid
from difftool.schedules.base import Point
from difftool.schedules.path import Path

State = Any  # a torch tensor, or a symbol when a sampler is traced

Last = Literal["step", "mean"]


class Denoiser(Protocol):
    """What a sampler is given as its model."""

    def __call__(
        self,
        x: State,
        p: Point,
        *,
        answers: tuple[str, ...] = ("x0",),
        condition: str | None = None,
        to: Point | None = None,
    ) -> State: ...


class NoiseSource(Protocol):
    """What a sampler is given as its noise."""

    def __call__(self, now: Point | None = None, nxt: Point | None = None) -> State: ...


@dataclass(frozen=True)
class Sampler(ABC):
    """An update rule; a new sampler implements `__call__` and states its claims.

    A claim is a read-only property. Where it is always the same a subclass writes `accuracy = 1`, without a type (with
    one it would be an option, which is refused); where it follows from the options, a property.

    name: what it is called in errors, by which it is registered; empty: its class. reference: the paper.
    """

    name: ClassVar[str] = ""
    reference: ClassVar[str] = ""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        annotations = inspect.get_annotations(cls)
        for claim in CLAIMS & annotations.keys():
            if "ClassVar" not in str(annotations[claim]):
                raise DifftoolError(
                    f"{cls.__name__}.{claim} is a claim and not an option: write {claim} = ... without a type"
                )

    def __post_init__(self) -> None:  # noqa: B027
        """Checks the options: none here, where the calls of a class with two parents end."""

    @abstractmethod
    def __call__(self, model: Denoiser, x: State, path: Path, noise: NoiseSource) -> State:
        """x at the end of the path, from x at its start."""

    @property
    def accuracy(self) -> float | None:
        """The order of one step on the probability-flow ODE (at zero noise for stochastic ones); None: no claim."""
        return None

    @property
    def global_order(self) -> float | None:
        """The order over a whole run that ends above sigma = 0, where it is not `accuracy`."""
        return None

    @property
    def run_order(self) -> float | None:
        """The order over a whole run: `global_order`, else `accuracy`."""
        if self.global_order is None:
            return self.accuracy
        return self.global_order

    @property
    def weak_order(self) -> float | None:
        """The order to which the law of its samples tends to that of the data; None: none is claimed.

        0: it does not, however many the steps (Langevin steps of a fixed size, distilled models).
        """
        return None

    @property
    def point_mass(self) -> bool:
        """True if it ends exactly at the data when the data is a single point."""
        return True

    @property
    def evaluations(self) -> int | None:
        """Network evaluations per step; None if that depends on the state."""
        return 1

    @property
    def last(self) -> Last:
        """The last step into sigma = 0 by default, a `step` like the others or the `mean` E[x_0 | x]."""
        return "step"

    @property
    def grid(self) -> Grid | None:
        """The grid of a run where the user names none; None: uniform in the flow time."""
        return None

    @property
    def adaptive(self) -> bool:
        """True if it chooses its own steps between the points of the path."""
        return False

    @property
    def stochastic(self) -> bool:
        """True if it draws noise on the way."""
        return False

    @property
    def noise_option(self) -> str | None:
        """The option that scales the noise of a stochastic sampler: at 0 it is deterministic."""
        return None

    @property
    def divides_by_alpha(self) -> bool:
        """True if it is undefined at alpha = 0 (it uses the drift, or the noise level as its variable)."""
        return False

    @property
    def downwards_only(self) -> bool:
        """True if it only runs from noise to data."""
        return self.stochastic

    @property
    def needs_steps(self) -> int:
        """The least number of steps of a run: the order, where one was named."""
        return 1

    @property
    def batch_independent(self) -> bool:
        """False if a sample depends on the others in its batch."""
        return True

    def caution(self, size: int) -> str | None:
        """What is to be said before a run on samples of so many numbers; None: nothing."""
        return None

    def nfe(self, path: Path) -> int | None:
        """Network evaluations along the path; None if that is only known after the run."""
        if self.evaluations is None:
            return None
        return self.evaluations * (len(path) - 1)


CLAIMS = {name for name, value in vars(Sampler).items() if isinstance(value, property)}


def eps_of(x: State, x0: State, p: Point) -> State:
    """The noise in x, (x - alpha x0) / sigma; at sigma = 0 its limit for a smooth density, 0."""
    if p.sigma == 0:
        return 0.0 * x
    return (x - p.alpha * x0) / p.sigma


def free_evaluations(path: Path) -> int:
    """Evaluations of a run that cost nothing: 1 if the path begins at sigma = 0, else 0."""
    return int(path[0].sigma == 0)


def finish(
    sampler: Sampler, model: Denoiser, x: State, path: Path, noise: NoiseSource, last: Last
) -> State:
    """The whole run: the sampler's loop, with the last step into sigma = 0 as `last` says; one evaluation either way.

    "step": the sampler's own. "mean": x = alpha E[x_0 | x] at the point before. Every run passes here, traced or not.
    """
    refuse_upwards(sampler, path)
    if last == "step" or path[-1].sigma > 0 or len(path) < 2:
        return _walk(sampler, model, x, path, noise)
    if len(path) > 2:
        x = _walk(sampler, model, x, path[:-1], noise)
    return path[-1].alpha * model(x, path[-2])


def _walk(sampler: Sampler, model: Denoiser, x: State, path: Path, noise: NoiseSource) -> State:
    out = sampler(model, x, path, noise)
    if out is None:
        raise DifftoolError(
            f"{name_of(sampler)} returned nothing; let its __call__ end with `return x`"
        )
    return out


def nfe_of(sampler: Sampler, path: Path, last: Last) -> int | None:
    """Network evaluations of `finish`; None if they are only known after the run."""
    if last == "step" or path[-1].sigma > 0 or len(path) < 2:
        return sampler.nfe(path)
    if len(path) > 2:
        before = sampler.nfe(path[:-1])
    else:
        before = 0
    if before is None:
        return None
    return before + 1


def undefined_at(what: str, path: Path, p: Point) -> DifftoolError:
    """The error where `what` is not defined at an end p of the path, for alpha = 0 there."""
    return DifftoolError(f"{what} is not defined at alpha = 0, {way_off(path, p)}")


def way_off(path: Path, p: Point) -> str:
    """Where a path has alpha = 0, and where to keep to."""
    return f"where the grid is at t={p.t:g}; keep to t <= {path.schedule.t_start(True):.6g}"


def refuse_upwards(sampler: Sampler, path: Path) -> None:
    """Raise `DifftoolError` if the path runs from data to noise and the sampler does not."""
    if sampler.downwards_only and not path.downwards:
        raise DifftoolError(
            f"{name_of(sampler)} runs from noise to data, the grid runs upwards "
            f"(t={path[0].t:g} to t={path[-1].t:g}); encode with another, deterministic one: flow-abm, say"
        )


def refuse_clean_ends(sampler: Sampler, path: Path) -> None:
    """Raise `DifftoolError` if the path begins or ends at sigma = 0, for samplers that run above it."""
    if path[0].sigma == 0:
        raise DifftoolError(
            f"{name_of(sampler)} starts above noise level 0; let the grid begin at a small level"
        )
    if path[-1].sigma == 0:
        raise DifftoolError(
            f"{name_of(sampler)} ends above noise level 0; end it with last='mean'"
        )


def grid_of(sampler: Sampler) -> Grid:
    """The grid of a run where the user names none: the sampler's own, else uniform in the flow time."""
    return sampler.grid or FlowGrid()


def name_of(sampler: Sampler) -> str:
    """What the sampler is called in errors."""
    return sampler.name or type(sampler).__name__
