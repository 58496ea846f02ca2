"""Class labels for models: whole numbers, -1 for no class."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from difftool.errors import DifftoolError


def whole_labels(label: Any, known: str) -> Tensor:
    """Labels as int64, () or (B,); `DifftoolError` unless whole numbers >= -1."""
    try:
        labels = torch.as_tensor(label)
        whole = labels.long()
    except (TypeError, ValueError, RuntimeError, NotImplementedError):
        whole = labels = torch.tensor(math.nan)
    if labels.ndim > 1 or not bool((whole == labels).all()):
        raise DifftoolError(
            f"labels must be whole numbers, one for each sample, got {label!r}; the model knows: {known}"
        )
    if bool((whole < -1).any()):
        raise DifftoolError(f"unknown class {int(whole.min())}; the model knows: {known}")
    return whole
