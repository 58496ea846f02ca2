"""Checkpoints: a safetensors file with weights, moving average, optimizer state and JSON facts.

The JSON, in the file's metadata, rebuilds network, schedule and objective from their names;
nothing is pickled. A file is written under a temporary name and renamed, so that the previous
one stays intact until the new one is complete.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from difftool.errors import DifftoolError
from difftool.files.tensors import opening_tensors, save_tensors
from difftool.files.writing import CHECKPOINT

# version 1 passed indices into a table of 1000 entries to networks, whatever their table
FORMAT, VERSION = "difftool-checkpoint", 2


@dataclass
class Checkpoint:
    """The contents of a file: tensors by part (`net`, `ema`, `optimizer`), facts as JSON."""

    facts: dict[str, Any]
    tensors: dict[str, dict[str, Tensor]] = field(default_factory=dict)

    def save(self, file: Path) -> None:
        """Write the file atomically; `DifftoolError` if that fails."""
        flat = {
            f"{part}.{name}": v.contiguous()
            for part, values in self.tensors.items()
            for name, v in values.items()
        }
        head = json.dumps({"format": FORMAT, "version": VERSION, **self.facts})
        save_tensors(flat, file, head)

    @classmethod
    def load(cls, path: Path, parts: tuple[str, ...] = ("net", "ema", "optimizer")) -> Self:
        """Load a checkpoint from a file or a training's folder; `DifftoolError` if invalid."""
        if path.is_dir():
            file = path / CHECKPOINT
        else:
            file = path
        if not file.exists():
            raise DifftoolError(f"there is no checkpoint {file}")
        with opening_tensors(file) as (opened, facts):
            names = [name for name in opened.keys() if name.partition(".")[0] in parts]  # noqa: SIM118
            flat = {name: opened.get_tensor(name) for name in names}
        if not isinstance(facts, dict) or facts.get("format") != FORMAT:
            raise DifftoolError(f"{file} is a safetensors file, but not a difftool checkpoint")
        if facts.get("version") not in (1, VERSION):
            raise DifftoolError(
                f"{file} has version {facts.get('version')}, this difftool reads up to {VERSION}; "
                f"update it"
            )
        tensors: dict[str, dict[str, Tensor]] = {}
        for name, v in flat.items():
            part, _, rest = name.partition(".")
            tensors.setdefault(part, {})[rest] = v
        return cls(facts, tensors)


def fill(net: nn.Module, weights: Mapping[str, Tensor], what: str) -> None:
    """Load weights into a network; `DifftoolError` if they belong to another one."""
    own = net.state_dict()
    odd = sorted(own.keys() ^ weights.keys())
    odd += sorted(
        name for name in own.keys() & weights.keys() if own[name].shape != weights[name].shape
    )
    if odd:
        raise DifftoolError(
            f"{what} belongs to another network: {len(odd)} weights do not match, "
            f"the first is {odd[0]}"
        )
    net.load_state_dict(weights)


def optimizer_state(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's tensors, by index of the parameter and name."""
    state = optimizer.state_dict()["state"]
    return {
        f"{i}.{name}": torch.as_tensor(v)
        for i, values in state.items()
        for name, v in values.items()
    }


def fill_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Restore the optimizer's tensors.

    Their memory layout is that of their parameters, since fused optimizers read both in one
    pass.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, v in tensors.items():
        number, _, rest = name.partition(".")
        p = parameters[int(number)]
        if v.shape == p.shape:
            state.setdefault(int(number), {})[rest] = torch.empty_like(p, dtype=v.dtype).copy_(
                v
            )
        else:
            state.setdefault(int(number), {})[rest] = v
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
