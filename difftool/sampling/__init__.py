"""sample(), the one front door: model, sampler, schedule and grid meet here and nowhere else."""

from difftool.sampling.front import sample
from difftool.sampling.job import Job, batches, prepare
from difftool.sampling.rule import (
    DEFAULT,
    DEFAULT_STEPS,
    STOCHASTIC,
    as_grid,
    make_path,
    start_of,
    steps_for_nfe,
)
from difftool.sampling.watch import Callback, Step

__all__ = [
    "DEFAULT",
    "DEFAULT_STEPS",
    "STOCHASTIC",
    "Callback",
    "Job",
    "Step",
    "as_grid",
    "batches",
    "make_path",
    "prepare",
    "sample",
    "start_of",
    "steps_for_nfe",
]
