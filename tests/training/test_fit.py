"""The loop: exact resumption, what a step is, checkpoints, and what goes wrong."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from difftool.data.base import Arrays
from difftool.errors import DifftoolError, DifftoolWarning, NonFinite
from difftool.files.writing import CHECKPOINT
from difftool.models import NetworkModel
from difftool.nn import MLP
from difftool.sampling import sample
from difftool.schedules import VPLinear
from difftool.training import EMA, Objective
from difftool.training.checkpoint import Checkpoint
from difftool.training.config import Training
from difftool.training.session import Session
from difftool.training.trainer import Hyperparameters, Trainer
from difftool.zoo import checkpoint

SMALL = Training(
    data="moons:n=50", network="mlp:widths=8,embedding=4", numbers=Hyperparameters(steps=12, batch_size=16)
)


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def trainer(steps=12, data=None, **options):
    torch.manual_seed(0)
    data = data or Arrays(torch.randn(10, 2), torch.arange(10) % 3)
    numbers = Hyperparameters(steps=steps, batch_size=4, **options)
    return Trainer(MLP(2, (8,), classes=3, embedding=4), data, Objective(VPLinear(), "v"), numbers, device="cpu")


def train(folder, training=SMALL, **options):
    session = Session.resumed(folder, device="cpu") if training is None else Session(training, folder, device="cpu")
    losses = []
    session.run(lambda report: losses.append(report.loss), log_every=1, save_every=4, sample_every=None, **options)
    return session, losses


# --- a step ----------------------------------------------------------------------------------------------------------


@settings(max_examples=20)
@given(size=st.integers(1, 25), batch=st.integers(1, 40), seed=st.integers(0, 9))
def test_every_sample_comes_once_in_every_epoch(size, batch, seed):
    made = trainer(data=Arrays(torch.arange(size)[:, None].float() * torch.ones(1, 2)), seed=seed)
    object.__setattr__(made.numbers, "batch_size", batch)
    seen = torch.cat([made._batch(step).x[:, 0] for step in range(6)])
    for epoch in range(len(seen) // size):
        assert sorted(seen[epoch * size : (epoch + 1) * size].tolist()) == [*range(size)]


def test_a_step_is_adamw_on_the_clipped_gradient():
    """Three steps, said again with torch's own parts."""
    made = trainer(3, learning_rate=0.01, weight_decay=0.1, warmup=2, clip=0.05, ema=0.5, drop=0.0)
    torch.manual_seed(0)
    torch.randn(10, 2)
    net = MLP(2, (8,), classes=3, embedding=4)
    net.load_state_dict({k: v.clone() for k, v in made.net.state_dict().items()})
    shadow = {k: v.clone() for k, v in net.state_dict().items()}
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.01, weight_decay=0.1)
    losses = []
    from difftool.training.trainer import _mix

    for step in range(3):
        batch = made._batch(step)
        torch.manual_seed(_mix(0, step, 0))
        rate = min((step + 1) / 2, 1) if step < 2 else 1.0
        optimizer.param_groups[0]["lr"] = 0.01 * rate
        loss = Objective(VPLinear(), "v").loss(net, batch.x, batch.cond).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 0.05)
        optimizer.step()
        losses.append(loss.item())
        decay = min(0.5, (2 + step) / (11 + step))
        for k, v in net.state_dict().items():
            shadow[k] = decay * shadow[k] + (1 - decay) * v
    assert [loss.item() for _, loss in made] == pytest.approx(losses, rel=1e-5)
    for k, v in made.net.state_dict().items():
        torch.testing.assert_close(v, net.state_dict()[k], rtol=1e-4, atol=1e-6)
    for k, v in made.ema.net.state_dict().items():
        torch.testing.assert_close(v, shadow[k], rtol=1e-4, atol=1e-6)


def test_conditions_are_left_out_as_often_as_asked():
    made = trainer(drop=0.3)
    torch.manual_seed(0)
    from difftool.data.base import Batch

    batch = made._changed(Batch(torch.zeros(4000, 2), torch.ones(4000).long(), torch.ones(4000, 2, 3)))
    assert float((batch.label == -1).float().mean()) == pytest.approx(0.3, abs=0.04)  # five standard errors
    assert torch.equal(batch.text.sum((1, 2)) == 0, batch.label == -1)


def test_every_other_picture_is_mirrored():
    made = trainer(flip=True)
    from difftool.data.base import Batch

    x = torch.tensor([0.0, 1.0]).expand(4000, 1, 1, 2)
    flipped = made._changed(Batch(x)).x[:, 0, 0, 0]
    assert {*flipped.tolist()} == {0.0, 1.0}
    assert float(flipped.mean()) == pytest.approx(0.5, abs=0.04)


