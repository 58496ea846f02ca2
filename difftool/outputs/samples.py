"""Samples on disk, each file with its recipe: PNG text chunk, npz array, safetensors metadata.

A recipe is a JSON object: the specs and numbers of a run, enough to repeat it bit for bit on
the same device with the same batch size and number of threads.
"""

from __future__ import annotations

import json
import os
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from difftool.errors import DifftoolError
from difftool.files.reading import opening_archive, parse_json, read_bytes, read_text
from difftool.files.tensors import KEY, opening_tensors, save_tensors
from difftool.files.writing import check_writable, free_name, writing

if TYPE_CHECKING:
    from torch import Tensor

FORMAT, VERSION = "difftool-recipe", 3
LONGEST, LARGEST = 2**24, 2**30  # bytes of a recipe, and of a picture with one
SUFFIXES = (".png", ".npz", ".safetensors")
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
    if file.suffix.lower() == ".safetensors":
        save_tensors({"samples": array.contiguous()}, file, text, overwrite)
        return
    with writing(file, overwrite) as temporary:
        if file.suffix.lower() == ".npz":
            with temporary.open("wb") as handle:
                np.savez(handle, samples=array.numpy(), recipe=np.array(text))
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
    recipe = _recipe(file)
    if not isinstance(recipe, dict) or recipe.get("format") != FORMAT:
        raise DifftoolError(f"{file} has no difftool recipe")
    version = recipe.get("version")
    if type(version) is not int or version > VERSION:
        raise DifftoolError(
            f"{file} has recipe version {version!r}, this difftool reads up to {VERSION}; update difftool"
        )
    return recipe


def _recipe(file: Path) -> Any:
    suffix = file.suffix.lower()
    if suffix == ".safetensors":
        with opening_tensors(file) as (_, recipe):
            return recipe
    if suffix == ".npz":
        with opening_archive(file) as data:
            text = data.text("recipe")
    elif suffix == ".png":
        text = _png_text(file)
    else:
        text = read_text(file, LONGEST)
    try:
        return parse_json(text)
    except ValueError as error:
        raise DifftoolError(f"{file} has an incomplete recipe: {error}") from None


def _png_text(path: Path) -> str:
    """difftool's text chunk in a complete PNG file of any size; the pixels are not decoded."""
    from PIL.PngImagePlugin import PngImageFile

    data = read_bytes(path, LARGEST)
    if not data.startswith(PNG):
        raise DifftoolError(f"{path} is damaged or not a PNG file")
    file = BytesIO(data)
    try:
        # stops after the name of the last chunk, before its checksum
        PngImageFile(file).verify()
        whole = data.startswith(PNG_END, file.tell() - 8)
        text = PngImageFile(BytesIO(data)).info.get(KEY)
    except Exception:  # Pillow fails in many ways on a damaged file
        whole = False
    if not whole:
        raise DifftoolError(f"{path} is damaged: truncated or modified")
    if text is None:
        raise DifftoolError(f"{path} has no recipe")
    return str(text)
