"""What is asked of a model at one evaluation: which answers, under which condition, for which target.

    x0          E[x_0 | x_t = x], the plain request
    uncond      the same without the condition (guided models)
    variance    where the variance of a step lies between its bounds, in [0, 1] (networks that learned it)

Models may know more by names of their own. With a target q the question is that to a flow map: x0 is then the estimate
by which one straight step from p ends where the flow map does,

    x_q = (sigma_q / sigma_p) x + (alpha_q - alpha_p sigma_q / sigma_p) x0,

on the flow schedule x0 = x - t u with the mean velocity u from t to the target; as q tends to p it is the plain x0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from difftool.errors import DifftoolError
from difftool.schedules.base import Point

MOST_ANSWERS = 8
ESTIMATES = frozenset({"x0", "uncond"})  # of x_0: at sigma = 0 they are x / alpha


@dataclass(frozen=True)
class Request:
    """What one evaluation asks for: as keywords in `model(x, p, answers=("x0", "uncond"), condition="source", to=q)`.

    answers: names, in the order in which the answers come; one comes as itself, several as a tuple. condition: the name
    of a condition that the run was given; None: the run's own. to: the target point of a flow map. Raises
    `DifftoolError` for values that are none of these.
    """

    answers: tuple[str, ...] = ("x0",)
    condition: str | None = None
    to: Point | None = None

    def __post_init__(self) -> None:
        names = self.answers
        if not isinstance(names, tuple) or not all(_is_name(name) for name in names):
            raise DifftoolError(
                f"the answers asked for are a tuple of names, ('x0', 'uncond') say, got {names!r}"
            )
        if not 1 <= len(set(names)) == len(names) <= MOST_ANSWERS:
            raise DifftoolError(
                f"an evaluation asks for 1 to {MOST_ANSWERS} answers, each once, got {names!r}"
            )
        if self.condition is not None and not _is_name(self.condition):
            raise DifftoolError(f"a condition is asked for by name, got {self.condition!r}")
        if self.to is not None and not isinstance(self.to, Point):
            raise DifftoolError(f"the target of a flow map is a point, got {self.to!r}")

    def __str__(self) -> str:
        parts = [", ".join(self.answers)]
        if self.condition is not None:
            parts.append(f"given {self.condition}")
        if self.to is not None:
            parts.append(f"to t={self.to.t:.5g}")
        return " ".join(parts)

    def at_clean(self, x0: Any) -> Any:
        """The answer at sigma = 0, where every estimate of x_0 is x0 = x / alpha, free of charge.

        Raises `DifftoolError` for what does not exist there.
        """
        if not ESTIMATES.issuperset(self.answers) or self.to is not None:
            raise DifftoolError(f"at sigma = 0 there is x0 alone, the sampler asks for {self}")
        return self.unpacked((x0,) * len(self.answers))

    def unpacked(self, parts: tuple[Any, ...]) -> Any:
        """The answers as a sampler gets them: one as itself, several as a tuple."""
        if len(parts) > 1:
            return parts
        return parts[0]

    def parts(self, answer: Any) -> tuple[Any, ...]:
        """The inverse of `unpacked`."""
        if len(self.answers) > 1:
            return answer
        return (answer,)

    def estimate(self, answer: Any) -> Any:
        """The estimate of x_0 among the answers; the first of them where x0 was not asked for."""
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
    """The request that the keywords of a call make."""
    if asked:
        return Request(**asked)
    return PLAIN
