"""Data sets: samples of one shape by index, optionally with a class or a text each.

A sample is a float32 tensor; pictures are in [-1, 1]. `batch` returns the same samples for the
same indices every time, so storing the indices is enough to reproduce the data.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from difftool.errors import DifftoolError
from difftool.errors.validation import is_whole

LOOKED_AT = 4096  # samples that are checked for the range of a data set


class Batch(NamedTuple):
    """x (B, ...), float32; label (B,), int64, or None; text (B, L, D), float32, or None."""

    x: Tensor
    label: Tensor | None = None
    text: Tensor | None = None

    @property
    def cond(self) -> dict[str, Tensor]:
        """The conditioning by name, as passed to networks."""
        return {
            name: v for name, v in (("label", self.label), ("text", self.text)) if v is not None
        }

    def map(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """Apply a function to x, label and text, as far as present."""
        label, text = (None if v is None else change(v) for v in (self.label, self.text))
        return Batch(change(self.x), label, text)


class Dataset(ABC):
    """Samples of one shape by index.

    shape: the shape of one sample; classes: labels are 0 .. classes - 1 (None: no labels);
    text: the size of the text vectors (None: no texts).
    """

    shape: tuple[int, ...]
    classes: int | None = None
    text: int | None = None

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def batch(self, index: Tensor) -> Batch:
        """The samples at the given indices, (B,) int64."""

    def all(self) -> Batch:
        """All samples at once."""
        return self.batch(torch.arange(len(self)))


def data_range(data: Dataset) -> tuple[float, float]:
    """The smallest and largest value in a part of the data; (-1, 1) for pictures within it."""
    few = torch.linspace(0, len(data) - 1, min(len(data), LOOKED_AT)).round().long()
    x = data.batch(few).x
    low, high = float(x.min()), float(x.max())
    if x.ndim == 4 and low >= -1 and high <= 1:
        return (-1.0, 1.0)
    return (low, high)


class Part(Dataset):
    """A fixed random subset of another data set, with `count` samples.

    count: from 1 to the size of the data set; `DifftoolError` otherwise.
    """

    def __init__(self, data: Dataset, count: int):
        if not is_whole(count, 1, len(data)):
            raise DifftoolError(
                f"samples must be a whole number from 1 to {len(data)}, the size of the data set, got {count!r}"
            )
        self.data, self.shape, self.classes, self.text = (
            data,
            data.shape,
            data.classes,
            data.text,
        )
        g = torch.Generator().manual_seed(0)
        self.rows = torch.randperm(len(data), generator=g)[:count]

    def __len__(self) -> int:
        return len(self.rows)

    def batch(self, index: Tensor) -> Batch:
        return self.data.batch(self.rows[index])


class Arrays(Dataset):
    """Samples in memory: x (N, ...), and optionally labels (N,) and text (N, L, D).

    x holds floats, or bytes 0..255 for pictures in [-1, 1]. Raises `DifftoolError` for arrays
    of different lengths, empty arrays, values that are not finite and labels below 0.
    """

    def __init__(self, x: Any, labels: Any = None, text: Any = None):
        self.x = torch.as_tensor(x)
        if self.x.dtype != torch.uint8:
            self.x = self.x.float()
        if labels is None:
            self.labels = None
        else:
            self.labels = torch.as_tensor(labels).long()
        if text is None:
            self.texts = None
        else:
            self.texts = torch.as_tensor(text).float()
        for name, array in (("labels", self.labels), ("text", self.texts)):
            if array is not None and len(array) != len(self.x):
                raise DifftoolError(
                    f"got {len(self.x)} samples and {len(array)} {name}; give one for each sample"
                )
        if self.texts is not None:
            if self.texts.ndim == 2:
                self.texts = self.texts[:, None]
            if self.texts.ndim != 3 or not bool(torch.isfinite(self.texts).all()):
                raise DifftoolError(
                    f"texts must be finite, of shape (N, L, D) or (N, D), got {tuple(self.texts.shape)}"
                )
        if self.x.ndim < 2 or not len(self.x):
            raise DifftoolError(
                f"samples must have the shape (N, ...) with N >= 1, got {tuple(self.x.shape)}"
            )
        if not bool(torch.isfinite(self.x).all()):
            raise DifftoolError("the samples contain NaN or infinity")
        if self.labels is not None and (self.labels.ndim != 1 or int(self.labels.min()) < 0):
            raise DifftoolError(
                "labels must be whole numbers of at least 0, one for each sample"
            )
        self.shape = tuple(self.x.shape[1:])
        if self.labels is None:
            self.classes = None
        else:
            self.classes = int(self.labels.max()) + 1
        if self.texts is None:
            self.text = None
        else:
            self.text = int(self.texts.shape[-1])

    def __len__(self) -> int:
        return len(self.x)

    def batch(self, index: Tensor) -> Batch:
        x = self.x[index]
        if x.dtype == torch.uint8:
            x = x.float() / 127.5 - 1
        if self.labels is None:
            label = None
        else:
            label = self.labels[index]
        return Batch(x, label, None if self.texts is None else self.texts[index])
