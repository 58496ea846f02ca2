"""Requests: which outputs of a model one evaluation asks for, under which condition and target.

    x0          E[x_0 | x_t = x], the plain request
    uncond      the same without the condition (guided models)
    variance    the step's variance, as a position in [0, 1] between its bounds (if learned)

Models may define further names. With a target q the request is for a flow map: x0 is then the
estimate with which one straight step from p ends where the flow map does,

    x_q = (sigma_q / sigma_p) x + (alpha_q - alpha_p sigma_q / sigma_p) x0.

On the flow schedule this is x0 = x - t u, with the mean velocity u from t to the target. As q
tends to p it becomes the plain x0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from difftool.errors import DifftoolError
from difftool.schedules.base import Point

MOST_ANSWERS = 8
ESTIMATES = frozenset({"x0", "uncond"})  # estimates of x_0: at sigma = 0 they are x / alpha


@dataclass(frozen=True)
class Request:
    """What one evaluation asks for: the keywords in `model(x, p, answers=("x0",), to=q)`.

    answers: names of the outputs, in the order in which they are returned: a single one as a
    tensor, several as a tuple. condition: one of the run's named conditions; None: the run's
    own conditioning. to: the target point of a flow map. Raises `DifftoolError` for other
    values.
    """

    answers: tuple[str, ...] = ("x0",)
    condition: str | None = None
    to: Point | None = None

    def __post_init__(self) -> None:
        names = self.answers
        if not isinstance(names, tuple) or not all(_is_name(name) for name in names):
            raise DifftoolError(
                f"answers must be a tuple of names, e.g. ('x0', 'uncond'), got {names!r}"
            )
        if not 1 <= len(set(names)) == len(names) <= MOST_ANSWERS:
            raise DifftoolError(
                f"answers must be 1 to {MOST_ANSWERS} different names, got {names!r}"
            )
        if self.condition is not None and not _is_name(self.condition):
            raise DifftoolError(f"condition must be a name, got {self.condition!r}")
        if self.to is not None and not isinstance(self.to, Point):
            raise DifftoolError(f"the target of a flow map must be a point, got {self.to!r}")

    def __str__(self) -> str:
        parts = [", ".join(self.answers)]
        if self.condition is not None:
            parts.append(f"given {self.condition}")
        if self.to is not None:
            parts.append(f"to t={self.to.t:.5g}")
        return " ".join(parts)

    def at_clean(self, x0: Any) -> Any:
        """The answer at sigma = 0, where every estimate of x_0 is x0 = x / alpha at no cost.

        Raises `DifftoolError` for outputs that do not exist there.
        """
        if not ESTIMATES.issuperset(self.answers) or self.to is not None:
            raise DifftoolError(f"at sigma = 0 only x0 exists, but the sampler asks for {self}")
        return self.unpacked((x0,) * len(self.answers))

    def unpacked(self, parts: tuple[Any, ...]) -> Any:
        """The answers as passed to a sampler: a single one as a tensor, several as a tuple."""
        if len(parts) > 1:
            return parts
        return parts[0]

    def parts(self, answer: Any) -> tuple[Any, ...]:
        """The inverse of `unpacked`."""
        if len(self.answers) > 1:
            return answer
        return (answer,)

    def estimate(self, answer: Any) -> Any:
        """The x0 among the answers; the first answer if x0 was not requested."""
        if "x0" in self.answers:
            place = self.answers.index("x0")
        else:
            place = 0
        return self.parts(answer)[place]


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and value != ""


PLAIN = Request()
WITH_VARIANCE = Request(("x0", "variance"))


def request_of(asked: dict[str, Any]) -> Request:
    """The request given by the keywords of a call."""
    if asked:
        return Request(**asked)
    return PLAIN
