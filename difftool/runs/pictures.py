"""Pictures of data and of runs: for `difftool forward`, `trajectory`, `interpolate` and `neighbors`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from difftool.data.base import Dataset
from difftool.data.given import npz
from difftool.errors import DifftoolError, warn
from difftool.files.writing import writing
from difftool.metrics import nearest
from difftool.names.specs import make
from difftool.outputs.plots import animation, beside
from difftool.outputs.samples import is_picture
from difftool.runs.recipe import Recipe
from difftool.runs.run import Run
from difftool.sampling import Callback, Job, Step, ran_away, warn_beforehand
from difftool.schedules import Point

QUANTILES = (0.1, 0.5, 0.9)
# how the steps of a run are shown while it goes on
Watch = Callable[[Run], AbstractContextManager[Callback]]


@dataclass(frozen=True)
class Drawn:
    """A run in a picture: what its columns or frames are called, and the evaluations of a batch."""

    titles: list[str]
    nfe: int | None


@dataclass(frozen=True)
class Spread:
    """Of `count` distances: a tenth is below `low`, half below `middle`, a tenth above `high`."""

    low: float
    middle: float
    high: float
    count: int

    @classmethod
    def of(cls, distances: Tensor) -> Self:
        low, middle, high = torch.quantile(distances, torch.tensor(QUANTILES)).tolist()
        return cls(low, middle, high, len(distances))


@dataclass(frozen=True)
class Neighbors:
    """How far the nearest of the data are: from samples, from others of one law, whether the samples are nearer."""

    samples: Spread
    against: Spread | None = None
    nearer: bool = False


def unwatched(run: Run) -> AbstractContextManager[Callback]:
    """Nothing is shown."""
    return nullcontext(lambda step: None)


def usual(shape: Sequence[int]) -> int:
    """How many samples are shown where nobody says."""
    if len(shape) == 3:
        return 8
    return 2000


def usual_of(model: str) -> int:
    """How many samples of a model are shown where nobody says."""
    return usual(make("models", model).shape or ())


def noised(
    data: str,
    schedule: str,
    steps: Sequence[int],
    length: int,
    count: int | None,
    seed: int,
    out: Path,
    overwrite: bool,
) -> list[Point]:
    """Draw samples beside x_t = alpha x_0 + sigma eps at t = k / length, one eps for all k; the point of each k."""
    dataset, along = _drawable(data), make("schedules", schedule)
    if not length >= 1 or not all(0 <= k <= length for k in steps):
        raise DifftoolError(
            f"steps are entries from 0 to length={length}, got {', '.join(map(str, steps))}"
        )
    if count is None:
        count = usual(dataset.shape)
    if count < 1 or not 0 <= seed < 2**63:
        raise DifftoolError(
            f"num-samples is at least 1 and the seed from 0 to 2^63 - 1, got {count} and {seed}"
        )
    count = min(len(dataset), count)
    g = torch.Generator().manual_seed(seed)
    x0 = dataset.batch(torch.randperm(len(dataset), generator=g)[:count]).x
    eps = torch.randn(x0.shape, generator=g)
    low, high = along.domain
    points = [along.at(low + (high - low) * k / length) for k in steps]
    sets = [x0, *(p.alpha * x0 + p.sigma * eps for p in points)]
    with writing(out, overwrite) as file:
        beside(sets, ["data", *(f"step {k}" for k in steps)], file)
    return points


def trajectory(
    recipe: Recipe, what: str, frames: int, out: Path, overwrite: bool, watch: Watch = unwatched
) -> Drawn:
    """Draw a run: its states, or the model's estimates of x0, at up to `frames` points of the grid and at its end."""
    if what not in ("state", "x0"):
        raise DifftoolError(f"what is state or x0, got {what!r}")
    if frames < 2:
        raise DifftoolError(f"frames is a whole number of at least 2, got {frames}")
    run = Run.of(recipe)
    if run.job.sampler is not None and run.job.sampler.adaptive:
        raise DifftoolError(
            f"{recipe.sampler} gives each sample steps of its own; a trajectory takes fixed ones"
        )
    _check_picture(run.job)
    states: list[Tensor] = []
    titles: list[str] = []

    def keep(step: Step) -> None:
        count(step)
        if what == "state":
            shown = step.x
        else:
            shown = step.x0
        states.append(shown.detach().cpu().clone())
        titles.append(f"t = {step.point.t:.4g}")

    with watch(run) as count:
        end = run.samples(keep).cpu()
    picked = sorted({round(i * len(states) / (frames - 1)) for i in range(frames)})
    states.append(end)
    titles.append("end")
    drawn = Drawn([titles[i] for i in picked], run.job.nfe)
    _draw([states[i] for i in picked], drawn.titles, out, overwrite, end)
    return drawn