@given(st.integers(1, 200), st.integers(0, 50), st.sampled_from(["none", "cosine"]))
def test_the_learning_rate_rises_and_falls(steps, warmup, decay):
    numbers = Hyperparameters(steps=steps, warmup=warmup, decay=decay)
    rates = [numbers.rate(step) for step in range(steps)]
    assert all(0 < rate <= 1 for rate in rates)
    top = min(warmup, steps)
    assert rates[:top] == pytest.approx([(i + 1) / warmup for i in range(top)] if warmup else [])
    assert all(b <= a for a, b in zip(rates[warmup:], rates[warmup + 1 :], strict=False))


def test_an_average_of_nothing_is_the_network_itself():
    net = MLP(2, (4,), embedding=4)
    ema = EMA(net, 0.0)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 1
    ema.update(1)
    for a, b in zip(ema.net.parameters(), net.parameters(), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.slow
def test_it_learns():
    """Eight Gaussians in a minute's work: samples nearer to the data than noise is, by far."""
    from difftool.metrics import SlicedDistance

    training = Training(data="eight-gaussians", numbers=Hyperparameters(steps=600, batch_size=256, learning_rate=3e-3))
    session, losses = train(Path("run"), training)
    data = session.trainer.data.all().x
    distance = SlicedDistance(data)
    x = sample(checkpoint(session.folder), shape=(1000, 2), nfe=20)
    assert distance(x) < 0.15 < 0.3 < distance(torch.randn(1000, 2))
    assert np.mean(losses[-50:]) < np.mean(losses[:50])


# --- stopping and going on -------------------------------------------------------------------------------------------


PICTURES = Training(data="digits", samples=40, numbers=replace(SMALL.numbers, flip=True))
EACH = [
    SMALL,
    replace(PICTURES, network="unet:widths=4+8,depth=1,heads=1,dropout=0.2"),
    replace(PICTURES, network="dit:width=8,depth=1,heads=2,dropout=0.2", learn_variance=True),
]


@pytest.mark.parametrize("training", EACH, ids=lambda training: training.network)
def test_a_training_that_was_stopped_goes_on_with_the_same_losses(place, training):
    _, whole = train(place / "whole", training)
    session = Session(training, place / "part", device="cpu")
    losses = []

    def report(told):
        losses.append(told.loss)
        if told.step == 7:
            os.kill(os.getpid(), signal.SIGINT)  # in the midst of a step: it is ended first

    with pytest.raises(KeyboardInterrupt):
        session.run(report, log_every=1, save_every=4, sample_every=None)
    resumed, rest = train(place / "part", None)
    assert losses + rest == whole
    assert resumed.trainer.step == 12
    assert (place / "whole" / CHECKPOINT).read_bytes() == (place / "part" / CHECKPOINT).read_bytes()


def test_a_rate_that_rises_again_is_said(place):
    """A cosine that had fallen is higher where it ends later; one that goes on as it was is not."""
    training = replace(SMALL, numbers=replace(SMALL.numbers, steps=8, decay="cosine", warmup=0))
    train(place / "run", training)
    with pytest.warns(DifftoolWarning, match=r"had decayed to .* of its peak and rises to"):
        assert Session.resumed(place / "run", steps=16, device="cpu").trainer.numbers.steps == 16
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Session.resumed(place / "run", device="cpu")


@pytest.mark.slow
def test_after_kill_nine(place):
    """The same losses from the last checkpoint on."""
    _, whole = train(place / "whole")
    command = (
        "import os, signal; from pathlib import Path; from difftool.training.session import Session\n"
        "from difftool.training.config import Training\n"
        f"session = Session(Training.from_dict({SMALL.to_dict()!r}), Path('part'), device='cpu')\n"
        "def report(told):\n    if told.step == 10: os.kill(os.getpid(), signal.SIGKILL)\n"
        "session.run(report, log_every=1, save_every=4, sample_every=None)\n"
    )
    done = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    _, rest = train(place / "part", None)
    assert rest == whole[8:]


@pytest.mark.slow
def test_control_c_writes_a_checkpoint_and_says_how_to_go_on(place):
    command = [
        sys.executable,
        "-m",
        "difftool",
        "train",
        "--data",
        "moons:n=100",
        "--steps",
        "100000",
        "--batch-size",
        "8",
    ]
    command += ["--out", "run", "--log-every", "10", "--sample-every", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in process.stdout:
        if "step 50/" in line:
            process.send_signal(signal.SIGINT)
            break
    rest = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert "resume with: difftool train --resume run" in rest
    assert Checkpoint.load(place / "run").facts["step"] >= 50


def test_a_loss_that_is_not_finite_stops_it_and_keeps_what_was(place):
    session = Session(SMALL, place / "run", device="cpu")

    def report(told):
        if told.step == 6:
            with torch.no_grad():
                next(session.trainer.net.parameters()).fill_(float("nan"))

    with pytest.raises(NonFinite, match=r"the loss is nan at step 7; the last checkpoint is kept; try a smaller"):
        session.run(report, log_every=1, save_every=4, sample_every=None)
    saved = Checkpoint.load(place / "run")
    assert saved.facts["step"] == 4
    assert all(torch.isfinite(v).all() for v in saved.tensors["net"].values())


def test_the_step_of_a_loss_that_is_not_finite_is_known_between_reports(place):
    session = Session(SMALL, place / "run", device="cpu")
    take = session.trainer._take
    session.trainer._take = lambda batch: take(batch) * (float("inf") if session.trainer.step == 6 else 1)
    with pytest.raises(NonFinite, match=r"the loss is inf at step 7; there is no checkpoint yet"):
        session.run(log_every=50, save_every=50, sample_every=None)


def test_a_full_disk_keeps_the_checkpoint_before(place, monkeypatch):
    train(place / "run")
    before = (place / "run" / CHECKPOINT).read_bytes()
    import safetensors.torch

    def full(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(safetensors.torch, "save_file", full)
    session = Session.resumed(place / "run", device="cpu")
    with pytest.raises(DifftoolError, match=r"cannot write .*checkpoint.safetensors: .*No space left"):
        session.save()
    assert (place / "run" / CHECKPOINT).read_bytes() == before
    assert sorted(os.listdir(place / "run")) == [CHECKPOINT, "logs", "model.safetensors", "training.json"]


# --- checkpoints -----------------------------------------------------------------------------------------------------


def test_a_checkpoint_is_a_model(place):
    session, _ = train(place / "run")
    model = checkpoint(place / "run")
    assert (model.shape, model.predicts) == ((2,), "flow")
    expected = NetworkModel(session.trainer.ema.net, session.trainer.objective.schedule, "flow")
    options = {"shape": (5, 2), "steps": 3, "cond": {"label": torch.tensor([0, 1, 0, 1, -1])}}
    torch.testing.assert_close(sample(model, **options), sample(expected, **options))
    other = sample(checkpoint(place / "run", "net"), **options)
    assert not torch.equal(other, sample(model, **options))


def test_what_is_written_for_people(place):
    train(place / "run")
    told = json.loads((place / "run" / "training.json").read_text())
    assert told["network"] == "mlp:widths=8,embedding=4,size=2,classes=2"
    assert Training.from_dict(told) == SMALL.filled(Session(SMALL, place / "other", device="cpu").trainer.data)


def cut(file):
    file.write_bytes(file.read_bytes()[:-100])


def pickled(file):
    file.write_bytes(pickle.dumps({"net": 1}))


def foreign(file):
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(2)}, file)


def newer(file):
    saved = Checkpoint.load(file)
    from difftool.training import checkpoint as module

    module.VERSION, before = 99, module.VERSION
    saved.facts.pop("version")
    saved.save(file)
    module.VERSION = before


def told_of_1000(file):
    saved = Checkpoint.load(file)
    saved.facts["version"] = 1
    saved.facts["training"] |= {"schedule": "ddpm-linear:length=100", "time": "index"}
    saved.save(file)


def other(file):
    saved = Checkpoint.load(file)
    saved.facts["training"]["network"] = "mlp:widths=9,embedding=4,size=2,classes=2"
    saved.save(file)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (cut, "is damaged, truncated or not"),
        (pickled, "is damaged, truncated or not"),
        (foreign, "is a safetensors file, but not a difftool checkpoint"),
        (newer, "has version 99, this difftool reads up to 2; update it"),
        (
            told_of_1000,
            "was trained with times of a table of 1000 entries on one of 100, by an old version of difftool; "
            "train it again",
        ),
        (other, "belongs to another network: .* weights do not match"),
        (lambda file: file.unlink(), "there is no checkpoint"),
    ],
)
def test_what_is_no_whole_checkpoint(place, damage, words):
    train(place / "run")
    damage(place / "run" / CHECKPOINT)
    for call in (lambda: checkpoint(place / "run"), lambda: Session.resumed(place / "run", device="cpu")):
        with pytest.raises(DifftoolError, match=words):
            call()


