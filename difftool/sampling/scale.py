"""Results that ran away, finite numbers far outside of where the data lie; and runs that will."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from difftool.models import Clipped, Guided, Model
from difftool.models.base import Wrapped
from difftool.plan.analysis import beyond_x0
from difftool.plan.stability import guided_growth, stability
from difftool.sampling.default import LARGEST, NOISE, STEEP
from difftool.sampling.job import Job

UNKNOWN = 1e3  # |x0| that no data have whose range is not known: networks are trained on data of about unit size
FEW = 0.01  # part of the samples that may lie outside twice the data's range
FAR = 10.0  # half-widths of the range that not even one sample may lie outside it


def will_run_away(job: Job) -> str | None:
    """The line about a guidance under which the plan is unstable, before a network is asked; None if it is not.

    By `plan.stability.guided_growth`: Gaussian classes in Gaussian data, which a stable run draws together. It says
    nothing of negative guidance, whose very flow grows, of models that are clipped, and of plans
    that ask for more than x0.
    """
    scale, plan = job.model.guidance, job.plan
    if plan is None or scale <= 1 or _clipped(job.model, guided=True):
        return None
    if beyond_x0(plan) is not None:
        return None
    growth = guided_growth(plan, scale)
    if growth <= LARGEST:
        return None
    if job.sampler is None:
        found = None
    else:
        found = stability(job.sampler)
    if found is None:
        known = ""
    else:
        known = f", whose stability interval is {found.real:.2g}"
    return (
        f"guidance {scale:g} is unstable in {job.steps} steps of {job.sampler.name if job.sampler else 'this plan'}"
        f"{known}: on Gaussian data the samples end {growth:.2g} times as large as the data; "
        f"try {', '.join(['more steps', 'less guidance', *_no_noise(job), *_clipping(job.model)])}"
    )


def _no_noise(job: Job) -> list[str]:
    return ["a deterministic sampler"] * (job.sampler is not None and job.sampler.stochastic)


def ran_away(job: Job, x: Tensor) -> str | None:
    """The line about samples x (B, ...) that lie far outside of what the data allow; None if they do not.

    The range of the data is the model's `data_range`, else 1000 to both sides; where a run ends above sigma = 0 its
    noise is allowed for. Said if more than 1% of the samples reach beyond twice the range, or one of them far beyond.
    """
    astray = Astray(job)
    astray.count(x)
    return astray.line()


@dataclass
class Astray:
    """What `ran_away` says of samples that come in batches."""

    job: Job
    samples: int = 0
    outside: int = 0
    furthest: float = -math.inf
    largest: float = 0.0

    @property
    def limits(self) -> tuple[float, float]:
        """What the data keep within, as far as is known."""
        return self.job.model.data_range or (-UNKNOWN, UNKNOWN)

    @property
    def half(self) -> float:
        """Half of its width."""
        return (self.limits[1] - self.limits[0]) / 2

    def count(self, x: Tensor) -> None:
        """Take note of a batch."""
        (low, high), alpha, noise = self.limits, self.job.end.alpha, 6 * self.job.end.sigma
        flat = x.detach().reshape(len(x), -1)
        beyond = (flat.amax(1) - alpha * high).maximum(alpha * low - flat.amin(1)) - noise
        self.samples += len(x)
        self.outside += int((beyond > self.half).sum())
        self.furthest = max(self.furthest, float(beyond.max()))
        self.largest = max(self.largest, float(flat.abs().max()))

    def line(self) -> str | None:
        """The line about all of them."""
        if self.outside <= FEW * self.samples and self.furthest <= FAR * self.half:
            return None
        low, high = self.limits
        if self.job.model.data_range:
            known = f"{low:.4g} to {high:.4g}, the range of the data"
        else:
            known = f"+-{UNKNOWN:g}"
        return (
            f"{self.outside} of {self.samples} samples lie far outside of {known}: |x| reaches {self.largest:.3g}; "
            f"{_ways_out(self.job)}"
        )


def _ways_out(job: Job) -> str:
    """What may have been the cause, and what to try."""
    model, steps = job.model, f"more steps than {job.steps}"
    ways = [steps if job.sampler is None or not job.sampler.adaptive else "tighter tolerances"]
    if abs(model.guidance) > 1:
        ways.append(f"a guidance nearer to 1 than {model.guidance:g}")
    if job.sampler is not None and (job.sampler.accuracy or 0) > 1:
        ways.append("a sampler of lower order than " + job.sampler.name)
    if model.predicts in NOISE and job.origin.level > STEEP:
        worse = f"{job.origin.level:.0f} times an error of {model.predicts}"
        ways.append(
            f"a later start than alpha = {job.origin.alpha:.2g}, where that of x0 is {worse}"
        )
    ways += _clipping(model)
    return f"try {', '.join(ways)}; or the network is not trained well enough"


def _clipping(model: Model) -> list[str]:
    """Clipping, where the range is known; where it is done already, to leave it out: it costs orders above 1."""
    if _clipped(model):
        return ["no clipping"]
    if model.data_range is None:
        return []
    return ["clipping"]


def _clipped(model: Model, guided: bool = False) -> bool:
    """Whether its estimates are clipped; `guided`: after the guidance, not before it."""
    while (
        isinstance(model, Wrapped)
        and not isinstance(model, Clipped)
        and not (guided and isinstance(model, Guided))
    ):
        model = model.model
    return isinstance(model, Clipped)
