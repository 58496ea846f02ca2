"""Tensors in safetensors files, with JSON in the head."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from difftool.errors import DifftoolError
from difftool.files.reading import check_regular, parse_json
from difftool.files.writing import writing

if TYPE_CHECKING:
    from torch import Tensor

KEY = "difftool"  # of the JSON in the head


def save_tensors(
    tensors: Mapping[str, Tensor],
    file: str | Path,
    head: str,
    overwrite: bool = True,
) -> None:
    """Write tensors and JSON text, whole or not at all; raises as `writing`."""
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    with writing(file, overwrite) as temporary:
        try:
            save_file(dict(tensors), temporary, {KEY: head})
        except SafetensorError as error:  # a full disk among them
            raise DifftoolError(f"cannot write {file}: {error}") from None


@contextmanager
def opening_tensors(file: str | Path, device: str = "cpu") -> Iterator[tuple[Any, Any]]:
    """The open file of safetensors and the JSON in its head, None if it has none.

    Raises `DifftoolError` for a file that is damaged or something else, also while it is read.
    """
    from safetensors import SafetensorError, safe_open

    check_regular(file)
    try:
        with safe_open(str(file), framework="pt", device=device) as opened:
            text = (opened.metadata() or {}).get(KEY)
            yield opened, None if text is None else parse_json(text)
    except (SafetensorError, OSError, ValueError) as error:
        raise DifftoolError(
            f"{file} is damaged, truncated or not a file of difftool: {error}"
        ) from None
