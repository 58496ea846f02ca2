"""Specs: registered names with options, as text: `name:key=value,key=value`.

Values are converted to the types of the dataclass fields (or function parameters) that the name
stands for: numbers, true/false, words, `none`, lists as `a+b+c` (empty text for an empty list),
and specs of other objects if a field holds one.
"""

from __future__ import annotations

import dataclasses
import inspect
import math
import pathlib
import re
import sys
import types
import typing
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal, get_args, get_origin

from difftool.errors import DifftoolError, unknown
from difftool.names.registry import Entry, registry
from difftool.names.text import parse as parse
from difftool.names.text import write as write

MISSING = inspect.Parameter.empty
VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
KINDS = {  # axis to class
    "schedules": "Schedule", "grids": "Grid", "models": "Model", "samplers": "Sampler", "datasets": "Dataset",
    "networks": "Module", "weightings": "Weighting", "times": "Times", "features": "Features",
}  # fmt: skip
NOISE = ("eta", "tau", "churn", "s_noise", "noise")  # options of stochastic samplers
ELSEWHERE = {  # grid options of other tools
    "sigma_min": "level_min is what other tools call sigma_min",
    "sigma_max": "a run starts at the schedule's own end, or at the time start",
}


@dataclass(frozen=True)
class Option:
    """One option of a registered name, with type and default (`MISSING` if it is required)."""

    name: str
    type: Any
    default: Any


def options_of(target: Any) -> list[Option]:
    """The options of a dataclass (its fields) or of a function (its parameters)."""
    if dataclasses.is_dataclass(target) and isinstance(target, type):
        hints = typing.get_type_hints(target)
        return [
            Option(f.name, hints[f.name], _default(f))
            for f in dataclasses.fields(target)
            if f.init
        ]
    module = sys.modules.get(getattr(target, "__module__", ""))
    if module:
        space = vars(module)
    else:
        space = {}
    parameters = inspect.signature(target).parameters.values()
    return [
        Option(p.name, _annotation(p, space), p.default)
        for p in parameters
        if p.kind not in VARIADIC
    ]


def _annotation(p: inspect.Parameter, space: dict[str, Any]) -> Any:
    """The type of a parameter, whose annotation may be text (from __future__)."""
    if p.annotation is MISSING:
        return str
    try:
        if isinstance(p.annotation, str):
            return eval(p.annotation, space)
        return p.annotation
    except NameError:  # imported for type checkers only
        return str


def make(axis: str, spec: str) -> Any:
    """Create an object from its spec; `DifftoolError` for bad names, options or values."""
    name, texts = parse(spec)
    entry = registry().find(axis, name)
    target, what = entry.load(), f"{axis[:-1]} {name!r}"
    values = {key: _typed(entry, target, key, text) for key, text in texts.items()}
    options = options_of(target)
    if axis == "samplers" and {"model", "path"} <= {option.name for option in options}:
        raise DifftoolError(
            f"{what} of {entry.origin} is a bare sampling loop; expected a Sampler with it as __call__"
        )
    for option in options:
        if option.default is MISSING and option.name not in values:
            raise DifftoolError(
                f"{what} needs the option {option.name!r} ({spell(option.type)}), as in {name}:{option.name}=..."
            )
    try:
        thing = target(**values)
    except DifftoolError as error:
        if str(error).startswith(f"{name} "):
            raise DifftoolError(str(error)) from None
        raise DifftoolError(f"{what}: {error}") from None
    except (TypeError, ValueError, RuntimeError) as error:
        raise DifftoolError(
            f"{what} of {entry.origin} could not be created: {error}"
        ) from error
    if KINDS[axis] not in {base.__name__ for base in type(thing).__mro__}:
        raise DifftoolError(
            f"{what} of {entry.origin} is a {type(thing).__name__}, expected a {KINDS[axis]}"
        )
    if axis == "samplers" and thing.name != name:
        with suppress(AttributeError):
            object.__setattr__(thing, "name", name)  # errors quote what was typed
    return thing


def check_names(**specs: str | None) -> None:
    """Raise `DifftoolError` for specs, by axis, with unknown names; nothing is loaded."""
    for axis, spec in specs.items():
        if spec is not None and not is_file(axis, spec):
            registry().find(axis, parse(spec)[0])


def is_file(axis: str, spec: str) -> bool:
    """Whether the text is a file instead of a spec: a plan, or a feature network."""
    if axis == "samplers":
        name, options = parse(spec)
        return name.endswith(".json") and not options
    return axis == "features" and (
        pathlib.Path(spec).is_file() or (spec.endswith(".onnx") and "=" not in spec)
    )


def files_of(axis: str, spec: str) -> list[pathlib.Path]:
    """The files that a spec refers to, in its options and in those of nested specs."""
    name, texts = parse(spec)
    types = {
        option.name: option.type for option in options_of(registry().find(axis, name).load())
    }
    files: list[pathlib.Path] = []
    for key, text in texts.items():
        kinds = get_args(types[key]) or (types[key],)
        inner = next(filter(None, map(_axis_of, kinds)), None)
        if pathlib.Path in kinds and text.lower() != "none":
            files.append(pathlib.Path(text))
        elif inner is not None:
            files += files_of(inner, text)
    return files


def spec_of(axis: str, thing: Any) -> str:
    """The spec of an object with its non-default options; its `repr` if not registered."""
    for entry in _candidates(axis):
        if entry.load() is type(thing):
            values = {
                option.name: (getattr(thing, option.name), option.default)
                for option in options_of(type(thing))
            }
            return write(
                entry.name,
                {k: spell_value(v) for k, (v, default) in values.items() if v != default},
            )
    return repr(thing)


