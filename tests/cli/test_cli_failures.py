"""What goes wrong while a run is under way: one line, and nothing that was finished is lost."""

from __future__ import annotations

import tempfile

import numpy as np
import pytest
import torch
from reading import files, read

import difftool
from difftool.errors import DifftoolError, NonFinite
from difftool.models.base import BoundModel
from difftool.noise import Independent
from difftool.plan import RunState, run

RUN = ("--num-samples", 5, "--batch-size", 3, "--steps", 8, "--sampler", "em")


def test_a_model_that_returns_nan(ok, refused, faulty, folder):
    kept = ["a-partial-001.npz", "a-state-001.safetensors"]
    says = ["NaN", "of 8", "sample 4", "3 finished samples are in a-partial-001.npz", "in a-state-001.safetensors"]
    refused("sample", "--model", "nan", *RUN, "--out", "a.npz", says=says, leaves=kept)
    samples, recipe = read("a-partial-001.npz")
    ok("sample", "--model", "plain", *RUN, "--out", "whole.npz")
    np.testing.assert_array_equal(samples, read("whole.npz")[0][:3])
    assert recipe["model"] == "nan"
    assert recipe["num_samples"] == 5


def test_a_run_goes_on_from_the_state_it_left(ok, refused, faulty, folder):
    """The state is that of the second batch before the step named; the sound model finishes it as if nothing was."""
    line = refused(
        "sample", "--model", "nan", *RUN, "--out", "a.npz", says=["step "],
        leaves=["a-partial-001.npz", "a-state-001.safetensors"],
    )  # fmt: skip
    step = int(line.split("at step ")[1].split()[0])
    state = RunState.load(folder / "a-state-001.safetensors")
    assert state.plan.rows[state.position].index == step - 1
    assert state.plan.rows[state.position].point.t < 0.5  # where the model goes wrong
    assert state.plan.rows[state.position - 1].point.t >= 0.5
    assert torch.isfinite(state.x).all()
    noise = Independent().source((2, 2), seed=0, first=3)
    rest = run(state.plan, BoundModel(faulty.plain(), None, {}), None, noise, state=state)
    ok("sample", "--model", "plain", *RUN, "--out", "whole.npz")
    np.testing.assert_allclose(rest.numpy(), read("whole.npz")[0][3:], atol=1e-6)


def test_nothing_kept_is_overwritten(refused, faulty, folder):
    for i in (1, 2):
        kept = [f"nan-em-partial-00{i}.npz", f"nan-em-state-00{i}.safetensors"]
        refused("sample", "--model", "nan", *RUN, says=kept, leaves=kept)


def test_nan_in_the_first_batch(refused, faulty):
    refused(
        "sample", "--model", "nan:size=3", *RUN, "--out", "a.npz", says=["NaN", "a-state-001"],
        leaves=["a-state-001.safetensors"],
    )  # fmt: skip


def test_nan_in_a_plain_loop(refused, faulty):
    """No plan that could be taken up again, but the states that the model was asked about."""
    refused(
        "sample", "--model", "nan", *RUN, "--sampler", "predictor-corrector", "--out", "a.npz",
        says=["NaN", "a-partial-001.npz", "a-state-001.npz"], leaves=["a-partial-001.npz", "a-state-001.npz"],
    )  # fmt: skip
    states, _ = read("a-state-001.npz")
    assert states.shape == (2, 2)
    assert np.isfinite(states).all()


def test_an_answer_of_another_shape(refused, faulty):
    refused(
        "sample", "--model", "narrow", *RUN, "--out", "a.npz", says=["(2, 1)", "expected (2, 2)", "a-partial-001"],
        leaves=["a-partial-001.npz"],
    )  # fmt: skip


def test_memory_runs_out(refused, faulty):
    refused(
        "sample", "--model", "greedy", *RUN, "--out", "a.npz", says=["memory", "--batch-size", "a-partial-001"],
        leaves=["a-partial-001.npz"],
    )  # fmt: skip


def test_the_folder_vanishes_while_sampling(cli, ok, faulty, folder, tmp_path, monkeypatch):
    place = folder / "there"
    place.mkdir()
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    result = cli("sample", "--model", f"vanishing:folder={place}", *RUN, "--out", place / "a.npz")
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    kept = tmp_path / "temporary" / "difftool-a-001.npz"
    assert f"the samples are in {kept}" in result.stderr
    ok("sample", "--model", "plain", *RUN, "--out", "whole.npz")
    np.testing.assert_array_equal(read(kept)[0], read("whole.npz")[0])


def test_interrupted(cli, faulty, folder, monkeypatch):
    """Ctrl-C, as Python sees it, in the middle of the second batch."""

    def interrupt(self, x, p, **cond):
        if len(x) == 2:
            raise KeyboardInterrupt
        return x

    monkeypatch.setattr(faulty.Faulty, "x0", interrupt)
    result = cli("sample", "--model", "plain", *RUN, "--out", "a.npz")
    assert result.exit_code == 130
    start = "difftool: interrupted; no half-written files were left behind"
    assert result.stderr == f"{start}; 3 finished samples are in a-partial-001.npz\n"
    assert len(read(folder / "a-partial-001.npz")[0]) == 3
    assert files(folder) == ["a-partial-001.npz"]


def test_interrupted_while_writing(cli, folder, monkeypatch):
    def interrupt(handle, **arrays):
        handle.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", interrupt)
    assert cli("sample", "--num-samples", 2, "--steps", 2, "--out", "a.npz").exit_code == 130
    assert files(folder) == []


def test_errors_of_a_model_are_one_line(cli, faulty, monkeypatch):
    monkeypatch.setattr(faulty.Faulty, "x0", lambda self, x, p, **cond: 1 / 0)
    result = cli("sample", "--model", "plain", *RUN, "--out", "a.npz")
    assert result.exit_code == 2
    assert result.stderr.startswith("difftool: error: ZeroDivisionError: division by zero (test_cli_failures.py:")
    assert result.stderr.count("\n") == 1


def test_errors_of_difftool_itself_say_so_and_can_be_traced(cli, monkeypatch):
    broken = compile("lambda *args: {}['x']", difftool.__file__, "eval")  # as if it stood in the package
    monkeypatch.setattr("difftool.runs.run.Run.samples", eval(broken))
    result = cli("sample", "--nfe", 2, "--num-samples", 2, "--out", "a.npz")
    assert result.exit_code == 70
    assert result.stderr.startswith("difftool: error: internal error: KeyError: 'x'; please report it")
    monkeypatch.setenv("DIFFTOOL_TRACEBACK", "1")
    assert "Traceback" in cli("sample", "--nfe", 2, "--num-samples", 2, "--out", "a.npz").stderr


def test_what_was_finished_is_told_by_the_library_too(faulty):
    import difftool
    from difftool.samplers import EulerMaruyama

    with pytest.raises(NonFinite) as caught:
        difftool.sample(faulty.nan(), EulerMaruyama(), shape=(5, 2), steps=8, batch_size=3)
    assert isinstance(caught.value, DifftoolError)
    assert caught.value.done.shape == (3, 2)
