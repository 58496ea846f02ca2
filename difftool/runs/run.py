"""Runs: recipes that are prepared, then executed batch by batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from difftool.errors import DifftoolError, enough_memory, warn
from difftool.files.writing import CHECKPOINT, digest
from difftool.metrics import Distance, SlicedDistance
from difftool.metrics.floor import SETS
from difftool.models import Clipped, ExactModel, Guided, Model
from difftool.models.clipped import of_pictures
from difftool.names.specs import files_of, make, spec_of
from difftool.noise import BrownianPath, Generator, Independent, Noise
from difftool.plan import Plan, load_plan
from difftool.runs.costs import check_memory
from difftool.runs.recipe import FILLED_IN, Device, Recipe
from difftool.samplers import Sampler
from difftool.sampling import (
    Astray,
    Callback,
    Job,
    batches,
    prepare,
    warn_beforehand,
)

COMPARED = 10_000  # maximum number of samples that are compared with exact ones
REFERENCE = 8192  # minimum number of exact ones
NOISES: dict[str, Noise] = {
    f"{name}{'' if placed else '-by-call'}": kind(placed)
    for name, kind in (
        ("independent", Independent),
        ("path", BrownianPath),
        ("generator", Generator),
    )
    for placed in (True, False)
}


@dataclass(frozen=True)
class Run:
    """A prepared recipe: its job, and the recipe with every default filled in."""

    recipe: Recipe
    job: Job
    nfe: list[int] = field(default_factory=list)  # of every finished batch

    @classmethod
    def of(cls, recipe: Recipe) -> Self:
        """Prepare a recipe; `DifftoolError` for names, options or numbers that do not fit."""
        model = make("models", recipe.model)
        recipe, translated = recipe.in_our_words(flow=_along_a_flow(recipe, model))
        warn(translated)
        recipe = _on_this_machine(recipe)
        _warn_of_a_folder(recipe)
        model, shape, recipe = _wrapped(model, recipe)
        batch = min(recipe.batch_size or recipe.num_samples, recipe.num_samples)
        check_memory(recipe.num_samples, 8, "take fewer with --num-samples")  # their labels
        each = 12 * math.prod(shape)  # x, x0 and noise
        check_memory(batch, each, "take smaller batches with --batch-size")
        sampler, options = _objects(recipe)
        recipe = replace(recipe, files=_files(recipe))
        job = prepare(
            model,
            sampler,
            shape=(recipe.num_samples, *shape),
            seed=recipe.seed,
            cond=_classes(recipe, model),
            noise=NOISES[recipe.noise or "independent"],
            device=recipe.device,
            dtype=getattr(torch, recipe.dtype),
            **options,
        )
        return cls(_filled_in(recipe, job), job)

    @property
    def sizes(self) -> list[int]:
        """The number of samples in each batch."""
        return [count for _, count in batches(self.recipe.num_samples, self.recipe.batch_size)]

    @property
    def compared(self) -> int:
        """The number of samples that `quality` uses."""
        return min(self.recipe.num_samples, COMPARED)

    def samples(
        self, callback: Callback | None = None, done: Callable[[Tensor], None] | None = None
    ) -> Tensor:
        """Draw all samples batch by batch; `done` is called with each finished batch."""
        each = self.job.dtype.itemsize * math.prod(self.job.shape)
        check_memory(self.job.total, each, "take fewer with --num-samples")
        parts = []
        for part in self.parts(callback):
            parts.append(part)
            if done is not None:
                done(part)
        return torch.cat(parts)

    def parts(self, callback: Callback | None = None) -> Iterator[Tensor]:
        """Draw the samples, one batch at a time."""
        warn_beforehand(self.job)
        text = (
            f"not enough memory for batches of {self.sizes[0]} samples on {self.recipe.device}"
        )
        astray = Astray(self.job)
        for first, count in batches(self.recipe.num_samples, self.recipe.batch_size):
            with enough_memory(f"{text}; give a smaller --batch-size"):
                part = self.job.batch(first, count, callback=callback)
            self.nfe.append(self.job.nfe or 0)
            astray.count(part)
            yield part
        warn(astray.line())

    def quality(self, samples: Tensor) -> Distance | None:
        """Sliced Wasserstein distance to exact samples, and its value by chance, if known."""
        model, classes = self.job.model, self.recipe.classes
        if not isinstance(model, ExactModel) or (classes is not None and len(classes) > 1):
            return None
        label = None if classes is None else classes[0]
        samples = samples[: self.compared]
        n = len(samples)
        distance = SlicedDistance(model.draw(max(REFERENCE, 4 * n), seed=2**31, label=label))
        floor = [distance(model.draw(n, seed=2**31 + 1 + i, label=label)) for i in range(SETS)]
        return Distance.beside(distance(samples), floor)


def _along_a_flow(recipe: Recipe, model: Model) -> bool:
    """Whether alpha + sigma = 1 along the schedule of the run."""
    if recipe.schedule is None:
        schedule = model.schedule
    else:
        schedule = make("schedules", recipe.schedule)
    if schedule is None:
        return False
    low, high = schedule.domain
    points = [schedule.at(low + part * (high - low)) for part in (0.2, 0.5, 0.8)]
    return all(abs(p.alpha + p.sigma - 1) < 1e-9 for p in points)


def _files(recipe: Recipe) -> dict[str, str] | None:
    """Digests of the files that the recipe refers to; `DifftoolError` if one has changed."""
    named = [file for axis, spec in recipe.specs.items() for file in files_of(axis, spec)]
    paths = [path / CHECKPOINT if path.is_dir() else path for path in named]
    digests = {str(path): digest(path) for path in paths if path.is_file()}
    for file, before in (recipe.files or {}).items():
        if digests.get(file) != before:
            raise DifftoolError(
                f"{file} has changed since the recipe was written; restore it, or give its option again"
            )
    return digests or None


def _on_this_machine(recipe: Recipe) -> Recipe:
    """The recipe with device, threads and noise filled in; also sets torch's threads."""
    recipe = replace(
        recipe,
        device=_device(recipe.device),
        threads=recipe.threads or torch.get_num_threads(),
        noise=recipe.noise or "independent",
    )
    torch.set_num_threads(recipe.threads or 1)
    return recipe


