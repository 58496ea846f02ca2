"""Pictures loaded one by one: decoded by Pillow, cropped to one size, and cached as bytes.

Pictures that cannot be decoded are reported, skipped and counted. The next readable one takes
their place.
"""

from __future__ import annotations

import warnings
from abc import abstractmethod
from concurrent.futures import ThreadPoolExecutor
from os import cpu_count
from typing import Any

import torch
from torch import Tensor

from difftool.data.base import Batch, Dataset
from difftool.errors import DifftoolError, DifftoolWarning
from difftool.errors.validation import check_side

KEPT = 2**31  # bytes of decoded pictures that are cached in memory, at most
LIMIT = 0.01  # share of pictures that may be unreadable; FEW are always allowed
FEW = 10


class Pictures(Dataset):
    """Pictures by index; a subclass opens them.

    size: the side in pixels: the shorter side is scaled to it and the center cropped (none:
    unchanged, all pictures must have one size). grey: one channel instead of three (none: like
    the first picture).

    EXIF orientation is applied, 16 bits are reduced to 8, and transparency is dropped. Raises
    `DifftoolError` for pictures of different sizes, and if more than 1% of them (and more than
    10, or a quarter) cannot be read.
    """

    def __init__(
        self,
        count: int,
        labels: Tensor | None,
        classes: int | None,
        size: int | None,
        grey: bool | None,
    ):
        check_side(size)
        self.count, self.labels, self.classes, self.size = count, labels, classes, size
        self.skipped: dict[int, str] = {}
        self.grey = grey
        first = next((a for i in range(count) if (a := self._read(i)) is not None), None)
        if first is None:
            raise DifftoolError(
                f"none of the {count} pictures can be read; the first error: {self.skipped.get(0)}"
            )
        self.grey = len(first) == 1
        self.shape = tuple(first.shape)
        small = count * first.numel() <= KEPT
        self.kept: Tensor | None = None
        if small:
            self.kept = torch.empty(count, *self.shape, dtype=torch.uint8)
        self.known = torch.zeros(count, dtype=torch.bool)
        self._pool = ThreadPoolExecutor(cpu_count())

    @abstractmethod
    def open(self, i: int) -> Any:
        """Picture i, opened by Pillow."""

    @abstractmethod
    def name(self, i: int) -> str:
        """The name of picture i in error messages."""

    def __len__(self) -> int:
        return self.count

    def batch(self, index: Tensor) -> Batch:
        numbers = index.tolist()
        places = [*self._pool.map(self._place, numbers)]
        x = torch.stack([a for _, a in places]).float() / 127.5 - 1
        if self.labels is None:
            label = None
        else:
            label = self.labels[torch.tensor([i for i, _ in places])]
        return Batch(x, label)

    def _place(self, i: int) -> tuple[int, Tensor]:
        """Picture i, or the next readable one, with its index."""
        for step in range(self.count):
            j = (i + step) % self.count
            if self.kept is not None and self.known[j]:
                return j, self.kept[j]
            array = None if j in self.skipped else self._read(j)
            if array is not None:
                if self.kept is not None:
                    self.kept[j] = array
                    self.known[j] = True
                return j, array
        raise DifftoolError("none of the pictures can be read any more")

    def _read(self, i: int) -> Tensor | None:
        """Picture i as bytes (C, H, W); None, with a warning, if it cannot be decoded."""
        try:
            with self.open(i) as opened:
                array = self._cut(opened)
        except MemoryError:
            raise
        except Exception as error:  # decoders fail on damaged pictures in many ways
            self.skipped[i] = (
                f"{self.name(i)}: {' '.join(str(error).split()) or type(error).__name__}"
            )
            text = f"{self.skipped[i]}; skipped, {len(self.skipped)} of {self.count}"
            warnings.warn(text, DifftoolWarning, stacklevel=2)
            if len(self.skipped) > max(min(FEW, self.count // 4), LIMIT * self.count):
                raise DifftoolError(
                    f"{len(self.skipped)} of {self.count} pictures cannot be read, the last one {self.skipped[i]}; "
                    f"remove them"
                ) from None
            return None
        if hasattr(self, "shape") and tuple(array.shape) != self.shape:
            (_, h, w), (_, height, width) = array.shape, self.shape
            raise DifftoolError(
                f"the pictures have different sizes: {self.name(i)} has {w}x{h}, the first one {width}x{height}; "
                f"give a size to crop them to"
            )
        return array

    def _cut(self, picture: Any) -> Tensor:
        import numpy as np
        from PIL import Image, ImageOps

        grey = self.grey
        if grey is None:
            grey = picture.mode in ("1", "L", "F") or picture.mode.startswith("I")
        picture = ImageOps.exif_transpose(picture)
        if picture.mode.startswith("I"):  # 16 bits, which `convert` would clip at 255
            picture = Image.fromarray(
                (np.asarray(picture, np.float64) / 257).round().clip(0, 255).astype(np.uint8)
            )
        picture = picture.convert("L" if grey else "RGB")
        if self.size is not None and picture.size != (self.size, self.size):
            picture = ImageOps.fit(picture, (self.size, self.size), Image.Resampling.LANCZOS)
        array = torch.from_numpy(np.array(picture, dtype=np.uint8))
        if grey:
            return array[None]
        return array.permute(2, 0, 1).contiguous()
