"""A time budget for checks with many probes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from time import thread_time
from typing import TypeVar

T = TypeVar("T")
GOLDEN = 0.618


def patient(probes: Sequence[T], seconds: float, least: int) -> Iterator[T]:
    """The probes, coarse ones first, until time is up, but at least the first `least` of them.

    Seconds are CPU time, so that a busy machine runs as many probes.
    """
    until = thread_time() + seconds
    stride = next(
        k
        for k in range(max(round(GOLDEN * len(probes)), 1), 0, -1)
        if math.gcd(k, len(probes)) == 1
    )
    for i in range(len(probes)):
        if i >= least and thread_time() > until:
            return
        yield probes[i * stride % len(probes)]
