"""Pictures of samples: a grid of images, a scatter of points."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from difftool.errors import DifftoolError

if TYPE_CHECKING:
    from PIL.Image import Image

CELL = 48  # pixels that one small image is enlarged to, at least
BINS = 80  # of a density, along each side
FAR = 10  # times the spread of the samples, beyond which one is not drawn
CANVAS = 4096  # pixels; larger pictures are not enlarged further


def image_grid(samples: Any, columns: int | None = None) -> Image:
    """Samples (n, channels, height, width) in [-1, 1], 1 or 3 channels, as one picture; default: nearly square."""
    from PIL import Image

    array = np.asarray(samples, dtype=np.float32)
    if array.ndim != 4 or array.shape[1] not in (1, 3):
        raise DifftoolError(f"a picture needs samples (n, 1 or 3, height, width), got {array.shape}; use .npz")
    columns = columns or math.ceil(math.sqrt(len(array)))
    size = max(array.shape[2:])
    scale = max(1, min(math.ceil(CELL / size), CANVAS // (columns * size)))
    pixels = ((array.clip(-1, 1) + 1) * 127.5).round().astype(np.uint8).transpose(0, 2, 3, 1)
    pixels = pixels.repeat(scale, axis=1).repeat(scale, axis=2)
    rows = math.ceil(len(pixels) / columns)
    n, height, width, channels = pixels.shape
    gap = max(1, scale // 3)
    canvas = np.full((rows * (height + gap) + gap, columns * (width + gap) + gap, channels), 255, np.uint8)
    for i in range(n):
        top, left = gap + i // columns * (height + gap), gap + i % columns * (width + gap)
        canvas[top : top + height, left : left + width] = pixels[i]
    return Image.fromarray(canvas[..., 0] if channels == 1 else canvas)


def beside(sets: Sequence[Any], titles: Sequence[str], file: Path) -> None:
    """Sets of the same samples, (n, ...) each, side by side, written as PNG.

    Images: a row for each sample, a column for each set. Points in two dimensions: a scatter for each set.
    """
    arrays = [np.asarray(samples) for samples in sets]
    if arrays[0].ndim == 4:
        image_grid(np.stack(arrays, 1).reshape(-1, *arrays[0].shape[1:]), len(arrays)).save(file, format="PNG")
        return
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 * len(arrays), 4), dpi=100, layout="tight")
    most = max(float(np.abs(array).max()) for array in arrays) * 1.05
    for i, (array, title) in enumerate(zip(arrays, titles, strict=True)):
        axes = figure.add_subplot(1, len(arrays), i + 1, aspect="equal", xlim=(-most, most), ylim=(-most, most))
        axes.scatter(array[:, 0], array[:, 1], s=max(1, min(12, 8000 / len(array))), alpha=0.6, linewidths=0)
        axes.set_title(title, fontsize=10, parse_math=False)
    figure.savefig(file, format="png")


def animation(sets: Sequence[Any], titles: Sequence[str], file: Path, milliseconds: int = 120) -> None:
    """Sets of the same samples, one frame each, written as a GIF that stays at its end for two seconds."""
    arrays = [np.asarray(samples) for samples in sets]
    frames = [image_grid(array) for array in arrays] if arrays[0].ndim == 4 else _scatters(arrays, titles)
    durations = [milliseconds] * (len(frames) - 1) + [2000]
    frames[0].save(file, format="GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0)


def _scatters(arrays: Sequence[Any], titles: Sequence[str]) -> list[Image]:
    """A scatter of each set, all with the same axes."""
    import io

    from matplotlib.figure import Figure
    from PIL import Image as Images

    most = max(float(np.abs(array).max()) for array in arrays) * 1.05
    frames = []
    for array, title in zip(arrays, titles, strict=True):
        figure = Figure(figsize=(5, 5), dpi=80)
        axes = figure.add_subplot(aspect="equal", xlim=(-most, most), ylim=(-most, most))
        axes.scatter(array[:, 0], array[:, 1], s=max(1, min(12, 8000 / len(array))), alpha=0.6, linewidths=0)
        axes.set_title(title, fontsize=10, parse_math=False)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png")
        frames.append(Images.open(buffer).convert("P", palette=Images.Palette.ADAPTIVE))
    return frames


def scatter(samples: Any, title: str, file: Path, metadata: dict[str, str]) -> None:
    """Samples (n, 2) as a scatter and, beside it, their density as a histogram; written as PNG with text chunks.

    Samples that are not finite, or lie further from the middle than ten times what half of them spread over, would
    leave nothing of the others to see: they are counted in the title.
    """
    from matplotlib.figure import Figure

    whole = np.asarray(samples, dtype=np.float64)
    array = whole[_together(whole)]
    if len(array) < len(whole):
        title = f"{title}; {len(whole) - len(array)} of {len(whole)} samples lie far outside"
    figure = Figure(figsize=(11, 5.5), dpi=100, layout="tight")
    left = figure.add_subplot(1, 2, 1, aspect="equal")
    left.scatter(array[:, 0], array[:, 1], s=max(2, min(20, 8000 / len(array))), alpha=0.6, linewidths=0)
    left.grid(alpha=0.3)
    right = figure.add_subplot(1, 2, 2, aspect="equal", xlim=left.get_xlim(), ylim=left.get_ylim())
    bins = [np.linspace(*limits, BINS + 1) for limits in (left.get_xlim(), left.get_ylim())]
    right.hist2d(array[:, 0], array[:, 1], bins=bins, density=True, cmap="magma")
    figure.suptitle(title, fontsize=10, parse_math=False)
    figure.savefig(file, format="png", metadata=metadata)


def _together(array: Any) -> Any:
    """Which rows lie within `FAR` times the spread of the middle half, the largest of all coordinates."""
    finite = np.isfinite(array).all(1)
    if not finite.any():
        return ~finite
    low, middle, high = np.percentile(array[finite], (25, 50, 75), axis=0)
    spread = (high - low).max()
    return finite & ((np.abs(array - middle) <= FAR * spread).all(1) if spread > 0 else True)
