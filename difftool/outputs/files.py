"""Atomic file writing: a file is written completely or not at all."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from difftool.errors import DifftoolError

CHECKPOINT = "checkpoint.safetensors"  # in the folder of a training
MODEL = "model.safetensors"  # in the same folder: all that sampling needs


@contextmanager
def writing(file: str | Path, overwrite: bool = True) -> Iterator[Path]:
    """A temporary file, renamed to `file` if the block succeeds and removed if it fails.

    Raises `DifftoolError` if the folder is missing or not writable, the disk is full or, unless
    `overwrite` is set, the file exists by then.
    """
    target = Path(file)
    _refuse_special(target)
    temporary = _temporary(target)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        _move(temporary, target, overwrite)
    except FileExistsError:
        raise DifftoolError(
            f"{target} exists already; choose another name or add --force"
        ) from None
    except OSError as error:
        raise DifftoolError(f"cannot write {target}: {error.strerror or error}") from None
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(file: str | Path, overwrite: bool = False) -> None:
    """Raise `DifftoolError` if the file exists (unless `overwrite`) or cannot be written."""
    target = Path(file)
    try:
        os.lstat(target)
        _refuse_special(target)
        if not overwrite:
            raise DifftoolError(f"{target} exists already; choose another name or add --force")
    except FileNotFoundError:
        pass
    except OSError as error:  # a name that is too long, or a file where a folder should be
        raise DifftoolError(f"cannot write {target}: {error.strerror}") from None
    _temporary(target).unlink()


def check_kind(file: Path, suffixes: str, overwrite: bool = False) -> None:
    """Raise `DifftoolError` unless the file is writable and its suffix one of `suffixes`."""
    if file.suffix not in suffixes.split():
        raise DifftoolError(f"--out {file} must end in {' or '.join(suffixes.split())}")
    check_writable(file, overwrite)


def digest(file: str | Path) -> str:
    """The SHA-256 of a file."""
    with Path(file).open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def free_name(stem: str, folder: Path, suffix: str) -> Path:
    """The first of stem-001, stem-002, ... with that suffix that is free in the folder."""
    number = 1
    while os.path.lexists(file := folder / f"{stem}-{number:03d}{suffix}"):
        number += 1
    return file


def _refuse_special(target: Path) -> None:
    """Raise `DifftoolError` for a folder, a device or a pipe, which a file would replace."""
    if target.is_dir():
        raise DifftoolError(f"{target} is a folder; give a file name")
    if target.exists() and not target.is_file():
        raise DifftoolError(f"{target} is not a regular file; give another name")


def _temporary(target: Path) -> Path:
    try:
        handle, name = tempfile.mkstemp(
            prefix=".difftool-", suffix=target.suffix, dir=target.parent
        )
        os.close(handle)
    except OSError as error:
        reason = error.strerror
        if not target.parent.exists():
            reason = "no such folder"
        raise DifftoolError(f"cannot write {target}: {reason}") from None
    return Path(name)


def _move(temporary: Path, target: Path, overwrite: bool) -> None:
    """Give the file its name; unlike a rename, a hard link never replaces another file."""
    if overwrite:
        temporary.replace(target)
        return
    try:
        os.link(temporary, target)
    except FileExistsError:
        raise
    except OSError:  # the file system does not support links
        if os.path.lexists(target):
            raise FileExistsError(target) from None
        temporary.replace(target)
