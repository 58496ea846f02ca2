"""What U-Net and DiT are made of: residual blocks told a vector, attention to the picture and to a text."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


def groups(width: int, most: int = 32) -> int:
    """How many groups a normalization of that width has: the most up to 32 that divide it, four channels in each."""
    return next(n for n in range(min(most, max(width // 4, 1)), 0, -1) if width % n == 0)


def zero(layer: nn.Module) -> nn.Module:
    """The layer with all its numbers at 0, so that a residual block begins as the identity."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


class Residual(nn.Module):
    """x + conv(SiLU(norm(conv(SiLU(norm(x)))) (1 + scale) + shift)), scale and shift from the vector c."""

    def __init__(self, width: int, out: int, embedding: int, dropout: float = 0.0):
        super().__init__()
        self.norm1, self.conv1 = (
            nn.GroupNorm(groups(width), width),
            nn.Conv2d(width, out, 3, padding=1),
        )
        self.norm2, self.conv2 = (
            nn.GroupNorm(groups(out), out),
            zero(nn.Conv2d(out, out, 3, padding=1)),
        )
        self.told = nn.Linear(embedding, 2 * out)
        self.dropout = nn.Dropout(dropout)
        self.skip: nn.Module = nn.Identity()
        if width != out:
            self.skip = nn.Conv2d(width, out, 1)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        scale, shift = self.told(c)[:, :, None, None].chunk(2, dim=1)
        h = self.norm2(h) * (1 + scale) + shift
        return self.skip(x) + self.conv2(self.dropout(F.silu(h)))


class Attention(nn.Module):
    """Multi-head attention of (B, N, width) to itself, or to a context (B, M, width) of which some is there."""

    def __init__(self, width: int, heads: int, begins_at_zero: bool = True):
        super().__init__()
        self.heads = heads
        self.query, self.key_value = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        if begins_at_zero:
            zero(self.out)

    def forward(
        self, x: Tensor, context: Tensor | None = None, there: Tensor | None = None
    ) -> Tensor:
        key, value = self.key_value(x if context is None else context).chunk(2, dim=2)
        q, k, v = (
            a.unflatten(2, (self.heads, -1)).transpose(1, 2)
            for a in (self.query(x), key, value)
        )
        mask = None if there is None else there[:, None, None, :]
        return self.out(
            F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)
        )


class PictureAttention(nn.Module):
    """Attention between the places of a picture (B, width, H, W), then to a text, each added."""

    def __init__(self, width: int, heads: int, text: bool):
        super().__init__()
        self.norm, self.itself = nn.GroupNorm(groups(width), width), Attention(width, heads)
        self.norm_text = nn.LayerNorm(width) if text else None
        self.text = Attention(width, heads) if text else None

    def forward(
        self, x: Tensor, context: Tensor | None = None, there: Tensor | None = None
    ) -> Tensor:
        y = x.flatten(2).transpose(1, 2)
        y = y + self.itself(self.norm(x).flatten(2).transpose(1, 2))
        if self.text is not None and self.norm_text is not None:
            y = y + self.text(self.norm_text(y), context, there)
        return y.transpose(1, 2).unflatten(2, x.shape[2:])
