"""The variables in which equations are solved and answers are interpolated.

    name            coordinate u                       scale c of y = x / c
    half-log-snr    log l = -half_log_snr              alpha
    level           l = sigma / alpha                  alpha
    flow            s = sigma / (alpha + sigma)        alpha + sigma
    t               t                                  1

All grow with the noise. log l is infinite at both ends of a run, l at alpha = 0; s is always
finite.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from difftool.schedules.base import Point
from difftool.schedules.path import Path

VariableName = Literal["half-log-snr", "level", "flow", "t"]


@dataclass(frozen=True)
class Variable:
    """A coordinate u of the noise, and the scale of the state whose equation is written in u.

    coordinate: u at a point, infinite where it is not defined. at_level: u at a noise level of
    a path's schedule. time: t at a value of u. scale: c at a point, of y = x / c.
    """

    name: VariableName
    coordinate: Callable[[Point], float]
    at_level: Callable[[float, Path], float]
    time: Callable[[float, Path], float]
    scale: Callable[[Point], float]


HALF_LOG_SNR = Variable(
    "half-log-snr",
    coordinate=lambda p: -float(p.half_log_snr),
    at_level=lambda level, path: math.log(level),
    time=lambda u, path: path.schedule.t_at_half_log_snr(-u),
    scale=lambda p: p.alpha,
)
LEVEL = Variable(
    "level",
    coordinate=lambda p: float(p.level),
    at_level=lambda level, path: level,
    time=lambda u, path: path.schedule.t_at_level(u),
    scale=lambda p: p.alpha,
)
FLOW_TIME = Variable(
    "flow",
    coordinate=lambda p: float(p.flow),
    at_level=lambda level, path: level / (1 + level),
    time=lambda u, path: path.schedule.t_at_flow(u),
    scale=lambda p: p.alpha + p.sigma,
)
TIME = Variable(
    "t",
    coordinate=lambda p: float(p.t),
    at_level=lambda level, path: path.schedule.t_at_level(level),
    time=lambda u, path: u,
    scale=lambda p: 1.0,
)

VARIABLES: dict[str, Variable] = {v.name: v for v in (HALF_LOG_SNR, LEVEL, FLOW_TIME, TIME)}
