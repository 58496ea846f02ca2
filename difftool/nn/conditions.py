"""The inputs of a network apart from its state: time, class, and text as a sequence of vectors.

    time    (B,)         sines and cosines of time_scale * time, then two linear layers
    label   (B,) int64   a learned embedding per class; -1, or no labels at all: that of "no class"
    text    (B, L, D)    attended to, together with a learned vector; zero vectors are masked, so
                         texts can be padded with zeros, and all zeros mean "no text"

Sources: Vaswani et al. 2017 (arXiv 1706.03762) for the sines; Ho & Salimans 2022 (arXiv
2207.12598) for the null class; Rombach et al. 2022 (arXiv 2112.10752) for attention to text.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from difftool.errors import DifftoolError

NONE = -1  # the label for no class


def sines(time: Tensor, width: int, longest: float = 10_000.0) -> Tensor:
    """(B, width): cos and sin of time at width / 2 frequencies, from 1 down to 1 / longest."""
    time, half = time if time.dtype == torch.float64 else time.float(), width // 2
    frequencies = torch.exp(
        torch.arange(half, device=time.device, dtype=time.dtype) * (-math.log(longest) / half)
    )
    angles = time[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=1)


class Conditions(nn.Module):
    """Time and class as one vector, (B, width).

    width: even; classes: the number of classes, None for a network without; time_scale: the
        factor
    that spreads out times: 1000 for times in [0, 1], 1 for indices of a table.
    """

    def __init__(self, width: int, classes: int | None = None, time_scale: float = 1000.0):
        super().__init__()
        if classes is not None and classes < 1:
            raise DifftoolError(f"classes must be at least 1, or None, got {classes}")
        self.width, self.classes, self.time_scale = width, classes, time_scale
        self.first, self.second = nn.Linear(width, width), nn.Linear(width, width)
        if classes is None:
            self.label = None
        else:
            self.label = nn.Embedding(classes + 1, width)

    def forward(self, time: Tensor, label: Tensor | None = None) -> Tensor:
        out = sines(time * self.time_scale, self.width).to(self.first.weight.dtype)
        out = self.second(nn.functional.silu(self.first(out)))
        if self.label is None:
            if label is not None:
                raise DifftoolError(
                    "this network has no classes; leave out --class (label), or create it with classes=..."
                )
            return out
        return out + self.label(self._rows(label, len(time), time.device))

    def _rows(self, label: Tensor | None, count: int, device: torch.device) -> Tensor:
        """Rows of the embedding table; the last one is for no class."""
        assert self.classes is not None
        if label is None:
            return torch.full((count,), self.classes, device=device)
        return torch.where(label < 0, self.classes, label)


class Text(nn.Module):
    """Turn a text (B, L, D) into a context (B, 1 + L, width) and its mask (B, 1 + L)."""

    def __init__(self, size: int, width: int):
        super().__init__()
        self.size = size
        self.none = nn.Parameter(torch.zeros(1, 1, width))
        self.project = nn.Linear(size, width)

    def forward(self, text: Tensor | None, count: int) -> tuple[Tensor, Tensor]:
        none = self.none.expand(count, 1, -1)
        mask = torch.ones(count, 1, dtype=torch.bool, device=none.device)
        if text is None:
            return none, mask
        if text.ndim != 3 or len(text) != count or text.shape[2] != self.size:
            raise DifftoolError(
                f"text must have the shape ({count}, L, {self.size}) for this network, got {tuple(text.shape)}"
            )
        words = self.project(text.to(none.dtype))
        return torch.cat([none, words], dim=1), torch.cat([mask, text.ne(0).any(dim=2)], dim=1)


def check_text(net_text: nn.Module | None, text: Tensor | None) -> None:
    """Raise `DifftoolError` for a text if the network takes none."""
    if net_text is None and text is not None:
        raise DifftoolError(
            "this network takes no text; leave it out, or create it with text=..."
        )
