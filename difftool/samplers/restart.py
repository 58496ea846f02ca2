"""Restart: fresh noise back up over an interval of noise levels, then down again, K times."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from difftool.errors import DifftoolError
from difftool.samplers.base import Sampler
from difftool.samplers.options import check_whole
from difftool.samplers.runge_kutta import Heun
from difftool.samplers.wrapper import Wrapper, time_at
from difftool.schedules.path import Path

RHO = 7.0  # the grid of a restart is EDM's


@dataclass(frozen=True)
class Restart(Wrapper):
    """Restart sampling: over intervals of noise levels, add noise back and solve again.

    At the grid point nearest to level_min, `repeats` times: x <- alpha_max (x / alpha + s_noise
    sqrt(level_max^2 - l^2) z), then the solver from level_max back to that point. With
    `restart_steps`, its steps are on the karras grid (rho = 7); else they are the points of the
    run's own grid there, so that the error falls with the number of steps. The weak order is
    then the solver's order; with a fixed number of restart steps it is 0. Evaluations per step:
    the solver's; restarts come on top. Options (one value each, or one per interval, as a+b+c):

    level_min, level_max: the interval's noise levels sigma / alpha
        (0 <= level_min < level_max); a level_max above the start of the run is lowered to it.
    repeats: K, the number of restarts (0 to 1000); 0 is the solver itself.
    restart_steps: steps per restart (1 to 10,000; the authors count points, one more); none:
        the grid's own.
    s_noise: noise multiplier (> 0); only 1 samples the right distribution.
    solver: any sampler with fixed steps.

    Raises `DifftoolError` for other values, and for upward grids if there are repeats.
    """

    level_min: float | tuple[float, ...] = 0.06
    level_max: float | tuple[float, ...] = 0.3
    repeats: int | tuple[int, ...] = 1
    restart_steps: int | tuple[int, ...] | None = None
    s_noise: float = 1.0
    solver: Sampler = field(default_factory=lambda: Heun(variable="level"))

    name = "restart"
    option = "repeats"
    one_step = False
    reference = (
        "Xu et al. 2023, Restart sampling for improving generative processes, arXiv 2306.14878"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        for low, high, repeats, steps in self.intervals():
            if not (_real(low) and _real(high) and 0 <= low < high < float("inf")):
                raise DifftoolError(
                    f"restart takes 0 <= level_min < level_max, got {low!r} and {high!r}"
                )
            check_whole(self.name, "repeats", repeats, 0, 1000)
            if steps is not None:
                check_whole(
                    self.name, "restart_steps", steps, max(1, self.solver.needs_steps), 10_000
                )

    def intervals(self) -> list[tuple[Any, Any, Any, Any]]:
        """(level_min, level_max, repeats, restart_steps) of each interval, highest first."""
        options = [self.level_min, self.level_max, self.repeats, self.restart_steps]
        count = max(len(v) if isinstance(v, tuple) else 1 for v in options)
        each = [v if isinstance(v, tuple) else (v,) * count for v in options]
        if any(len(v) != count for v in each):
            raise DifftoolError(
                f"restart takes one value or one per interval, got {[len(v) for v in each]} values"
            )
        return sorted(zip(*each, strict=True), key=lambda interval: interval[0], reverse=True)

    @property
    def own_noise(self) -> bool:
        return any(repeats for _, _, repeats, _ in self.intervals())

    @property
    def order_of_law(self) -> float | None:
        if self.restart_steps is None:
            return super().order_of_law
        return 0

    def ways(self, path: Path) -> list[Path]:
        levels, begin = [p.level for p in path], 0
        out: list[Path] = []
        for low, high, repeats, steps in self.intervals():
            end = 1 + _nearest(levels[1:], low)
            loop = self._loop(path, levels, end, high, steps)
            if loop is not None and repeats:
                if end > begin:
                    first = [path[begin : end + 1]]
                else:
                    first = []
                out, begin = [*out, *first, *[loop] * repeats], end
        if begin < len(path) - 1:
            return [*out, path[begin:]]
        return out

    def _loop(
        self, path: Path, levels: list[float], end: int, high: float, steps: int | None
    ) -> Path | None:
        """The path from level_max down to point number `end`; None if it would be empty."""
        if steps is None:
            return path[_nearest(levels[:end], high) : end + 1]
        top, low = min(high, levels[0]), levels[end]
        if top <= low:
            return None
        a, b = top ** (1 / RHO), low ** (1 / RHO)
        times = [time_at((a + (b - a) * i / steps) ** RHO, path) for i in range(steps)]
        return Path(path.schedule, (min(times[0], path[0].t), *times[1:], path[end].t))


def _nearest(levels: list[float], level: float) -> int:
    return min(range(len(levels)), key=lambda i: abs(levels[i] - level))


def _real(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
