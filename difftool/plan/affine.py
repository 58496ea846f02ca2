"""Symbols: stand-ins for the state that support only sums, and products with numbers.

A symbol is a node of the computation: either a source,

    ("x", k)        the state of row k
    ("m", k, c)     channel c of the model's answer at row k
    ("z", j)        the j-th noise

or a linear combination of earlier symbols. `expand` turns it into {source: coefficient} and
stops at states that already are rows. Running a sampler on symbols records its rows
(`difftool.plan.trace`). Any other operation on the state (a norm, a comparison, a function of
torch or numpy) raises `NotAffine` with the name of the operation.
"""

from __future__ import annotations

import numbers
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count
from typing import Any, Literal, NamedTuple, NoReturn

from difftool.errors import NotAffine


class Value(NamedTuple):
    """A value of a run: state ("x", k), channel of an answer ("m", k, c) or noise ("z", j)."""

    kind: Literal["x", "m", "z"]
    number: int  # index of the row or the noise
    channel: int = 0


_serial = count()


class Symbol:
    """A source, or a linear combination of symbols; immutable, but the tracer sets `source`."""

    __array_ufunc__ = None  # numpy scalars on the left defer to __rmul__
    __slots__ = ("parts", "serial", "source")

    def __init__(self, *parts: tuple[Symbol, float], source: Value | None = None):
        self.parts, self.source, self.serial = parts, source, next(_serial)

    def expand(
        self, known: Callable[[Value], bool] = lambda source: True
    ) -> dict[Value, float]:
        """Expand to {source: coefficient} with `known` sources only; newest first, each once."""
        terms: dict[Value, float] = {}
        coefficients = {self: 1.0}
        newest = [(-self.serial, self)]
        while newest:
            _, node = heappop(newest)
            c = coefficients[node]
            if node.source is not None and known(node.source):
                terms[node.source] = terms.get(node.source, 0.0) + c
                continue
            for part, weight in node.parts:
                if part not in coefficients:
                    coefficients[part] = 0.0
                    heappush(newest, (-part.serial, part))
                coefficients[part] += c * weight
        return terms

    def __add__(self, other: Any) -> Symbol:
        if isinstance(other, (int, float)) and other == 0:
            return self
        return Symbol((self, 1.0), (_symbol(other, "+"), 1.0))

    __radd__ = __add__

    def __sub__(self, other: Any) -> Symbol:
        return Symbol((self, 1.0), (_symbol(other, "-"), -1.0))

    def __rsub__(self, other: Any) -> Symbol:
        return -self + other

    def __neg__(self) -> Symbol:
        return Symbol((self, -1.0))

    def __mul__(self, factor: Any) -> Symbol:
        return Symbol((self, _number(factor, "*")))

    __rmul__ = __mul__

    def __truediv__(self, divisor: Any) -> Symbol:
        return Symbol((self, 1.0 / _number(divisor, "/")))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        refuse(f".{name}")

    @classmethod
    def __torch_function__(
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> NoReturn:
        refuse(f"torch.{getattr(func, '__name__', func)}")

    def __repr__(self) -> str:
        return (
            " + ".join(f"{c:.6g} {'_'.join(map(str, s))}" for s, c in self.expand().items())
            or "0"
        )


def _refusing(op: str) -> Any:
    def method(self: Symbol, *args: Any) -> NoReturn:
        refuse(op)

    return method


_OPERATORS = "bool float int abs pow lt le gt ge eq ne getitem setitem len iter rtruediv matmul"
for _op in _OPERATORS.split():
    setattr(Symbol, f"__{_op}__", _refusing(f"__{_op}__"))
Symbol.__hash__ = object.__hash__  # type: ignore[method-assign]


def _symbol(value: Any, op: str) -> Symbol:
    if isinstance(value, Symbol):
        return value
    return refuse(f"{op} {type(value).__name__}")


def _number(value: Any, op: str) -> float:
    if not isinstance(value, (float, numbers.Real)):
        refuse(f"{op} {type(value).__name__}")
    return float(value)


def refuse(op: str) -> NoReturn:
    """Raise `NotAffine` with the name of the operation."""
    raise NotAffine(
        f"the sampler applied `{op}` to its state; a plan supports only sums and products with floats"
    )
