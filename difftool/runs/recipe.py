"""Recipes: a complete run of `difftool sample` as plain text and numbers."""

from __future__ import annotations

import dataclasses
import math
import re
import types
import typing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self, get_args, get_origin

from difftool import __version__
from difftool.errors import DifftoolError, printable
from difftool.errors.validation import check_threads
from difftool.files.names import is_name
from difftool.names.hints import runs_as
from difftool.names.registry import registry
from difftool.names.specs import check_names, is_file, make, spell
from difftool.names.text import parse, write
from difftool.outputs.samples import FORMAT, VERSION, read_recipe

MOST = 2**32  # samples of one run, at most: each is numbered in its noise
FILLED_IN = (
    "sampler",
    "schedule",
    "grid",
    "last",
    "clip",
)  # by the run, if the user did not give them
ABSENT: dict[str, Any] = {  # from recipes of version 1
    "stochastic": False, "chosen": None, "clip": False, "guidance": None, "files": None, "noise": "independent"
}  # fmt: skip
LEVELS = {
    "half-log-snr",
    "exponential",
    "polyexponential",
    "karras",
    "kl-optimal",
    "beta-level",
}
TABLES = {
    "trailing",
    "leading",
    "linspace",
    "simple",
    "normal",
    "sgm-uniform",
    "ddim-uniform",
    "beta-entries",
}
# since version 2
CHANGED = {
    "noise": lambda noise: f"{noise}-by-call",
    "grid": lambda grid: _down_to(grid),
}
# options that the choice of a sampler depends on
CHOSEN_BY = {
    "model",
    "stochastic",
    "schedule",
    "grid",
    "steps",
    "nfe",
    "guidance",
}


Device = Literal["auto", "cpu", "cuda", "mps"]

LONGEST = 4096  # characters of a text in a recipe