def interpolated(
    recipe: Recipe, between: int, out: Path, overwrite: bool, watch: Watch = unwatched
) -> Drawn:
    """Draw runs from starts that lie between two: a row for each of `num_samples` pairs, `between` columns."""
    pairs = recipe.num_samples
    if between < 2:
        raise DifftoolError(f"between is a whole number of at least 2, got {between}")
    run = Run.of(replace(recipe, num_samples=pairs * between))
    job = run.job
    if job.sampler is None or job.sampler.stochastic:
        raise DifftoolError(
            f"{recipe.sampler} does not say where a start leads: take a deterministic sampler, flow-abm"
        )
    _check_picture(job)
    parts = [k / (between - 1) for k in range(between)]
    shape = (2 * pairs, *job.shape)
    ends = job.noise.source(
        shape, seed=job.seed, first=0, device=job.device, dtype=job.dtype
    ).initial()
    starts = torch.cat([slerp(ends[:pairs], ends[pairs:], part) for part in parts])
    warn_beforehand(job)
    with watch(run) as count:
        x = job.batch(0, pairs * between, job.origin.sigma * starts, callback=count).cpu()
    warn(ran_away(job, x))
    drawn = Drawn([f"{part:.3g}" for part in parts], job.nfe)
    _draw(x.split(pairs), drawn.titles, out, overwrite)
    return drawn


def slerp(a: Tensor, b: Tensor, u: float) -> Tensor:
    """Spherical interpolation of each of (n, ...): the point at the part u of the arc, its length that between theirs.

    (sin((1 - u) w) a + sin(u w) b) / sin(w), w the angle between a and b. Between two draws of noise it is like a draw.
    Source: Shoemake 1985, Animating rotation with quaternion curves.
    """
    shape = (-1, *[1] * (a.ndim - 1))
    cosine = torch.cosine_similarity(a.flatten(1), b.flatten(1)).clamp(-1, 1).reshape(shape)
    w = cosine.acos()
    same = w.sin() < 1e-4  # a straight line
    over = torch.where(same, 1.0, w.sin())
    p, q = (torch.where(same, part, (part * w).sin() / over) for part in (1 - u, u))
    return p * a + q * b


def neighbors(
    samples: Path, data: str, against: str | None, shown: int, out: Path, overwrite: bool
) -> Neighbors:
    """Draw samples beside the nearest ones of the data, and say how far they are."""
    dataset = _drawable(data)
    x, reference = npz(samples).all().x, dataset.all().x
    if tuple(x.shape[1:]) != dataset.shape:
        raise DifftoolError(
            f"{samples} has samples of shape {tuple(x.shape[1:])}, {data} of shape {dataset.shape}"
        )
    if shown < 1:
        raise DifftoolError(f"shown is a whole number of at least 1, got {shown}")
    found = nearest(x, reference)
    result = Neighbors(Spread.of(found.distance))
    if against is not None:
        fresh = nearest(_drawable(against).all().x, reference).distance
        nearer = bool(found.distance.median() < fresh.median())
        result = replace(result, against=Spread.of(fresh), nearer=nearer)
    with writing(out, overwrite) as file:
        beside([x[:shown], reference[found.which[:shown]]], ["samples", "nearest"], file)
    return result


def _drawable(data: str) -> Dataset:
    dataset: Dataset = make("datasets", data)
    if not is_picture(dataset.shape):
        raise DifftoolError(
            f"samples of {data} have the shape {dataset.shape} and make no picture"
        )
    return dataset


def _check_picture(job: Job) -> None:
    if not is_picture(job.shape):
        raise DifftoolError(f"samples of shape {job.shape} make no picture")


def _draw(
    sets: Sequence[Tensor],
    titles: Sequence[str],
    out: Path,
    overwrite: bool,
    data: Tensor | None = None,
) -> None:
    """Sets of the same samples in one file: one frame each in a .gif, else side by side."""
    with writing(out, overwrite) as file:
        if out.suffix == ".gif":
            animation(sets, titles, file, data)
        else:
            beside(sets, titles, file, data)
