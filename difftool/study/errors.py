"""The error of end points: the distance of each sample from its reference, and summaries of it.

    e_b = sqrt( mean_d (x_bd - r_bd)^2 )        the error of sample b, over its d elements
    rms = sqrt( mean_b e_b^2 ),  median,  max   over the samples

A few samples that end in another mode of the data dominate the RMS and do not affect the
median: check both.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from difftool.errors import DifftoolError


@dataclass(frozen=True, eq=False)
class Errors:
    """rms, median, max over samples; per_sample (B,), float64; in units of the data."""

    rms: float
    median: float
    max: float
    per_sample: Tensor


def errors(out: Tensor, ref: Tensor) -> Errors:
    """The errors of the end points `out`, (B, ...), against the reference `ref`.

    A sample of `out` that is not finite has infinite error. Raises `DifftoolError` if the
    shapes differ, there are no samples, or the reference is not finite.
    """
    if out.shape != ref.shape:
        raise DifftoolError(
            f"the result has shape {tuple(out.shape)}, the reference {tuple(ref.shape)}"
        )
    if not out.numel():
        raise DifftoolError(f"the result has shape {tuple(out.shape)}, no samples to compare")
    if not bool(torch.isfinite(ref).all()):
        raise DifftoolError("the reference is not finite")
    away = out.detach().cpu().double() - ref.detach().cpu().double()
    squares = away.reshape(len(away), -1).square().mean(1).nan_to_num(math.inf, posinf=math.inf)
    each = squares.sqrt()
    return Errors(
        float(squares.mean().sqrt()), float(each.quantile(0.5)), float(each.max()), each
    )
