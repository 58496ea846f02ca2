"""What is in a folder and in a file, read without difftool."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np


def files(folder: Path) -> list[str]:
    """All that is in a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def read(file: Path | str) -> tuple[np.ndarray, dict[str, Any]]:
    """Samples (pixels, of a picture) and recipe of an output, without difftool."""
    path = Path(file)
    if path.suffix == ".npz":
        with np.load(path) as data:
            return data["samples"], json.loads(str(data["recipe"]))
    if path.suffix == ".safetensors":
        from safetensors import safe_open

        with safe_open(str(path), framework="np") as handle:
            return handle.get_tensor("samples"), json.loads(handle.metadata()["difftool"])
    from PIL import Image

    with Image.open(path) as picture:
        return np.asarray(picture), json.loads(picture.info["difftool"])  # type: ignore[arg-type]
