"""`sample`: the only place where model, sampler, schedule and grid meet."""

from difftool.sampling import default
from difftool.sampling.beforehand import warn_beforehand
from difftool.sampling.decide import Decision, decide
from difftool.sampling.default import choose
from difftool.sampling.front import sample
from difftool.sampling.job import Job, batches
from difftool.sampling.prepare import prepare
from difftool.sampling.rule import (
    DEFAULT_STEPS,
    as_grid,
    make_path,
    shifts_nothing,
    start_of,
    steps_for_nfe,
    steps_within,
)
from difftool.sampling.scale import Astray, ran_away
from difftool.sampling.watch import Callback, Step

__all__ = [
    "DEFAULT_STEPS",
    "Astray",
    "Callback",
    "Decision",
    "Job",
    "Step",
    "as_grid",
    "batches",
    "choose",
    "decide",
    "default",
    "make_path",
    "prepare",
    "ran_away",
    "sample",
    "shifts_nothing",
    "start_of",
    "steps_for_nfe",
    "steps_within",
    "warn_beforehand",
]
