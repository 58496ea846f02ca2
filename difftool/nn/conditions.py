"""What a network is told beside its state: the time, a class, and a text as a sequence of vectors.

    time    (B,)         sines and cosines of time_scale * time, then two linear layers
    label   (B,) int64   a learned vector for each class; -1, or no labels at all: one learned for "no class"
    text    (B, L, D)    vectors that attention looks at, beside a learned one; vectors of zeros are not looked at, so
                         that texts are padded with zeros, and zeros throughout are "no text"

Sources: Vaswani et al. 2017 (arXiv 1706.03762) for the sines; Ho & Salimans 2022 (arXiv 2207.12598) for the null class;
Rombach et al. 2022 (arXiv 2112.10752) for attention to text.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from difftool.errors import DifftoolError

NONE = -1  # the label that stands for no class


def sines(time: Tensor, width: int, longest: float = 10_000.0) -> Tensor:
    """(B, width): cos and sin of time times width / 2 frequencies from 1 down to 1 / longest, at least in float32."""
    time, half = time if time.dtype == torch.float64 else time.float(), width // 2
    frequencies = torch.exp(
        torch.arange(half, device=time.device, dtype=time.dtype) * (-math.log(longest) / half)
    )
    angles = time[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=1)


class Conditions(nn.Module):
    """Time and class as one vector, (B, width).

    width: even; classes: how many there are, none for a network without; time_scale: what time is multiplied by, so
    that its differences show: 1000 for times in [0, 1], 1 for entries of a table.
    """

    def __init__(self, width: int, classes: int | None = None, time_scale: float = 1000.0):
        super().__init__()
        if classes is not None and classes < 1:
            raise DifftoolError(f"a network takes classes >= 1, or none, got {classes}")
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
                    "this network has no classes; leave out --class (label), or build it with classes=..."
                )
            return out
        return out + self.label(self._rows(label, len(time), time.device))

    def _rows(self, label: Tensor | None, count: int, device: torch.device) -> Tensor:
        """Rows of the table; the last one is for no class."""
        assert self.classes is not None
        if label is None:
            return torch.full((count,), self.classes, device=device)
        return torch.where(label < 0, self.classes, label)


class Text(nn.Module):
    """A text (B, L, D) as what attention looks at: (B, 1 + L, width), and which of it there is, (B, 1 + L)."""

    def __init__(self, size: int, width: int):
        super().__init__()
        self.size = size
        self.none = nn.Parameter(torch.zeros(1, 1, width))
        self.project = nn.Linear(size, width)

    def forward(self, text: Tensor | None, count: int) -> tuple[Tensor, Tensor]:
        none = self.none.expand(count, 1, -1)
        there = torch.ones(count, 1, dtype=torch.bool, device=none.device)
        if text is None:
            return none, there
        if text.ndim != 3 or len(text) != count or text.shape[2] != self.size:
            raise DifftoolError(
                f"text has the shape {tuple(text.shape)}, this network takes ({count}, L, {self.size})"
            )
        words = self.project(text.to(none.dtype))
        return torch.cat([none, words], dim=1), torch.cat([there, text.ne(0).any(dim=2)], dim=1)


def check_text(net_text: nn.Module | None, text: Tensor | None) -> None:
    """Raise `DifftoolError` for a text that the network does not take."""
    if net_text is None and text is not None:
        raise DifftoolError(
            "this network takes no text; leave it out, or build it with text=..."
        )