def _warn_of_a_folder(recipe: Recipe) -> None:
    """Warn if the folder of a training has the name of a model."""
    if (Path(recipe.model) / CHECKPOINT).is_file():
        folder = f"for the training in the folder write checkpoint:path={recipe.model}"
        warn(f"{recipe.model} means the registered model; {folder}")


def _wrapped(model: Model, recipe: Recipe) -> tuple[Model, tuple[int, ...], Recipe]:
    """The model with guidance and clipping, its shape, and the recipe with `clip` filled in."""
    shape = model.shape
    if shape is None:
        raise DifftoolError(
            f"the model {recipe.model!r} does not declare the shape of its samples; set it, as in "
            f"NetworkModel(..., shape=(3, 32, 32))"
        )
    if recipe.guidance is not None:
        if recipe.label is None:
            raise DifftoolError("--guidance needs a class; give it with --class")
        model = Guided(model, recipe.guidance)
    chosen = recipe.chosen or [name for name in FILLED_IN if getattr(recipe, name) is None]
    if recipe.clip is None:
        clip = of_pictures(model)
    else:
        clip = recipe.clip
    if clip:
        model = Clipped(model)
    return model, shape, replace(recipe, chosen=chosen, clip=clip)


def _objects(recipe: Recipe) -> tuple[Plan | Sampler | None, dict[str, Any]]:
    """The sampler or plan of the recipe, and the matching options of `prepare`."""
    if recipe.plan is not None or recipe.plan_file is not None:
        for name in ("schedule", "grid", "steps", "nfe", "last"):
            if getattr(recipe, name) is not None:
                raise DifftoolError(
                    f"a plan has its own schedule, grid, steps and last step; leave out --{name}"
                )
        if recipe.plan is not None:
            return Plan.from_dict(recipe.plan, recipe.sampler or ""), {}
        assert recipe.plan_file is not None
        return load_plan(recipe.plan_file), {}
    if recipe.steps is not None and recipe.nfe is not None:
        raise DifftoolError("give --steps or --nfe, not both")
    options: dict[str, Any] = {
        "steps": recipe.steps,
        "nfe": recipe.nfe,
        "last": recipe.last,
        "schedule": make("schedules", recipe.schedule) if recipe.schedule else None,
        "grid": make("grids", recipe.grid) if recipe.grid else None,
    }
    if recipe.sampler is None:
        return None, {**options, "stochastic": recipe.stochastic}
    if recipe.stochastic and "sampler" not in (recipe.chosen or []):
        raise DifftoolError(
            f"--stochastic is for runs without --sampler, but {recipe.sampler} is given; leave out one"
        )
    return make("samplers", recipe.sampler), options


def _classes(recipe: Recipe, model: Model) -> dict[str, Tensor]:
    """The labels, cycling through the classes; `DifftoolError` if the model lacks one."""
    classes = recipe.classes
    if classes is None:
        return {}
    model.bind(model.schedule, {"label": torch.tensor(classes)})
    return {"label": classes[0] + torch.arange(recipe.num_samples) % len(classes)}


def _filled_in(recipe: Recipe, job: Job) -> Recipe:
    """The recipe with the decisions: plan, or sampler, schedule, grid, steps and last step."""
    if job.sampler is None:
        assert job.plan is not None
        return replace(recipe, plan=job.plan.to_dict())
    schedule = recipe.schedule
    if schedule is None and job.model.schedule is None:
        schedule = "vp-linear"
    grid, steps = recipe.grid, None
    if job.grid is not None:
        grid = grid or spec_of("grids", job.grid)
        steps = job.steps
    return replace(
        recipe,
        sampler=recipe.sampler or spec_of("samplers", job.sampler),
        schedule=schedule,
        grid=grid,
        steps=steps,
        nfe=None,
        last=job.last,
    )


def _device(name: Device) -> Device:
    mps = torch.backends.mps.is_available()
    if name == "auto":
        if torch.cuda.is_available():
            return "cuda"
        if mps:
            return "mps"
        return "cpu"
    if not {"cpu": True, "cuda": torch.cuda.is_available(), "mps": mps}[name]:
        raise DifftoolError(f"no {name} device is available; use --device cpu")
    return name
