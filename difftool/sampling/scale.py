"""Warnings about divergence: samples far outside the data's range, and unstable plans."""

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

# largest |x0| if the data's range is not known: networks are trained on data of about unit size
UNKNOWN = 1e3
FEW = 0.01  # fraction of the samples that may lie outside twice the data's range
FAR = 10.0  # half-widths of the range that no single sample may lie outside it


def will_run_away(job: Job) -> str | None:
    """The warning, before the run starts, if guidance makes the plan unstable; else None.

    Predicted by `plan.stability.guided_growth`: Gaussian classes in Gaussian data, which a
    stable run contracts. Not predicted for negative guidance, whose flow itself grows, for
    clipped models, and for plans that ask for more than x0.
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
        known = f" (stability interval {found.real:.2g})"
    return (
        f"guidance {scale:g} is unstable in {job.steps} steps of {job.sampler.name if job.sampler else 'this plan'}"
        f"{known}: on Gaussian data the samples end up {growth:.2g} times as large as the data; "
        f"try {', '.join(['more steps', 'less guidance', *_no_noise(job), *_clipping(job.model)])}"
    )


def _no_noise(job: Job) -> list[str]:
    return ["a deterministic sampler"] * (job.sampler is not None and job.sampler.stochastic)


def ran_away(job: Job, x: Tensor) -> str | None:
    """The warning if samples x (B, ...) lie far outside the data's range; else None.

    The range is the model's `data_range`, else -1000 to 1000, widened by the noise if the run
    ends above sigma = 0. Warns if more than 1% of the samples exceed twice the range, or one of
    them far exceeds it.
    """
    astray = Astray(job)
    astray.count(x)
    return astray.line()


@dataclass
class Astray:
    """The warning of `ran_away`, for samples that arrive in batches."""

    job: Job
    samples: int = 0
    outside: int = 0
    furthest: float = -math.inf
    largest: float = 0.0

    @property
    def limits(self) -> tuple[float, float]:
        """The range of the data, as far as known."""
        return self.job.model.data_range or (-UNKNOWN, UNKNOWN)

    @property
    def half(self) -> float:
        """Half the width of the range."""
        return (self.limits[1] - self.limits[0]) / 2

    def count(self, x: Tensor) -> None:
        """Count the samples of a batch."""
        (low, high), alpha, noise = self.limits, self.job.end.alpha, 6 * self.job.end.sigma
        flat = x.detach().reshape(len(x), -1)
        beyond = (flat.amax(1) - alpha * high).maximum(alpha * low - flat.amin(1)) - noise
        self.samples += len(x)
        self.outside += int((beyond > self.half).sum())
        self.furthest = max(self.furthest, float(beyond.max()))
        self.largest = max(self.largest, float(flat.abs().max()))

    def line(self) -> str | None:
        """The warning about all batches so far; None if there is nothing to report."""
        if self.outside <= FEW * self.samples and self.furthest <= FAR * self.half:
            return None
        low, high = self.limits
        if self.job.model.data_range:
            known = f"{low:.4g} to {high:.4g}, the range of the data"
        else:
            known = f"+-{UNKNOWN:g}"
        return (
            f"{self.outside} of {self.samples} samples lie far outside {known}: |x| reaches {self.largest:.3g}; "
            f"{_ways_out(self.job)}"
        )


def _ways_out(job: Job) -> str:
    """Possible causes, and what to try."""
    model, steps = job.model, f"more steps than {job.steps}"
    ways = [steps if job.sampler is None or not job.sampler.adaptive else "tighter tolerances"]
    if abs(model.guidance) > 1:
        ways.append(f"a guidance closer to 1 than {model.guidance:g}")
    if job.sampler is not None and (job.sampler.accuracy or 0) > 1:
        ways.append("a sampler of lower order than " + job.sampler.name)
    if model.predicts in NOISE and job.origin.level > STEEP:
        ways.append(
            f"a later start than alpha = {job.origin.alpha:.2g}, where an error of {model.predicts} is multiplied by "
            f"{job.origin.level:.0f} in x0"
        )
    ways += _clipping(model)
    return f"try {', '.join(ways)}; or the network is undertrained"


def _clipping(model: Model) -> list[str]:
    """Advice on clipping: use it if the range is known; drop it if used, as it costs order."""
    if _clipped(model):
        return ["no clipping"]
    if model.data_range is None:
        return []
    return ["clipping"]


def _clipped(model: Model, guided: bool = False) -> bool:
    """Whether the model's estimates are clipped; guided: clipped after guidance, not before."""
    while (
        isinstance(model, Wrapped)
        and not isinstance(model, Clipped)
        and not (guided and isinstance(model, Guided))
    ):
        model = model.model
    return isinstance(model, Clipped)
