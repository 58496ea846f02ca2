"""Samples on disk, each file with its recipe: PNG text chunk, npz array, safetensors metadata.

A recipe is a JSON object: the specs and numbers of a run, enough to repeat it bit for bit on
the same device with the same batch size and number of threads.
"""

from __future__ import annotations

import json
import os
import zipfile
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from difftool.errors import DifftoolError
from difftool.files.writing import check_writable, free_name, writing

if TYPE_CHECKING:
    from torch import Tensor

FORMAT, VERSION = "difftool-recipe", 3
SUFFIXES = (".png", ".npz", ".safetensors")
KEY = "difftool"
PNG, PNG_END = (
    b"\x89PNG\r\n\x1a\n",
    b"\0\0\0\0IEND\xaeB`\x82",
)  # the first and last bytes of a PNG file


def check_out(file: Path | None, force: bool) -> None:
    """Raise `DifftoolError` if samples cannot be written there (suffix, folder, exists)."""
    if file is None:
        if force:
            raise DifftoolError(
                "--force needs an explicit --out; without one, every run gets a new name"
            )
        check_writable(free_name("difftool", Path(), ".npz"))
        return
    if not file.name or os.path.isdir(file):
        raise DifftoolError(f"--out must be a file, got the folder {file}")
    if file.suffix.lower() not in SUFFIXES:
        film = ""
        if file.suffix == ".gif":
            film = f"; for an animation of the run use difftool trajectory --out {file}"
        raise DifftoolError(f"--out {file} must end in {', '.join(SUFFIXES)}{film}")
    check_writable(file, force)


def check_picture(file: Path, shape: tuple[int, ...]) -> None:
    """Raise `DifftoolError` if the file is a .png and samples of that shape cannot be drawn."""
    if file.suffix.lower() == ".png" and not is_picture(shape):
        raise DifftoolError(
            f"{file}: samples of shape {shape} cannot be drawn; use .npz or .safetensors"
        )


def is_picture(shape: tuple[int, ...]) -> bool:
    """True if samples of that shape can be drawn: images with 1 or 3 channels, points (2,)."""
    return shape == (2,) or (len(shape) == 3 and shape[0] in (1, 3))


def save(
    samples: Tensor, file: Path, recipe: dict[str, Any], title: str = "", overwrite: bool = False,
    columns: int | None = None,
) -> None:  # fmt: skip
    """Write samples (n, ...) in the format of the file's suffix; columns: of a picture."""
    text = json.dumps(recipe)
    array = samples.detach().cpu()
    with writing(file, overwrite) as temporary:
        if file.suffix.lower() == ".npz":
            with temporary.open("wb") as handle:
                np.savez(handle, samples=array.numpy(), recipe=np.array(text))
        elif file.suffix.lower() == ".safetensors":
            from safetensors.torch import save_file

            save_file({"samples": array.contiguous()}, temporary, metadata={KEY: text})
        else:
            _save_png(array, temporary, text, title, columns)


def _save_png(array: Tensor, file: Path, text: str, title: str, columns: int | None) -> None:
    from difftool.outputs.plots import image_grid, scatter

    if array.ndim == 2:
        scatter(array, title, file, {KEY: text})
        return
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text(KEY, text)
    image_grid(array, columns).save(file, format="PNG", pnginfo=info)


def read_recipe(file: Path) -> dict[str, Any]:
    """The recipe in an output or JSON file; `DifftoolError` if missing, damaged or too new."""
    try:
        text = _recipe_text(file)
    except OSError as error:
        raise DifftoolError(f"cannot read {file}: {error.strerror or error}") from None
    except (
        Exception
    ) as error:  # numpy, zipfile and safetensors each raise their own for a damaged file
        raise DifftoolError(
            f"{file} is damaged or not an output of difftool: {error or type(error).__name__}"
        ) from None
    try:
        recipe = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DifftoolError(f"{file} has an incomplete recipe: {error}") from None
    if not isinstance(recipe, dict) or recipe.get("format") != FORMAT:
        raise DifftoolError(f"{file} has no difftool recipe")
    version = recipe.get("version")
    if type(version) is not int or version > VERSION:
        raise DifftoolError(
            f"{file} has recipe version {version!r}, this difftool reads up to {VERSION}; update difftool"
        )
    return recipe


def _recipe_text(file: Path) -> str:
    suffix = file.suffix.lower()
    if file.is_dir():
        raise DifftoolError("it is a folder")
    if suffix == ".npz":
        if not zipfile.is_zipfile(file):
            file.open("rb").close()  # raises if it is missing
            raise DifftoolError("it is not an npz file, or truncated")
        with np.load(file, allow_pickle=False) as data:
            return str(data["recipe"])
    if suffix == ".safetensors":
        from safetensors import safe_open

        with safe_open(str(file), framework="np") as handle:
            return str((handle.metadata() or {})[KEY])
    if suffix == ".png":
        return _png_text(file.read_bytes())
    return file.read_text("utf-8")


def _png_text(data: bytes) -> str:
    """difftool's text chunk in a complete PNG file of any size; the pixels are not decoded."""
    from PIL.PngImagePlugin import PngImageFile

    if not data.startswith(PNG):
        raise DifftoolError("it is not a PNG file")
    file = BytesIO(data)
    try:
        # stops after the name of the last chunk, before its checksum
        PngImageFile(file).verify()
        whole = data.startswith(PNG_END, file.tell() - 8)
    except (SyntaxError, OSError, ValueError):
        whole = False
    if not whole:
        raise DifftoolError("it is truncated or modified")
    text = PngImageFile(BytesIO(data)).info.get(KEY)
    if text is None:
        raise DifftoolError("it has no recipe")
    return str(text)
