"""What the fuzzing draws from: command lines, specs, numbers, texts and files, good ones and others."""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import typer
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from difftool.cli.app import app
from difftool.names.registry import registry
from difftool.names.specs import options_of

CASES = int(os.environ.get("DIFFTOOL_FUZZ", "25"))
ANEW = "DIFFTOOL_FUZZ_ANEW" in os.environ  # other examples each time, for a night


def fuzzed(cases: int) -> Callable[[Any], Any]:
    """So many examples of a test, the same ones each time, none refused for being slow."""
    return settings(
        max_examples=cases,
        deadline=None,
        derandomize=not ANEW,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
    )


NUMBERS = [
    "0", "1", "2", "3", "5", "-1", "-0", "1e3", "0.5", "nan", "inf", "-inf", "1e999", "1e-320", "2147483648",
    "9" * 40, "9" * 5000, "9223372036854775808", "18446744073709551616", "0x10", "1_000", "٣", "", " ", "x", "None",
    "true", "1/0", "1/3", "+1", "1e", "--", "-",
]  # fmt: skip
TEXTS = [
    "", " ", ".", "..", "/", "~", "a/../../evil", "\x1b[31mred", "\u202e", "\U0001f600", "x" * 300,
    "x" * 9000, "'", '"', "a'b", ":", "::", "=", "a=", "=b", ",", "+", "%s", "{0}", "{x!r}", "$(id)", "`id`",
    "\\", "\n", "\r\n", "\t", "none", "default", "ddim", "DDIM", "DPM++ 2M Karras", "euler@karras",
    "ddim:eta", "ddim:eta=", "ddim:=1", "ddim:eta=1,eta=2", "ddim:eta='1", "-h", "--help", "é", "ﬁ",
    "ddim\u200b",
]  # fmt: skip
FILES = [
    "a.npz", "a.png", "a.json", "a.safetensors", "plan.json", "state.safetensors", "model.safetensors", "grid.txt",
    "table.toml", "empty", "empty.npz", "empty.png", "empty.json", "empty.safetensors", "text.npz", "large.png",
    "shape.npz", "objects.npz", "deep.json", "deep.toml", "wide.safetensors", "folder", "missing", "missing/a.png",
    "/dev/null", "/dev/zero", "link", "loop", "out.png", "out.npz", "out.safetensors", "out.json", "out.gif", "out.xyz",
]  # fmt: skip


def files(folder: Path) -> None:
    """One file of each kind; nothing here is larger than some KB."""
    from difftool import make
    from difftool.plan import save_plan, trace
    from difftool.runs.recipe import Recipe
    from difftool.schedules import Path as Times
    from difftool.schedules import VPLinear

    recipe = Recipe(num_samples=2, steps=2, model="moons").to_dict()
    np.savez(folder / "a.npz", samples=np.zeros((2, 2), np.float32), recipe=np.array(json.dumps(recipe)))
    (folder / "a.json").write_text(json.dumps(recipe))
    save_file({"samples": torch.zeros(2, 2)}, folder / "a.safetensors", {"difftool": json.dumps(recipe)})
    save_file({"net.x": torch.zeros(2, 2)}, folder / "model.safetensors", {"difftool": "{}"})
    save_file({"x": torch.zeros(2)}, folder / "state.safetensors", {"difftool": '{"format": "difftool-run"}'})
    plan = trace(make("samplers", "ddim"), Times(VPLinear(), (1.0, 0.5, 0.0)))
    save_plan(plan, folder / "plan.json")
    (folder / "a.png").write_bytes(png(8, 8))
    (folder / "large.png").write_bytes(png(30_000, 30_000))
    (folder / "grid.txt").write_text("1\n0.5\n0\n")
    (folder / "table.toml").write_text('[experiments.a]\ndata = "moons:n=20"\nsteps = 1\n')
    for name in FILES:
        if name.startswith("empty"):
            (folder / name).touch()
    (folder / "text.npz").write_text("no arrays")
    np.savez(folder / "objects.npz", x=np.array([{}], dtype=object))
    (folder / "deep.json").write_text("[" * 5000 + "]" * 5000)
    (folder / "deep.toml").write_text("a = " + "[" * 5000 + "]" * 5000)
    wide = {"format": "difftool-checkpoint", "version": 2, "step": 0}
    training = {"network": "mlp:widths=30000+30000+30000,size=2", "numbers": {}, "data": "moons", "schedule": "flow"}
    save_file(
        {"ema.x": torch.zeros(1)}, folder / "wide.safetensors", {"difftool": json.dumps({**wide, "training": training})}
    )
    (folder / "folder").mkdir()
    (folder / "link").symlink_to("a.npz")
    (folder / "loop").symlink_to("loop")
    shape = b"\x93NUMPY\x01\x00v\x00" + str(
        {"descr": "<f8", "fortran_order": False, "shape": (10**11,)}
    ).encode().ljust(118)
    with zipped(folder / "shape.npz") as archive:
        archive.writestr("x.npy", shape)


