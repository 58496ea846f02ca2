"""Gauss-Legendre quadrature with eight nodes, on an interval or on panels of it."""

from __future__ import annotations

import math
from collections.abc import Iterator

# Gauss-Legendre, eight nodes on [-1, 1]: Abramowitz & Stegun 1964, table 25.4
GAUSS = (
    (0.18343464249564980494, 0.36268378337836198297),
    (0.52553240991632898582, 0.31370664587788728734),
    (0.79666647741362673959, 0.22238103445337447054),
    (0.96028985649753623168, 0.10122853629037625915),
)
PANEL = 1.0  # longest panel in log l: the integrands are analytic within pi of the real axis


def gauss(a: float, b: float) -> Iterator[tuple[float, float]]:
    """(u, weight) of the quadrature on [a, b]."""
    middle, half = (a + b) / 2, (b - a) / 2
    for x, w in GAUSS:
        yield middle - half * x, half * w
        yield middle + half * x, half * w


def panels(a: float, b: float) -> Iterator[tuple[float, float]]:
    """(u, weight) of the quadrature on panels of [a, b]."""
    count = max(1, math.ceil(abs(b - a) / PANEL))
    for i in range(count):
        yield from gauss(a + (b - a) * i / count, a + (b - a) * (i + 1) / count)
