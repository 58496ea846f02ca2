"""What a run costs in memory, said before it is taken."""

from __future__ import annotations

import math
import os
from contextlib import suppress
from pathlib import Path

from difftool.errors import DifftoolError

CGROUP = (  # the limit of a container, and what it uses
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
    ),
)


def free_memory() -> float:
    """Bytes of main memory that are free for this process; infinite where nothing tells."""
    found = [math.inf]
    with suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                found.append(1024 * int(line.split()[1]))
    for limit, used in CGROUP:
        with suppress(OSError, ValueError):  # there is none, or it is `max`
            found.append(int(Path(limit).read_text()) - int(Path(used).read_text()))
    if len(found) == 1:
        with suppress(OSError, ValueError, AttributeError):
            found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return min(found)


def check_memory(count: int, each: int, way_out: str) -> None:
    """Raise `DifftoolError` if samples that take `each` bytes do not fit into the free memory."""
    needed, free = count * each, free_memory()
    if needed > free:
        raise DifftoolError(
            f"{count} samples take at least {_size(needed)} of memory, {_size(max(free, 0))} are "
            f"free; {way_out}"
        )


def _size(number: float) -> str:
    for unit in ("bytes", "KB", "MB", "GB"):
        if number < 1000:
            return f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} TB"
