"""A network for points: linear layers, each conditioned on time and class."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from difftool.errors import DifftoolError
from difftool.nn.conditions import Conditions


class MLP(nn.Module):
    """An MLP with SiLU activations, conditioned on time and class, for states (B, size).

    h_0 = x,  h_{k+1} = SiLU(W_k h_k + U_k c + b_k),  and one linear layer to (B, outputs), with
    c the embedding of time and class.

    size: dimension of a point (>= 1).
    widths: widths of the hidden layers, at least one.
    classes: number of classes; none: not class-conditional.
    outputs: size of the output; none: size (a learned variance takes twice as many).
    embedding: width of c (even, >= 2).
    time_scale: factor on time before the sinusoidal embedding.

    Raises `DifftoolError` for invalid values.
    """

    def __init__(
        self,
        size: int = 2,
        widths: tuple[int, ...] = (128, 128, 128),
        classes: int | None = None,
        outputs: int | None = None,
        embedding: int = 64,
        time_scale: float = 1000.0,
    ):
        super().__init__()
        if size < 1 or not widths or min(widths) < 1 or embedding < 2 or embedding % 2:
            raise DifftoolError(
                f"an mlp takes size >= 1, widths >= 1 and an even embedding, got size={size}, widths={tuple(widths)}, "
                f"embedding={embedding}"
            )
        self.conditions = Conditions(embedding, classes, time_scale)
        self.classes = classes
        sizes = [size, *widths]
        self.layers = nn.ModuleList(
            nn.Linear(a, b) for a, b in zip(sizes, widths, strict=False)
        )
        self.told = nn.ModuleList(nn.Linear(embedding, width, bias=False) for width in widths)
        self.out = nn.Linear(sizes[-1], outputs or size)

    def forward(self, x: Tensor, time: Tensor, label: Tensor | None = None) -> Tensor:
        c = self.conditions(time, label)
        for layer, conditioning in zip(self.layers, self.told, strict=True):
            x = torch.nn.functional.silu(layer(x) + conditioning(c))
        return self.out(x)
