"""`sample`: samples of a model by a sampler."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from difftool.errors import DifftoolError, NonFinite, warn
from difftool.grids import Grid
from difftool.models.base import Model
from difftool.noise import Noise
from difftool.plan.plan import Plan
from difftool.samplers.base import Last, Sampler
from difftool.sampling.beforehand import warn_beforehand
from difftool.sampling.job import batches
from difftool.sampling.prepare import prepare
from difftool.sampling.scale import ran_away
from difftool.sampling.watch import Callback
from difftool.schedules import Schedule


def sample(
    model: Model,
    sampler: Sampler | Plan | None = None,
    *,
    stochastic: bool = False,
    shape: Sequence[int] | None = None,
    steps: int | None = None,
    nfe: int | None = None,
    grid: Grid | Sequence[float] | None = None,
    schedule: Schedule | None = None,
    x: Tensor | None = None,
    last: Last | None = None,
    seed: int = 0,
    noise: Noise | None = None,
    cond: Mapping[str, Any] | None = None,
    batch_size: int | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    callback: Callback | None = None,
    grad: bool = False,
) -> Tensor:
    """Samples of the model, (B, ...), float32 (float64 if the network or x is).

    sampler: a sampler, or a plan (which has steps, grid, schedule and last step in it); default: what `choose` takes
        for this model and this many steps, with its grid unless one is named.
    stochastic: let `choose` take a stochastic one.
    shape: (B, ...), the number of samples and the shape of one. Left out if x is given.
    steps: steps of the grid (default 50, or what an explicit grid has); adaptive samplers choose their own.
    nfe: network evaluations, in place of steps.
    grid: a grid, or the times themselves; default: that of `choose`, else the sampler's own, else uniform in the flow
        time.
    schedule: the sampling schedule; default: the model's own, else vp-linear.
    x: the state to start from, (B, ...), at the first point of the grid; default: N(0, sigma^2) there.
    last: how the run enters sigma = 0, a `step` of the sampler or the `mean` E[x_0 | x]; default: as the sampler says.
    seed, noise: which numbers are drawn and how; sample i gets the same noise in every batch (independent, path noise).
    cond: conditioning by name; tensors have one row for each sample and are cut with the batch.
    batch_size: samples that run together; default: all.
    device, dtype: of the network, which is moved there (default: where x is, else where the network is, and what it
        is); the state is at least float32.
    callback: called with a `Step` before every step of the grid, in order; by adaptive samplers at every evaluation.
    grad: keep the graph for autograd; the sampler then runs as the plain loop.

    What a run will cost is `prepare(...).nfe`, with the same options.

    Raises `DifftoolError` for anything that does not fit, `NonFinite` if the model returns NaN or infinity. Finite
    results that lie far outside of the data's range are a `DifftoolWarning` with their likely causes.
    """
    if (shape is None) == (x is None):
        raise DifftoolError(
            "sample takes either shape=(number, ...) or the states x to start from"
        )
    if callback is not None and not callable(callback):
        raise DifftoolError(f"callback is a function of a Step, got {callback!r}")
    if x is not None:
        if not isinstance(x, Tensor) or not x.is_floating_point():
            if isinstance(x, Tensor):
                kind = x.dtype
            else:
                kind = type(x).__name__
            raise DifftoolError(f"x is a tensor of floating numbers, got {kind}")
        shape, device = tuple(x.shape), device or x.device
    assert shape is not None
    job = prepare(
        model, sampler, stochastic=stochastic, shape=shape, steps=steps, nfe=nfe, grid=grid, schedule=schedule,
        last=last, seed=seed, noise=noise, cond=cond, device=device, dtype=dtype,
    )  # fmt: skip
    if x is not None and x.dtype == torch.float64:
        job = job.in_double()
    warn_beforehand(job, started=x is not None)
    parts: list[Tensor] = []
    for first, count in batches(job.total, batch_size):
        start = None if x is None else x[first : first + count]
        try:
            parts.append(job.batch(first, count, start, callback, grad))
        except NonFinite as error:
            error.done = torch.cat(parts) if parts else None
            raise
    if len(parts) > 1:
        out = torch.cat(parts)
    else:
        out = parts[0]
    warn(ran_away(job, out))
    return out
