"""Being stopped: Ctrl-C, and the signals by which a system ends a process.

All of them raise `Stopped`, a `KeyboardInterrupt`, so that whatever is saved at Ctrl-C is saved when a
machine is shut down, a job is cancelled or a terminal is closed.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # those that the system has
SIGNALS = tuple(getattr(signal, name) for name in NAMES if hasattr(signal, name))


class Stopped(KeyboardInterrupt):
    """The end of a process that was asked for by a signal; `kept` says what was saved."""

    def __init__(self, number: int = signal.SIGINT, kept: str = ""):
        super().__init__(kept)
        self.number, self.kept = number, kept

    @property
    def code(self) -> int:
        """The exit code by which a shell knows it."""
        return 128 + self.number


def stopped_by(error: KeyboardInterrupt, kept: str = "") -> Stopped:
    """An interrupt with what was saved since."""
    return Stopped(getattr(error, "number", signal.SIGINT), kept)


def stop(number: int, frame: Any = None) -> None:
    """What the signals do: raise `Stopped`."""
    raise Stopped(number)


@contextmanager
def stopping(handle: Callable[[int, Any], None] = stop) -> Iterator[None]:
    """Inside, the signals call `handle`; those that somebody else handles or ignores are left alone.

    Outside of the main thread nothing changes, for only that one receives signals.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    usual = (signal.SIG_DFL, signal.default_int_handler, stop)
    before = {number: signal.getsignal(number) for number in SIGNALS}
    ours = [number for number, handler in before.items() if handler in usual]
    for number in ours:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, before[number])
