"""Recipes: a whole run of `difftool sample` as plain words and numbers, and how to carry one out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

import torch
from torch import Tensor

from difftool import __version__
from difftool.errors import DifftoolError
from difftool.models import GaussianMixture
from difftool.outputs import FORMAT, VERSION
from difftool.plan import Plan, load_plan
from difftool.plan.state import plan_from_dict, plan_to_dict
from difftool.sampling import Callback, Job, batches, make_path, prepare, steps_for_nfe
from difftool.specs import make

DTYPES = {"float32": torch.float32, "float64": torch.float64, "bfloat16": torch.bfloat16, "float16": torch.float16}
Device = Literal["auto", "cpu", "cuda", "mps"]


@dataclass(frozen=True)
class Recipe:
    """What to sample: names with options on four axes, and numbers. None: the default of `difftool.sample`."""

    model: str = "digits-exact"
    sampler: str = "ddim"  # or the name of a file with a plan
    schedule: str | None = None
    grid: str | None = None
    steps: int | None = None
    nfe: int | None = None  # in place of steps
    last: Literal["step", "mean"] | None = None
    num_samples: int = 64
    batch_size: int | None = None
    seed: int = 0
    label: int | None = None
    device: str = "auto"
    dtype: str = "float32"
    threads: int | None = None
    plan: dict[str, Any] | None = None  # the plan itself, if `sampler` is a file

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able values, with the versions that made it."""
        head = {"format": FORMAT, "version": VERSION, "difftool": __version__, "torch": str(torch.__version__)}
        return {**head, **dataclasses.asdict(self)}

    @classmethod
    def from_dict(cls, data: dict[str, Any], origin: Any) -> Self:
        """From what `to_dict` made; `DifftoolError` if something is missing or of another kind."""
        names = {f.name for f in dataclasses.fields(cls)}
        missing = names - set(data)
        if missing:
            raise DifftoolError(f"the recipe in {origin} is not whole: {', '.join(sorted(missing))} missing")
        recipe = cls(**{name: data[name] for name in names})
        for f in dataclasses.fields(cls):
            value, kind = getattr(recipe, f.name), type(f.default)
            if value is not None and f.default is not None and type(value) is not kind:
                raise DifftoolError(f"the recipe in {origin} has {f.name}={value!r}, expected {kind.__name__}")
        return recipe


@dataclass
class Run:
    """A recipe made ready: its model, its job, and the recipe with every default filled in."""

    recipe: Recipe
    job: Job

    @classmethod
    def of(cls, recipe: Recipe) -> Self:
        """Make ready; `DifftoolError` for names, options and numbers that do not fit."""
        recipe = replace(recipe, device=_device(recipe.device), threads=recipe.threads or torch.get_num_threads())
        if recipe.dtype not in DTYPES:
            raise DifftoolError(f"dtype is {', '.join(DTYPES)}; got {recipe.dtype!r}")
        for name in ("num_samples", "batch_size", "threads"):
            value = getattr(recipe, name)
            if value is not None and value < 1:
                raise DifftoolError(f"{name} must be at least 1, got {value}")
        torch.set_num_threads(recipe.threads or 1)
        model = make("models", recipe.model)
        if model.shape is None:
            raise DifftoolError(f"the model {recipe.model!r} does not say what shape its samples have")
        if recipe.plan is not None or recipe.sampler.endswith(".json"):
            sampler = plan_from_dict(recipe.plan, recipe.sampler) if recipe.plan else load_plan(Path(recipe.sampler))
            for name in ("schedule", "grid", "steps", "nfe", "last"):
                if getattr(recipe, name) is not None:
                    raise DifftoolError(f"a plan has its {name} in it; leave --{name} out")
            recipe, options = replace(recipe, plan=plan_to_dict(sampler)), {}
        else:
            sampler = make("samplers", recipe.sampler)
            recipe, options = cls._options(recipe, model, sampler)
        label = recipe.label
        cond = {} if label is None else {"label": torch.full((recipe.num_samples,), label)}
        job = prepare(
            model, sampler, shape=(recipe.num_samples, *model.shape), seed=recipe.seed, cond=cond,
            device=recipe.device, dtype=DTYPES[recipe.dtype], **options,
        )  # fmt: skip
        job.start(0, 1)  # what the conditioning has to say against it, before anything is drawn
        return cls(replace(recipe, steps=None if isinstance(sampler, Plan) else job.steps), job)

    @staticmethod
    def _options(recipe: Recipe, model: Any, sampler: Any) -> tuple[Recipe, dict[str, Any]]:
        if recipe.steps is not None and recipe.nfe is not None:
            raise DifftoolError("give --steps or --nfe, not both")
        schedule = make("schedules", recipe.schedule) if recipe.schedule else None
        grid = make("grids", recipe.grid) if recipe.grid else None
        steps = recipe.steps
        if recipe.nfe is not None:
            steps = steps_for_nfe(model, sampler, recipe.nfe, recipe.last, schedule=schedule, grid=grid)
            recipe = replace(recipe, nfe=None)
        if sampler.adaptive and grid is None:
            if recipe.steps is not None:
                raise DifftoolError(f"{recipe.sampler} chooses its own steps; leave --steps out, or give it a --grid")
            steps = None
        path = make_path(model, sampler, steps=steps, grid=grid, schedule=schedule)
        last = recipe.last or sampler.last
        recipe = replace(recipe, last=last)
        return recipe, {"schedule": path.schedule, "grid": path.times, "last": last}

    def samples(self, callback: Callback | None = None, done: Callable[[Tensor], None] | None = None) -> Tensor:
        """All samples, batch after batch; `done` is told of each batch as it is finished."""
        parts = []
        for first, count in batches(self.recipe.num_samples, self.recipe.batch_size):
            parts.append(self.job.batch(first, count, callback=callback))
            if done is not None:
                done(parts[-1])
        return torch.cat(parts)

    def quality(self, samples: Tensor) -> tuple[float, float] | None:
        """Sliced Wasserstein distance of the samples to exact ones, and that of as many exact ones; None if unknown."""
        from difftool.metrics import SlicedDistance

        model, label = self.job.model, self.recipe.label
        if not isinstance(model, GaussianMixture):
            return None
        n = len(samples)
        distance = SlicedDistance(model.draw(max(8192, 4 * n), seed=2**31, label=label))
        floor = [distance(model.draw(n, seed=2**31 + 1 + i, label=label)) for i in range(5)]
        return distance(samples), sum(floor) / len(floor)


def _device(name: str) -> str:
    if name == "auto":
        mps = torch.backends.mps.is_available()
        return "cuda" if torch.cuda.is_available() else "mps" if mps else "cpu"
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name not in available:
        raise DifftoolError(f"device is auto, cpu, cuda or mps; got {name!r}")
    if not available[name]:
        raise DifftoolError(f"there is no {name} device here; use --device cpu")
    return name
