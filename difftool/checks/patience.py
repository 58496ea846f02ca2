"""As many probes as there is time for."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from time import monotonic
from typing import TypeVar

T = TypeVar("T")
GOLDEN = 0.618


def patient(probes: Sequence[T], seconds: float, least: int) -> Iterator[T]:
    """All probes in an order that is coarse first; once the seconds are over no more than the first `least` of them."""
    until = monotonic() + seconds
    stride = next(k for k in range(max(round(GOLDEN * len(probes)), 1), 0, -1) if math.gcd(k, len(probes)) == 1)
    for i in range(len(probes)):
        if i >= least and monotonic() > until:
            return
        yield probes[i * stride % len(probes)]
