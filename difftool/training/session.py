"""A training in a folder, with checkpoint, logs and pictures; it can be stopped and resumed.

checkpoint.safetensors   weights, average, optimizer; every `save_every` steps and at the end
model.safetensors        the moving average alone: all that sampling needs, for sharing
training.json            the configuration, for people to read
logs/                    loss, learning rate and speed, for TensorBoard
samples/step-*.png       samples of the moving average, from the same noise each time
"""

from __future__ import annotations

import contextlib
import json
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from difftool.data.base import Dataset, data_range
from difftool.errors import DifftoolError, NonFinite, missing, warn
from difftool.errors.stopping import Stopped, stopping
from difftool.files.writing import CHECKPOINT, MODEL, locked, writing
from difftool.models import Clipped, Model
from difftool.models.clipped import of_pictures
from difftool.outputs.samples import is_picture, save
from difftool.sampling import sample
from difftool.training.checkpoint import (
    Checkpoint,
    export,
    fill,
    fill_optimizer,
    optimizer_state,
)
from difftool.training.config import Training, check_shapes
from difftool.training.trainer import Trainer

# most samples in one picture, and in a row if the classes fit
SHOWN, ACROSS = 64, 8
POINTS = 2000  # in one picture
NFE = 20
ADVICE = "try a smaller learning rate, a smaller clip or another precision"


@dataclass(frozen=True)
class Report:
    """The progress of a training: step, mean loss since the last report, samples per second."""

    step: int
    steps: int
    loss: float
    speed: float


