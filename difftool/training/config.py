"""A training as plain words and numbers: what `difftool train` is told, and what a checkpoint says of itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from torch import nn

from difftool.data.base import Dataset, Part
from difftool.errors import DifftoolError
from difftool.errors.validation import check_choice, check_whole
from difftool.models.network import NetworkModel
from difftool.names.registry import registry
from difftool.names.specs import make, options_of
from difftool.names.text import parse, write
from difftool.training.checkpoint import Checkpoint, fill
from difftool.training.objective import Objective
from difftool.training.trainer import Hyperparameters
from difftool.training.variance import Hybrid

# times that follow from the number of entries of the schedule's table
TABLE_TIMES = "index", "rounded-index"


@dataclass(frozen=True)
class Training:
    """Names with options, and the numbers of the loop. Raises `DifftoolError` for what does not fit.

    network: None stands for `mlp` for points, for pictures a `unet` by their size (widths w, 2w and 4w,
        w from 16 at 8x8 to 64 from 32x32 on); what it has to know of the data is filled in.
    weighting: None stands for `simple` for eps and score, else `output`.
    conditional: whether the network is told the classes and texts that the data has.
    learn_variance: whether it learns the variance of a step as well, for `ddpm:variance=learned`.
    samples: how many of the data set's are used, drawn at random; none: all.
    epochs: how often each of them is seen, in place of the steps of `numbers`; none: as those say.
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
        """What the network is trained on."""
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
        """What it is trained on."""
        whole: Dataset = make("datasets", self.data)
        if self.samples is None:
            return whole
        return Part(whole, self.samples)

    def filled(self, data: Dataset) -> Training:
        """The same with a network that fits the data, and with epochs as steps."""
        spec = self.network or _usual(data.shape)
        name, given = parse(spec)
        has = {option.name for option in options_of(registry().find("networks", name).load())}
        if self.learn_variance and "outputs" not in has:
            raise DifftoolError(
                f"the network {name!r} cannot learn a variance: it has no option outputs"
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
        told = {
            key: str(value) for key, value in known.items() if key in has and key not in given
        }
        numbers = self.numbers
        if self.epochs is not None:
            epochs = check_whole("epochs is", self.epochs, 1)
            steps = math.ceil(epochs * len(data) / numbers.batch_size)
            numbers = replace(numbers, steps=steps)
        return replace(
            self, network=write(name, {**given, **told}), epochs=None, numbers=numbers
        )

    def net(self) -> nn.Module:
        """The network, with weights drawn anew from torch's generator."""
        if self.network is None:
            raise DifftoolError("this training does not name its network")
        return make("networks", self.network)

    def to_dict(self) -> dict[str, Any]:
        """As JSON-able values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Any, what: str = "the training") -> Self:
        """The training that `to_dict` wrote; `DifftoolError` if it is not whole."""
        try:  # what is not said has its default
            return cls(**{**data, "numbers": Hyperparameters(**data["numbers"])})
        except (KeyError, TypeError) as error:
            raise DifftoolError(
                f"{what} is not described as this difftool does it: {error}"
            ) from None

    @classmethod
    def of(cls, saved: Checkpoint, what: str) -> Self:
        """The training of a checkpoint; `DifftoolError` if it is not whole, or was told times of another table."""
        training = cls.from_dict(saved.facts.get("training"), what)
        if saved.facts.get("version") == 1 and training.time in TABLE_TIMES:
            entries = training.objective().schedule.entries
            if entries != 1000:
                raise DifftoolError(
                    f"{what} was told the entries of a table of 1000 on one of {entries}, as difftool once did; train "
                    f"it again"
                )
        return training


def _usual(shape: Sequence[int]) -> str:
    """The network for data of that shape where none is named."""
    if len(shape) == 1:
        return "mlp"
    width = 8 * max(2, min(8, max(shape[1:]) // 4))  # two for a pixel of a side
    return f"unet:widths={width}+{2 * width}+{4 * width}"


def load_model(path: Path, weights: str = "ema") -> NetworkModel:
    """A trained network: the checkpoint of `difftool train`, in a file or a training's folder.

    path: a file or a folder; weights: `ema` (their moving average) or `net` (as they are). Nothing is unpickled. Raises
    `DifftoolError` for what is no whole checkpoint, and for one of another network.
    """
    check_choice("weights are", weights, ("ema", "net"))
    saved = Checkpoint.load(Path(path), parts=(weights,))
    training = Training.of(saved, str(path))
    net = training.net()
    fill(net, saved.tensors.get(weights, {}), str(path))
    net.eval().requires_grad_(False)
    model = training.objective().model(net, tuple(saved.facts["shape"]))
    if "range" in saved.facts:
        model.data_range = tuple(saved.facts["range"])
    else:
        model.data_range = None
    return model
