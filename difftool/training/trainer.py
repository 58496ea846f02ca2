"""The training loop.

Step k depends on the seed and k alone: its samples, times, noise and dropout. A training that
was stopped resumes from its checkpoint with the same losses.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from difftool.data.base import Batch, Dataset
from difftool.errors import DifftoolError, enough_memory, missing
from difftool.errors.validation import either, is_number, is_whole
from difftool.training.ema import EMA
from difftool.training.objective import Objective

MOST = 2**62 - 1  # upper bound of integer hyperparameters


@dataclass(frozen=True)
class Hyperparameters:
    """The hyperparameters of a training.

    steps: number of optimizer steps (AdamW).
    batch_size: samples per step, over all processes.
    learning_rate, weight_decay: of AdamW.
    warmup: steps in which the learning rate rises from 0.
    decay: how it falls afterwards: `none`, or along a `cosine` to 0 at the last step.
    clip: the largest norm of the gradient.
    ema: the decay of the moving average of the weights.
    drop: the probability of dropping a sample's conditioning, for guidance (0 to 1).
    flip: mirror every other picture.
    precision: `no`, `bf16` or `fp16`.
    compile: use torch.compile.
    seed: of all randomness.
    """

    steps: int = 10_000
    batch_size: int = 128
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    warmup: int = 100
    decay: Literal["none", "cosine"] = "cosine"
    clip: float = 1.0
    ema: float = 0.999
    drop: float = 0.1
    flip: bool = False
    precision: Literal["no", "bf16", "fp16"] = "no"
    compile: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        whole = {"steps": 1, "batch_size": 1, "warmup": 0, "seed": 0}
        for name, least in whole.items():
            value = getattr(self, name)
            if not is_whole(value, least, MOST):
                raise DifftoolError(
                    f"{name} must be a whole number of at least {least}, got {value!r}"
                )
        bounds = {
            "learning_rate": (0.0, 1e3), "weight_decay": (0.0, 1e3), "clip": (1e-12, math.inf), "drop": (0.0, 1.0),
            "ema": (0.0, 1 - 1e-12),
        }  # fmt: skip
        for name, (low, high) in bounds.items():
            value = getattr(self, name)
            if not is_number(value, low, high):
                raise DifftoolError(
                    f"{name} must be a number from {low:g} to {high:g}, got {value!r}"
                )
        for name in ("flip", "compile"):
            if not isinstance(getattr(self, name), bool):
                raise DifftoolError(
                    f"{name} must be true or false, got {getattr(self, name)!r}"
                )
        for name, allowed in (
            ("decay", ("none", "cosine")),
            ("precision", ("no", "bf16", "fp16")),
        ):
            if getattr(self, name) not in allowed:
                raise DifftoolError(
                    f"{name} must be {either(allowed)}, got {getattr(self, name)!r}"
                )

    def rate(self, step: int) -> float:
        """The learning rate at step `step`, from 0, as a fraction of the peak."""
        if step < self.warmup:
            return min((step + 1) / self.warmup, 1.0)
        if self.decay == "none":
            return 1.0
        angle = math.pi * (step - self.warmup) / max(self.steps - self.warmup, 1)
        return (1 + math.cos(angle)) / 2


class Trainer:
    """The training loop of a network: `for step, loss in trainer` runs its steps.

    net: the network, trained in place.
    data, objective, numbers: training data, loss and hyperparameters.
    device: `auto` or `cpu`; `accelerate` handles device, precision and processes.
    conditional: whether the network is conditioned on the data's classes and texts.

    Raises `DifftoolError` if these do not fit together.
    """

    def __init__(
        self,
        net: nn.Module,
        data: Dataset,
        objective: Objective,
        numbers: Hyperparameters,
        device: str = "auto",
        conditional: bool = True,
    ):
        self.accelerator = _accelerator(numbers.precision, device)
        target = self.accelerator.device
        self.net, self.data, self.objective = net.to(target), data, objective
        self.numbers, self.conditional = numbers, conditional
        _try(self.net, data, objective, conditional)
        self.ema = EMA(self.net, numbers.ema)
        optimizer = torch.optim.AdamW(
            net.parameters(),
            lr=numbers.learning_rate,
            weight_decay=numbers.weight_decay,
            fused=target.type != "mps",
        )
        if numbers.compile:
            ready = torch.compile(self.net)
        else:
            ready = self.net
        self.ready, self.optimizer = self.accelerator.prepare(ready, optimizer)
        self.step = 0
        # the most recent epoch, and the order of its samples
        self._permuted: tuple[int, Tensor] | None = None
        self.processes = self.accelerator.num_processes
        self.rank = self.accelerator.process_index
        if numbers.batch_size % self.processes:
            raise DifftoolError(
                f"batch_size={numbers.batch_size} is not a multiple of the "
                f"{self.processes} processes"
            )

    def __iter__(self) -> Iterator[tuple[int, Tensor]]:
        """Run the steps up to `numbers.steps`; yields each number, from 1, and loss."""
        size = self.numbers.batch_size
        text = f"not enough memory for steps of {size} samples; reduce batch_size"
        with ThreadPoolExecutor(1) as ahead:
            upcoming = ahead.submit(self._batch, self.step)
            while self.step < self.numbers.steps:
                with enough_memory(text):
                    batch = upcoming.result()
                    if self.step + 1 < self.numbers.steps:
                        upcoming = ahead.submit(self._batch, self.step + 1)
                    loss = self._take(batch)
                self.step += 1
                self.ema.update(self.step)
                yield self.step, loss

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process; all must call this at the same step."""
        if self.processes == 1:
            return flag
        return bool(
            self.accelerator.reduce(
                torch.tensor(float(flag), device=self.accelerator.device), "sum"
            )
            > 0
        )

    def _take(self, batch: Batch) -> Tensor:
        """Take one optimizer step."""
        self.net.train()
        torch.manual_seed(_mix(self.numbers.seed, self.step, self.rank))
        batch = self._changed(
            batch.map(lambda v: v.to(self.accelerator.device, non_blocking=True))
        )
        for group in self.optimizer.param_groups:
            group["lr"] = self.numbers.learning_rate * self.numbers.rate(self.step)
        loss = self.objective.loss(self.ready, batch.x, batch.cond).mean()
        self.accelerator.backward(loss)
        self.accelerator.clip_grad_norm_(self.net.parameters(), self.numbers.clip)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return loss.detach()

    def _changed(self, batch: Batch) -> Batch:
        """The batch with some pictures mirrored and some conditioning dropped."""
        if self.conditional:
            x, label, text = batch
        else:
            x, label, text = (batch.x, None, None)
        if self.numbers.flip:
            x = torch.where(
                torch.rand(len(x), *[1] * (x.ndim - 1), device=x.device) < 0.5, x.flip(-1), x
            )
        if self.numbers.drop > 0 and (label is not None or text is not None):
            dropped = torch.rand(len(x), device=x.device) < self.numbers.drop
            if label is None:
                label = None
            else:
                label = label.masked_fill(dropped, -1)
            if text is None:
                text = None
            else:
                text = text.masked_fill(dropped[:, None, None], 0.0)
        return Batch(x, label, text)

    def _batch(self, step: int) -> Batch:
        """The samples of this process at a step."""
        size = self.numbers.batch_size
        places = torch.arange(step * size + self.rank, (step + 1) * size, self.processes)
        index = torch.empty_like(places)
        for epoch in (places // len(self.data)).unique().tolist():
            in_epoch = places // len(self.data) == epoch
            index[in_epoch] = self._order(epoch)[places[in_epoch] % len(self.data)]
        return self.data.batch(index)

    def _order(self, epoch: int) -> Tensor:
        """The order of the samples in an epoch."""
        if self._permuted is None or self._permuted[0] != epoch:
            g = torch.Generator().manual_seed(_mix(self.numbers.seed, epoch, -1))
            self._permuted = epoch, torch.randperm(len(self.data), generator=g)
        return self._permuted[1]


def _mix(*numbers: int) -> int:
    """One seed from several numbers (the splitmix64 finalizer)."""
    out = 0
    for number in numbers:
        out = (out + number + 0x9E3779B97F4A7C15) % 2**64
        out = (out ^ out >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        out = (out ^ out >> 27) * 0x94D049BB133111EB % 2**64
        out ^= out >> 31
    return out


def _try(net: nn.Module, data: Dataset, objective: Objective, conditional: bool) -> None:
    """Raise `DifftoolError` if the network does not accept the data."""
    known = objective.model(net).classes
    if conditional and data.classes is not None and known is not None and known < data.classes:
        raise DifftoolError(f"the network has {known} classes, the data has {data.classes}")
    batch = data.batch(torch.zeros(2, dtype=torch.int64)).map(
        lambda v: v.to(next(net.parameters()).device)
    )
    try:
        with torch.no_grad(), torch.random.fork_rng():
            objective.loss(net, batch.x, batch.cond if conditional else {})
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        shape = tuple(batch.x.shape[1:])
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        kinds = "unet and dit take pictures (channels, H, W), mlp takes points (size,)"
        raise DifftoolError(
            f"the network does not take samples of shape {shape}: {reason}; {kinds}"
        ) from None


def _accelerator(precision: str, device: str) -> Any:
    if device not in ("auto", "cpu"):
        raise DifftoolError(
            f"device must be auto or cpu, got {device!r}; auto takes the fastest "
            f"that accelerate finds, CUDA_VISIBLE_DEVICES limits it"
        )
    try:
        from accelerate import Accelerator
        from accelerate.state import AcceleratorState
    except ImportError:
        raise missing("training", "accelerate", "train") from None
    # otherwise all trainings in a process would share precision and device of the first
    AcceleratorState._reset_state(reset_partial_state=not torch.distributed.is_initialized())
    return Accelerator(mixed_precision=precision, cpu=device == "cpu")
