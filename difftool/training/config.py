"""A training as plain values: the options of `difftool train`, stored in its checkpoints."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from difftool.data.base import Dataset, Part
from difftool.errors import DifftoolError
from difftool.errors.validation import check_choice, check_whole
from difftool.models.network import NetworkModel
from difftool.names.registry import registry
from difftool.names.specs import make, options_of
from difftool.names.text import parse, write
from difftool.training.checkpoint import Checkpoint, check_weights, fill
from difftool.training.objective import Objective
from difftool.training.trainer import Hyperparameters
from difftool.training.variance import Hybrid

# network times that depend on the number of entries of the schedule's table
TABLE_TIMES = "index", "rounded-index"


@dataclass(frozen=True)
class Training:
    """A training as names with options, and hyperparameters.

    network: default: `mlp` for points, for pictures a `unet` scaled to their size (widths w, 2w
        and 4w, w from 16 at 8x8 to 64 from 32x32 on). Options that depend on the data are
        filled in.
    weighting: default: `simple` for eps and score, else `output`.
    conditional: whether the network is conditioned on the data's classes and texts.
    learn_variance: whether it also learns the variance of a step, for `ddpm:variance=learned`.
    samples: the number of samples to use, a random subset of the data set; default: all.
    epochs: passes over the data, in place of the steps in `numbers`; default: those steps.

    Raises `DifftoolError` for values that do not fit.
    """

    data: str = "digits"
    network: str | None = None
    schedule: str = "flow"
    predicts: str = "flow"
    time: str = "t"
    weighting: str | None = None
    times: str = "uniform"
    data_std: float = 0.5
    conditional: bool = True
    learn_variance: bool = False
    samples: int | None = None
    epochs: int | None = None
    numbers: Hyperparameters = field(default_factory=Hyperparameters)

    def objective(self) -> Objective:
        """The training objective."""
        if self.weighting is None:
            weighting = None
        else:
            weighting = make("weightings", self.weighting)
        schedule, times = make("schedules", self.schedule), make("times", self.times)
        hybrid = Hybrid() if self.learn_variance else None
        return Objective(
            schedule, self.predicts, self.time, weighting, times, self.data_std, hybrid
        )

    def dataset(self) -> Dataset:
        """The training data."""
        whole: Dataset = make("datasets", self.data)
        if self.samples is None:
            return whole
        return Part(whole, self.samples)

    def filled(self, data: Dataset) -> Training:
        """This training with a network that fits the data, and epochs converted to steps."""
        spec = self.network or _usual(data.shape)
        name, options = parse(spec)
        has = {option.name for option in options_of(registry().find("networks", name).load())}
        if self.learn_variance and "outputs" not in has:
            raise DifftoolError(
                f"network {name!r} cannot learn a variance: it has no option outputs"
            )
        known = {"size" if len(data.shape) == 1 else "channels": data.shape[0]}
        if self.conditional:
            known |= {
                name: value
                for name in ("classes", "text")
                if (value := getattr(data, name)) is not None
            }
        if self.time in TABLE_TIMES:
            known["time_scale"] = 1
        if self.learn_variance:
            known["outputs"] = 2 * data.shape[0]
        inferred = {
            key: str(value) for key, value in known.items() if key in has and key not in options
        }
        numbers = self.numbers
        if self.epochs is not None:
            epochs = check_whole("epochs must be", self.epochs, 1)
            steps = math.ceil(epochs * len(data) / numbers.batch_size)
            numbers = replace(numbers, steps=steps)
        return replace(
            self, network=write(name, {**options, **inferred}), epochs=None, numbers=numbers
        )

    def net(self) -> nn.Module:
        """The network, with random weights from torch's generator."""
        if self.network is None:
            raise DifftoolError("this training has no network; call filled(data) first")
        return make("networks", self.network)

    def to_dict(self) -> dict[str, Any]:
        """The training as JSON-serializable values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Any, what: str = "the training") -> Self:
        """The training from the output of `to_dict`; `DifftoolError` if that is not valid."""
        try:  # missing values have their defaults
            return cls(**{**data, "numbers": Hyperparameters(**data["numbers"])})
        except (KeyError, TypeError) as error:
            raise DifftoolError(
                f"{what} was written by an incompatible version of difftool: {error}"
            ) from None

    @classmethod
    def of(cls, saved: Checkpoint, what: str) -> Self:
        """The training of a checkpoint; `DifftoolError` if it is not valid, or too old."""
        training = cls.from_dict(saved.facts.get("training"), what)
        if saved.facts.get("version") == 1 and training.time in TABLE_TIMES:
            entries = training.objective().schedule.entries
            if entries != 1000:
                raise DifftoolError(
                    f"{what} was trained with times of a table of 1000 entries on one of "
                    f"{entries}, by an old version of difftool; train it again"
                )
        return training


def _usual(shape: Sequence[int]) -> str:
    """The default network for data of that shape."""
    if len(shape) == 1:
        return "mlp"
    width = 8 * max(2, min(8, max(shape[1:]) // 4))  # two channels per pixel of a side
    return f"unet:widths={width}+{2 * width}+{4 * width}"


def check_shapes(training: Training, weights: Mapping[str, Tensor], what: str) -> None:
    """Raise `DifftoolError` if weights do not match the network, before it takes memory."""
    with torch.device("meta"):
        net = training.net()
    check_weights(net, weights, what)


def load_model(path: Path, weights: str = "ema") -> NetworkModel:
    """Load a trained network from a checkpoint of `difftool train`.

    path: a file or a folder.
    weights: `ema` (their moving average) or `net` (the weights themselves).

    Nothing is unpickled. Raises `DifftoolError` for files that are not complete checkpoints, or
    whose weights do not match their network.
    """
    check_choice("weights must be", weights, ("ema", "net"))
    saved = Checkpoint.load(Path(path), parts=(weights,))
    training = Training.of(saved, str(path))
    check_shapes(training, saved.tensors.get(weights, {}), str(path))
    net = training.net()
    fill(net, saved.tensors.get(weights, {}), str(path))
    net.eval().requires_grad_(False)
    model = training.objective().model(net, tuple(saved.facts["shape"]))
    if "range" in saved.facts:
        model.data_range = tuple(saved.facts["range"])
    else:
        model.data_range = None
    return model
