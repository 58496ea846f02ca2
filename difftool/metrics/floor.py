"""A metric of a set of samples, compared with that of exact samples."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

SETS = 5  # sets of exact samples for the floor


@dataclass(frozen=True)
class Distance:
    """A metric of samples; floor, scatter: its mean and std over sets of exact samples."""

    value: float
    floor: float
    scatter: float

    @classmethod
    def beside(cls, value: float, exact: Sequence[float]) -> Self:
        """The metric with the values of at least two sets of exact samples."""
        return cls(value, statistics.fmean(exact), statistics.stdev(exact))
