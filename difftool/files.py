"""Writing files whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from difftool.errors import DifftoolError


@contextmanager
def writing(file: str | Path) -> Iterator[Path]:
    """A temporary file beside `file` that takes its name when the block ends well and is removed when it does not.

    Raises `DifftoolError` if the folder is missing or not writable, or the disk is full.
    """
    target = Path(file)
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=target.suffix, dir=target.parent)
        os.close(handle)
    except OSError as error:
        raise DifftoolError(f"cannot write {target}: {error.strerror}") from None
    temporary = Path(name)
    try:
        yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(target)
    except OSError as error:
        raise DifftoolError(f"cannot write {target}: {error.strerror or error}") from None
    finally:
        temporary.unlink(missing_ok=True)
