"""Ready-made models; heavy imports happen when one is created."""

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

    The Gaussian mixture centered on the UCI optical digits, (1, 8, 8) gray images in [-1, 1];
    x0, score and density in closed form. Option: `std`, the standard deviation of each
    component (> 0; 0.15 is visible as a faint grain, 0.01 is clean). Classes 0..9.
    """
    import torch

    from difftool.data.digits import digits
    from difftool.models import GaussianMixture

    data = digits()
    return GaussianMixture(
        torch.from_numpy(data.images), _variance(std), labels=torch.from_numpy(data.labels)
    )


def eight_gaussians(std: float = 0.1) -> GaussianMixture:
    """The exact model of eight Gaussians on the unit circle, in the plane; class-conditional.

    Option: `std`, the standard deviation of each (> 0). Classes 0..7, counterclockwise from the
    right.
    """
    import torch

    from difftool.models import GaussianMixture

    angle = torch.arange(8, dtype=torch.float64) * (2 * math.pi / 8)
    return GaussianMixture(
        torch.stack([angle.cos(), angle.sin()], 1), _variance(std), labels=torch.arange(8)
    )


def checkpoint(path: Path, weights: Literal["ema", "net"] = "ema") -> NetworkModel:
    """A network trained by `difftool train`.

    Options: `path`, the folder of the training or a checkpoint file; `weights`, `ema` (their
    moving average) or `net` (the latest).
    """
    from difftool.training.config import load_model

    return load_model(path, weights)


def digits_unet() -> NetworkModel:
    """A small class-conditional U-Net, trained by `difftool train` on the bundled digits.

    (1, 8, 8) gray images in [-1, 1], classes 0..9; predicts `flow` on the schedule `flow`. The
    exact model of all digits is `digits-exact`. Training and results: docs/weights.md.
    """
    return _shipped("digits-unet")


def moons() -> NetworkModel:
    """A score network for points on two half circles, trained by `difftool train`.

    Points (2,); predicts `score` on the schedule `vp-linear`. Training and results:
    docs/weights.md.
    """
    return _shipped("moons")


def _shipped(name: str) -> NetworkModel:
    """A model whose weights are bundled with the package."""
    from difftool.training.config import load_model

    with as_file(files("difftool") / "weights" / f"{name}.safetensors") as file:
        return load_model(file)


def _variance(std: float) -> float:
    check_positive("std must be", std)
    return std * std