def test_a_folder_with_a_training_is_not_written_over(place):
    train(place / "run")
    with pytest.raises(DifftoolError, match="already holds a training; resume it with --resume run"):
        Session(SMALL, (place / "run").relative_to(place), device="cpu")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"steps": 0}, "steps must be a whole number of at least 1, got 0"),
        ({"batch_size": 1.5}, "batch_size must be a whole number"),
        ({"learning_rate": float("nan")}, "learning_rate must be a number from 0 to 1000, got nan"),
        ({"clip": 0.0}, "clip must be a number"),
        ({"drop": 1.5}, "drop must be a number from 0 to 1, got 1.5"),
        ({"decay": "linear"}, "decay must be none or cosine, got 'linear'"),
        ({"precision": "int8"}, "precision must be no, bf16 or fp16, got 'int8'"),
    ],
)
def test_numbers_out_of_range(options, words):
    with pytest.raises(DifftoolError, match=words):
        Hyperparameters(**options)


def test_a_conditional_network_without_labels(place):
    with pytest.raises(DifftoolError, match="this network has no classes"):
        train(place / "run", Training(data="moons:n=50", network="mlp:widths=8,classes=none"))


def test_trainings_of_several_precisions_in_one_process(place):
    for name, precision in (("a", "no"), ("b", "bf16"), ("c", "no")):
        session, _ = train(place / name, replace(SMALL, numbers=replace(SMALL.numbers, steps=2, precision=precision)))
        assert session.trainer.accelerator.mixed_precision == precision


