"""How accurate a sampler is: exact references, errors of end points, and sampling noise."""

from difftool.metrics import Distance
from difftool.study.errors import Errors, errors
from difftool.study.law import SampleLaw
from difftool.study.reference import Reference, reference
from difftool.study.sweep import Cell, References, sweep

__all__ = [
    "Cell",
    "Distance",
    "Errors",
    "Reference",
    "References",
    "SampleLaw",
    "errors",
    "reference",
    "sweep",
]