class Session:
    """A training in a folder.

    folder: created if it does not exist; use `resumed` if it has a checkpoint. Raises
    `DifftoolError` if data, network and options do not fit together.
    """

    def __init__(
        self,
        training: Training,
        folder: Path,
        *,
        device: str = "auto",
        saved: Checkpoint | None = None,
    ):
        self.folder = folder
        if saved is None and (folder / CHECKPOINT).exists():
            raise DifftoolError(
                f"{folder} already holds a training; resume it with --resume {folder}, "
                f"or choose another folder"
            )
        data = training.dataset()
        self.training = training.filled(data)
        torch.manual_seed(self.training.numbers.seed)
        self.trainer = Trainer(
            self.training.net(),
            data,
            self.training.objective(),
            self.training.numbers,
            device,
            training.conditional,
        )
        self._facts = _facts(data)
        self.losses: list[Tensor] = []
        if saved is not None:
            self._restore(saved)
        self._started = time.perf_counter()

    @classmethod
    def resumed(cls, folder: Path, *, steps: int | None = None, device: str = "auto") -> Self:
        """The training in a folder, at its checkpoint. steps: a new total number of steps."""
        # the checkpoint itself was given
        if folder.is_file():
            folder = folder.parent
        saved = Checkpoint.load(folder)
        training = Training.of(saved, str(folder))
        if steps is not None and steps < saved.step:
            raise DifftoolError(
                f"the training in {folder} is already at step {saved.step}, "
                f"beyond steps={steps}"
            )
        if steps is not None:
            before = training.numbers
            training = replace(training, numbers=replace(before, steps=steps))
            now, then = (numbers.rate(saved.step) for numbers in (training.numbers, before))
            if before.decay == "cosine" and now > 2 * then + 0.01:
                warn(
                    f"the learning rate had decayed to {then:.2g} of its peak and rises to "
                    f"{now:.2g}, since its cosine now ends at step {steps}; "
                    f"the loss will rise for a while"
                )
        check_shapes(training, saved.tensors.get("net", {}), f"the checkpoint in {folder}")
        session = cls(training, folder, device=device, saved=saved)
        if session.main:
            export(folder)  # it may have been stopped between the two files
        return session

    @property
    def main(self) -> bool:
        """Whether this process is the one that writes files."""
        return bool(self.trainer.accelerator.is_main_process)

    def run(
        self,
        report: Callable[[Report], None] | None = None,
        *,
        log_every: int = 50,
        save_every: int = 1000,
        sample_every: int | None = 1000,
    ) -> None:
        """Train to the end; Ctrl-C finishes the step and saves. `NonFinite` for bad losses."""
        if not self.main:
            self._train(report, None, log_every, save_every, sample_every)
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        with locked(self.folder):
            with writing(self.folder / "training.json") as file:
                file.write_text(json.dumps(self.training.to_dict(), indent=1) + "\n")
            with contextlib.closing(_Logs(self.folder, self.trainer.step)) as logs:
                self._train(report, logs, log_every, save_every, sample_every)

    def _train(
        self,
        report: Callable[[Report], None] | None,
        logs: _Logs | None,
        log_every: int,
        save_every: int,
        sample_every: int | None,
    ) -> None:
        steps = self.training.numbers.steps
        with _interrupts() as interrupted:
            for step, loss in self.trainer:
                self.losses.append(loss)
                logged, saved, drawn = (
                    bool(every) and (step == steps or step % every == 0)
                    for every in (log_every, save_every, sample_every or 0)
                )
                stopped = self.trainer.processes == 1 and bool(interrupted)
                if logged or saved or drawn or stopped:
                    self._publish(self._report(step), logs, report)
                    stopped = self.trainer.any(bool(interrupted))
                if saved or stopped:
                    self.save()
                if stopped:
                    raise Stopped(next(iter(interrupted), signal.SIGINT))
                if drawn and self.main:
                    picture = self.draw()
                    if logs is not None:
                        logs.picture(picture, step)

    def _publish(
        self, current: Report, logs: _Logs | None, report: Callable[[Report], None] | None
    ) -> None:
        if logs is not None:
            logs.write(
                current,
                self.trainer.numbers.learning_rate
                * self.trainer.numbers.rate(current.step - 1),
            )
        if report is not None and self.main:
            report(current)

    def save(self) -> None:
        """Write the checkpoint over the previous one; `NonFinite` if weights are not finite."""
        trainer = self.trainer
        if not self.main:
            return
        facts = {"training": self.training.to_dict(), "step": trainer.step, **self._facts}
        tensors = {
            "net": trainer.net.state_dict(), "ema": trainer.ema.net.state_dict(),
            "optimizer": optimizer_state(trainer.optimizer),
        }  # fmt: skip
        if not all(bool(torch.isfinite(v).all()) for v in tensors["net"].values()):
            raise NonFinite(
                f"the weights are not finite after step {trainer.step}; {self._kept()}; {ADVICE}"
            )
        Checkpoint(facts, tensors).save(self.folder / CHECKPOINT)
        Checkpoint(facts, {"ema": tensors["ema"]}).save(self.folder / MODEL)

    def draw(self) -> Path | None:
        """Draw samples of the moving average as a picture; None if they cannot be drawn.

        Always from the same noise, with the defaults of `difftool sample`: estimates of
        pictures are clipped.
        """
        data = self.trainer.data
        if not is_picture(data.shape):
            return None
        if self.training.conditional:
            classes = data.classes
        else:
            classes = None
        if classes and classes <= SHOWN:
            columns = classes * max(1, ACROSS // classes)
        else:
            columns = ACROSS
        if len(data.shape) == 3:
            count = SHOWN // columns * columns
        else:
            count = POINTS
        if classes is None:
            labels = None
        else:
            labels = torch.arange(count) % classes
        model: Model = self.trainer.objective.model(self.trainer.ema.net, data.shape)
        low, high = self._facts["range"]
        model.data_range = (low, high)
        if of_pictures(model):
            model = Clipped(model)
        with torch.random.fork_rng():
            if labels is None:
                cond = {}
            else:
                cond = {"label": labels}
            x = sample(model, shape=(count, *data.shape), nfe=NFE, cond=cond)
        file = self.folder / "samples" / f"step-{self.trainer.step:06d}.png"
        file.parent.mkdir(exist_ok=True)
        save(
            x,
            file,
            {"step": self.trainer.step},
            f"step {self.trainer.step}",
            overwrite=True,
            columns=columns,
        )
        return file

    def _restore(self, saved: Checkpoint) -> None:
        trainer, what = self.trainer, f"the checkpoint in {self.folder}"
        for part in ("net", "ema", "optimizer"):
            if part not in saved.tensors:
                raise DifftoolError(
                    f"{what} has only weights for sampling; it cannot be resumed"
                )
        now = self._facts
        odd = next(
            (name for name in now if saved.facts.get(name, now[name]) != now[name]), None
        )
        if odd is not None:
            raise DifftoolError(
                f"{what} was trained on data with {odd}={saved.facts[odd]}, "
                f"now it is {now[odd]}; restore the data"
            )
        fill(trainer.net, saved.tensors["net"], what)
        fill(trainer.ema.net, saved.tensors["ema"], what)
        fill_optimizer(trainer.optimizer, saved.tensors["optimizer"], what)
        trainer.step = saved.step

    def _report(self, step: int) -> Report:
        now, count = time.perf_counter(), len(self.losses)
        speed = count * self.training.numbers.batch_size / (now - self._started)
        loss, self._started = self._mean_loss(), now
        return Report(step, self.training.numbers.steps, loss, speed)

    def _mean_loss(self) -> float:
        """The mean loss since the last report in all processes; `NonFinite` if one is bad."""
        values = self.trainer.accelerator.reduce(torch.stack(self.losses), "mean").tolist()
        first = self.trainer.step - len(values) + 1
        self.losses = []
        bad = next((i for i, value in enumerate(values) if not abs(value) < float("inf")), None)
        if bad is not None:
            raise NonFinite(
                f"the loss is {values[bad]} at step {first + bad}; {self._kept()}; {ADVICE}"
            )
        return sum(values) / len(values)

    def _kept(self) -> str:
        if (self.folder / CHECKPOINT).exists():
            return "the last checkpoint is kept"
        return "there is no checkpoint yet"


def _facts(data: Dataset) -> dict[str, Any]:
    """The facts about the data that a checkpoint stores."""
    shape = {
        "samples": len(data),
        "shape": [*data.shape],
        "classes": data.classes,
        "text": data.text,
    }
    return {**shape, "range": [*data_range(data)]}


@contextlib.contextmanager
def _interrupts() -> Iterator[list[int]]:
    """Signals to stop are noted in the list, to be looked at between two steps; the second one stops at once."""
    noted: list[int] = []

    def note(number: int, frame: Any) -> None:
        if noted:
            raise Stopped(number)
        noted.append(number)

    with stopping(note):
        yield noted


class _Logs:
    """Logs for TensorBoard."""

    def __init__(self, folder: Path, step: int):
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise missing("training", "tensorboard", "train") from None
        self._writer: Any = SummaryWriter(folder / "logs", purge_step=step + 1)

    def write(self, report: Report, rate: float) -> None:
        for name, value in (
            ("loss", report.loss),
            ("learning rate", rate),
            ("samples per second", report.speed),
        ):
            self._writer.add_scalar(name, value, report.step)

    def picture(self, file: Path | None, step: int) -> None:
        if file is not None:
            import numpy as np
            from PIL import Image

            self._writer.add_image(
                "samples", np.asarray(Image.open(file).convert("RGB")), step, dataformats="HWC"
            )

    def close(self) -> None:
        self._writer.close()