def test_weights_that_are_not_finite_are_not_saved(place):
    session = Session(SMALL, place / "run", device="cpu")

    def report(told):
        if told.step == 7:
            next(session.trainer.net.parameters()).data.fill_(torch.nan)

    with pytest.raises(
        NonFinite, match=r"not finite after step 8; the last checkpoint is kept|the loss is nan at step 8"
    ):
        session.run(report, log_every=7, save_every=4, sample_every=None)
    assert Checkpoint.load(place / "run").facts["step"] == 4
    Session.resumed(place / "run", device="cpu").run(log_every=4)


def test_data_that_changed_are_noticed(place):
    np.savez("a.npz", x=np.zeros((9, 2), np.float32))
    training = Training(data="npz:path=a.npz", network="mlp:widths=8,embedding=4", numbers=SMALL.numbers)
    train(place / "run", training)
    np.savez("a.npz", x=np.zeros((7, 2), np.float32))
    with pytest.raises(DifftoolError, match="trained on data with samples=9, now it is 7; restore the data"):
        Session.resumed(place / "run", device="cpu")


def test_fewer_steps_than_are_done(place):
    train(place / "run")
    with pytest.raises(DifftoolError, match="is already at step 12, beyond steps=5"):
        Session.resumed(place / "run", steps=5, device="cpu")


@pytest.mark.parametrize(
    ("data", "network", "words"),
    [
        ("digits", "mlp:widths=8", r"does not take samples of shape \(1, 8, 8\)"),
        ("moons:n=9", "unet:widths=8,heads=1", r"does not take samples of shape \(2,\)"),
        ("digits", "unet:widths=8,channels=3", r"does not take samples of shape \(1, 8, 8\)"),
        ("digits", "unet:widths=8,classes=5", "the network has 5 classes, the data has 10"),
        ("digits", "unet:widths=8,classes=0", "classes must be at least 1, or None, got 0"),
        ("digits", "unet:widths=8,outputs=-1", "network 'unet' of .* could not be created"),
    ],
)
def test_networks_that_do_not_take_the_data(place, data, network, words):
    with pytest.raises(DifftoolError, match=words):
        Session(Training(data=data, network=network), place / "run", device="cpu")
    assert not (place / "run").exists()


@pytest.mark.parametrize(("size", "widths"), [(4, "16+32+64"), (8, "16+32+64"), (28, "56+112+224"), (64, "64+128+256")])
def test_a_network_that_nobody_named_is_as_large_as_the_pictures(size, widths):
    data = Arrays(torch.zeros(4, 1, size, size))
    training = Training().filled(data)
    assert f"widths={widths}," in str(training.network)
    assert training.net()(data.batch(torch.arange(2)).x, torch.zeros(2)).shape == (2, 1, size, size)
    assert "widths" not in str(Training(network="unet").filled(data).network)


def test_devices_are_named(place):
    with pytest.raises(DifftoolError, match="device must be auto or cpu, got 'cuda:7'"):
        Session(SMALL, place / "run", device="cuda:7")


def test_entries_of_a_table_are_told_as_they_are():
    made = replace(SMALL, time="rounded-index")
    assert "time_scale=1" in made.filled(made.dataset()).network


def test_too_little_memory_is_one_line(place, monkeypatch):
    session = Session(SMALL, place / "run", device="cpu")
    monkeypatch.setattr(session.trainer, "_take", lambda batch: torch.empty(2**60))
    with pytest.raises(DifftoolError, match="not enough memory for steps of 16 samples; reduce batch_size"):
        session.run()


def test_a_training_is_named_by_its_checkpoint_too(place):
    train(place / "run")
    session = Session.resumed(place / "run" / CHECKPOINT, steps=14, device="cpu")
    session.run()
    assert Checkpoint.load(place / "run").facts["step"] == 14
