"""Samplers: the update rules, written as the loops of their papers.

A sampler is a frozen dataclass. Its fields are its options; calling it walks a path:

    sampler(model, x, path, noise) -> x at the end of the path

    model(x, p)       x0 = E[x_0 | x_t = x] at the point p; where sigma = 0 it is x / alpha and
                      costs no evaluation
    model(x, p, answers=("x0", "uncond")), model(x, p, condition="source"), model(x, p, to=q)
                      several answers (a tuple), those under a named condition, or those of a
                      flow map from p to q: see `difftool.request`
    path              the points of the run; between them, `at`, `drift` and `diffusion2`
    noise(now, nxt)   unit normal noise, shaped like x, for the step from now to nxt;
                      noise(now): independent noise, drawn at now

The state x, the estimates and the noise are only scaled by floats and added, so that runs can
be traced into plans (samplers that do more still run, as the plain loop). All state lives in
local variables.
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

State = Any  # a torch tensor, or a symbol while a sampler is traced

Last = Literal["step", "mean"]


class Denoiser(Protocol):
    """The model as a sampler sees it."""

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
    """The noise as a sampler sees it."""

    def __call__(self, now: Point | None = None, nxt: Point | None = None) -> State: ...


@dataclass(frozen=True)
class Sampler(ABC):
    """An update rule; a new sampler implements `__call__` and states its claims.

    A claim is a read-only property. If it is always the same, a subclass writes `accuracy = 1`,
    without a type annotation (with one it would be an option, which is refused); if it depends
    on the options, a property.

    name: the registered name, used in error messages; if empty, the class name. reference: the
    paper.
    """

    name: ClassVar[str] = ""
    reference: ClassVar[str] = ""

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        annotations = inspect.get_annotations(cls)
        for claim in CLAIMS & annotations.keys():
            if "ClassVar" not in str(annotations[claim]):
                raise DifftoolError(
                    f"{cls.__name__}.{claim} is a claim, not an option; write {claim} = ... without a type annotation"
                )

    def __post_init__(self) -> None:  # noqa: B027
        """Check the options: nothing here; `super().__post_init__()` chains end here."""

    @abstractmethod
    def __call__(self, model: Denoiser, x: State, path: Path, noise: NoiseSource) -> State:
        """Return x at the end of the path, given x at its start."""

    @property
    def accuracy(self) -> float | None:
        """The order of one step on the probability-flow ODE; None: no claim.

        For stochastic samplers: the order at zero noise.
        """
        return None

    @property
    def global_order(self) -> float | None:
        """The order over a run that ends above sigma = 0; None: as `accuracy`."""
        return None

    @property
    def run_order(self) -> float | None:
        """The order over a whole run: `global_order`, or `accuracy` if that is None."""
        if self.global_order is None:
            return self.accuracy
        return self.global_order

    @property
    def weak_order(self) -> float | None:
        """The order at which samples converge in distribution to the data; None: no claim.

        0: they do not converge, however many the steps (Langevin steps of a fixed size,
        distilled models).
        """
        return None

    @property
    def point_mass(self) -> bool:
        """True if a run ends exactly at the data when the data is a single point."""
        return True

    @property
    def evaluations(self) -> int | None:
        """Network evaluations per step; None if the number depends on the state."""
        return 1

    @property
    def last(self) -> Last:
        """The default last step into sigma = 0: a regular `step` or the `mean` E[x_0 | x]."""
        return "step"

    @property
    def grid(self) -> Grid | None:
        """The sampler's default grid; None: uniform in the flow time."""
        return None

    @property
    def adaptive(self) -> bool:
        """True if it chooses its own steps between the points of the path."""
        return False

    @property
    def stochastic(self) -> bool:
        """True if it draws noise during a run."""
        return False

    @property
    def noise_option(self) -> str | None:
        """The option that scales a stochastic sampler's noise; at 0 it is deterministic."""
        return None

    @property
    def divides_by_alpha(self) -> bool:
        """True if it is undefined at alpha = 0 (it uses the drift or sigma / alpha)."""
        return False

    @property
    def downwards_only(self) -> bool:
        """True if it only runs from noise to data."""
        return self.stochastic

    @property
    def needs_steps(self) -> int:
        """The minimum number of steps in a run: the order, if one is given."""
        return 1

    @property
    def batch_independent(self) -> bool:
        """False if a sample depends on the others in its batch."""
        return True

    def caution(self, size: int) -> str | None:
        """A warning before runs on samples with `size` elements; None: no warning."""
        return None

    def nfe(self, path: Path) -> int | None:
        """Network evaluations along the path; None if only known after the run."""
        if self.evaluations is None:
            return None
        return self.evaluations * (len(path) - 1)


CLAIMS = {name for name, value in vars(Sampler).items() if isinstance(value, property)}


def eps_of(x: State, x0: State, p: Point) -> State:
    """The noise in x, (x - alpha x0) / sigma; at sigma = 0 its limit for smooth densities, 0."""
    if p.sigma == 0:
        return 0.0 * x
    return (x - p.alpha * x0) / p.sigma


def free_evaluations(path: Path) -> int:
    """The number of evaluations that are free: 1 if the path begins at sigma = 0, else 0."""
    return int(path[0].sigma == 0)


def finish(
    sampler: Sampler, model: Denoiser, x: State, path: Path, noise: NoiseSource, last: Last
) -> State:
    """Run the sampler's loop, with the last step into sigma = 0 as `last` says.

    "step": the sampler's own last step. "mean": x = alpha E[x_0 | x] at the point before, in
    one evaluation. Every run goes through here, traced or not.
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
            f"{name_of(sampler)} returned None; end its __call__ with `return x`"
        )
    return out


def nfe_of(sampler: Sampler, path: Path, last: Last) -> int | None:
    """Network evaluations of `finish`; None if only known after the run."""
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
    """The error for a path whose end p has alpha = 0, where `what` is not defined."""
    return DifftoolError(f"{what} is not defined at alpha = 0, {way_off(path, p)}")


def way_off(path: Path, p: Point) -> str:
    """The part of an error message that says where alpha = 0, and which times are allowed."""
    return (
        f"which the grid reaches at t={p.t:g}; keep to t <= {path.schedule.t_start(True):.6g}"
    )


def refuse_upwards(sampler: Sampler, path: Path) -> None:
    """Raise `DifftoolError` if the path runs from data to noise but the sampler cannot."""
    if sampler.downwards_only and not path.downwards:
        raise DifftoolError(
            f"{name_of(sampler)} runs from noise to data, but the grid runs upwards "
            f"(t={path[0].t:g} to t={path[-1].t:g}); encode with a deterministic sampler, e.g. flow-abm"
        )


def refuse_clean_ends(sampler: Sampler, path: Path) -> None:
    """Raise `DifftoolError` if the path begins or ends at sigma = 0."""
    if path[0].sigma == 0:
        raise DifftoolError(
            f"{name_of(sampler)} must start above noise level 0; begin the grid at a small noise level"
        )
    if path[-1].sigma == 0:
        raise DifftoolError(
            f"{name_of(sampler)} must end above noise level 0; end it with last='mean'"
        )


def grid_of(sampler: Sampler) -> Grid:
    """The grid of a run if none is given: the sampler's own, else uniform in the flow time."""
    return sampler.grid or FlowGrid()


def name_of(sampler: Sampler) -> str:
    """The name of the sampler in error messages."""
    return sampler.name or type(sampler).__name__
