"""Data in an `.npz` file."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from difftool.data.base import Arrays
from difftool.data.folder import SUFFIXES
from difftool.errors import DifftoolError

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
    try:
        opened = np.load(path, allow_pickle=False)
        if not isinstance(opened, np.lib.npyio.NpzFile):
            raise ValueError("it holds a single array")
        with opened as data:
            found = {
                name: next((data[key] for key in keys if key in data), None)
                for name, keys in NAMES.items()
            }
            names = ", ".join(data.files)
    except OSError as error:
        raise DifftoolError(f"cannot read {path}: {error.strerror or error}") from None
    except (ValueError, zipfile.BadZipFile, KeyError) as error:
        reason = folder = ""
        if "pickle" not in str(error):  # never unpickled, whatever it holds
            reason = f": {error}"
        if path.suffix.lower() in SUFFIXES:
            folder = "; for pictures, use folder:path=FOLDER"
        raise DifftoolError(
            f"{path} is not an .npz file of plain arrays{reason}{folder}"
        ) from None
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
