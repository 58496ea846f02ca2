"""A U-Net for pictures: downsampling by 2, upsampling, and skip connections by concatenation.

Sources: Ronneberger et al. 2015 (arXiv 1505.04597); Ho et al. 2020 (arXiv 2006.11239) for time
and attention; Dhariwal & Nichol 2021 (arXiv 2105.05233) for scale and shift; Rombach et al.
2022 (arXiv 2112.10752) for text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from difftool.errors import DifftoolError
from difftool.nn.blocks import PictureAttention, Residual, groups, zero
from difftool.nn.conditions import Conditions, Text, check_text


class Level(nn.Module):
    """A residual block, followed by attention on levels that have it."""

    def __init__(
        self, width: int, out: int, embedding: int, dropout: float, heads: int, text: int | None
    ):
        super().__init__()
        self.block = Residual(width, out, embedding, dropout)
        if text is None or not heads:
            self.text = None
        else:
            self.text = Text(text, out)
        self.attention: PictureAttention | None = None
        if heads:
            self.attention = PictureAttention(out, heads, text is not None)

    def forward(self, x: Tensor, c: Tensor, text: Tensor | None) -> Tensor:
        x = self.block(x, c)
        if self.attention is None:
            return x
        if self.text is None:
            return self.attention(x)
        return self.attention(x, *self.text(text, len(x)))


class UNet(nn.Module):
    """A U-Net for pictures (B, channels, H, W), conditioned on time, class and text.

    Level k works at size H / 2^k with residual blocks of width widths[k]: `depth` blocks on the
    way down, and one more on the way up. H and W can be anything: a picture is padded at the
    right and the bottom to a multiple of 2^(levels - 1) by repeating its edge, and cropped
    again at the end.

    channels: channels of the picture.
    widths: widths of the levels, the finest first.
    depth: blocks per level (>= 1).
    attention: the levels with attention, counted from 0 at the finest; none: the coarsest only.
        The middle block always has it.
    heads: number of attention heads, a divisor of all widths with attention.
    classes: number of classes; none: not class-conditional.
    text: size of the text vectors; none: not text-conditional.
    dropout: dropout in the residual blocks (0 <= dropout < 1).
    outputs: channels of the output; none: those of the picture (a learned variance takes twice
        as many).
    time_scale: factor on time before the sinusoidal embedding.

    Raises `DifftoolError` for invalid values.
    """

    def __init__(
        self,
        channels: int = 3,
        widths: tuple[int, ...] = (64, 128, 256),
        depth: int = 2,
        attention: tuple[int, ...] | None = None,
        heads: int = 4,
        classes: int | None = None,
        text: int | None = None,
        dropout: float = 0.0,
        outputs: int | None = None,
        time_scale: float = 1000.0,
    ):
        super().__init__()
        if attention is None:
            attention = (len(widths) - 1,)
        else:
            attention = tuple(attention)
        _check(channels, widths, depth, attention, heads, dropout)
        embedding = 4 * widths[0]
        self.conditions = Conditions(embedding, classes, time_scale)
        self.classes = classes
        self.takes_text = text is not None
        self.multiple = 2 ** (len(widths) - 1)

        def level(width: int, out: int, has: bool) -> Level:
            return Level(width, out, embedding, dropout, heads if has else 0, text)

        self.enter = nn.Conv2d(channels, widths[0], 3, padding=1)
        self.down, self.shrink = nn.ModuleList(), nn.ModuleList()
        width, kept = widths[0], [widths[0]]
        for k, out in enumerate(widths):
            if k:
                self.shrink.append(nn.Conv2d(width, width, 3, stride=2, padding=1))
                kept.append(width)
            blocks = nn.ModuleList(
                level(width if i == 0 else out, out, k in attention) for i in range(depth)
            )
            self.down.append(blocks)
            kept += [out] * depth
            width = out
        self.middle = nn.ModuleList([level(width, width, True), level(width, width, False)])
        self.up, self.grow = nn.ModuleList(), nn.ModuleList()
        for k, out in reversed([*enumerate(widths)]):
            blocks = nn.ModuleList()
            for _ in range(depth + 1):
                blocks.append(level(width + kept.pop(), out, k in attention))
                width = out
            self.up.append(blocks)
            if k:
                self.grow.append(nn.Conv2d(width, width, 3, padding=1))
        self.leave = nn.Sequential(
            nn.GroupNorm(groups(width), width),
            nn.SiLU(),
            zero(nn.Conv2d(width, outputs or channels, 3, padding=1)),
        )
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # a fifth faster on CPUs

    def forward(
        self, x: Tensor, time: Tensor, label: Tensor | None = None, text: Tensor | None = None
    ) -> Tensor:
        check_text(self if self.takes_text else None, text)
        c, (height, width) = F.silu(self.conditions(time, label)), x.shape[2:]
        x = self.enter(pad(x, self.multiple).contiguous(memory_format=torch.channels_last))
        kept = [x]
        for k, blocks in enumerate(_stacks(self.down)):
            if k:
                x = self.shrink[k - 1](x)
                kept.append(x)
            for block in blocks:
                x = block(x, c, text)
                kept.append(x)
        for block in self.middle:
            x = block(x, c, text)
        for k, blocks in enumerate(_stacks(self.up)):
            for block in blocks:
                x = block(torch.cat([x, kept.pop()], dim=1), c, text)
            if k < len(self.grow):
                x = self.grow[k](F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return self.leave(x)[:, :, :height, :width]


def _stacks(levels: nn.ModuleList) -> Iterator[nn.ModuleList]:
    return (level for level in levels if isinstance(level, nn.ModuleList))


def pad(x: Tensor, multiple: int) -> Tensor:
    """Pad the right and bottom of pictures to multiples of a number, by repeating the edge."""
    right, below = -x.shape[3] % multiple, -x.shape[2] % multiple
    if right or below:
        return F.pad(x, (0, right, 0, below), mode="replicate")
    return x


def _check(
    channels: int,
    widths: Sequence[int],
    depth: int,
    attention: Sequence[int],
    heads: int,
    dropout: float,
) -> None:
    if channels < 1 or not widths or min(widths) < 1 or depth < 1:
        raise DifftoolError(
            f"a U-Net takes channels >= 1, widths >= 1 and depth >= 1, got channels={channels}, "
            f"widths={tuple(widths)}, depth={depth}"
        )
    if not all(0 <= k < len(widths) for k in attention):
        raise DifftoolError(
            f"attention takes levels from 0 to {len(widths) - 1}, got {tuple(attention)}"
        )
    if heads > 0:
        odd = [
            w for k, w in enumerate(widths) if k in (*attention, len(widths) - 1) and w % heads
        ]
    else:
        odd = [0]
    if odd:
        raise DifftoolError(
            f"heads must divide the widths with attention, got heads={heads} for width {odd[0]}"
        )
    if not 0 <= dropout < 1:
        raise DifftoolError(f"dropout must be at least 0 and below 1, got {dropout}")
