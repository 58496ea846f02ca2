"""Two processes on one machine: each has its half of the batch, both have the same weights."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch

from difftool.training.checkpoint import Checkpoint

SCRIPT = """
import hashlib, json, os
from pathlib import Path
from difftool.training.config import Training
from difftool.training.trainer import Hyperparameters
from difftool.training.session import Session

numbers = Hyperparameters(steps=6, batch_size=16)
training = Training(data="moons:n=64", network="mlp:widths=8,embedding=4", numbers=numbers)
session = Session(training, Path("run"), device="cpu")
halves = session.trainer._batch(0).x.tolist()
told = []
session.run(lambda report: told.append(report.loss), log_every=2, sample_every=None)
weights = b"".join(p.detach().numpy().tobytes() for p in session.trainer.net.parameters())
rank = session.trainer.rank
Path(f"rank-{rank}.json").write_text(json.dumps([hashlib.sha256(weights).hexdigest(), halves, told]))
"""


@pytest.mark.slow
def test_two_processes_train_one_network(tmp_path):
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, *["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", "script.py"]]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    (first, half, told), (second, other, silent) = (
        json.loads((tmp_path / f"rank-{rank}.json").read_text()) for rank in (0, 1)
    )
    assert first == second
    assert len(half) == len(other) == 8
    assert not {*map(tuple, half)} & {*map(tuple, other)}
    assert (len(told), silent) == (3, [])
    saved = Checkpoint.load(tmp_path / "run")
    assert saved.facts["step"] == 6
    assert all(torch.isfinite(v).all() for v in saved.tensors["ema"].values())
