"""A folder of pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from difftool.data.pictures import Pictures
from difftool.errors import DifftoolError
from difftool.files.reading import open_picture

SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".pgm", ".ppm"}


class Folder(Pictures):
    """The pictures in a folder and its subfolders, sorted by path.

    If all pictures are in direct subfolders, the sorted names of these are the classes.
    Options: `path`; `size`, the side in pixels to crop to; `grey`, one channel. Raises
    `DifftoolError` if the folder does not exist or has no pictures, for pictures of different
    sizes, and if more than 1% of them cannot be read.
    """

    def __init__(self, path: Path, size: int | None = None, grey: bool | None = None):
        self.path = Path(path)
        if not self.path.is_dir():
            raise DifftoolError(f"there is no folder {self.path}")
        self.files = sorted(
            file for file in self.path.rglob("*") if file.suffix.lower() in SUFFIXES
        )
        if not self.files:
            raise DifftoolError(
                f"the folder {self.path} has no pictures ({', '.join(sorted(SUFFIXES))})"
            )
        below = [file.relative_to(self.path).parts for file in self.files]
        if all(len(parts) == 2 for parts in below):
            names = sorted({parts[0] for parts in below})
        else:
            names = []
        self.class_names = names
        if names:
            labels = torch.tensor([names.index(parts[0]) for parts in below])
        else:
            labels = None
        super().__init__(len(self.files), labels, len(names) or None, size, grey)

    def open(self, i: int) -> Any:
        return open_picture(self.files[i])

    def name(self, i: int) -> str:
        return str(self.files[i])
