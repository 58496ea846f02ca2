"""Conditioning prepared for a run: tensors on the network's device, labels one per sample."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from difftool.errors import DifftoolError
from difftool.models.base import as_rows


def conditioning(
    cond: Mapping[str, Any] | None, total: int, device: torch.device
) -> dict[str, Any]:
    """Convert arrays and lists of numbers to tensors, and a `label` to one label per sample.

    Named conditions are converted too; other values are kept. Raises `DifftoolError` unless
    cond is a mapping from names.
    """
    if cond is not None and not (
        isinstance(cond, Mapping) and all(isinstance(name, str) for name in cond)
    ):
        raise DifftoolError(
            f"cond must be a mapping from names, {{'label': ...}}, got {type(cond).__name__}"
        )
    rows = as_rows(cond or {})
    if "label" in rows:
        rows["label"] = _labels(rows["label"], total)
    for name, value in rows.items():
        if isinstance(value, Mapping):
            rows[name] = conditioning(value, total, device)
        elif isinstance(value, Tensor):
            rows[name] = value.to(device)
    return rows


def _labels(value: Any, total: int) -> Any:
    """Labels (total,), int64 if whole, from one or one per sample; other values are kept."""
    if isinstance(value, numbers.Real):
        value = torch.as_tensor(value)
    if not isinstance(value, Tensor) or value.ndim > 1 or value.is_complex():
        return value
    if not value.is_floating_point():
        value = value.to(torch.int64)
    if value.ndim == 0:
        return value.expand(total)
    return value
