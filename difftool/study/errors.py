"""The error of end points: how far each sample is from its reference, and the figures made of that.

    e_b = sqrt( mean_d (x_bd - r_bd)^2 )        the error of sample b, over its d elements
    rms = sqrt( mean_b e_b^2 ),  median,  max   over the samples

A few samples that end in another mode of the data rule the RMS; the median does not see them. Look at both.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from difftool.errors import DifftoolError


@dataclass(frozen=True, eq=False)
class Errors:
    """rms, median and max over the samples, and the error of each, (B,), float64; in units of the data."""

    rms: float
    median: float
    max: float
    per_sample: Tensor


def errors(out: Tensor, ref: Tensor) -> Errors:
    """The errors of the end points `out`, (B, ...), against the reference `ref`, of the same shape.

    A sample of `out` that is not finite counts as infinitely far. Raises `DifftoolError` if the shapes differ, there is
    no sample, or the reference is not finite.
    """
    if out.shape != ref.shape:
        raise DifftoolError(
            f"the result has shape {tuple(out.shape)}, the reference {tuple(ref.shape)}"
        )
    if not out.numel():
        raise DifftoolError(
            f"the result has shape {tuple(out.shape)}: there is no sample to compare"
        )
    if not bool(torch.isfinite(ref).all()):
        raise DifftoolError("the reference is not finite")
    away = out.detach().cpu().double() - ref.detach().cpu().double()
    squares = away.reshape(len(away), -1).square().mean(1).nan_to_num(math.inf, posinf=math.inf)
    each = squares.sqrt()
    return Errors(
        float(squares.mean().sqrt()), float(each.quantile(0.5)), float(each.max()), each
    )
