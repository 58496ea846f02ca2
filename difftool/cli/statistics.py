"""`difftool statistics`: what DPM-Solver-v3 has to know of a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def statistics(
    model: Annotated[
        str, typer.Option(help="Model.", metavar="name:key=value,...")
    ] = "digits-exact",
    out: Annotated[Path, typer.Option(help="Write them to this .json file.")] = Path(
        "ems.json"
    ),
    points: Annotated[
        int, typer.Option(help="Half-log-SNRs in equal steps, to level 0.002.")
    ] = 60,
    num_samples: Annotated[int, typer.Option(help="Samples that means are taken over.")] = 256,
    bias: Annotated[
        bool, typer.Option("--bias", help="Fit b too; the sampler then has no plan.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of the samples and the noise.")] = 0,
    force: Annotated[bool, typer.Option("--force", help="Overwrite --out.")] = False,
) -> None:
    """Measure the empirical statistics of a model, for --sampler dpm-solver-v3:statistics=FILE."""
    from difftool.names.specs import check_names
    from difftool.outputs.files import check_kind

    check_kind(out, ".json", force)
    check_names(models=model)
    from difftool.study.ems import statistics_of

    made = statistics_of(model, points=points, count=num_samples, bias=bias, seed=seed)
    made.save(out, overwrite=force)
    print(f"{out}: {made!r}")
