"""Pictures of samples: a grid of images, a scatter of points."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from difftool.errors import DifftoolError

if TYPE_CHECKING:
    from PIL.Image import Image

CELL = 48  # pixels that one small image is enlarged to, at least
CANVAS = 4096  # pixels; larger pictures are not enlarged further


def image_grid(samples: Any) -> Image:
    """Samples (n, channels, height, width) in [-1, 1], 1 or 3 channels, as one picture, nearly square."""
    from PIL import Image

    array = np.asarray(samples, dtype=np.float32)
    if array.ndim != 4 or array.shape[1] not in (1, 3):
        raise DifftoolError(f"a picture needs samples (n, 1 or 3, height, width), got {array.shape}; use .npz")
    columns = math.ceil(math.sqrt(len(array)))
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


def scatter(samples: Any, title: str, file: Path, metadata: dict[str, str]) -> None:
    """Samples (n, 2) as a scatter, written as PNG with text chunks."""
    from matplotlib.figure import Figure

    array = np.asarray(samples)
    figure = Figure(figsize=(6, 6), dpi=100, layout="tight")
    axes = figure.add_subplot()
    axes.scatter(array[:, 0], array[:, 1], s=max(2, min(20, 8000 / len(array))), alpha=0.6, linewidths=0)
    axes.set_aspect("equal")
    axes.set_title(title, fontsize=10, parse_math=False)
    axes.grid(alpha=0.3)
    figure.savefig(file, format="png", metadata=metadata)
