"""What is said of a run before a network is asked: lines about what its options will not do, or do silently."""

from __future__ import annotations

import warnings

from difftool.errors import DifftoolWarning
from difftool.models import NetworkModel
from difftool.models.base import Wrapped
from difftool.sampling.job import Job
from difftool.sampling.rule import start_of
from difftool.sampling.scale import will_run_away

SIGNAL = 0.25  # alpha / sigma from which on a start is not taken for one of pure noise


def warn_beforehand(job: Job, given: bool = False) -> None:
    """A `DifftoolWarning` for every line; given: the states to start from are given."""
    start = None if given else starts_in_the_data(job)
    for line in (will_run_away(job), start, has_no_path(job), names_no_class(job)):
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
    if p.t >= top:
        return None
    return (
        f"the run starts at t={p.t:g} from noise alone, where alpha = {p.alpha:.2g}, sigma = {p.sigma:.2g}: the data's "
        f"part of it is missing, and the samples with it; start at t={top:g}, or give x = alpha x_0 + sigma eps"
    )


def has_no_path(job: Job) -> str | None:
    """Path noise, where some noises are not those of a step."""
    if not job.noise.correlated or job.plan is None or all(key.interval is not None for key in job.plan.noises):
        return None
    name = job.sampler.name if job.sampler is not None else "this plan"
    return f"{name} adds noise that belongs to no step: with path noise that part is independent, as without"


def names_no_class(job: Job) -> str | None:
    """A network of classes that is asked without one: of that it has learned little."""
    model = job.model
    while isinstance(model, Wrapped):
        model = model.model
    known = getattr(model.net, "classes", None) if isinstance(model, NetworkModel) else None
    if not isinstance(known, int) or known < 1 or "label" in job.cond:
        return None
    return (
        f"the network knows classes 0 to {known - 1}, and without one it draws by the small part of its training that "
        f"had none; name one, or all in turn: --class 0-{known - 1} (cond={{'label': ...}})"
    )
