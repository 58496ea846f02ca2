"""What `difftool sample` shows and saves: a progress bar, the samples and a final table."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from difftool.cli.progress import watching
from difftool.cli.text import print_facts
from difftool.errors import DifftoolError, NonFinite
from difftool.errors.stopping import stopped_by
from difftool.files.writing import free_name
from difftool.models import Clipped
from difftool.names.specs import spec_of
from difftool.outputs.samples import check_picture, is_picture, save
from difftool.runs.recipe import Recipe
from difftool.runs.run import Run

WIDEST = 40  # columns of a picture with one column per class, at most


def run_sample(recipe: Recipe, out: Path | None, force: bool, as_json: bool) -> None:
    """Run a recipe, save its samples and print the report."""
    run = Run.of(recipe)
    if out is not None:
        check_picture(out, run.job.shape)
    start = time.perf_counter()
    samples = _watched(run, out, quiet=as_json)
    seconds = time.perf_counter() - start
    file = _write(samples, run, out, force)
    facts = _facts(run, samples, seconds, file)
    if as_json:
        print(json.dumps(facts))
    else:
        print_facts(_words(facts, run))


def _watched(run: Run, out: Path | None, quiet: bool) -> Any:
    """The samples, with a progress bar; if a batch fails, the finished ones are saved."""
    parts: list[Any] = []
    with watching(run, quiet) as count:
        try:
            return run.samples(count, parts.append)
        except DifftoolError as error:
            raise DifftoolError(f"{error}{_keep(error, parts, run, out)}") from None
        except KeyboardInterrupt as error:
            raise stopped_by(error, _keep(None, parts, run, out)) from None


def _write(samples: Any, run: Run, out: Path | None, force: bool) -> Path:
    """Save the samples to `out` or under a new name; if that fails, to the temporary folder."""
    recipe = run.recipe
    title, folder = f"{recipe.model}, {recipe.sampler}", Path.cwd()
    if is_picture(run.job.shape):
        suffix = ".png"
    else:
        suffix = ".npz"
    while True:
        file = out or free_name(recipe.title, folder, suffix)
        try:
            save(
                samples,
                file,
                recipe.to_dict(),
                title,
                overwrite=force,
                columns=_columns(recipe),
            )
            return file
        except DifftoolError as error:
            if out is None and file.exists():  # another run has taken the name meanwhile
                continue
            kept = free_name(f"difftool-{file.stem}", Path(tempfile.gettempdir()), ".npz")
            try:
                save(samples, kept, recipe.to_dict())
            except DifftoolError as second:
                raise DifftoolError(
                    f"{error}; the samples are lost, since saving a copy failed too ({second})"
                ) from None
            raise DifftoolError(f"{error}; the samples are in {kept}") from None


def _columns(recipe: Recipe) -> int | None:
    """One column per class, if the samples cycle through several; None otherwise."""
    classes = recipe.classes
    if classes is None or not 1 < len(classes) <= min(recipe.num_samples, WIDEST):
        return None
    return len(classes)


def _keep(error: DifftoolError | None, parts: list[Any], run: Run, out: Path | None) -> str:
    """Save what a failed run has finished; returns a text with the file names."""
    if out is None:
        stem, folder = run.recipe.title, Path.cwd()
    else:
        stem, folder = out.stem, out.parent
    kept = ""
    if parts:
        done = free_name(f"{stem}-partial", folder, ".npz")
        save(torch.cat(parts), done, run.recipe.to_dict())
        kept += f"; {sum(map(len, parts))} finished samples are in {done}"
    if isinstance(error, NonFinite) and error.state is not None:
        state = free_name(f"{stem}-state", folder, ".safetensors")
        error.state.save(state)  # type: ignore[attr-defined]
        kept += f"; the state before that step is in {state}"
    elif isinstance(error, NonFinite) and error.x is not None:
        state = free_name(f"{stem}-state", folder, ".npz")
        save(error.x, state, run.recipe.to_dict())  # type: ignore[arg-type]
        kept += f"; the states before that evaluation are in {state}"
    return kept


def _facts(run: Run, samples: Any, seconds: float, file: Path) -> dict[str, Any]:
    recipe, job = run.recipe, run.job
    evaluations = sum(run.nfe)
    facts: dict[str, Any] = {
        "samples": recipe.num_samples, "model": recipe.model, "sampler": recipe.sampler,
        "schedule": recipe.schedule, "grid": recipe.grid, "steps": recipe.steps, "nfe": max(run.nfe),
        "seconds": seconds, "milliseconds_per_step": 1e3 * seconds / max(1, job.steps * len(run.nfe)),
        "milliseconds_per_evaluation": 1e3 * seconds / max(evaluations, 1),
        "seed": recipe.seed, "device": recipe.device, "file": str(file),
    }  # fmt: skip
    for name, value in (("class", recipe.label), ("guidance", recipe.guidance)):
        if value is not None:
            facts[name] = value
    quality = run.quality(samples)
    if quality is not None:
        facts["sliced_wasserstein"] = quality.value
        facts["sliced_wasserstein_of_exact"] = quality.floor
        facts["scatter_of_exact"] = quality.scatter
    return facts


def _words(facts: dict[str, Any], run: Run) -> dict[str, str]:
    """The facts in words, for the console."""
    nfe = str(facts["nfe"])
    if min(run.nfe) < max(run.nfe):
        nfe = f"{min(run.nfe)} to {nfe}"
    words: dict[str, str] = {
        "samples": str(facts["samples"]),
        "model": facts["model"],
        **{name: str(facts[name]) for name in ("class", "guidance") if name in facts},
        "sampler": facts["sampler"],
        "schedule": _schedule(facts, run),
        "grid": _grid(facts, run),
        "NFE": nfe,
        "time": _time(facts, run),
    }
    if isinstance(run.job.model, Clipped):
        low, high = run.job.model.limits
        words["clipped"] = f"estimates of x0 to [{low:g}, {high:g}]"
    if "sliced_wasserstein" in facts:
        words["sliced Wasserstein"] = _distance(facts)
    return {**words, "written to": facts["file"]}


def _schedule(facts: dict[str, Any], run: Run) -> str:
    if facts["schedule"]:
        return str(facts["schedule"])
    if run.recipe.plan is not None:
        return "from the plan"
    return f"the model's own, {spec_of('schedules', run.job.model.schedule)}"


def _grid(facts: dict[str, Any], run: Run) -> str:
    if facts["steps"] is not None:
        return f"{facts['grid']}, {facts['steps']} steps"
    if run.recipe.plan is not None:
        return f"from the plan, {run.job.steps} steps"
    return "steps chosen by the sampler"


def _time(facts: dict[str, Any], run: Run) -> str:
    """The time, also per step, or per evaluation if the sampler chooses its steps."""
    unit = "step"
    if facts["steps"] is None and run.recipe.plan is None:
        unit = "evaluation"
    each = facts[f"milliseconds_per_{unit}"]
    return f"{facts['seconds']:.2f} s, {each:.2f} ms per {unit}, {facts['device']}"


def _distance(facts: dict[str, Any]) -> str:
    distance = facts["sliced_wasserstein"]
    floor, scatter = facts["sliced_wasserstein_of_exact"], facts["scatter_of_exact"]
    exact = f"expected by chance: {floor:.4f} +- {scatter:.4f}"
    if distance <= floor + scatter:
        exact += ", so no error is visible"
    return f"{distance:.4f} to exact samples ({exact})"
