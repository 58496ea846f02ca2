"""Pictures of data and runs, for `forward`, `trajectory`, `interpolate` and `neighbors`."""

from __future__ import annotations

import math
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

MOST_FRAMES = 1000
MOST_BYTES = 2**29  # of the states of a run that are kept to be drawn
QUANTILES = (0.1, 0.5, 0.9)
# shows the progress of a run
Watch = Callable[[Run], AbstractContextManager[Callback]]


@dataclass(frozen=True)
class Drawn:
    """A run that was drawn: titles of its columns or frames, and the NFE of a batch."""

    titles: list[str]
    nfe: int | None


@dataclass(frozen=True)
class Spread:
    """Quantiles of `count` distances: 10% (`low`), 50% (`middle`) and 90% (`high`)."""

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
    """Nearest-neighbor distances of samples and a baseline; whether the samples are nearer."""

    samples: Spread
    against: Spread | None = None
    nearer: bool = False


def unwatched(run: Run) -> AbstractContextManager[Callback]:
    """Show no progress."""
    return nullcontext(lambda step: None)


def usual(shape: Sequence[int]) -> int:
    """The default number of samples to show."""
    if len(shape) == 3:
        return 8
    return 2000


def usual_of(model: str) -> int:
    """The default number of samples to show for a model."""
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
    """Draw data next to x_t = alpha x_0 + sigma eps at t = k / length; returns the points.

    The noise eps is the same for all k.
    """
    dataset, along = _drawable(data), make("schedules", schedule)
    if not length >= 1 or not all(0 <= k <= length for k in steps):
        raise DifftoolError(
            f"steps must be from 0 to length={length}, got {', '.join(map(str, steps))}"
        )
    if count is None:
        count = usual(dataset.shape)
    if count < 1 or not 0 <= seed < 2**63:
        raise DifftoolError(
            f"num-samples must be at least 1 and seed from 0 to 2^63 - 1, got {count} and {seed}"
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
    """Draw a run: its states or estimates of x0 at up to `frames` grid points, end included."""
    if what not in ("state", "x0"):
        raise DifftoolError(f"what must be state or x0, got {what!r}")
    if not 2 <= frames <= MOST_FRAMES:
        raise DifftoolError(f"frames must be from 2 to {MOST_FRAMES}, got {frames}")
    run = Run.of(recipe)
    if run.job.sampler is not None and run.job.sampler.adaptive:
        raise DifftoolError(
            f"{recipe.sampler} adapts its steps per sample; a trajectory needs a sampler with fixed steps"
        )
    _check_picture(run.job)
    states: list[Tensor] = []
    titles: list[str] = []
    passed = 0

    size = run.job.total * math.prod(run.job.shape) * 4
    every = math.ceil(run.job.steps * size / MOST_BYTES)  # a long run is thinned out

    def keep(step: Step) -> None:
        count(step)
        nonlocal passed
        passed += 1
        if (passed - 1) % every:
            return
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
    """Draw runs from interpolated noise: a row per pair (`num_samples`), `between` columns."""
    pairs = recipe.num_samples
    if not 2 <= between <= MOST_FRAMES:
        raise DifftoolError(f"between must be from 2 to {MOST_FRAMES}, got {between}")
    run = Run.of(replace(recipe, num_samples=pairs * between))
    job = run.job
    if job.sampler is None or job.sampler.stochastic:
        raise DifftoolError(
            f"{recipe.sampler} is stochastic; use a deterministic sampler, such as flow-abm"
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
    """Spherical interpolation from a to b, (n, ...), row by row, at the fraction u of the arc.

    (sin((1 - u) w) a + sin(u w) b) / sin(w), w the angle between a and b. Between two draws of
    noise it resembles another draw.
    Source: Shoemake 1985, Animating rotation with quaternion curves.
    """
    shape = (-1, *[1] * (a.ndim - 1))
    cosine = torch.cosine_similarity(a.flatten(1), b.flatten(1)).clamp(-1, 1).reshape(shape)
    w = cosine.acos()
    same = w.sin() < 1e-4  # interpolated linearly
    over = torch.where(same, 1.0, w.sin())
    p, q = (torch.where(same, part, (part * w).sin() / over) for part in (1 - u, u))
    return p * a + q * b


def neighbors(
    samples: Path, data: str, against: str | None, shown: int, out: Path, overwrite: bool
) -> Neighbors:
    """Draw samples next to their nearest neighbors in the data; returns the distances."""
    dataset = _drawable(data)
    x, reference = npz(samples).all().x, dataset.all().x
    if tuple(x.shape[1:]) != dataset.shape:
        raise DifftoolError(
            f"{samples} has samples of shape {tuple(x.shape[1:])}, {data} of shape {dataset.shape}"
        )
    if shown < 1:
        raise DifftoolError(f"shown must be at least 1, got {shown}")
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
        raise DifftoolError(f"samples of {data} have shape {dataset.shape} and cannot be drawn")
    return dataset


def _check_picture(job: Job) -> None:
    if not is_picture(job.shape):
        raise DifftoolError(f"samples of shape {job.shape} cannot be drawn")


def _draw(
    sets: Sequence[Tensor],
    titles: Sequence[str],
    out: Path,
    overwrite: bool,
    data: Tensor | None = None,
) -> None:
    """Write sets of the same samples to one file: as frames of a .gif, or side by side."""
    with writing(out, overwrite) as file:
        if out.suffix == ".gif":
            animation(sets, titles, file, data)
        else:
            beside(sets, titles, file, data)
