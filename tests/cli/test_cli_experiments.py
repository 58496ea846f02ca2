"""`difftool experiments`: what it prints and writes."""

from __future__ import annotations

import json

TABLE = """
[all]
data = "digits"
batch_size = 16
steps = 4

[evaluation]
num_samples = 8
steps = 2
class = "0-9"

[experiments.first]
network = "unet:widths=4,depth=1,heads=1"
[experiments.second]
network = "unet:widths=8,depth=1,heads=1"
"""


def test_a_table(cli, folder):
    (folder / "tiny.toml").write_text(TABLE)
    result = cli("experiments", "tiny.toml", "--device", "cpu")
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    told = [line for line in lines if line.startswith("second: ")]
    assert told == ["second: training", "second: evaluation", "second: done"]
    (head,) = (line.split() for line in lines if line.startswith("name"))
    assert head == ["name", "widths", "sliced_wasserstein", "energy_distance", "mmd"]
    assert lines[-1].split(maxsplit=2) == ["written", "to", "tiny/table.csv, tiny/table.md"]
    scores = json.loads((folder / "tiny" / "first" / "scores.json").read_text())
    assert (scores["evaluation"]["label"], scores["evaluation"]["data"]) == ("0-9", "digits")


def test_a_table_with_a_failure_ends_so(cli, folder):
    bad = 'widths=8,depth=1,heads=1"\nlearning_rate = 1e3\nclip = 1e9\nsteps = 40\nweight_decay = 1e3'
    (folder / "tiny.toml").write_text(TABLE.replace('widths=8,depth=1,heads=1"', bad))
    result = cli("experiments", "tiny.toml", "--device", "cpu", "--out", "there")
    assert result.exit_code == 1
    assert "second: failed: the loss is" in result.stdout
    assert (folder / "there" / "first" / "samples.png").exists()


def test_refusals(refused, folder):
    refused("experiments", "nowhere.toml", says=["cannot read nowhere.toml"])
    refused("experiments", "nowhere", says=["nowhere has no suffix", "--out"])
    (folder / "bad.toml").write_text("[experiments.a]\nepoch = 3\n")
    refused("experiments", "bad.toml", says=["[experiments.a]", "no setting 'epoch'", "did you mean epochs"])
