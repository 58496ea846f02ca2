"""Files that an earlier difftool wrote (recipes of version 1, plans, runs, checkpoints): they still work.

`ends.npz` has what they ended in then. CPUs differ in the last bits, so that ends agree to 1e-4.
"""

from __future__ import annotations

from pathlib import Path
from shutil import copy

import numpy as np
import pytest
import torch
from reading import read

from difftool import sample
from difftool.names.specs import make
from difftool.noise import Independent
from difftool.plan import RunState, load_plan, run
from difftool.sampling import prepare

HERE = Path(__file__).parents[1] / "written"
ENDS = dict(np.load(HERE / "ends.npz"))
RUNS = {"multistep": "dpmpp-3m", "stochastic": "dpmpp-2m-sde", "corrected": "flow-abm:order=2"}


def agree(found, expected):
    torch.testing.assert_close(torch.as_tensor(found), torch.as_tensor(expected), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("file", ["em.npz", "path.safetensors", "guided.npz"])
def test_recipes(ok, file):
    copy(HERE / file, file)
    ok("sample", "--recipe", file, "--out", "again.npz")
    agree(read("again.npz")[0], read(HERE / file)[0])


@pytest.mark.parametrize("name", ["ddim", "dpmpp", "heun"])
def test_plans(name):
    agree(
        sample(make("models", "eight-gaussians"), load_plan(HERE / f"{name}.json"), shape=(3, 2), seed=2),
        ENDS[f"plan-{name}"],
    )


@pytest.mark.parametrize("name", RUNS)
def test_runs(name):
    noise = Independent(placed=False) if name == "stochastic" else None
    job = prepare(
        make("models", "eight-gaussians"), make("samplers", RUNS[name]), shape=(3, 2), steps=9, seed=5, noise=noise
    )
    bound, source = job.start(0, 3)
    state = RunState.load(HERE / f"{name}.safetensors")
    agree(run(state.plan, bound, None, source, state=state), ENDS[name])


@pytest.mark.parametrize("name", ["moons", "digits", "variance"])
def test_checkpoints(name):
    model = make("models", f"checkpoint:path={HERE}/model-{name}.safetensors")
    agree(sample(model, make("samplers", "ddim"), steps=3, shape=(2, *model.shape), seed=1), ENDS[f"model-{name}"])


def test_a_training(ok, folder):
    (folder / "moons").mkdir()
    copy(HERE / "checkpoint.safetensors", folder / "moons" / "checkpoint.safetensors")
    assert "step 22/22" in ok("train", "--resume", "moons", "--steps", 22, "--sample-every", 0).stdout
