"""Points in two dimensions: the window of the axes, and drawing of sets of the same points."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

BINS = 80  # of a density histogram, along the long side
FAR = 10  # times the spread of the samples, beyond which a sample is not drawn
# fraction of the spread around points; the same if they come from outside the data
MARGIN, ROOM = 0.05, 0.4
NARROW = 0.4  # minimum ratio of the short side of a window to the long one
DARK = (0.85, 0.85, 0.85, 1)  # factor that darkens colors, to be visible on white
FOLLOWED = 64  # maximum number of points that are drawn with their trails


@dataclass(frozen=True)
class Window:
    """The visible range of axes: `middle` - `half` to `middle` + `half`, (2,) each."""

    middle: Any
    half: Any

    @classmethod
    def of(cls, points: Any, narrow: float = NARROW, margin: float = MARGIN) -> Self:
        """A window around the bulk of the points; sides in a ratio of at least `narrow`."""
        bulk = points[together(points)]
        if not np.isfinite(bulk).all():  # no point is finite
            return cls(np.zeros(2), np.ones(2))
        low, high = bulk.min(0), bulk.max(0)
        half = (1 + margin) * (high - low) / 2
        # applies if all points coincide
        least = narrow * half.max() or max(1.0, 0.1 * np.abs(low).max())
        return cls((low + high) / 2, np.maximum(half, least))

    def axes(self) -> dict[str, Any]:
        """Options for matplotlib's axes."""
        (left, bottom), (right, top) = self.middle - self.half, self.middle + self.half
        return {"aspect": "equal", "xlim": (left, right), "ylim": (bottom, top)}

    def size(self, long: float) -> tuple[float, float]:
        """Width and height of axes whose long side has the given length."""
        width, height = long * self.half / self.half.max()
        return float(width), float(height)

    def bins(self, count: int) -> list[Any]:
        """The edges of square bins; fewer bins for fewer points."""
        most = min(BINS, max(10, round(2 * math.sqrt(count))))
        sides = zip(self.middle, self.half, self.size(most), strict=True)
        return [np.linspace(m - h, m + h, round(number) + 1) for m, h, number in sides]


@dataclass(frozen=True)
class Points:
    """Sets of the same points in two dimensions with common axes and colors; a few get trails.

    data: the final set, which determines the axes (with some room) and the colors (by the
    direction of each point from the middle); None: the axes fit all sets, and the first one
    determines the colors. Points far outside are not shown.
    """

    sets: Sequence[Any]
    window: Window
    colours: Any

    @classmethod
    def of(cls, sets: Sequence[Any], data: Any = None) -> Self:
        """The sets, with axes and colors determined by the data."""
        from matplotlib import colormaps

        if data is None:
            goal = sets[0]
            window = Window.of(np.concatenate(sets))
        else:
            goal = np.asarray(data)
            window = Window.of(goal, 1.0, ROOM)
        right, up = (goal - window.middle).T
        angle = np.nan_to_num(np.arctan2(up, right) / math.tau % 1)
        return cls(sets, window, colormaps["hsv"](angle) * DARK)

    def draw(self, axes: Any, number: int, title: str) -> None:
        """Draw one of the sets."""
        from matplotlib.collections import LineCollection

        x = self.sets[number]
        axes.scatter(
            x[:, 0],
            x[:, 1],
            s=max(2, min(20, 8000 / len(x))),
            c=self.colours,
            alpha=0.6,
            linewidths=0,
        )
        if len(x) <= FOLLOWED:
            trails = list(np.stack(self.sets[: number + 1], 1))
            axes.add_collection(
                LineCollection(trails, colors=self.colours, linewidths=0.8, alpha=0.5)
            )
        axes.set(**self.window.axes())
        axes.set_title(title, fontsize=10, parse_math=False)


def together(array: Any) -> Any:
    """The mask of rows within `FAR` times the largest interquartile range of the median."""
    finite = np.isfinite(array).all(1)
    if not finite.any():
        return ~finite
    low, middle, high = np.percentile(array[finite], (25, 50, 75), axis=0)
    spread = (high - low).max()
    if not spread > 0:
        return finite
    return finite & (np.abs(array - middle) <= FAR * spread).all(1)
