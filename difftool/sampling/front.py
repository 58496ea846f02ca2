"""`sample`: draw samples from a model."""

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
    """Draw samples from a model, (B, ...), in float32 (float64 if the network or x is).

    sampler: a sampler, or a plan (which already contains steps, grid, schedule and last);
        default: the one that `choose` picks for this model and number of steps, with its grid
        unless one is given.
    stochastic: let `choose` pick a stochastic sampler.
    shape: (B, ...), the number of samples and the shape of each. Omit it if x is given.
    steps: number of steps of the grid (default: 50, or as many as an explicit grid has).
        Adaptive samplers choose their own.
    nfe: number of network evaluations per sample, instead of steps; a guided one counts as two.
    grid: a grid, or the times themselves; default: that of `choose`, else the sampler's own,
        else uniform in the flow time.
    schedule: the noise schedule to sample along; default: the model's own, else vp-linear.
    x: the initial states (B, ...) at the first point of the grid; default: N(0, sigma^2) there.
    last: how the run enters sigma = 0, by a `step` of the sampler or the `mean` E[x_0 | x];
        default: set by the sampler.
    seed, noise: the random seed and the kind of noise. With independent and path noise, sample
        i gets the same noise whatever the batch size.
    cond: conditioning by name; tensors have one row per sample and are split with the batches.
    batch_size: number of samples that run together; default: all.
    device, dtype: moves the network there; default: the device of x, else that of the network,
        and the network's dtype. The state is at least float32.
    callback: called with a `Step` before every step of the grid, in order; with adaptive
        samplers at every evaluation.
    grad: keep the autograd graph; the sampler then runs as a plain loop.

    `prepare(...).nfe`, with the same options, tells what a run will cost.

    Raises `DifftoolError` for invalid or incompatible options, and `NonFinite` if the model
    returns NaN or infinity. Finite results far outside the data's range cause a
    `DifftoolWarning` that names likely causes.
    """
    if (shape is None) == (x is None):
        raise DifftoolError("sample takes either shape=(number, ...) or the initial states x")
    if callback is not None and not callable(callback):
        raise DifftoolError(f"callback must be a function that takes a Step, got {callback!r}")
    if x is not None:
        if not isinstance(x, Tensor) or not x.is_floating_point():
            if isinstance(x, Tensor):
                kind = x.dtype
            else:
                kind = type(x).__name__
            raise DifftoolError(f"x must be a floating-point tensor, got {kind}")
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
