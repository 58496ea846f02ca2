"""Training: objectives, times, weightings, the loop and its checkpoints."""

from difftool.training.ema import EMA
from difftool.training.objective import Objective
from difftool.training.times import (
    LogitNormalTimes,
    LogNormalTimes,
    StratifiedTimes,
    TableTimes,
    Times,
    UniformTimes,
)
from difftool.training.variance import Hybrid
from difftool.training.weightings import EDM, VLB, MinSNR, Output, Simple, Weighting

__all__ = [
    "EDM",
    "EMA",
    "VLB",
    "Hybrid",
    "LogNormalTimes",
    "LogitNormalTimes",
    "MinSNR",
    "Objective",
    "Output",
    "Simple",
    "StratifiedTimes",
    "TableTimes",
    "Times",
    "UniformTimes",
    "Weighting",
]