@dataclass(frozen=True)
class Recipe:
    """What to sample: specs on four axes, and numbers. None: the default of `difftool.sample`.

    Raises `DifftoolError` for values of the wrong type, and for numbers out of range.
    """

    model: str = "digits-exact"
    # a spec, or a file with a plan; None: the choice of `sampling.choose`
    sampler: str | None = None
    stochastic: bool = False  # for that choice
    schedule: str | None = None
    grid: str | None = None
    steps: int | None = None
    nfe: int | None = None  # instead of steps
    last: Literal["step", "mean"] | None = None
    num_samples: int = 64
    batch_size: int | None = None
    seed: int = 0
    label: int | str | None = None  # a class, or a range "0-9" to cycle through
    guidance: float | None = None  # of a conditional model; 1: no extra guidance
    # clip estimates of x0 to the range of the data; default: for pictures in [-1, 1]
    clip: bool | None = None
    device: Device = "auto"
    dtype: Literal["float32", "float64", "bfloat16", "float16"] = "float32"
    noise: (
        Literal[
            "independent",
            "path",
            "generator",
            "independent-by-call",
            "path-by-call",
            "generator-by-call",
        ]
        | None
    ) = None  # None: independent; the last three: numbered as in recipes up to version 2
    threads: int | None = None
    files: dict[str, Any] | None = None  # SHA-256 of the files that the specs refer to
    plan: dict[str, Any] | None = None  # the plan itself, if `sampler` is a file
    chosen: list[str] | None = None  # the options of `FILLED_IN` that the user did not give

    def __post_init__(self) -> None:
        for name, kind in typing.get_type_hints(type(self)).items():
            value = getattr(self, name)
            if not _is(value, kind):
                shown = printable(repr(value))
                raise DifftoolError(f"{_option(name)} takes {spell(kind)}, got {shown}")
            if isinstance(value, str) and not (value.isprintable() and len(value) <= LONGEST):
                raise DifftoolError(
                    f"{_option(name)} must be at most {LONGEST} printable characters, got {printable(value)!r}"
                )
        for name in ("num_samples", "batch_size", "steps", "nfe", "threads"):
            value, most = getattr(self, name), MOST if name == "num_samples" else math.inf
            if value is not None and not 1 <= value <= most:
                if value > most:
                    upper = f" and at most {most}"
                else:
                    upper = ""
                raise DifftoolError(f"{_option(name)} must be at least 1{upper}, got {value}")
        if self.threads is not None:
            check_threads(self.threads)
        classes = self.classes
        if classes is not None and not (classes and classes[0] >= 0 and classes[-1] < MOST):
            if classes and classes[-1] >= MOST:
                upper = f" and at most {MOST - 1}"
            else:
                upper = ""
            raise DifftoolError(
                f"class must be a whole number of at least 0{upper}, or a range such as 0-9, "
                f"got {printable(repr(self.label))}"
            )

    def changed(self, **options: Any) -> Recipe:
        """This recipe with other options; values that depend on them return to defaults."""
        forget: dict[str, Any] = {}
        chosen = self.chosen or []
        anew = "sampler" in chosen and bool(options.keys() & CHOSEN_BY)
        if "sampler" in options or anew:
            forget.update(
                dict.fromkeys(chosen),
                plan=None,
                stochastic=anew and self.stochastic,
                chosen=None,
            )
        elif chosen:
            forget.update(chosen=[name for name in chosen if name not in options])
        if "sampler" in options:
            forget.update(last=None)
        if "model" in options:
            forget.update(dict.fromkeys({"schedule", "clip"} & set(chosen)))
        if options.keys() & {"model", "sampler", "schedule", "grid"}:
            forget.update(files=None)
        if options.keys() & {"steps", "nfe"} or self._steps_go_with_grid(options):
            forget.update(steps=None, nfe=None)
        return replace(self, **{**forget, **options})

    def _steps_go_with_grid(self, options: dict[str, Any]) -> bool:
        """Whether the options add or replace a grid that has its own number of steps."""
        if "grid" not in options:
            return False
        return any(_has_own_steps(grid) for grid in (self.grid, options["grid"]) if grid)

    def in_our_words(self, flow: bool = False) -> tuple[Recipe, str | None]:
        """This recipe with other tools' names translated, and a line that says so (or None).

        flow: whether the schedule is a flow, for which some names mean another sampler.
        """
        typed = {"samplers": self.sampler, "grids": self.grid}
        foreign = {
            axis: name
            for axis, name in typed.items()
            if name is not None and not _is_ours(axis, name)
        }
        meant = {
            axis: runs_as(axis, name, registry().axis(axis), self.steps, self.nfe, flow) or {}
            for axis, name in foreign.items()
        }
        sampler, grid = meant.get("samplers", {}), meant.get("grids", {})
        if (
            self.grid is not None
        ):  # it takes precedence over the one that comes with the sampler
            sampler = {option: value for option, value in sampler.items() if option != "grid"}
        if self.sampler is not None:
            grid = {option: value for option, value in grid.items() if option == "grid"}
        named = {option for option in ("noise", "last") if getattr(self, option) is not None}
        found = {
            option: value
            for option, value in {**sampler, **grid}.items()
            if option not in named
        }
        if not found:
            return self, None
        translation = " ".join(f"--{option} {value}" for option, value in found.items())
        names = " with ".join(name for axis, name in foreign.items() if axis[:-1] in found)
        if "nfe" in found:
            numbers = {}
        else:
            numbers = {"steps": self.steps, "nfe": self.nfe}
        kept: dict[str, Any] = {**numbers, "last": found.get("last", self.last)}
        return replace(self.changed(**found), **kept), f"{names} runs as {translation}"

    @property
    def specs(self) -> dict[str, str]:
        """The specs of the run by axis; a plan contains all but the model."""
        whole = self.plan is None and self.plan_file is None
        axes: tuple[str, ...] = ("models",)
        if whole:
            axes += ("samplers", "schedules", "grids")
        return {axis: spec for axis in axes if (spec := getattr(self, axis[:-1]))}

    def check_names(self) -> None:
        """Raise `DifftoolError` for unknown names, also in other tools; nothing is loaded."""
        check_names(**self.in_our_words()[0].specs)

    @property
    def classes(self) -> range | None:
        """The classes that samples cycle through; empty if the label is not valid."""
        if self.label is None:
            return None
        if isinstance(self.label, int):
            return range(self.label, self.label + 1)
        ends = re.fullmatch(r"(\d{1,10})(?:-(\d{1,10}))?", self.label)
        if ends:
            return range(int(ends[1]), int(ends[2] or ends[1]) + 1)
        return range(0)

    @property
    def plan_file(self) -> Path | None:
        """The file with the plan, if `sampler` is one."""
        if self.sampler is None:
            return None
        if is_file("samplers", self.sampler):
            return Path(parse(self.sampler)[0])
        return None

    @property
    def title(self) -> str:
        """A short name for outputs: model and sampler without options.

        A recipe may come from a stranger: only what is safe in a file name is taken over.
        """
        if self.plan_file:
            sampler = self.plan_file.stem
        else:
            sampler = parse(self.sampler or "default")[0]
        parts = [parse(self.model)[0], sampler]
        return "-".join(part if is_name(part) else "run" for part in parts)

    def to_dict(self) -> dict[str, Any]:
        """The recipe as JSON-serializable values, with the versions of difftool and torch."""
        from torch import __version__ as torch_version

        head = {
            "format": FORMAT,
            "version": VERSION,
            "difftool": __version__,
            "torch": str(torch_version),
        }
        return {**head, **dataclasses.asdict(self)}

    @classmethod
    def load(cls, file: Path) -> Self:
        """The recipe in an output; `DifftoolError` if values are missing or mistyped."""
        data = _as_now(read_recipe(file))
        names = {f.name for f in dataclasses.fields(cls)}
        missing = names - set(data)
        if missing:
            raise DifftoolError(
                f"the recipe in {file} is incomplete: {', '.join(sorted(missing))} missing; "
                "give the options of the run instead"
            )
        try:
            return cls(**{name: data[name] for name in names})
        except DifftoolError as error:
            raise DifftoolError(f"the recipe in {file} is not valid: {error}") from None


