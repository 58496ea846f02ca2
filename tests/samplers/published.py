"""To spell samplers out as their authors do: in y = x / alpha and the noise level, on Gaussian data, in numpy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from hypothesis import strategies as st

from difftool.plan import trace
from difftool.samplers import Sampler
from difftool.schedules import VE, Cosine, Flow, Path, Point, Schedule, VPLinear

MEAN, VARIANCE = np.array([0.3, -0.5, 0.0]), np.array([0.5, 0.05, 1.5])


def denoised(y: np.ndarray, level: float) -> np.ndarray:
    """E[x_0 | y] of N(MEAN, VARIANCE)."""
    return (MEAN * level**2 + VARIANCE * y) / (level**2 + VARIANCE)


def slope(y: np.ndarray, level: float) -> np.ndarray:
    """dy/dlevel of the probability flow."""
    return (y - denoised(y, level)) / level


def ours(sampler: Sampler, path: Path, y: np.ndarray, noises: Sequence[np.ndarray] = ()) -> np.ndarray:
    """The sampler's loop on the same model, from y to y; it must draw all these noises."""
    left = list(noises)
    x = sampler(
        lambda x, p, answers=("x0",): denoised(x / p.alpha, p.level),
        path[0].alpha * y,
        path,
        lambda now=None, nxt=None: left.pop(0),
    )
    assert not left, f"{len(left)} noises were not drawn"
    return x / path[-1].alpha


def path_of(schedule: Schedule, levels: Sequence[float]) -> Path:
    return Path(schedule, [schedule.t_at_level(level) for level in levels])


def levels_of(path: Path) -> list[float]:
    return [float(p.level) for p in path]


@st.composite
def paths(draw, least: int = 2, end: bool | None = None) -> Path:
    """Falling noise levels on a few schedules, down to 0 or not."""
    schedule = draw(st.sampled_from([VE(), VPLinear(), Cosine(), Flow()]))
    steps = draw(st.lists(st.floats(0.1, 1.0), min_size=least, max_size=6))
    levels = draw(st.floats(2.0, 60.0)) * np.exp(-np.concatenate([[0.0], np.cumsum(steps)]))
    to_data = draw(st.booleans()) if end is None else end
    return path_of(schedule, [*levels.tolist(), 0.0] if to_data else levels.tolist())


@st.composite
def runs(draw, least: int = 2, end: bool | None = None, noises: int = 40):
    """(path, start, noises)."""
    g = np.random.default_rng(draw(st.integers(0, 2**31)))
    path = draw(paths(least, end))
    return path, path[0].level * g.standard_normal(3), [g.standard_normal(3) for _ in range(noises)]


def same_plan(a: Sampler, b: Sampler, path: Path, tolerance: float = 1e-12) -> bool:
    """Whether two samplers are one table."""
    one, other = (trace(sampler, path, "step") for sampler in (a, b))
    if [len(one.rows), one.noises] != [len(other.rows), other.noises]:
        return False
    for row, same in zip(one.rows, other.rows, strict=True):
        p, q = dict(row.terms()), dict(same.terms())
        gap = max((abs(p.get(k, 0.0) - q.get(k, 0.0)) for k in p | q), default=0.0)
        if not (gap <= tolerance * (1 + max(map(abs, p.values()), default=0.0)) and _near(row.point, same.point)):
            return False
    return True


def _near(p: Point, q: Point) -> bool:
    """The same point, but for how it was found."""
    return bool(np.allclose(p, q, rtol=1e-9, atol=0))
