"""Samples compared with a data set, batch after batch: for `difftool evaluate` and the tables of experiments."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

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
Told = Callable[[str, int, int], None]  # what is read, how much of it, of how much


def evaluate(
    samples: Recipe | str,
    data: str,
    *,
    against: str | None = None,
    features: str | None = None,
    exact: str | None = None,
    told: Told | None = None,
) -> dict[str, dict[str, Any]]:
    """Figures of `samples` beside the data, and of `against` if given, each by its name.

    samples: a recipe to draw them by, or where they are: an .npz file, a folder of pictures, or a data set's spec.
    data: the reference, a data set. against: a data set of the same law, as many of it as there are samples.
    features: a feature network's spec, or an .onnx file. exact: an exact model, whose log density is taken.

    Raises `DifftoolError` for what cannot be read, does not fit or is too small.
    """
    scores = Scores(features_of(features), _density(exact))
    reference = make("datasets", data)
    if isinstance(samples, Recipe):
        run, given = Run.of(samples), None
        shape, count = run.job.shape, run.recipe.num_samples
    else:
        run, given = None, _samples(str(samples))
        shape, count = given.shape, len(given)
    other = None if against is None else make("datasets", against)
    for what, made in ((data, reference), (against, other)):
        if made is not None and made.shape != shape:
            raise DifftoolError(
                f"the samples have the shape {shape}, those of {what} {made.shape}"
            )
    say = told or (lambda name, done, total: None)

    def read(batches: Iterable[Tensor], name: str, total: int, real: bool = False) -> int:
        done = 0
        for batch in batches:
            scores.add(batch, real)
            done += len(batch)
            say(name, done, total)
        return done

    drawn = run.parts() if given is None else _batches(given, count)  # type: ignore[union-attr]
    total = read(_batches(reference, len(reference)), data, len(reference), real=True)
    out = {"samples": {"number": read(drawn, "samples", count), **scores.compute()}}
    if other is not None and against is not None:
        scores.forget()
        few = min(count, len(other))
        out["against"] = {
            "number": read(_batches(other, few), against, few),
            **scores.compute(),
        }
    out["samples"]["reference"] = total
    return out


def _batches(data: Dataset, count: int) -> Iterator[Tensor]:
    """So many samples of a data set, in an order that is random and always the same; nothing for what is unreadable."""
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0))[:count]
    for part in order.split(BATCH):
        x = data.batch(part).x
        skipped = getattr(
            data, "skipped", {}
        )  # of these it gives others, which have a turn of their own
        if len(kept := [i for i, number in enumerate(part.tolist()) if number not in skipped]):
            yield x[kept]


def _samples(spec: str) -> Dataset:
    """A file or a folder of samples, or a data set by its spec."""
    path = Path(spec)
    if path.is_dir():
        spec = write("folder", {"path": spec})
    elif path.is_file() or path.suffix == ".npz":
        spec = write("npz", {"path": spec})
    made: Dataset = make("datasets", spec)
    return made


def features_of(spec: str | None) -> Callable[[Tensor], Tensor] | None:
    """A feature network by its spec or its file."""
    if spec is None:
        return None
    return make(
        "features", write("onnx", {"path": spec}) if is_file("features", spec) else spec
    )


def _density(spec: str | None) -> Callable[[Tensor], Tensor] | None:
    if spec is None:
        return None
    model = make("models", spec)
    if not isinstance(model, ExactModel):
        raise DifftoolError(
            f"the model {parse(spec)[0]!r} has no density; exact ones have: digits-exact, say"
        )
    return lambda x: model.log_density(x, CLEAN)
