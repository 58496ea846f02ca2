"""Data in an `.npz` file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from difftool.data.base import Arrays
from difftool.data.folder import SUFFIXES
from difftool.errors import DifftoolError
from difftool.files.reading import opening_archive

NAMES = {
    "x": ("x", "images", "data", "samples", "arr_0"),
    "labels": ("labels", "label", "y"),
    "text": ("text",),
}


def npz(path: Path) -> Arrays:
    """The samples in an .npz file: `x`, `images`, `data` or `samples`; `labels`; and `text`.

    Labels may also be called `label` or `y`. Floats are used as they are, bytes are pictures
    0..255; (N, H, W) and (N, H, W, 3) become (N, 1, H, W) and (N, 3, H, W). Nothing is
    unpickled. Option: `path`. Raises `DifftoolError` for a file that cannot be read, and for
    other content.
    """
    if path.suffix.lower() in SUFFIXES:
        raise DifftoolError(f"{path} is a picture; for pictures, use folder:path=FOLDER")
    found: dict[str, Any] = {}
    with opening_archive(path) as data:
        for name, keys in NAMES.items():
            key = next((key for key in keys if key in data.names), None)
            found[name] = None if key is None else data.array(key)
        names = ", ".join(data.names)
    x = found["x"]
    if x is None:
        raise DifftoolError(
            f"{path} has no array named {', '.join(NAMES['x'][:-1])}; it has {names or 'none'}"
        )
    if x.dtype.kind not in "fiu":
        raise DifftoolError(f"the samples in {path} must be numbers, got {x.dtype}")
    if x.ndim == 3:
        x = x[:, None]
    elif x.ndim == 4 and x.shape[3] in (1, 3) and x.shape[1] not in (1, 3):
        x = np.moveaxis(x, 3, 1)
    try:
        return Arrays(np.ascontiguousarray(x), found["labels"], found["text"])
    except DifftoolError as error:
        raise DifftoolError(f"{path}: {error}") from None
