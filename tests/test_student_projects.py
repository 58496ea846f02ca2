"""docs/seeds.md does what it says: every command of its blocks, tiny, on local copies of the hub's sets."""

from __future__ import annotations

import importlib.util
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
from difftool.names.registry import registry
from difftool.names.specs import make

DOCS = Path(__file__).parent.parent / "docs"
PAGE = (DOCS / "seeds.md").read_text()
SECTIONS = {
    text.split("\n")[0].strip(): re.findall(r"^```(\w+)\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    for text in PAGE.split("\n## ")[1:]
}
STUDENTS = [name for name in SECTIONS if name.startswith('"')]
SHAPES = {"mnist": (28, "L"), "cifar10": (32, "RGB"), "lsun-bedrooms": (40, "RGB")}


def local(name, more):
    """A set of the hub as the copy on this disk that the page names."""
    return f"{name}:path={name}-parquet" + "," * len(more)


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
    (
        r"((?:--data|--against|data =) \"?)(mnist|cifar10|lsun-bedrooms)(?!:path)(:?)",
        lambda m: m[1] + local(m[2], m[3]),
    ),
    (r"moons:seed", "moons:n=60,seed"),
    (r"range\(\d+\)", "range(2)"),
    (r"steps=20", "steps=2"),
    (r'weights="DEFAULT"', "weights=None"),
    (r'load_dataset\("ylecun/mnist"\)', 'load_dataset("mnist-parquet")'),
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
            (tmp_path / f"{name}-parquet").mkdir(exist_ok=True)
            made.to_parquet(tmp_path / f"{name}-parquet" / f"{split}-00000-of-00001.parquet")
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


def run_python(text):
    """A block of Python, in a space of its own; one with torchvision, which no test needs, if that is there."""
    code, space = compile(smaller(text), "seeds.md", "exec"), {}
    if "torchvision" not in text or importlib.util.find_spec("torchvision"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the exporter's own
            exec(code, space)
    return space


def test_there_are_five():
    assert len(STUDENTS) == 5
    for name in STUDENTS:
        kinds = [kind for kind, _ in SECTIONS[name]]
        assert kinds[0] == "sh"
        assert kinds.count("sh") >= 2  # as it was, and on two cores


def test_the_pictures_of_the_page_are_there_and_small():
    shown = re.findall(r"^!\[[^\]]+\]\((\S+)\)$", PAGE, flags=re.MULTILINE)
    assert len(shown) >= 5
    assert {*shown} == {f"seeds/{file.name}" for file in (DOCS / "seeds").iterdir()}
    assert all((DOCS / file).stat().st_size < 60_000 for file in shown)


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDENTS)
def test_a_block(place, name):
    for kind, text in SECTIONS[name]:
        if kind == "sh":
            carry_out(smaller(text).splitlines())
        else:
            assert torch.isfinite(run_python(text)["pictures"]).all()
    for out in re.findall(r"--out (\S+\.(?:png|gif|npz))", PAGE.split(f"## {name}")[1].split("\n## ")[0]):
        assert (place / out).stat().st_size > 300, out
    if name == '"Project III"':
        for table, count in (("project", 5), ("project-small", 3)):
            head, _, *rows = Path(table, "table.md").read_text().splitlines()
            fid = head.split(" | ").index("fid")
            assert len(rows) == count
            assert all(float(row.split(" | ")[fid]) > 0 for row in rows)


@pytest.mark.slow
def test_the_feature_network_of_the_page(place):
    """It is made by the lines there, and stands in for the one that Project III reads."""
    (place / "features.onnx").unlink()
    for _, text in SECTIONS["features.onnx"]:
        run_python(text)
    features = make("features", "onnx:path=features.onnx")
    assert features(torch.zeros(3, 3, 16, 16)).shape == (3, 128)
    assert features(torch.zeros(3, 1, 28, 28)).shape == (3, 128)


@pytest.mark.slow
def test_a_copy_as_the_page_makes_it(place):
    for kind, text in SECTIONS["Offline"]:
        if kind == "python":
            run_python(text)
    one, other = (make("datasets", f"mnist:path=mnist-{kind}") for kind in ("copy", "parquet"))
    assert (one.all().x == other.all().x).all()


def test_what_needs_a_network_is_named():
    """Every data set is on the page, as one that needs the hub or as one that does not."""
    section = PAGE.split("## Offline")[1]
    assert [name for name in registry().axis("datasets") if f"`{name}`" not in section] == []
