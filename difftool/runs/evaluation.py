"""Comparison of samples with a data set, batch by batch: for `evaluate` and `experiments`."""

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

BATCH = 256  # samples of a data set that are processed together
CLEAN = Point(0.0, 1.0, 0.0)  # the point of clean data
OnProgress = Callable[
    [str, int, int], None
]  # arguments: what is read, how many so far, how many in total


@dataclass(frozen=True)
class Figures:
    """The scores of one set of samples by name, and its number of samples."""

    number: int
    scores: dict[str, float]


@dataclass(frozen=True)
class Comparison:
    """Scores of samples and of a baseline, `against`, with the size of the reference."""

    samples: Figures
    reference: int
    against: Figures | None = None


@dataclass(frozen=True)
class _Source:
    """A source of samples, with their number and shape."""

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
    """Scores of `samples` against the data, and of `against` if given.

    samples: a recipe to draw them, or their location: an .npz file, a folder of pictures, or
    the spec of a data set. data: the reference, a data set. against: a data set of the same
    distribution, of which as many samples are used. features: the spec of a feature network,
    or an .onnx file. exact: an exact model for the log density.

    Raises `DifftoolError` for data that cannot be read, do not match or are too few.
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
    """Show nothing."""


def _source(samples: Recipe | str) -> _Source:
    """Samples drawn by a recipe, or read from a file, a folder or a data set."""
    if isinstance(samples, Recipe):
        run = Run.of(samples)
        return _Source(run.parts(), run.recipe.num_samples, run.job.shape)
    dataset = _samples(str(samples))
    return _of_dataset(dataset, len(dataset))


def _of_dataset(data: Dataset, count: int) -> _Source:
    """`count` samples of a data set."""
    return _Source(_batches(data, count), count, data.shape)


def _check_shapes(source: _Source, others: Sequence[tuple[str | None, Dataset | None]]) -> None:
    """Raise `DifftoolError` for a data set whose samples have a different shape."""
    for name, dataset in others:
        if dataset is not None and dataset.shape != source.shape:
            raise DifftoolError(
                f"the samples have shape {source.shape}, but those of {name} have {dataset.shape}"
            )


def _batches(data: Dataset, count: int) -> Iterator[Tensor]:
    """`count` samples of a data set in a fixed random order, less those that are unreadable."""
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))[:count]
    for part in order.split(BATCH):
        x = data.batch(part).x
        # skipped samples are replaced by others, which come up by themselves too
        skipped = getattr(data, "skipped", {})
        kept = [i for i, number in enumerate(part.tolist()) if number not in skipped]
        if kept:
            yield x[kept]


def _samples(spec: str) -> Dataset:
    """Samples in a file or a folder, or a data set from its spec."""
    path = Path(spec)
    if path.is_dir():
        spec = write("folder", {"path": spec})
    elif path.is_file() or path.suffix == ".npz":
        spec = write("npz", {"path": spec})
    dataset: Dataset = make("datasets", spec)
    return dataset


def features_of(spec: str | None) -> Callable[[Tensor], Tensor] | None:
    """A feature network from its spec or its file."""
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
            f"the model {parse(spec)[0]!r} has no density; use an exact one, such as digits-exact"
        )
    return lambda x: model.log_density(x, CLEAN)
