"""Reading files that may come from strangers.

Only regular files are opened, so that a device or a pipe can neither hang a run nor fill its
memory. What a file claims about its size is compared with what it holds, and with a limit, before
memory is allocated. Nothing is unpickled.
"""

from __future__ import annotations

import json
import math
import os
import stat
import threading
import tomllib
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO

from difftool.errors import DifftoolError

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

TEXT = 2**26  # bytes of a text file, and of a text in an archive
DEPTH = 64  # containers within one another, in JSON and TOML
ARRAYS, PACKED = 2**30, 8  # bytes of an array; beyond them, bytes per byte of its file
PIXELS = 2**26  # of a picture
KINDS = "biuf"  # of arrays: truth values and real numbers

_decoding = threading.Lock()  # filters of warnings belong to all threads


@contextmanager
def opening(file: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """The file, opened for reading bytes.

    Raises `DifftoolError` for what is not an regular file or cannot be opened.
    """
    flags = os.O_RDONLY
    for name in ("O_NONBLOCK", "O_CLOEXEC", "O_BINARY"):  # a pipe would wait for its writer
        flags |= getattr(os, name, 0)
    try:
        handle = os.open(file, flags)
    except OSError as error:
        raise DifftoolError(f"cannot read {file}: {error.strerror or error}") from None
    except ValueError:  # a NUL in it, or surrogates
        raise DifftoolError(f"{os.fspath(file)!r:.80} is not a file name") from None
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):
        os.close(handle)
        if stat.S_ISDIR(mode):
            raise DifftoolError(f"cannot read {file}: it is a folder")
        raise DifftoolError(f"cannot read {file}: it is not an regular file")
    with os.fdopen(handle, "rb") as opened:
        yield opened


def check_regular(file: str | os.PathLike[str]) -> None:
    """Raise `DifftoolError` for a file that a library must not open by its name; see `opening`."""
    with opening(file):
        pass


def read_bytes(file: str | os.PathLike[str], most: int = TEXT) -> bytes:
    """The content of a file of at most that many bytes; raises as `opening`."""
    with opening(file) as opened:
        data = opened.read(most + 1)
    if len(data) > most:
        raise DifftoolError(
            f"{file} is larger than {most} bytes, too large for what it should be"
        )
    return data


def read_text(file: str | os.PathLike[str], most: int = TEXT) -> str:
    """The text of a UTF-8 file; raises as `read_bytes`."""
    try:
        return read_bytes(file, most).decode("utf-8")
    except UnicodeDecodeError:
        raise DifftoolError(f"{file} is not a text file in UTF-8") from None


def parse_json(text: str) -> Any:
    """The value of JSON text. Raises `ValueError` for other text and for too deep nesting."""
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError(f"nested more than {DEPTH} deep") from None
    _check_depth(value)
    return value


def parse_toml(text: str) -> dict[str, Any]:
    """The table of TOML text. Raises `ValueError` as `parse_json`."""
    try:
        value = tomllib.loads(text)
    except RecursionError:
        raise ValueError(f"nested more than {DEPTH} deep") from None
    _check_depth(value)
    return value


def _check_depth(value: Any) -> None:
    level: list[Any] = [[value]]
    for _ in range(DEPTH + 1):
        inner: list[Any] = []
        for container in level:
            children = container.values() if isinstance(container, dict) else container
            inner += [child for child in children if isinstance(child, (dict, list))]
        if not inner:
            return
        level = inner
    raise ValueError(f"nested more than {DEPTH} deep")


class Archive:
    """The arrays in an open .npz file; see `opening_archive`."""

    def __init__(self, file: str, content: zipfile.ZipFile, size: int):
        self._file, self._content = file, content
        self._most = max(ARRAYS, PACKED * size)
        members = (name for name in content.namelist() if name.endswith(".npy"))
        self.names = [name.removesuffix(".npy") for name in members]

    def array(self, name: str) -> np.ndarray[Any, Any]:
        """An array of numbers, in this machine's byte order; raises `DifftoolError` for others."""
        array = self._read(name, KINDS, self._most)
        native = array.dtype.newbyteorder("=")
        if native.kind == "f" and native.itemsize > 8:
            return array.astype("f8")
        return array.astype(native, copy=False)

    def text(self, name: str) -> str:
        """A text; raises `DifftoolError` for anything else."""
        array = self._read(name, "U", 4 * TEXT)  # four bytes a character
        if array.shape:
            raise DifftoolError(f"{self._file}: {name} is not one text")
        return str(array)

    def _read(self, name: str, kinds: str, most: int) -> np.ndarray[Any, Any]:
        import numpy as np

        try:
            member = self._content.getinfo(f"{name}.npy")
            with self._content.open(member) as opened:
                shape, dtype = _header(opened)
            size = math.prod(shape) * dtype.itemsize
            if dtype.kind not in kinds:
                what = "a text" if kinds == "U" else "numbers"
                raise DifftoolError(f"{self._file}: {name} must be {what}, got {dtype}")
            if size > member.file_size or member.file_size > most:
                raise DifftoolError(
                    f"{self._file}: {name} claims {size} bytes, more than it can have"
                )
            with self._content.open(member) as opened:
                return np.lib.format.read_array(opened, allow_pickle=False)
        except DifftoolError:
            raise
        except (
            Exception
        ) as error:  # numpy, zipfile and zlib fail in many ways on a damaged file
            reason = " ".join(str(error).split()) or type(error).__name__
            raise DifftoolError(f"{self._file}: {name} is damaged: {reason:.200}") from None


def _header(opened: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and dtype of an array in a file."""
    import numpy as np

    version = np.lib.format.read_magic(opened)
    readers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in readers:
        raise ValueError(f"version {version} of its format is not supported")
    shape, _, dtype = readers[version](opened)
    if any(n < 0 for n in shape):
        raise ValueError(f"its shape is {shape}")
    return shape, dtype


@contextmanager
def opening_archive(file: str | os.PathLike[str]) -> Iterator[Archive]:
    """An .npz file; `DifftoolError` for a file that is none."""
    with opening(file) as opened:
        size = os.fstat(opened.fileno()).st_size
        try:
            content = zipfile.ZipFile(opened)
        except Exception as error:  # as above
            raise DifftoolError(
                f"{file} is damaged, truncated or not an .npz file: {error}"
            ) from None
        with content:
            yield Archive(os.fspath(file), content, size)


def open_picture(file: str | os.PathLike[str] | BinaryIO) -> Image:
    """A picture as Pillow has it, not decoded yet.

    Raises `DifftoolError` for one of more than `PIXELS` pixels, and Pillow's errors for what is
    not a picture.
    """
    from PIL import Image

    if isinstance(file, (str, os.PathLike)):
        check_regular(file)
    with _decoding, warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            picture = Image.open(file)
        except Image.DecompressionBombError:
            raise DifftoolError(f"a picture has more than {PIXELS} pixels") from None
    width, height = picture.size
    if width * height > PIXELS:
        picture.close()
        raise DifftoolError(f"a picture has {width} x {height} pixels, more than {PIXELS}")
    return picture
