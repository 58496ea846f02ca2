"""Plans: the rows of a sampler on a path, ready to run; and the saved states of their runs."""

from __future__ import annotations

import json
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path as File
from typing import Any

from torch import Tensor

from difftool.errors import DifftoolError
from difftool.files.tensors import opening_tensors, save_tensors
from difftool.noise import NoiseKey
from difftool.plan.affine import Value
from difftool.plan.execution import steps
from difftool.plan.rows import Row, check_rows
from difftool.plan.stored import VERSION, check_version, table_from_dict, table_to_dict
from difftool.schedules.base import Point


@dataclass(frozen=True)
class Plan:
    """A sampler on a path, as numbers: created by `trace`, run by `run` or `steps`."""

    rows: tuple[Row, ...]
    noises: tuple[NoiseKey, ...] = ()
    name: str = ""  # a description of the traced sampler

    def __post_init__(self) -> None:
        check_rows(self.rows, self.noises)

    @property
    def nfe(self) -> int:
        """Number of network evaluations."""
        return sum(row.channels > 0 for row in self.rows)

    @property
    def points(self) -> tuple[Point, ...]:
        """The point of every row."""
        return tuple(row.point for row in self.rows)

    def steps(self, x: Any, **options: Any) -> Generator[tuple[Any, Point, Row], Any, Any]:
        """Run the plan as a generator, see `difftool.plan.steps`."""
        return steps(self, x, **options)

    def stopped(self, position: int, form: str, values: dict[Value, Tensor]) -> RunState:
        """The state of a run of this plan at row `position`."""
        return RunState(self, position, form, values)

    def to_dict(self) -> dict[str, Any]:
        """The plan as JSON-able values (an infinite noise level is null)."""
        return table_to_dict(self.rows, self.noises, self.name)

    @classmethod
    def from_dict(cls, data: Any, origin: Any = "the data") -> Plan:
        """The inverse of `to_dict`; `DifftoolError` if incomplete or of a newer version."""
        return cls(*table_from_dict(data, origin))


@dataclass(frozen=True)
class RunState:
    """The state of a run of `plan` at row `position`: the values that later rows still need.

    Save it with `save`, load it with `RunState.load`, and resume the run with
    `run(plan, model, None, noise, state=state)`.
    """

    plan: Plan
    position: int
    form: str
    values: dict[Value, Tensor]

    @property
    def x(self) -> Tensor:
        """The state at `position`, (B, ...)."""
        return self.values[Value("x", self.position)]

    def save(self, file: str | File) -> None:
        """Write a safetensors file, atomically by way of a temporary file."""
        head = {
            "format": "difftool-run",
            "version": VERSION,
            "position": self.position,
            "form": self.form,
        }
        head["plan"] = self.plan.to_dict()
        tensors = {_name(value): t.contiguous().cpu() for value, t in self.values.items()}
        save_tensors(tensors, file, json.dumps(head))

    @classmethod
    def load(cls, file: str | File, device: Any = "cpu") -> RunState:
        """Load a saved state; `DifftoolError` for truncated, foreign or newer-version files."""
        try:
            with opening_tensors(file, str(device)) as (opened, head):
                tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        except RuntimeError as error:
            raise DifftoolError(
                f"cannot load {file} to {device!r}: {str(error).splitlines()[0]}"
            ) from None
        check_version(head, "difftool-run", file)
        values = {_value(name, file): t for name, t in tensors.items()}
        position, plan = (
            head.get("position"),
            Plan.from_dict(head.get("plan"), f"the plan in {file}"),
        )
        if (
            type(position) is not int
            or Value("x", position) not in values
            or position >= len(plan.rows)
        ):
            raise DifftoolError(
                f"{file} is not a complete saved run: it has no state at row {position!r}"
            )
        return cls(plan, position, str(head.get("form")), values)


def _name(value: Value) -> str:
    """The name of a value in a file: x/3, m/3/0, z/1."""
    numbers = list(map(str, value[1:]))
    if value.kind != "m":
        numbers = numbers[:1]
    return "/".join([value.kind, *numbers])


def _value(name: str, file: Any) -> Value:
    """The inverse of `_name`; `DifftoolError` for other names."""
    kind, *numbers = name.split("/")
    if (
        kind not in ("x", "m", "z")
        or not all(number.isdecimal() for number in numbers)
        or len(numbers) not in (1, 2)
    ):
        raise DifftoolError(
            f"{file} is not a complete saved run: it holds {name!r}, expected names like x/3 or m/3/0"
        )
    return Value(kind, *map(int, numbers))  # type: ignore[arg-type]
