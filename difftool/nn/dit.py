"""A small diffusion transformer on patches; scale, shift and gate depend on time and class.

Source: Peebles & Xie 2023, Scalable diffusion models with transformers (arXiv 2212.09748),
adaLN-Zero.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from difftool.errors import DifftoolError
from difftool.nn.blocks import Attention, zero
from difftool.nn.conditions import Conditions, Text, check_text, sines
from difftool.nn.unet import pad


class Block(nn.Module):
    """Attention and a two-layer MLP, each scaled, shifted and gated by c; text in between."""

    def __init__(self, width: int, heads: int, text: bool, dropout: float):
        super().__init__()
        self.told = zero(nn.Linear(width, 6 * width))
        self.attention = Attention(width, heads, begins_at_zero=False)  # the gate is
        self.text = Attention(width, heads) if text else None
        self.layers = nn.Sequential(
            nn.Linear(width, 4 * width),
            nn.GELU(approximate="tanh"),
            nn.Dropout(dropout),
            nn.Linear(4 * width, width),
        )

    def forward(
        self, x: Tensor, c: Tensor, context: Tensor | None, mask: Tensor | None
    ) -> Tensor:
        shift1, scale1, gate1, shift2, scale2, gate2 = self.told(F.silu(c))[:, None].chunk(
            6, dim=2
        )
        x = x + gate1 * self.attention(_norm(x) * (1 + scale1) + shift1)
        if self.text is not None:
            x = x + self.text(_norm(x), context, mask)
        return x + gate2 * self.layers(_norm(x) * (1 + scale2) + shift2)


class DiT(nn.Module):
    """A diffusion transformer for pictures (B, channels, H, W), padded to whole patches.

    channels: channels of the picture.
    patch: side of a patch in pixels (>= 1).
    width: size of the embeddings, a multiple of 4 and of heads.
    depth: number of blocks (>= 1).
    heads: number of attention heads.
    classes: number of classes; none: not class-conditional.
    text: size of the text vectors; none: not text-conditional.
    dropout: between the two layers of a block (0 <= dropout < 1).
    outputs: channels of the output; none: those of the picture (a learned variance takes twice
        as many).
    time_scale: factor on time before the sinusoidal embedding.

    Raises `DifftoolError` for invalid values.
    """

    def __init__(
        self,
        channels: int = 3,
        patch: int = 2,
        width: int = 192,
        depth: int = 6,
        heads: int = 4,
        classes: int | None = None,
        text: int | None = None,
        dropout: float = 0.0,
        outputs: int | None = None,
        time_scale: float = 1000.0,
    ):
        super().__init__()
        if (
            min(channels, patch, depth, heads, width) < 1
            or width % 4
            or width % heads
            or not 0 <= dropout < 1
        ):
            raise DifftoolError(
                f"a DiT takes channels, patch, depth >= 1, a width divisible by 4 and heads, 0 <= dropout < 1, got "
                f"channels={channels}, patch={patch}, depth={depth}, width={width}, heads={heads}, dropout={dropout}"
            )
        self.patch, self.width = patch, width
        self.conditions = Conditions(width, classes, time_scale)
        self.classes = classes
        self.text = None if text is None else Text(text, width)
        self.enter = nn.Conv2d(channels, width, patch, stride=patch)
        self.blocks = nn.ModuleList(
            Block(width, heads, text is not None, dropout) for _ in range(depth)
        )
        self.told = zero(nn.Linear(width, 2 * width))
        self.leave = zero(nn.Linear(width, patch * patch * (outputs or channels)))

    def forward(
        self, x: Tensor, time: Tensor, label: Tensor | None = None, text: Tensor | None = None
    ) -> Tensor:
        check_text(self.text, text)
        c, (height, width) = self.conditions(time, label), x.shape[2:]
        y = self.enter(pad(x, self.patch))
        rows, columns = y.shape[2:]
        y = y.flatten(2).transpose(1, 2) + _places(rows, columns, self.width, y)
        if self.text is None:
            context, mask = (None, None)
        else:
            context, mask = self.text(text, len(x))
        for block in self.blocks:
            y = block(y, c, context, mask)
        shift, scale = self.told(F.silu(c))[:, None].chunk(2, dim=2)
        y = self.leave(_norm(y) * (1 + scale) + shift).transpose(1, 2)
        y = F.fold(y, (rows * self.patch, columns * self.patch), self.patch, stride=self.patch)
        return y[:, :, :height, :width]


def _norm(x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:])


def _places(rows: int, columns: int, width: int, like: Tensor) -> Tensor:
    """Positional embeddings (rows * columns, width): sines of each patch's row and column."""
    r, c = (sines(torch.arange(n, device=like.device), width // 2) for n in (rows, columns))
    grid = torch.cat([r[:, None].expand(-1, columns, -1), c[None].expand(rows, -1, -1)], dim=2)
    return grid.reshape(rows * columns, width).to(like.dtype)
