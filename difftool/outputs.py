"""Samples on disk, each file with its recipe: PNG text chunk, npz array, safetensors metadata.

A recipe is a JSON object: the specs and numbers of a run, enough to repeat it bit for bit on the same device with the
same batch size and threads.
"""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from difftool.errors import DifftoolError
from difftool.files import writing

FORMAT, VERSION = "difftool-recipe", 1
SUFFIXES = (".png", ".npz", ".safetensors")
KEY = "difftool"


def check_output(file: Path, force: bool) -> None:
    """Raise `DifftoolError` if samples could not be written: the kind of file, its folder, or that it exists."""
    if file.suffix.lower() not in SUFFIXES:
        raise DifftoolError(f"--out {file} must end in {', '.join(SUFFIXES)}")
    check_absent(file, force)


def check_absent(file: Path, force: bool) -> None:
    """Raise `DifftoolError` if the file exists and is not to be overwritten, or its folder cannot be written to."""
    if file.is_dir() or (file.exists() and not force):
        raise DifftoolError(f"{file} exists already; choose another name or add --force")
    if not os.access(file.parent, os.W_OK):
        raise DifftoolError(f"cannot write {file}: {'no such folder' if not file.parent.exists() else 'not allowed'}")


def new_name(stem: str, folder: Path) -> Path:
    """The first of stem-001.png, stem-002.png, ... that does not exist."""
    number = 1
    while (folder / f"{stem}-{number:03d}.png").exists():
        number += 1
    return folder / f"{stem}-{number:03d}.png"


def save(samples: Tensor, file: Path, recipe: dict[str, Any], title: str = "") -> None:
    """Write samples (n, ...) by the suffix of the file, to a temporary name first."""
    text = json.dumps(recipe)
    array = samples.detach().cpu()
    with writing(file) as temporary:
        if file.suffix.lower() == ".npz":
            with temporary.open("wb") as handle:
                np.savez(handle, samples=array.numpy(), recipe=np.array(text))
        elif file.suffix.lower() == ".safetensors":
            from safetensors.torch import save_file

            save_file({"samples": array.contiguous()}, temporary, metadata={KEY: text})
        else:
            _save_png(array, temporary, text, title)


def _save_png(array: Tensor, file: Path, text: str, title: str) -> None:
    from difftool.plots import image_grid, scatter

    if array.ndim == 2 and array.shape[1] == 2:
        scatter(array, title, file, {KEY: text})
        return
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text(KEY, text)
    image_grid(array).save(file, format="PNG", pnginfo=info)


def read_recipe(file: Path) -> dict[str, Any]:
    """The recipe in an output (or in a JSON file); `DifftoolError` if there is none, or of a newer version."""
    try:
        text = _recipe_text(file)
        recipe = json.loads(text)
    except OSError as error:
        raise DifftoolError(f"cannot read {file}: {error.strerror or 'not a picture'}") from None
    except (ValueError, KeyError, zipfile.BadZipFile) as error:
        raise DifftoolError(f"{file} holds no whole recipe ({error}); it is no output of difftool, or cut short") from None
    if not isinstance(recipe, dict) or recipe.get("format") != FORMAT:
        raise DifftoolError(f"{file} holds no recipe of difftool")
    if not isinstance(recipe.get("version"), int) or recipe["version"] > VERSION:
        raise DifftoolError(
            f"{file} has recipe version {recipe.get('version')}, this difftool reads up to {VERSION}; update it"
        )
    return recipe


def _recipe_text(file: Path) -> str:
    suffix = file.suffix.lower()
    if suffix == ".npz":
        with np.load(file, allow_pickle=False) as data:
            return str(data["recipe"])
    if suffix == ".safetensors":
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(str(file), framework="pt") as handle:
                return str((handle.metadata() or {})[KEY])
        except SafetensorError as error:
            raise ValueError(str(error)) from None
    if suffix == ".png":
        from PIL import Image

        with Image.open(file) as picture:
            picture.load()
            return str(picture.info[KEY])  # type: ignore[index]
    return file.read_text()
