"""Noise schedules: `alpha(t)`, `sigma(t)` of x_t = alpha x_0 + sigma eps, and paths on them."""

from difftool.schedules.base import ALPHA_MIN, Point, Schedule
from difftool.schedules.flow import Flow
from difftool.schedules.path import Path
from difftool.schedules.table import DDPMLinear, Table
from difftool.schedules.ve import VE
from difftool.schedules.vp import Cosine, VPLinear

__all__ = ["ALPHA_MIN", "VE", "Cosine", "DDPMLinear", "Flow", "Path", "Point", "Schedule", "Table", "VPLinear"]
