"""Samples compared with a data set, batch after batch: for `difftool evaluate` and the tables of experiments."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from difftool.data.base import Dataset
from difftool.errors import DifftoolError
from difftool.metrics import Scores
from difftool.models import ExactModel
from difftool.names.specs import is_file, make
from difftool.names.text import parse, write
from difftool.runs.recipe import Recipe
from difftool.runs.run import Run
from difftool.schedules import Point

BATCH = 256  # samples of a data set that are looked at together
CLEAN = Point(0.0, 1.0, 0.0)  # of data without noise
OnProgress = Callable[[str, int, int], None]  # what is read, how much of it, of how much


@dataclass(frozen=True)
class Figures:
    """Of one set of samples: how many there are, and each score by its name."""

    number: int
    scores: dict[str, float]


@dataclass(frozen=True)
class Comparison:
    """Samples compared with a reference of so many, and other data, `against`, compared with the same."""

    samples: Figures
    reference: int
    against: Figures | None = None


@dataclass(frozen=True)
class _Source:
    """Where samples come from, and how many there are of which shape."""

    batches: Iterable[Tensor]
    count: int
    shape: tuple[int, ...]


def evaluate(
    samples: Recipe | str,
    data: str,
    *,
    against: str | None = None,
    features: str | None = None,
    exact: str | None = None,
    on_progress: OnProgress | None = None,
) -> Comparison:
    """Figures of `samples` beside the data, and of `against` if given.

    samples: a recipe to draw them by, or where they are: an .npz file, a folder of pictures, or a data set's spec.
    data: the reference, a data set. against: a data set of the same law, as many of it as there are samples.
    features: a feature network's spec, or an .onnx file. exact: an exact model, whose log density is taken.

    Raises `DifftoolError` for what cannot be read, does not fit or is too small.
    """
    scores = Scores(features_of(features), _density(exact))
    reference = make("datasets", data)
    source = _source(samples)
    fresh: Dataset | None = None
    if against is not None:
        fresh = make("datasets", against)
    _check_shapes(source, [(data, reference), (against, fresh)])
    say = on_progress or _silent

    def read(source: _Source, name: str, real: bool = False) -> int:
        done = 0
        for batch in source.batches:
            scores.add(batch, real)
            done += len(batch)
            say(name, done, source.count)
        return done

    whole = read(_of_dataset(reference, len(reference)), data, real=True)
    found = Figures(read(source, "samples"), scores.compute())
    if fresh is None or against is None:
        return Comparison(found, whole)
    scores.forget()
    number = read(_of_dataset(fresh, min(source.count, len(fresh))), against)
    return Comparison(found, whole, Figures(number, scores.compute()))


def _silent(name: str, done: int, total: int) -> None:
    """Nothing is shown."""


def _source(samples: Recipe | str) -> _Source:
    """Samples that are drawn by a recipe, or those of a file, a folder or a data set."""
    if isinstance(samples, Recipe):
        run = Run.of(samples)
        return _Source(run.parts(), run.recipe.num_samples, run.job.shape)
    dataset = _samples(str(samples))
    return _of_dataset(dataset, len(dataset))


def _of_dataset(data: Dataset, count: int) -> _Source:
    """So many samples of a data set."""
    return _Source(_batches(data, count), count, data.shape)


def _check_shapes(source: _Source, others: Sequence[tuple[str | None, Dataset | None]]) -> None:
    """Raise `DifftoolError` for a data set whose samples have another shape."""
    for name, dataset in others:
        if dataset is not None and dataset.shape != source.shape:
            raise DifftoolError(
                f"the samples have the shape {source.shape}, those of {name} {dataset.shape}"
            )


def _batches(data: Dataset, count: int) -> Iterator[Tensor]:
    """So many samples of a data set, in an order that is random and always the same; nothing for what is unreadable."""
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))[:count]
    for part in order.split(BATCH):
        x = data.batch(part).x
        # of what is skipped it gives others, which have a turn of their own
        skipped = getattr(data, "skipped", {})
        kept = [i for i, number in enumerate(part.tolist()) if number not in skipped]
        if kept:
            yield x[kept]


def _samples(spec: str) -> Dataset:
    """A file or a folder of samples, or a data set by its spec."""
    path = Path(spec)
    if path.is_dir():
        spec = write("folder", {"path": spec})
    elif path.is_file() or path.suffix == ".npz":
        spec = write("npz", {"path": spec})
    dataset: Dataset = make("datasets", spec)
    return dataset


def features_of(spec: str | None) -> Callable[[Tensor], Tensor] | None:
    """A feature network by its spec or its file."""
    if spec is None:
        return None
    if is_file("features", spec):
        spec = write("onnx", {"path": spec})
    network: Callable[[Tensor], Tensor] = make("features", spec)
    return network


def _density(spec: str | None) -> Callable[[Tensor], Tensor] | None:
    if spec is None:
        return None
    model = make("models", spec)
    if not isinstance(model, ExactModel):
        raise DifftoolError(
            f"the model {parse(spec)[0]!r} has no density; exact ones have: digits-exact, say"
        )
    return lambda x: model.log_density(x, CLEAN)
