"""Conditioning as a run takes it: tensors where the network is, with one row for each sample where they have rows."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from difftool.errors import DifftoolError
from difftool.models.base import as_rows


def conditioning(
    cond: Mapping[str, Any] | None, total: int, place: torch.device
) -> dict[str, Any]:
    """Arrays and lists of numbers as tensors, a `label` for each sample, in named conditions too. The rest as it is.

    Raises `DifftoolError` if it is no mapping by name.
    """
    if cond is not None and not (
        isinstance(cond, Mapping) and all(isinstance(name, str) for name in cond)
    ):
        raise DifftoolError(
            f"cond is conditioning by name, {{'label': ...}}, got {type(cond).__name__}"
        )
    rows = as_rows(cond or {})
    if "label" in rows:
        rows["label"] = _labels(rows["label"], total)
    for name, value in rows.items():
        if isinstance(value, Mapping):
            rows[name] = conditioning(value, total, place)
        elif isinstance(value, Tensor):
            rows[name] = value.to(place)
    return rows


def _labels(value: Any, total: int) -> Any:
    """(total,) of one label or one each, int64 if they are whole numbers; rows of features are left to the network."""
    if isinstance(value, numbers.Real):
        value = torch.as_tensor(value)
    if not isinstance(value, Tensor) or value.ndim > 1 or value.is_complex():
        return value
    if not value.is_floating_point():
        value = value.to(torch.int64)
    if value.ndim == 0:
        return value.expand(total)
    return value
