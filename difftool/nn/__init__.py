"""Networks, free of diffusion logic: net(x, time, label=None, text=None) -> a tensor like x."""

from difftool.nn.dit import DiT
from difftool.nn.mlp import MLP
from difftool.nn.unet import UNet

__all__ = ["MLP", "DiT", "UNet"]
