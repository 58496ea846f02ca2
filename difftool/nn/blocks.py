"""Building blocks of U-Net and DiT: conditioned residual blocks, self- and cross-attention."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


def groups(width: int, most: int = 32) -> int:
    """The number of groups for GroupNorm: as many as possible with at least 4 channels each."""
    return next(n for n in range(min(most, max(width // 4, 1)), 0, -1) if width % n == 0)


def zero(layer: nn.Module) -> nn.Module:
    """Initialize a layer to zero, so that a residual block starts as the identity."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


class Residual(nn.Module):
    """x + conv(SiLU(norm(conv(SiLU(norm(x)))) (1 + scale) + shift)), scale and shift from c."""

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
    """Multi-head attention of (B, N, width) to itself or to a masked context (B, M, width)."""

    def __init__(self, width: int, heads: int, begins_at_zero: bool = True):
        super().__init__()
        self.heads = heads
        self.query, self.key_value = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        if begins_at_zero:
            zero(self.out)

    def forward(
        self, x: Tensor, context: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        key, value = self.key_value(x if context is None else context).chunk(2, dim=2)
        q, k, v = (
            a.unflatten(2, (self.heads, -1)).transpose(1, 2)
            for a in (self.query(x), key, value)
        )
        attn_mask = None if mask is None else mask[:, None, None, :]
        return self.out(
            F.scaled_dot_product_attention(q, k, v, attn_mask=attn_mask)
            .transpose(1, 2)
            .flatten(2)
        )


class PictureAttention(nn.Module):
    """Self-attention over a picture (B, width, H, W), then attention to a text, both added."""

    def __init__(self, width: int, heads: int, text: bool):
        super().__init__()
        self.norm, self.itself = nn.GroupNorm(groups(width), width), Attention(width, heads)
        self.norm_text = nn.LayerNorm(width) if text else None
        self.text = Attention(width, heads) if text else None

    def forward(
        self, x: Tensor, context: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        y = x.flatten(2).transpose(1, 2)
        y = y + self.itself(self.norm(x).flatten(2).transpose(1, 2))
        if self.text is not None and self.norm_text is not None:
            y = y + self.text(self.norm_text(y), context, mask)
        return y.transpose(1, 2).unflatten(2, x.shape[2:])
