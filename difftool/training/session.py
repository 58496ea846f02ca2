"""A training on disk: a folder with checkpoint, logs and pictures, that can be stopped at any time and gone on with.

checkpoint.safetensors   weights, moving average, optimizer; written whole every `save_every` steps, and at the end
model.safetensors        the moving average alone: what is needed to sample, a file to pass on
training.json            what was asked for, for people to read
logs/                    loss, learning rate and speed for TensorBoard
samples/step-*.png       samples by the moving average, from the same noise each time
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from difftool.errors import DifftoolError, NonFinite, missing
from difftool.files import CHECKPOINT, MODEL, writing
from difftool.outputs import is_picture, save
from difftool.sampling import sample
from difftool.training.checkpoint import Checkpoint, fill, fill_optimizer, optimizer_state
from difftool.training.config import Training
from difftool.training.fit import Trainer

SHOWN = 64  # samples of one picture
NFE = 20


@dataclass(frozen=True)
class Report:
    """Where a training stands: step of steps, the mean loss since the last report, samples per second."""

    step: int
    steps: int
    loss: float
    speed: float


class Session:
    """A training in a folder.

    folder: made if it is not there; one that has a checkpoint is gone on with by `resumed`. Raises `DifftoolError` for
    what does not fit.
    """

    def __init__(self, training: Training, folder: Path, *, device: str = "auto", saved: Checkpoint | None = None):
        self.folder = folder
        if saved is None and (folder / CHECKPOINT).exists():
            raise DifftoolError(f"{folder} has a training in it; go on with --resume {folder}, or name another folder")
        data = training.dataset()
        self.training = training.filled(data)
        torch.manual_seed(self.training.numbers.seed)
        self.trainer = Trainer(
            self.training.net(), data, self.training.objective(), self.training.numbers, device, training.conditional
        )
        self.losses: list[Tensor] = []
        if saved is not None:
            self._restore(saved)
        self._started = time.perf_counter()

    @classmethod
    def resumed(cls, folder: Path, *, steps: int | None = None, device: str = "auto") -> Self:
        """The training in a folder, at its checkpoint; steps: how many it is to have in all, if not as before."""
        saved = Checkpoint.load(folder)
        training = Training.from_dict(saved.facts.get("training"), str(folder))
        if steps is not None:
            training = replace(training, numbers=replace(training.numbers, steps=steps))
        return cls(training, folder, device=device, saved=saved)

    @property
    def main(self) -> bool:
        """Whether this process is the one that writes."""
        return bool(self.trainer.accelerator.is_main_process)

    def run(
        self,
        report: Callable[[Report], None] | None = None,
        *,
        log_every: int = 50,
        save_every: int = 1000,
        sample_every: int | None = 1000,
    ) -> None:
        """Train to the end; on Ctrl-C the checkpoint is written first. Raises `NonFinite` if the loss is not finite."""
        if self.main:
            self.folder.mkdir(parents=True, exist_ok=True)
            with writing(self.folder / "training.json") as file:
                file.write_text(json.dumps(self.training.to_dict(), indent=1) + "\n")
        logs = _Logs(self.folder) if self.main else None
        begun, steps = self.trainer.step, self.training.numbers.steps
        try:
            for step, loss in self.trainer:
                self.losses.append(loss)
                last = step == steps
                if last or step % log_every == 0 or step % save_every == 0:
                    told = self._report(step)
                    if logs is not None:
                        logs.write(told, self.trainer.numbers.learning_rate * self.trainer.numbers.rate(step - 1))
                    if report is not None and self.main:
                        report(told)
                if last or step % save_every == 0:
                    self.save()
                if self.main and sample_every and (last or step % sample_every == 0):
                    picture = self.draw()
                    if logs is not None:
                        logs.picture(picture, step)
        except KeyboardInterrupt:
            if self.trainer.step > begun:
                if self.losses:
                    self._mean_loss()  # nothing is kept that is not finite
                self.save()
            raise
        finally:
            if logs is not None:
                logs.close()

    def save(self) -> None:
        """Write the checkpoint, in place of the one before."""
        trainer = self.trainer
        if not self.main:
            return
        facts = {"training": self.training.to_dict(), "shape": [*trainer.data.shape], "step": trainer.step}
        tensors = {
            "net": trainer.net.state_dict(), "ema": trainer.ema.net.state_dict(),
            "optimizer": optimizer_state(trainer.optimizer),
        }  # fmt: skip
        Checkpoint(facts, tensors).save(self.folder / CHECKPOINT)
        Checkpoint(facts, {"ema": tensors["ema"]}).save(self.folder / MODEL)

    def draw(self) -> Path | None:
        """Samples by the moving average, always from the same noise, as a picture; None if they make none."""
        data = self.trainer.data
        if not is_picture(data.shape):
            return None
        count = SHOWN if len(data.shape) == 3 else 2000
        labels = None if not self.training.conditional or data.classes is None else torch.arange(count) % data.classes
        with torch.random.fork_rng():
            x = sample(
                self.trainer.objective.model(self.trainer.ema.net, data.shape), shape=(count, *data.shape), nfe=NFE,
                cond={} if labels is None else {"label": labels},
            )  # fmt: skip
        file = self.folder / "samples" / f"step-{self.trainer.step:06d}.png"
        file.parent.mkdir(exist_ok=True)
        save(x, file, {"step": self.trainer.step}, f"step {self.trainer.step}", overwrite=True)
        return file

    def _restore(self, saved: Checkpoint) -> None:
        trainer, what = self.trainer, f"the checkpoint in {self.folder}"
        for part in ("net", "ema", "optimizer"):
            if part not in saved.tensors:
                raise DifftoolError(f"{what} has only weights for sampling; it cannot be gone on with")
        fill(trainer.net, saved.tensors["net"], what)
        fill(trainer.ema.net, saved.tensors["ema"], what)
        fill_optimizer(trainer.optimizer, saved.tensors["optimizer"])
        trainer.step = int(saved.facts["step"])

    def _report(self, step: int) -> Report:
        now, count = time.perf_counter(), len(self.losses)
        speed = count * self.training.numbers.batch_size / (now - self._started)
        loss, self._started = self._mean_loss(), now
        return Report(step, self.training.numbers.steps, loss, speed)

    def _mean_loss(self) -> float:
        """The mean of the losses since the last report, of all processes; raises `NonFinite` at the first bad one."""
        values = self.trainer.accelerator.reduce(torch.stack(self.losses), "mean").tolist()
        first = self.trainer.step - len(values) + 1
        self.losses = []
        bad = next((i for i, value in enumerate(values) if not abs(value) < float("inf")), None)
        if bad is not None:
            kept = (
                "the last checkpoint is kept" if (self.folder / CHECKPOINT).exists() else "there is no checkpoint yet"
            )
            raise NonFinite(
                f"the loss is {values[bad]} at step {first + bad}; {kept}; try a smaller learning rate, a smaller clip "
                f"or another precision"
            )
        return sum(values) / len(values)


class _Logs:
    """What TensorBoard shows."""

    def __init__(self, folder: Path):
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise missing("training", "tensorboard", "train") from None
        self._writer: Any = SummaryWriter(folder / "logs")

    def write(self, report: Report, rate: float) -> None:
        for name, value in (("loss", report.loss), ("learning rate", rate), ("samples per second", report.speed)):
            self._writer.add_scalar(name, value, report.step)

    def picture(self, file: Path | None, step: int) -> None:
        if file is not None:
            import numpy as np
            from PIL import Image

            self._writer.add_image("samples", np.asarray(Image.open(file).convert("RGB")), step, dataformats="HWC")

    def close(self) -> None:
        self._writer.close()
