"""`prepare`: set up a run, before any random number is drawn."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import torch

from difftool.errors import DifftoolError, NotAffine
from difftool.errors.validation import check_kind
from difftool.grids import Grid
from difftool.models.base import Model
from difftool.noise import Independent, Noise
from difftool.plan import Plan
from difftool.samplers.base import Last, Sampler
from difftool.sampling.condition import conditioning
from difftool.sampling.decide import NAMED, Decision, decide
from difftool.sampling.job import Job, Loop, Planned
from difftool.schedules import Schedule

DTYPES = (None, torch.float16, torch.bfloat16, torch.float32, torch.float64)


def prepare(
    model: Model,
    sampler: Sampler | Plan | None = None,
    *,
    stochastic: bool = False,
    shape: Sequence[int],
    steps: int | None = None,
    nfe: int | None = None,
    grid: Grid | Sequence[float] | None = None,
    schedule: Schedule | None = None,
    last: Last | None = None,
    seed: int = 0,
    noise: Noise | None = None,
    cond: Mapping[str, Any] | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> Job:
    """Set up a run, before any random number is drawn; options and errors as in `sample`."""
    check_kind("model", model, Model)
    if sampler is not None:
        check_kind("sampler", sampler, (Sampler, Plan))
    if noise is None:
        noise = Independent()
    check_kind("noise", noise, Noise)
    if dtype not in DTYPES:
        raise DifftoolError(
            f"dtype must be torch.float16, bfloat16, float32 or float64, got {dtype!r}"
        )
    shape = _checked_shape(shape, model)
    target = _checked_device(model.device if device is None else device)
    model = model.to(target, dtype)
    decision: Decision | None = None
    plan: Plan | None = None
    if isinstance(sampler, Plan):
        if stochastic:
            raise DifftoolError(NAMED)
        if not (steps is nfe is grid is schedule is last is None):
            raise DifftoolError(
                "a plan already contains steps, grid, schedule and last; leave these options out"
            )
        plan = sampler
        _check_noise(plan, noise)
    else:
        decision = decide(
            model,
            sampler,
            stochastic=stochastic,
            steps=steps,
            nfe=nfe,
            grid=grid,
            schedule=schedule,
            last=last,
        )
        with suppress(NotAffine):
            plan = decision.traced(noise)
    double = (dtype or model.dtype) == torch.float64
    settings: dict[str, Any] = {
        "model": model,
        "decision": decision,
        "noise": noise,
        "seed": seed,
        "total": shape[0],
        "shape": shape[1:],
        "cond": conditioning(cond, shape[0], target),
        "device": target,
        "dtype": torch.float64 if double else torch.float32,
    }
    if plan is None:
        return Loop(**settings)
    return Planned(plan=plan, **settings)


def _check_noise(plan: Plan, noise: Noise) -> None:
    """Raise `DifftoolError` if the plan was traced for another kind of noise."""
    intervals = [key.interval is not None for key in plan.noises]
    if not noise.correlated and any(intervals):
        raise DifftoolError("this plan was traced for path noise; pass noise=BrownianPath()")
    if noise.correlated and intervals and not any(intervals):
        raise DifftoolError(
            "this plan was traced for independent noise; trace it with correlated=True for path noise"
        )


def _checked_device(device: torch.device | str) -> torch.device:
    """The device; `DifftoolError` if it does not exist or cannot compute."""
    try:
        target = torch.device(device)
        torch.zeros(1, device=target).tolist()
    except (RuntimeError, AssertionError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise DifftoolError(
            f"cannot compute on device {str(device)!r} ({reason}); use cpu"
        ) from None
    return target


def _checked_shape(shape: Sequence[int], model: Model) -> tuple[int, ...]:
    try:
        sizes = tuple(operator.index(n) for n in shape)
    except (TypeError, ValueError):
        raise DifftoolError(
            f"shape must be (number, ...), whole numbers, got {shape!r}"
        ) from None
    if not sizes or any(n < 1 for n in sizes):
        raise DifftoolError(f"shape must be (number, ...), each at least 1, got {sizes}")
    if model.shape is not None and sizes[1:] != model.shape:
        raise DifftoolError(
            f"shape must be ({', '.join(['number', *map(str, model.shape)])}) for this model, got {sizes}"
        )
    return sizes
