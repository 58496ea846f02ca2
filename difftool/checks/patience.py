"""As many probes as there is time for."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from time import thread_time
from typing import TypeVar

T = TypeVar("T")
GOLDEN = 0.618


def patient(probes: Sequence[T], seconds: float, least: int) -> Iterator[T]:
    """All probes in an order that is coarse first; once the seconds are over no more than the first `least` of them.

    Seconds of the processor, so that as many are looked at on a busy machine.
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
