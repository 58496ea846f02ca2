"""What `difftool sample` shows: progress while it runs, a table at the end."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from difftool.errors import DifftoolError, NonFinite
from difftool.outputs import check_output, new_name, save
from difftool.recipes import Recipe, Run
from difftool.sampling import Step
from difftool.specs import parse


def carry_out(recipe: Recipe, out: Path | None, force: bool, as_json: bool) -> None:
    """Run a recipe, write its samples and report."""
    if out is not None:
        check_output(out, force)
    elif force:
        raise DifftoolError("--force is for an explicit --out; without it every run has a new name")
    run = Run.of(recipe)
    file = out or new_name(f"{parse(recipe.model)[0]}-{Path(parse(recipe.sampler)[0]).stem}", Path.cwd())
    start = time.perf_counter()
    samples = _watched(run, file, quiet=as_json)
    seconds = time.perf_counter() - start
    save(samples, file, run.recipe.to_dict(), title=f"{recipe.model}, {recipe.sampler}")
    facts = _facts(run, samples, seconds, file)
    print(json.dumps(facts)) if as_json else _print(facts)


def _watched(run: Run, file: Path, quiet: bool) -> Any:
    """The samples, with a progress bar; what was finished before the model failed is kept beside the output."""
    parts: list[Any] = []
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=quiet) as progress:
        batches = -(-run.recipe.num_samples // (run.recipe.batch_size or run.recipe.num_samples))
        total = None if run.job.nfe is None else run.job.steps * batches
        task = progress.add_task(run.recipe.sampler, total=total, rate="")
        begin, taken, shown = time.perf_counter(), 0, 0.0

        def callback(step: Step) -> None:
            nonlocal taken, shown
            taken += 1
            now = time.perf_counter()
            if now - shown > 0.1:
                shown = now
                progress.update(task, completed=taken, rate=f"{taken / (now - begin):.0f} steps/s")

        try:
            return run.samples(callback, parts.append)
        except NonFinite as error:
            raise DifftoolError(f"{error}{_keep(error, parts, run, file)}") from None


def _keep(error: NonFinite, parts: list[Any], run: Run, file: Path) -> str:
    """Writes what there is; says where."""
    import torch

    kept = ""
    if parts:
        done = file.with_name(f"{file.stem}-partial.npz")
        save(torch.cat(parts), done, run.recipe.to_dict())
        kept += f"; {sum(map(len, parts))} finished samples are in {done}"
    if error.state is not None:
        state = file.with_name(f"{file.stem}-state.safetensors")
        error.state.save(state)  # type: ignore[attr-defined]
        kept += f"; the state before that step is in {state}"
    return kept


def _facts(run: Run, samples: Any, seconds: float, file: Path) -> dict[str, Any]:
    recipe, job = run.recipe, run.job
    nfe = job.nfe or 0
    batches = -(-recipe.num_samples // (recipe.batch_size or recipe.num_samples))
    facts: dict[str, Any] = {
        "samples": recipe.num_samples, "model": recipe.model, "sampler": recipe.sampler,
        "schedule": recipe.schedule or ("in the plan" if job.path is None else repr(job.path.schedule)),
        "grid": recipe.grid or ("in the plan" if job.path is None else "default"),
        "steps": job.steps, "nfe": nfe, "seconds": seconds,
        "milliseconds_per_step": 1e3 * seconds / max(nfe * batches, 1) * max(nfe, 1) / max(job.steps, 1),
        "seed": recipe.seed, "device": recipe.device, "file": str(file),
    }  # fmt: skip
    quality = run.quality(samples)
    if quality is not None:
        facts["sliced_wasserstein"], facts["sliced_wasserstein_of_exact"] = quality
    return facts


def _print(facts: dict[str, Any]) -> None:
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    rows = {
        "model": facts["model"],
        "sampler": facts["sampler"],
        "schedule": facts["schedule"],
        "grid": f"{facts['grid']}, {facts['steps']} steps",
        "NFE": str(facts["nfe"]),
        "time": f"{facts['seconds']:.2f} s, {facts['milliseconds_per_step']:.2f} ms per step, {facts['device']}",
    }
    if "sliced_wasserstein" in facts:
        distance, floor = facts["sliced_wasserstein"], facts["sliced_wasserstein_of_exact"]
        rows["sliced Wasserstein"] = f"{distance:.4f} ({facts['samples']} exact samples: {floor:.4f})"
    rows["written"] = f"{facts['samples']} samples to {facts['file']}"
    for name, value in rows.items():
        table.add_row(f"[bold]{name}", value)
    Console().print(table)
