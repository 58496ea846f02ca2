"""Writing files whole or not at all.

A file is written under a temporary name beside its own, flushed to the disk, and renamed. A process
that is killed leaves the file of before, and at most a temporary one, which the next run that writes
into the folder removes: a lock on it tells whether its writer still lives.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from difftool.errors import DifftoolError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

CHECKPOINT = "checkpoint.safetensors"  # in the folder of a training
MODEL = "model.safetensors"  # in it as well, what is needed to sample from it
PREFIX = ".difftool-"  # of temporary names

_swept: set[Path] = set()  # folders in which this process looked for what others left


@contextmanager
def writing(file: str | Path, overwrite: bool = True) -> Iterator[Path]:
    """A temporary file beside `file`, renamed to it when the block ends well, else removed.

    A link stays a link, to the new content; a file that is overwritten keeps its permissions.
    Raises `DifftoolError` if the folder is missing or not writable, the disk is full or, unless it
    is to be overwritten, the file exists by then.
    """
    target = _followed(Path(file))
    _refuse_special(target)
    sweep(target.parent)
    temporary, lock = _temporary(target)
    try:
        yield temporary
        _sync(temporary)
        with suppress(FileNotFoundError):
            temporary.chmod(stat.S_IMODE(target.stat().st_mode))
        _move(temporary, target, overwrite)
        _sync(target.parent)
    except FileExistsError:
        raise DifftoolError(
            f"{target} exists already; choose another name or add --force"
        ) from None
    except OSError as error:
        raise DifftoolError(f"cannot write {target}: {error.strerror or error}") from None
    finally:
        temporary.unlink(missing_ok=True)
        os.close(lock)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Inside, no other process can lock the folder.

    The lock ends with the process, however that ends. Raises `DifftoolError` if another process
    has it. Where the system has no such locks, nothing is locked.
    """
    if fcntl is None:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DifftoolError(
                f"another process is working in {folder}; wait for it, or choose another folder"
            ) from None
        except OSError:
            pass  # a file system without locks
        yield
    finally:
        os.close(handle)


def sweep(folder: Path) -> None:
    """Remove temporary files whose writers are gone; once a process and folder."""
    place = folder.absolute()
    if fcntl is None or place in _swept:
        return
    _swept.add(place)
    with suppress(OSError), os.scandir(place) as entries:
        for entry in entries:
            if entry.name.startswith(PREFIX) and entry.is_file(follow_symlinks=False):
                _remove_if_left(Path(entry.path))


def _remove_if_left(temporary: Path) -> None:
    with suppress(OSError):
        handle = os.open(temporary, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails while its writer lives
            temporary.unlink(missing_ok=True)
        finally:
            os.close(handle)


def check_writable(file: str | Path, overwrite: bool = False) -> None:
    """Raise `DifftoolError` if the file exists (unless `overwrite`) or cannot be written."""
    target = Path(file)
    try:
        os.lstat(target)
        _refuse_special(_followed(target))
        if not overwrite:
            raise DifftoolError(f"{target} exists already; choose another name or add --force")
    except FileNotFoundError:
        pass
    except (
        OSError,
        ValueError,
    ) as error:  # a name too long or with a NUL, a file in the place of a folder
        raise DifftoolError(
            f"cannot write {target}: {getattr(error, 'strerror', error)}"
        ) from None
    temporary, lock = _temporary(_followed(target))
    temporary.unlink()
    os.close(lock)


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


def _followed(file: Path) -> Path:
    """What a link leads to; any other file itself."""
    if file.is_symlink():
        return file.resolve()
    return file


def _refuse_special(target: Path) -> None:
    """Raise `DifftoolError` for a folder, a device or a pipe, which a file would replace."""
    if target.is_dir():
        raise DifftoolError(f"{target} is a folder; give a file name")
    if target.exists() and not target.is_file():
        raise DifftoolError(f"{target} is not a regular file; give another name")


def _temporary(target: Path) -> tuple[Path, int]:
    """A new empty file beside the target, with the permissions that the umask leaves, and its lock."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
    while True:
        temporary = target.with_name(f"{PREFIX}{secrets.token_hex(8)}{target.suffix}")
        try:
            handle = os.open(temporary, flags, 0o666)
        except OSError as error:
            reason = error.strerror
            if not target.parent.exists():
                reason = "no such folder"
            raise DifftoolError(f"cannot write {target}: {reason}") from None
        if fcntl is not None:
            with suppress(OSError):  # some file systems have no locks
                fcntl.flock(handle, fcntl.LOCK_EX)
        if temporary.exists():  # not swept before the lock was on it
            return temporary, handle
        os.close(handle)


def _sync(place: Path) -> None:
    """What was written to a file, or the names in a folder, on the disk itself."""
    if os.name == "nt" and place.is_dir():
        return
    handle = os.open(place, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _move(temporary: Path, target: Path, overwrite: bool) -> None:
    """Give the file its name; a hard link, unlike a rename, never takes the place of another file."""
    if overwrite:
        temporary.replace(target)
        return
    try:
        os.link(temporary, target)
    except FileExistsError:
        raise
    except OSError:  # this file system has no links
        if os.path.lexists(target):
            raise FileExistsError(target) from None
        temporary.replace(target)
