"""Warnings before a run starts: options with no effect, or with an unexpected one."""

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

SIGNAL = 0.25  # alpha / sigma above which the starting point does not count as pure noise


def warn_beforehand(job: Job, started: bool = False) -> None:
    """Issue the warnings about a job; started: True if the caller gave the initial states."""
    start = None if started else starts_in_the_data(job)
    if job.sampler is None:
        caution = None
    else:
        caution = job.sampler.caution(math.prod(job.shape))
    for line in (will_run_away(job), start, has_no_path(job), names_no_class(job), caution):
        if line is not None:
            warnings.warn(line, DifftoolWarning, stacklevel=3)


def starts_in_the_data(job: Job) -> str | None:
    """The warning about initial states of pure noise at a point where states contain data."""
    p = job.origin
    if job.path is None or p.sigma == 0 or p.alpha <= SIGNAL * p.sigma:
        return None
    top = job.path.schedule.domain[1]
    if job.sampler is not None:
        top = start_of(job.model, job.sampler, job.path.schedule)
    end, own = job.path.schedule.at(top), job.model.schedule
    # whether the model accepts higher levels
    beyond = own is None or own.level(own.t_start(True)) > 1.01 * end.level
    if beyond and end.alpha > SIGNAL * end.sigma:
        return (
            f"the schedule ends at alpha = {end.alpha:.2g}, sigma = {end.sigma:.2g}, where states are not pure noise, "
            f"but the run starts from pure noise; is it for a table of another length? otherwise pass "
            f"x = alpha x_0 + sigma eps"
        )
    if p.t >= top:
        return None
    return (
        f"the run starts from pure noise at t={p.t:g}, where states still contain data (alpha = {p.alpha:.2g}, "
        f"sigma = {p.sigma:.2g}), so its samples will be wrong; start at t={top:g}, or pass x = alpha x_0 + sigma eps"
    )


def has_no_path(job: Job) -> str | None:
    """The warning about path noise if some of the noise does not belong to a step."""
    if (
        not job.noise.correlated
        or job.plan is None
        or all(key.interval is not None for key in job.plan.noises)
    ):
        return None
    return no_path(name_of(job.sampler) if job.sampler is not None else "this plan")


def names_no_class(job: Job) -> str | None:
    """The warning about a class-conditional network that is sampled without a class."""
    known = job.model.classes
    if job.model.predicts is None or not known or _has_label(job.cond):
        return None
    return (
        f"no class is given, but the network is conditional on classes 0 to {known - 1} and was rarely trained without "
        f"one; give a class, or cycle through all: --class 0-{known - 1} (cond={{'label': ...}})"
    )


def _has_label(cond: Mapping[str, Any]) -> bool:
    """Whether the conditioning, or one of its named conditions, has a label."""
    named = [value for value in cond.values() if isinstance(value, Mapping)]
    return any("label" in each for each in (cond, *named))
