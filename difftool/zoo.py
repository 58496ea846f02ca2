"""Ready-made models. Nothing heavy is imported before one is made."""

from __future__ import annotations

import math
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from difftool.errors.validation import check_positive

if TYPE_CHECKING:
    from difftool.models import GaussianMixture, NetworkModel


def digits_exact(std: float = 0.15) -> GaussianMixture:
    """The exact diffusion model of 1797 handwritten digits, class-conditional.

    The Gaussian mixture centred on the UCI optical digits, (1, 8, 8) grey images in [-1, 1]; x0, score and density in
    closed form. Option: `std`, the standard deviation of each component (> 0; 0.15 shows as a faint grain, 0.01 is
    clean). Classes 0..9.
    """
    import torch

    from difftool.data.digits import digits
    from difftool.models import GaussianMixture

    data = digits()
    return GaussianMixture(
        torch.from_numpy(data.images), _variance(std), labels=torch.from_numpy(data.labels)
    )


def eight_gaussians(std: float = 0.1) -> GaussianMixture:
    """Eight Gaussians on the unit circle, in two dimensions, exactly; class-conditional.

    Option: `std`, the standard deviation of each (> 0). Classes 0..7, counted from the right, against the clock.
    """
    import torch

    from difftool.models import GaussianMixture

    angle = torch.arange(8, dtype=torch.float64) * (2 * math.pi / 8)
    return GaussianMixture(
        torch.stack([angle.cos(), angle.sin()], 1), _variance(std), labels=torch.arange(8)
    )


def checkpoint(path: Path, weights: Literal["ema", "net"] = "ema") -> NetworkModel:
    """A network that `difftool train` trained.

    Options: `path`, the folder of the training or a checkpoint in a file; `weights`, `ema` (their moving average) or
    `net` (as they are).
    """
    from difftool.training.config import load_model

    return load_model(path, weights)


def digits_unet() -> NetworkModel:
    """A small U-Net that `difftool train` trained on the digits of the package, class-conditional.

    (1, 8, 8) grey images in [-1, 1], classes 0..9, `flow` on the schedule `flow`. The exact model of all digits is
    `digits-exact`. How it was trained, and its figures: docs/weights.md.
    """
    return _shipped("digits-unet")


def moons() -> NetworkModel:
    """A score network for points on two half circles, that `difftool train` trained.

    Points (2,), `score` on the schedule `vp-linear`. How it was trained, and its figures: docs/weights.md.
    """
    return _shipped("moons")


def _shipped(name: str) -> NetworkModel:
    """Weights that the package carries."""
    from difftool.training.config import load_model

    with as_file(files("difftool") / "weights" / f"{name}.safetensors") as file:
        return load_model(file)


def _variance(std: float) -> float:
    check_positive("std must be", std)
    return std * std