def _as_now(data: dict[str, Any]) -> dict[str, Any]:
    """Convert an older recipe to the current version.

    Version 2 numbered noise in the order of the calls, and grids in the noise level shared one
    lowest level. In version 1 a sampler was always given, and `flow-abm` chose its own order.
    """
    if data["version"] < 2:
        data = {**ABSENT, **data}
        steps = data.get("steps") or data.get("nfe")
        if data.get("sampler") == "flow-abm" and isinstance(steps, int):
            data["sampler"] = f"flow-abm:order={min(5, 2 + steps // 10, steps)}"
    if data["version"] < 3:
        data = {**data, "noise": data.get("noise") or "independent"}
        data = {
            **data,
            **{name: change(data[name]) for name, change in CHANGED.items() if data.get(name)},
        }
    return data


def _down_to(grid: str) -> str:
    """The grid with the lowest level, or table length, that was the default up to version 2."""
    name, options = parse(grid)
    if name in LEVELS:
        usual = {"level_min": "0.002"}
    elif name in TABLES:
        usual = {"length": "1000"}
    else:
        usual = {}
    return write(
        name, {**options, **{key: value for key, value in usual.items() if key not in options}}
    )


def class_of(text: str | None) -> int | str | None:
    """A class from the command line: a number, or a range as text."""
    if text is not None and re.fullmatch(r"-?\d{1,18}", text):
        return int(text)
    return text


def _is_ours(axis: str, spec: str) -> bool:
    """Whether the spec has an installed name, or is a file with a plan."""
    name = parse(spec)[0]
    return name.endswith(".json") or registry().has(axis, name)


def _has_own_steps(grid: str) -> bool:
    """Whether the grid has its own number of steps; True if it cannot be created."""
    if not _is_ours("grids", grid):
        return False
    try:
        return make("grids", grid).own_steps is not None
    except DifftoolError:  # for example, its file is gone
        return True


def _option(name: str) -> str:
    if name == "label":
        return "class"
    return name.replace("_", "-")


def _is(value: Any, kind: Any) -> bool:
    """Whether a value is of a type; booleans do not count as numbers."""
    if get_origin(kind) in (typing.Union, types.UnionType):
        return any(_is(value, part) for part in get_args(kind))
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    return type(value) is (get_origin(kind) or kind)
