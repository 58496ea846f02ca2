"""Half-finished runs, and plans, on disk: safetensors and JSON, never pickle."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path as File
from typing import Any

from torch import Tensor

from difftool.errors import DifftoolError
from difftool.files import writing
from difftool.noise import NoiseKey
from difftool.plan.affine import Value
from difftool.plan.plan import Plan, Row
from difftool.schedules.base import Point

VERSION = 1


@dataclass(frozen=True)
class RunState:
    """A run of `plan` as it stood at row `position`: the values that later rows still need.

    Save it with `save`, read it with `RunState.load`, go on with `run(plan, model, None, noise, state=state)`.
    """

    plan: Plan
    position: int
    form: str
    values: dict[Value, Tensor]

    @property
    def x(self) -> Tensor:
        """The state at `position`, (B, ...)."""
        return self.values["x", self.position]

    def save(self, file: str | File) -> None:
        """Writes a safetensors file, to a temporary name first."""
        from safetensors.torch import save_file

        head = {"format": "difftool-run", "version": VERSION, "position": self.position, "form": self.form}
        head["plan"] = plan_to_dict(self.plan)
        tensors = {"/".join(map(str, s)): t.contiguous().cpu() for s, t in self.values.items()}
        with writing(file) as temporary:
            save_file(tensors, temporary, metadata={"difftool": json.dumps(head)})

    @classmethod
    def load(cls, file: str | File, device: Any = "cpu") -> RunState:
        """Reads what `save` wrote; `DifftoolError` for a file that is truncated, foreign or of a newer version."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(str(file), framework="pt", device=str(device)) as f:
                head = json.loads((f.metadata() or {})["difftool"])
                tensors = {name: f.get_tensor(name) for name in f.keys()}  # noqa: SIM118
        except FileNotFoundError:
            raise DifftoolError(f"there is no file {file}") from None
        except (SafetensorError, KeyError, ValueError, OSError, RecursionError) as error:
            raise DifftoolError(f"{file} is not a saved run of difftool, or is truncated ({error})") from None
        except RuntimeError as error:
            raise DifftoolError(f"cannot read {file} to {device!r}: {str(error).splitlines()[0]}") from None
        check_version(head, "difftool-run", file)
        values = {tuple(int(a) if a.isdecimal() else a for a in name.split("/")): t for name, t in tensors.items()}
        position, plan = head.get("position"), plan_from_dict(head.get("plan"), f"the plan in {file}")
        if type(position) is not int or ("x", position) not in values or position >= len(plan.rows):
            raise DifftoolError(f"{file} is not a whole saved run: there is no state at row {position!r}")
        return cls(plan, position, str(head.get("form")), values)


def save_plan(plan: Plan, file: str | File) -> None:
    """Writes a plan as JSON, to a temporary name first."""
    with writing(file) as temporary:
        temporary.write_text(plan_to_json(plan) + "\n")


def load_plan(file: str | File) -> Plan:
    """Reads a plan; `DifftoolError` for a file that is missing, truncated, foreign or of a newer version."""
    try:
        text = File(file).read_text()
    except OSError as error:
        raise DifftoolError(f"cannot read the plan {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise DifftoolError(f"{file} is not a plan: no text") from None
    except ValueError as error:
        raise DifftoolError(f"{str(file)!r} is no name of a file: {error}") from None
    return plan_from_json(text, file)


def plan_to_json(plan: Plan) -> str:
    """The plan as JSON text; floats keep every bit."""
    return json.dumps(plan_to_dict(plan))


def plan_from_json(text: str, origin: Any = "the text") -> Plan:
    """The plan in JSON text; raises as `load_plan`."""
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DifftoolError(f"{origin} is not a plan: not JSON, or truncated ({error})") from None
    return plan_from_dict(data, origin)


def plan_to_dict(plan: Plan) -> dict[str, Any]:
    """The plan as JSON-able values (an infinite noise level is null)."""
    rows = [
        {
            "point": list(row.point), "kind": row.kind, "index": row.index, "channels": row.channels,
            "x": [list(t) for t in row.x], "m": [[*key, c] for key, c in row.m], "z": [list(t) for t in row.z],
        }
        for row in plan.rows
    ]  # fmt: skip
    noises = [{"call": n.call, "interval": _finite(n.interval)} for n in plan.noises]
    return {"format": "difftool-plan", "version": VERSION, "name": plan.name, "noises": noises, "rows": rows}


def plan_from_dict(data: Any, origin: Any) -> Plan:
    """The inverse of `plan_to_dict`; raises as `load_plan`."""
    check_version(data, "difftool-plan", origin)
    try:
        rows = tuple(
            Row(
                Point(*map(float, r["point"])), r["kind"], _whole(r["index"]), _whole(r["channels"]),
                tuple((_whole(k), float(c)) for k, c in r["x"]),
                tuple(((_whole(k), _whole(channel)), float(c)) for k, channel, c in r["m"]),
                tuple((_whole(j), float(c)) for j, c in r["z"]),
            )
            for r in data["rows"]
        )  # fmt: skip
        noises = tuple(NoiseKey(_whole(n["call"]), _infinite(n["interval"])) for n in data["noises"])
        return Plan(rows, noises, str(data["name"]))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DifftoolError(f"{origin} is not a whole plan: {error!r}") from None


def check_version(data: Any, kind: str, origin: Any) -> None:
    """Raise `DifftoolError` unless data is a dictionary of that format, of this version or an older one."""
    if not isinstance(data, dict) or data.get("format") != kind:
        raise DifftoolError(f"{origin} is not a {kind} file")
    version = data.get("version")
    if not isinstance(version, int) or version > VERSION:
        raise DifftoolError(f"{origin} has format version {version}, this difftool reads up to {VERSION}; update it")


def _whole(value: Any) -> int:
    """The whole number that the file holds; `ValueError` for anything else."""
    if type(value) is not int:
        raise ValueError(f"expected a whole number, got {value!r}")
    return value


def _finite(interval: tuple[float, float] | None) -> list[float | None] | None:
    return None if interval is None else [u if math.isfinite(u) else None for u in interval]


def _infinite(interval: list[float | None] | None) -> tuple[float, float] | None:
    if interval is None:
        return None
    low, high = (math.inf if u is None else float(u) for u in interval)
    return low, high
