"""The exponential moving average of a network's weights, which sampling uses.

    w' <- d_k w' + (1 - d_k) w,    d_k = min(decay, (1 + k) / (10 + k)) after step k

so that the first steps, far from convergence, are soon forgotten.
"""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import nn

from difftool.errors import DifftoolError


class EMA:
    """A moving average of a network, as a copy.

    decay: 0 <= decay < 1; 0 is the network itself.
    """

    def __init__(self, net: nn.Module, decay: float = 0.999):
        if not 0 <= decay < 1:
            raise DifftoolError(
                f"the decay of the moving average must be at least 0 and below 1, got {decay}"
            )
        self.decay, self.net = decay, deepcopy(net).eval().requires_grad_(False)
        self._pairs = [*zip(self.net.parameters(), net.parameters(), strict=True)]
        self._buffers = [*zip(self.net.buffers(), net.buffers(), strict=True)]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Update the average after step number `step` (from 1)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        own, other = zip(*self._pairs, strict=True)
        torch._foreach_lerp_(own, [p.detach() for p in other], 1 - decay)
        for mine, its in self._buffers:
            mine.copy_(its)
