"""Pictures of samples: grids of images, scatter plots of points."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from difftool.errors import DifftoolError
from difftool.outputs.points import Points, Window, together

if TYPE_CHECKING:
    from PIL.Image import Image

CELL = 48  # pixels: minimum size to which small images are enlarged
CANVAS = 4096  # pixels; larger pictures are not enlarged further
# inches: long side of a single scatter plot and of one among many; maximum and minimum width
PLOT, PANEL, WIDE, LEAST = 5, 4, 16, 8
HEADS = 0.3  # inches next to and above a plot
IN_A_ROW = 4  # maximum number of plots in one row


def image_grid(samples: Any, columns: int | None = None) -> Image:
    """Samples (n, 1 or 3, height, width) in [-1, 1] as one picture; default: nearly square."""
    from PIL import Image

    array = np.asarray(samples, dtype=np.float32)
    if array.ndim != 4 or array.shape[1] not in (1, 3):
        raise DifftoolError(
            f"a picture needs samples (n, 1 or 3, height, width), got {array.shape}; use .npz"
        )
    columns = columns or math.ceil(math.sqrt(len(array)))
    size = max(array.shape[2:])
    scale = max(1, min(math.ceil(CELL / size), CANVAS // (columns * size)))
    pixels = ((array.clip(-1, 1) + 1) * 127.5).round().astype(np.uint8).transpose(0, 2, 3, 1)
    pixels = pixels.repeat(scale, axis=1).repeat(scale, axis=2)
    rows = math.ceil(len(pixels) / columns)
    n, height, width, channels = pixels.shape
    gap = max(1, scale // 3)
    canvas = np.full(
        (rows * (height + gap) + gap, columns * (width + gap) + gap, channels), 255, np.uint8
    )
    for i in range(n):
        top, left = gap + i // columns * (height + gap), gap + i % columns * (width + gap)
        canvas[top : top + height, left : left + width] = pixels[i]
    return Image.fromarray(canvas[..., 0] if channels == 1 else canvas)


def beside(sets: Sequence[Any], titles: Sequence[str], file: Path, data: Any = None) -> None:
    """Write sets of the same samples, (n, ...) each, side by side as PNG.

    Images: one row per sample, one column per set. Points in two dimensions: one scatter plot
    per set, see `Points`.
    """
    arrays = [np.asarray(samples) for samples in sets]
    if arrays[0].ndim == 4:
        whole = np.stack(arrays, 1).reshape(-1, *arrays[0].shape[1:])
        image_grid(whole, len(arrays)).save(file, format="PNG")
        return
    from matplotlib.figure import Figure

    points = Points.of(arrays, data)
    columns = len(arrays)
    if columns > IN_A_ROW:
        columns = math.ceil(math.sqrt(columns))
    rows = math.ceil(len(arrays) / columns)
    width, height = points.window.size(min(PANEL, WIDE / columns))
    figure = Figure(
        figsize=(columns * width + HEADS, rows * (height + HEADS)),
        dpi=100,
        layout="constrained",
    )
    for i, title in enumerate(titles):
        axes = figure.add_subplot(rows, columns, i + 1)
        points.draw(axes, i, title)
        axes.label_outer()
    figure.savefig(file, format="png")


def animation(
    sets: Sequence[Any],
    titles: Sequence[str],
    file: Path,
    data: Any = None,
    milliseconds: int = 120,
) -> None:
    """Write sets of the same samples as frames of a GIF, which holds the last for 2 seconds."""
    arrays = [np.asarray(samples) for samples in sets]
    if arrays[0].ndim == 4:
        frames = [image_grid(array) for array in arrays]
    else:
        frames = _scatters(arrays, titles, data)
    durations = [milliseconds] * (len(frames) - 1) + [2000]
    frames[0].save(
        file, format="GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0
    )


def _scatters(arrays: Sequence[Any], titles: Sequence[str], data: Any) -> list[Image]:
    """One scatter plot per set."""
    import io

    from matplotlib.figure import Figure
    from PIL import Image as Images

    points, frames = Points.of(arrays, data), []
    for i, title in enumerate(titles):
        figure = Figure(figsize=(5, 5), dpi=80, layout="constrained")
        points.draw(figure.add_subplot(), i, title)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png")
        frames.append(Images.open(buffer).convert("P", palette=Images.Palette.ADAPTIVE))
    return frames


def scatter(samples: Any, title: str, file: Path, metadata: dict[str, str]) -> None:
    """Write samples (n, 2) as PNG with text chunks: a scatter plot and a density histogram.

    Samples that are not finite, or are further from the median than ten times the interquartile
    range, would hide the others: they are left out and counted in the title.
    """
    from matplotlib.figure import Figure

    whole = np.asarray(samples, dtype=np.float64)
    array = whole[together(whole)]
    if len(array) < len(whole):
        title = f"{title}; {len(whole) - len(array)} of {len(whole)} samples lie far outside"
    window = Window.of(array)
    width, height = window.size(PLOT)
    figure = Figure(
        figsize=(max(2 * width + 2 * HEADS, LEAST), height + 2 * HEADS),
        dpi=100,
        layout="constrained",
    )
    left, right = (figure.add_subplot(1, 2, place, **window.axes()) for place in (1, 2))
    left.scatter(
        array[:, 0], array[:, 1], s=max(2, min(20, 8000 / len(array))), alpha=0.6, linewidths=0
    )
    left.grid(alpha=0.3)
    right.hist2d(
        array[:, 0], array[:, 1], bins=window.bins(len(array)), density=True, cmap="magma"
    )
    figure.suptitle(title, fontsize=10, parse_math=False)
    figure.savefig(file, format="png", metadata=metadata)