def zipped(file: Path) -> Any:
    import zipfile

    return zipfile.ZipFile(file, "w")


def png(width: int, height: int) -> bytes:
    """A PNG file that claims that size and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


@st.composite
def specs(draw: Any, axis: str) -> str:
    """A name of that axis (or another) with options, some of them right."""
    ours = st.sampled_from(sorted(registry().builtin(axis)))
    name = draw(st.one_of(ours, ours, ours, st.sampled_from(TEXTS)))
    known: list[str] = []
    if name in registry().builtin(axis):
        known = [option.name for option in options_of(registry().find(axis, name).load())]
    keys = st.sampled_from(known or ["x"])
    often = st.dictionaries(keys, st.sampled_from(USUAL), max_size=2)
    rarely = st.dictionaries(keys | st.sampled_from(["x", "", "path"]), anything(), max_size=2)
    options = draw(st.one_of(often, often, rarely))
    if not options:
        return str(name)
    return f"{name}:{','.join(f'{key}={value}' for key, value in options.items())}"


USUAL = ["1", "2", "3", "0.5", "0.1", "1.5", "true", "false", "none"]


def anything() -> st.SearchStrategy[str]:
    """A number, a text or the name of a file."""
    return st.sampled_from([*NUMBERS, *TEXTS, *FILES])


AXIS_OF = {
    "model": "models", "sampler": "samplers", "schedule": "schedules", "grid": "grids", "data": "datasets",
    "against": "datasets",
    "network": "networks", "weighting": "weightings", "times": "times", "features": "features", "exact": "models",
}  # fmt: skip
COMMANDS = (
    "sample",
    "plan",
    "show",
    "list",
    "evaluate",
    "trajectory",
    "interpolate",
    "neighbors",
    "forward",
    "statistics",
    "train",
)
SMALL = {  # a run that is quick, before anything else is said
    "sample": ["--num-samples", "2", "--steps", "2"],
    "evaluate": ["--num-samples", "20", "--steps", "2"],
    "trajectory": ["--num-samples", "2", "--steps", "2"],
    "interpolate": ["--pairs", "2", "--between", "2", "--steps", "2"],
    "forward": ["--num-samples", "2"],
    "statistics": ["--points", "3", "--num-samples", "4", "--model", "eight-gaussians"],
    "train": ["--data", "moons:n=20", "--steps", "2", "--batch-size", "4", "--sample-every", "0",
              "--out", "run", "--network", "mlp:widths=4"],
}  # fmt: skip

NAMED = {"show": "ddim", "plan": "ddim", "neighbors": "a.npz"}  # what these must be told


@cache
def parameters(name: str) -> list[Any]:
    """The options and arguments of a command."""
    command = typer.main.get_command(app()).commands[name]  # type: ignore[attr-defined]
    return [parameter for parameter in command.params if parameter.name != "help"]


@st.composite
def commands(draw: Any) -> list[str]:
    """A command with some options, of values that fit and of others."""
    name = draw(st.sampled_from(COMMANDS))
    words = [name, *SMALL.get(name, [])]
    drawn = draw(st.lists(st.sampled_from(parameters(name)), max_size=3, unique_by=id))
    for parameter in drawn:
        value = draw(values(parameter))
        if parameter.param_type_name == "argument":
            words.append(value)
        elif parameter.is_flag:
            words.append(parameter.opts[0])
        else:
            words += [parameter.opts[0], value]
    if name in NAMED and all(parameter.param_type_name != "argument" for parameter in drawn):
        words.append(NAMED[name])
    return [word.replace("\0", "") for word in words]


def values(parameter: Any) -> st.SearchStrategy[str]:
    """Values for a parameter: those that may fit, and now and then any."""
    name = parameter.name
    kind = str(getattr(getattr(parameter, "type_descriptor", None), "annotation", ""))
    if name in AXIS_OF:
        fit = specs(AXIS_OF[name])
    elif name == "name":
        fit = specs("samplers") | specs("schedules")
    elif "int" in kind or "float" in kind:
        fit = st.sampled_from(["1", "2", "3", "7", "0", "-1"])
    elif "Path" in kind or name in ("recipe", "samples", "file", "out", "resume"):
        fit = st.sampled_from(FILES)
    else:
        fit = st.sampled_from(
            ["0", "0-3", "step", "mean", "path", "generator", "state", "x0", "eps", "v", "t", "index", "cpu"]
        )
    return st.one_of(fit, fit, fit, anything())
