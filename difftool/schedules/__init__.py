"""Noise schedules: `alpha(t)`, `sigma(t)` of x_t = alpha x_0 + sigma eps, and paths on them."""

from difftool.schedules.base import ALPHA_MIN, Point, Schedule
from difftool.schedules.flow import Flow
from difftool.schedules.gamma import Laplace, Sigmoid
from difftool.schedules.path import Path
from difftool.schedules.table import Betas, DDPMLinear, ScaledLinear, Table
from difftool.schedules.transform import Shifted, ZeroTerminal, shifted_cosine
from difftool.schedules.ve import VE, GeometricVE
from difftool.schedules.vp import Cosine, SubVP, VPLinear

__all__ = [
    "ALPHA_MIN",
    "VE",
    "Betas",
    "Cosine",
    "DDPMLinear",
    "Flow",
    "GeometricVE",
    "Laplace",
    "Path",
    "Point",
    "ScaledLinear",
    "Schedule",
    "Shifted",
    "Sigmoid",
    "SubVP",
    "Table",
    "VPLinear",
    "ZeroTerminal",
    "shifted_cosine",
]
