"""The UCI optical handwritten digits: 1797 gray images of 8x8 pixels with their labels.

Origin: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine
Learning Repository, 1998, doi 10.24432/C50P49, license CC BY 4.0; its test part, as shipped
with scikit-learn 1.9, stored unchanged, as integers 0..16, in `digits.npz`. Every fifth image
of each class, in file order, is held out.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import as_file, files
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

if TYPE_CHECKING:  # imports torch
    from difftool.data.base import Arrays

SHAPE = (1, 8, 8)


class Digits(NamedTuple):
    """images (1797, 1, 8, 8), float32 in [-1, 1]; labels int64 and held_out bool, (1797,)."""

    images: np.ndarray
    labels: np.ndarray
    held_out: np.ndarray


@cache
def digits() -> Digits:
    """The digits and their fixed split."""
    with (
        as_file(files("difftool.data") / "digits.npz") as name,
        np.load(name, allow_pickle=False) as data,
    ):
        images = data["images"].astype(np.float32)[:, None] / 8 - 1
        labels = data["labels"].astype(np.int64)
    held_out = np.zeros(len(labels), dtype=bool)
    for label in range(10):
        held_out[np.flatnonzero(labels == label)[4::5]] = True
    return Digits(images, labels, held_out)


def dataset(split: Literal["train", "held-out", "all"] = "train") -> Arrays:
    """The built-in handwritten digits, 8x8 pixels, ten classes.

    Option: `split`, `train` (four fifths), `held-out` (every fifth of each class), or
    `all` of the 1797.
    """
    from difftool.data.base import Arrays

    images, labels, held_out = digits()
    rows = {"train": ~held_out, "held-out": held_out, "all": np.ones_like(held_out)}[split]
    return Arrays(images[rows], labels[rows])
