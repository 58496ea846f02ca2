"""Checkpoints: a safetensors file with weights, moving average, optimizer state and JSON facts.

The JSON, in the file's metadata, rebuilds network, schedule and objective from their names;
nothing is pickled. A file is written under a temporary name and renamed, so that the previous
one stays intact until the new one is complete.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from difftool.errors import DifftoolError, printable
from difftool.errors.validation import is_whole
from difftool.files.tensors import opening_tensors, save_tensors
from difftool.files.writing import CHECKPOINT, MODEL

# version 1 passed indices into a table of 1000 entries to networks, whatever their table
FORMAT, VERSION = "difftool-checkpoint", 2
MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # what AdamW keeps of each parameter


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

    @property
    def step(self) -> int:
        """The number of steps taken; `DifftoolError` if the file has no valid one."""
        step = self.facts.get("step")
        if not is_whole(step, 0):
            raise DifftoolError(
                f"the checkpoint must have a step of at least 0, got {step!r:.40}"
            )
        return step  # type: ignore[return-value]

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


def export(folder: Path) -> Path:
    """The model of a training's checkpoint, written anew if it is missing or of another step."""
    whole, model = folder / CHECKPOINT, folder / MODEL
    facts = Checkpoint.load(whole, parts=()).facts
    with suppress(DifftoolError):
        if model.exists() and Checkpoint.load(model, parts=()).facts == facts:
            return model
    saved = Checkpoint.load(whole, parts=("ema",))
    saved.save(model)
    return model


def check_weights(net: nn.Module, weights: Mapping[str, Tensor], what: str) -> None:
    """Raise `DifftoolError` if names or shapes of weights differ from those of a network."""
    own = net.state_dict()
    odd = sorted(own.keys() ^ weights.keys())
    shared = own.keys() & weights.keys()
    odd += sorted(name for name in shared if own[name].shape != weights[name].shape)
    if odd:
        raise DifftoolError(
            f"{what} belongs to another network: {len(odd)} weights do not match, "
            f"the first is {printable(odd[0])}"
        )


def fill(net: nn.Module, weights: Mapping[str, Tensor], what: str) -> None:
    """Load weights into a network; `DifftoolError` if they belong to another one."""
    check_weights(net, weights, what)
    net.load_state_dict(weights)


def optimizer_state(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's tensors, by index of the parameter and name."""
    state = optimizer.state_dict()["state"]
    return {
        f"{i}.{name}": torch.as_tensor(v)
        for i, values in state.items()
        for name, v in values.items()
    }


def fill_optimizer(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], what: str
) -> None:
    """Restore the optimizer's tensors; `DifftoolError` if they do not match its parameters.

    Their memory layout is that of their parameters, since fused optimizers read both in one
    pass.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    wanted = {f"{i}.{name}" for i in range(len(parameters)) for name in MOMENTS}
    if tensors and set(tensors) != wanted:
        odd = min(set(tensors) ^ wanted)
        raise DifftoolError(f"{what} has an optimizer that does not match: {printable(odd)}")
    state: dict[int, dict[str, Tensor]] = {}
    for key, v in tensors.items():
        number, _, name = key.partition(".")
        p = parameters[int(number)]
        kept = state.setdefault(int(number), {})
        if name == "step":
            shape = torch.Size([])
        else:
            shape = p.shape
        if v.shape != shape or not v.is_floating_point():
            raise DifftoolError(
                f"{what} has an optimizer that does not match: {key} has shape {tuple(v.shape)}"
            )
        if name == "step":
            kept[name] = v
        else:
            kept[name] = torch.empty_like(p, dtype=v.dtype).copy_(v)
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
