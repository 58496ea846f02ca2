"""`difftool statistics`, and the sampler that reads what it writes."""

from __future__ import annotations

from difftool.samplers import Statistics


def test_it_writes_what_dpm_solver_v3_reads(ok, folder):
    out = ok("statistics", "--model", "eight-gaussians", "--points", 9, "--num-samples", 20, "--out", "e.json").stdout
    made = Statistics.load(folder / "e.json")
    assert len(made.half_log_snr) == 9
    assert made.affine
    assert out == f"e.json: {made!r}\n"
    spec = "dpm-solver-v3:statistics=e.json"
    ok("sample", "--model", "eight-gaussians", "--sampler", spec, "--steps", 4, "--out", "a.npz")
    assert "NFE" in ok("plan", spec, "--steps", 4, "--model", "eight-gaussians").stdout


def test_it_overwrites_only_if_told(cli, ok, folder):
    arguments = ("statistics", "--model", "eight-gaussians", "--points", 2, "--num-samples", 4, "--out", "e.json")
    ok(*arguments)
    before = (folder / "e.json").read_text()
    result = cli(*arguments, "--seed", 1)
    assert result.exit_code == 2
    assert "e.json exists already" in result.stderr
    assert (folder / "e.json").read_text() == before
    assert (
        "e.json exists already" in cli("statistics", "--model", "nobody", "--out", "e.json").stderr
    )  # before any work
    ok(*arguments, "--seed", 1, "--force")
    assert (folder / "e.json").read_text() != before


def test_b_only_if_told(ok, folder):
    arguments = ("statistics", "--model", "eight-gaussians", "--points", 4, "--num-samples", 9, "--out", "e.json")
    ok(*arguments, "--bias")
    assert not Statistics.load(folder / "e.json").affine


def test_a_file_that_is_not_there(cli):
    result = cli("sample", "--sampler", "dpm-solver-v3:statistics=nowhere.json", "--steps", 3)
    assert result.exit_code == 2
    assert result.stderr == (
        "difftool: error: sampler 'dpm-solver-v3': cannot read nowhere.json: No such file or directory\n"
    )