def _candidates(axis: str) -> Iterator[Entry]:
    """The entries of an axis, the built-in ones first: plugins are looked at only after these."""
    yield from registry().builtin(axis).values()
    for entry in registry().axis(axis).values():
        if entry.source is not None and not entry.clash:
            yield entry


def spell(kind: Any) -> str:
    """A type in words."""
    if get_origin(kind) is Literal:
        return " | ".join(map(str, get_args(kind)))
    if get_origin(kind) in (typing.Union, types.UnionType):
        return " | ".join("none" if a is type(None) else spell(a) for a in get_args(kind))
    if get_origin(kind) in (tuple, list):
        parts = [spell(part) for part in get_args(kind)]
        if parts[1:] in ([], ["..."]):
            return f"{parts[0]}+{parts[0]}+..."
        return "+".join(parts)
    names = {
        int: "whole number",
        float: "number",
        bool: "true | false",
        str: "text",
        ...: "...",
    }
    return names.get(kind) or getattr(kind, "__name__", str(kind)).lower()


def spell_value(value: Any) -> str:
    """The value of an option as text in a spec."""
    if value is None or isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (tuple, list)):
        return "+".join(map(spell_value, value))
    if isinstance(value, float) and math.isfinite(value):
        near = Fraction(value).limit_denominator(12)
        if near.denominator > 1 and float(near) == value and len(str(value)) > 8:
            return str(near)
        return str(value)
    axis = _axis_of(type(value))
    if axis is None:
        return str(value)
    return spec_of(axis, value)


def _default(f: dataclasses.Field[Any]) -> Any:
    if f.default is not dataclasses.MISSING:
        return f.default
    if f.default_factory is not dataclasses.MISSING:
        return f.default_factory()
    return MISSING


def _why_no_option(name: str, target: Any, option: str) -> str | None:
    """Why a sampler lacks an option that others have; None if no reason is known."""
    try:
        sampler = target()
    except (TypeError, ValueError, DifftoolError):
        return None
    if option in NOISE and not sampler.stochastic and sampler.noise_option is None:
        return f"{name} is deterministic and takes no {option!r}"
    if option == "order" and isinstance(sampler.accuracy or sampler.weak_order, (int, float)):
        return f"{name} is of order {sampler.accuracy or sampler.weak_order:g} and takes no 'order'"
    return None


def _typed(entry: Entry, target: Any, key: str, text: str) -> Any:
    options = {option.name: option for option in options_of(target)}
    if key not in options:
        reason = None
        if entry.axis == "samplers":
            reason = _why_no_option(entry.name, target, key)
        if entry.axis == "grids" and key in ELSEWHERE:
            reason = f"{entry.name} takes no {key}: {ELSEWHERE[key]}"
        if reason is None:
            raise unknown(f"option of {entry.axis[:-1]} {entry.name!r} named", key, options)
        raise DifftoolError(f"{reason}; its options: {', '.join(options) or 'none'}")
    try:
        return _convert(text, options[key].type)
    except ValueError:
        kind = spell(options[key].type)
        raise DifftoolError(
            f"{entry.axis[:-1]} {entry.name!r} takes {key}={kind}, got {text!r}"
        ) from None


def _convert(text: str, kind: Any) -> Any:
    """The text converted to that type; `ValueError` if that fails."""
    origin = get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        return _convert_union(text, get_args(kind))
    if origin is Literal:
        matches = [value for value in get_args(kind) if str(value) == text]
        if not matches:
            raise ValueError(text)
        return matches[0]
    if origin in (tuple, list):
        return origin(_convert_list(text, get_args(kind)))
    if kind is bool:
        words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        if text.lower() not in words:
            raise ValueError(text)
        return words[text.lower()]
    if kind is float:
        return _number(text)
    if kind is Any:
        return text
    if kind in (int, str, pathlib.Path):
        return kind(text)
    axis = _axis_of(kind)
    if axis is None:
        raise ValueError(text)
    return make(axis, text)


def _number(text: str) -> float:
    """A number, or a fraction such as 4/3."""
    above, slash, below = text.partition("/")
    try:
        if slash:
            value = float(above) / float(below)
        else:
            value = float(text)
    except ZeroDivisionError:
        raise ValueError(text) from None
    if math.isnan(value):
        raise ValueError(text)
    return value


def _convert_list(text: str, kinds: tuple[Any, ...]) -> list[Any]:
    parts = re.split(r"(?<![0-9.][eE])\+", text)  # the plus in 1e+5 does not separate
    if kinds[1:] in ((), (...,)):
        if text == "":
            return []
        return [_convert(part, kinds[0]) for part in parts]
    # `strict` raises `ValueError` for a wrong length
    return [_convert(part, kind) for part, kind in zip(parts, kinds, strict=True)]


def _convert_union(text: str, kinds: tuple[Any, ...]) -> Any:
    if text.lower() == "none" and type(None) in kinds:
        return None
    for kind in kinds:
        if kind is not type(None):
            try:
                return _convert(text, kind)
            except ValueError:
                continue
    raise ValueError(text)


def _axis_of(kind: Any) -> str | None:
    """The axis whose objects are of that class, if there is one."""
    names = {base.__name__ for base in getattr(kind, "__mro__", ())}
    return next((axis for axis, name in KINDS.items() if name in names), None)
