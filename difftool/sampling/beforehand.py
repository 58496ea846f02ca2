"""What is said of a run before a network is asked: lines about what its options will not do, or do silently."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any

from difftool.errors import DifftoolWarning
from difftool.samplers.base import name_of
from difftool.sampling.job import Job, no_path
from difftool.sampling.rule import start_of
from difftool.sampling.scale import will_run_away

SIGNAL = 0.25  # alpha / sigma from which on a start is not taken for one of pure noise


def warn_beforehand(job: Job, started: bool = False) -> None:
    """A `DifftoolWarning` for every line; started: the states to start from were given by the caller."""
    start = None if started else starts_in_the_data(job)
    if job.sampler is None:
        caution = None
    else:
        caution = job.sampler.caution(math.prod(job.shape))
    for line in (will_run_away(job), start, has_no_path(job), names_no_class(job), caution):
        if line is not None:
            warnings.warn(line, DifftoolWarning, stacklevel=3)


def starts_in_the_data(job: Job) -> str | None:
    """A start below pure noise from noise alone: what the data would bring to it is missing."""
    p = job.origin
    if job.path is None or p.sigma == 0 or p.alpha <= SIGNAL * p.sigma:
        return None
    top = job.path.schedule.domain[1]
    if job.sampler is not None:
        top = start_of(job.model, job.sampler, job.path.schedule)
    end, own = job.path.schedule.at(top), job.model.schedule
    # what the model knows of higher levels
    beyond = own is None or own.level(own.t_start(True)) > 1.01 * end.level
    if beyond and end.alpha > SIGNAL * end.sigma:
        return (
            f"the schedule ends at alpha = {end.alpha:.2g}, sigma = {end.sigma:.2g}: states there are not noise alone, "
            f"from which this run starts; is it for a table of another length? Else give x = alpha x_0 + sigma eps"
        )
    if p.t >= top:
        return None
    return (
        f"the run starts at t={p.t:g} from noise alone, where alpha = {p.alpha:.2g}, sigma = {p.sigma:.2g}: the data's "
        f"part of it is missing, and the samples with it; start at t={top:g}, or give x = alpha x_0 + sigma eps"
    )


def has_no_path(job: Job) -> str | None:
    """Path noise, where some noises are not those of a step."""
    if (
        not job.noise.correlated
        or job.plan is None
        or all(key.interval is not None for key in job.plan.noises)
    ):
        return None
    return no_path(name_of(job.sampler) if job.sampler is not None else "this plan")


def names_no_class(job: Job) -> str | None:
    """A network of classes that is asked without one: of that it has learned little."""
    known = job.model.classes
    if job.model.predicts is None or not known or _has_label(job.cond):
        return None
    return (
        f"the network knows classes 0 to {known - 1}, and without one it draws by the small part of its training that "
        f"had none; name one, or all in turn: --class 0-{known - 1} (cond={{'label': ...}})"
    )


def _has_label(cond: Mapping[str, Any]) -> bool:
    """Whether the conditioning has a label, or one of its named conditions has."""
    named = [value for value in cond.values() if isinstance(value, Mapping)]
    return any("label" in each for each in (cond, *named))
