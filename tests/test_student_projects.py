"""docs/seeds.md does what it says: every command of its five blocks, tiny, on local copies of the hub's sets."""

from __future__ import annotations

import re
import shlex
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from typer.testing import CliRunner

from difftool.cli.app import app

PAGE = (Path(__file__).parent.parent / "docs" / "seeds.md").read_text()
SECTIONS = {
    text.split("\n")[0].strip(): re.findall(r"^```(\w+)\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    for text in PAGE.split("\n## ")[1:]
}
SHAPES = {"mnist": (28, "L"), "cifar10": (32, "RGB"), "lsun-bedrooms": (40, "RGB")}


def local(name, more):
    """A set of the hub as a copy on this disk."""
    return f"{name}:path=hub-{name}" + "," * len(more)


SMALLER = [  # what stands on the page, and what is run here
    (r"widths=[\d+]+", lambda m: "widths=" + "+".join("4" for _ in m[0].split("+"))),
    (r"depth=\d", "depth=1"),
    (r" --compile", ""),
    (r"(--steps) \d+", r"\1 3"),
    (r"(--num-samples) \d+", r"\1 12"),
    (r"(--batch-size) \d+", r"\1 6"),
    (r"(--frames) \d+", r"\1 3"),
    (r"corrections=\d+", "corrections=2"),
    (r"(--pairs) \d+ (--between) \d+", r"\1 2 \2 3"),
    (r"^(difftool train(?!.*--batch-size).*)$", r"\1 --batch-size 6"),
    (r"^(difftool trajectory(?!.*--num-samples).*)$", r"\1 --num-samples 2"),
    (r"^(epochs|steps) = .*", r"\1 = 2"),
    (r"^(samples|batch_size) = .*", r"\1 = 6"),
    (r"^num_samples = .*", "num_samples = 12"),
    (r"size=(\d+)", lambda m: f"size={int(m[1]) // 4}"),
    (r"((?:--data|--against|data =) \"?)(mnist|cifar10|lsun-bedrooms)(:?)", lambda m: f"{m[1]}{local(m[2], m[3])}"),
    (r"moons:seed", "moons:n=60,seed"),
]


def smaller(text):
    for pattern, new in SMALLER:
        text = re.sub(pattern, new, text, flags=re.MULTILINE)
    return text


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with copies of the hub's sets, pictures with texts, and a feature network."""
    from datasets import ClassLabel, Dataset, Features
    from datasets import Image as Column

    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name, (size, mode) in SHAPES.items():
        shape = (size, size) if mode == "L" else (size, size, 3)
        pictures = [Image.fromarray(rng.integers(0, 255, shape, dtype=np.uint8)) for _ in range(12)]
        features, cells = {"image": Column()}, {"image": pictures}
        if name != "lsun-bedrooms":
            features["label"], cells["label"] = ClassLabel(num_classes=10), [i % 10 for i in range(12)]
        made = Dataset.from_dict(cells, features=Features(features))
        for split in ("train", "test"):
            (tmp_path / f"hub-{name}").mkdir(exist_ok=True)
            made.to_parquet(tmp_path / f"hub-{name}" / f"{split}-00000-of-00001.parquet")
    x, text = rng.uniform(-1, 1, (8, 3, 8, 8)), rng.normal(size=(8, 5, 6))
    np.savez("captions.npz", x=x.astype(np.float32), text=text.astype(np.float32))
    net = nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(48, 4)).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter's own
        torch.onnx.export(
            net, (torch.zeros(2, 3, 16, 16),), "features.onnx", dynamic_shapes=({0: torch.export.Dim("batch")},),
            external_data=False, verbose=False,
        )  # fmt: skip
    return tmp_path


def carry_out(lines):
    """Run the lines of a block: commands of difftool, and files written by `cat`."""
    lines = iter(lines)
    for line in lines:
        if line.startswith("cat > "):
            text = "\n".join(iter(lambda: next(lines), "END")) + "\n"
            Path(line.split()[2]).write_text(text)
        elif line.strip():
            program, *arguments = shlex.split(line)
            assert program == "difftool"
            result = CliRunner().invoke(app(), arguments)
            assert result.exit_code == 0, (line, result.output)


def test_there_are_five():
    assert len(SECTIONS) == 5
    assert all(blocks[0][0] == "sh" for blocks in SECTIONS.values())


@pytest.mark.slow
@pytest.mark.parametrize("name", SECTIONS)
def test_a_block(place, name):
    for kind, text in SECTIONS[name]:
        if kind == "sh":
            carry_out(smaller(text).splitlines())
        else:
            space: dict = {}
            exec(compile(text.replace("steps=20", "steps=2"), "seeds.md", "exec"), space)
            assert torch.isfinite(space["pictures"]).all()
    for out in re.findall(r"--out (\S+\.(?:png|gif|npz))", PAGE.split(f"## {name}")[1].split("\n## ")[0]):
        assert (place / out).stat().st_size > 300, out
    if name == '"Project III"':
        head, _, *rows = Path("project/table.md").read_text().splitlines()
        fid = head.split(" | ").index("fid")
        assert len(rows) == 5
        assert all(float(row.split(" | ")[fid]) > 0 for row in rows)
