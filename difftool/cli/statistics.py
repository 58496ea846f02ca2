"""`difftool statistics`: the model statistics that DPM-Solver-v3 needs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from difftool.cli.options import Force, Model, SeedOfData

Out = Annotated[Path, typer.Option(help="Output file (.json).")]
Points = Annotated[
    int, typer.Option(help="Number of half-log-SNRs, equally spaced down to noise level 0.002.")
]
NumSamples = Annotated[int, typer.Option(help="Number of samples to average over.")]
Bias = Annotated[
    bool, typer.Option("--bias", help="Also fit the bias b; the sampler then has no plan.")
]


def statistics(
    model: Model = "digits-exact",
    out: Out = Path("ems.json"),
    points: Points = 60,
    num_samples: NumSamples = 256,
    bias: Bias = False,
    seed: SeedOfData = 0,
    force: Force = False,
) -> None:
    """Measure the statistics of a model, for --sampler dpm-solver-v3:statistics=FILE."""
    from difftool.files.writing import check_kind
    from difftool.names.specs import check_names

    check_kind(out, ".json", force)
    check_names(models=model)
    from difftool.study.ems import statistics_of

    measured = statistics_of(model, points=points, count=num_samples, bias=bias, seed=seed)
    measured.save(out, overwrite=force)
    print(f"{out}: {measured!r}")
