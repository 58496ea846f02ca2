"""difftool: sampling of diffusion and flow models, with any schedule, grid, model and sampler.

    from difftool import sample
    from difftool.samplers import DDIM

    x = sample(model, DDIM(), shape=(64, 1, 8, 8), steps=20)

Importing the package is cheap; torch is loaded by the first name that needs it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the names in `_HOME`, for type checkers
    from difftool.errors import DifftoolError, DifftoolWarning
    from difftool.grids import Grid
    from difftool.hookspecs import hookimpl
    from difftool.models import (
        Clipped,
        ExactModel,
        GaussianMixture,
        Guided,
        Model,
        NetworkModel,
    )
    from difftool.plan import Plan, RunState, load_plan, trace
    from difftool.samplers import Sampler
    from difftool.sampling import sample
    from difftool.schedules import Schedule
    from difftool.specs import make

__version__ = "0.1.0"

_HOME = {
    "Clipped": "difftool.models",
    "DifftoolError": "difftool.errors",
    "DifftoolWarning": "difftool.errors",
    "ExactModel": "difftool.models",
    "GaussianMixture": "difftool.models",
    "Grid": "difftool.grids",
    "Guided": "difftool.models",
    "Model": "difftool.models",
    "NetworkModel": "difftool.models",
    "Plan": "difftool.plan",
    "RunState": "difftool.plan",
    "Sampler": "difftool.samplers",
    "Schedule": "difftool.schedules",
    "hookimpl": "difftool.hookspecs",
    "load_plan": "difftool.plan",
    "make": "difftool.specs",
    "sample": "difftool.sampling",
    "trace": "difftool.plan",
}

__all__ = [
    "Clipped",
    "DifftoolError",
    "DifftoolWarning",
    "ExactModel",
    "GaussianMixture",
    "Grid",
    "Guided",
    "Model",
    "NetworkModel",
    "Plan",
    "RunState",
    "Sampler",
    "Schedule",
    "__version__",
    "hookimpl",
    "load_plan",
    "make",
    "sample",
    "trace",
]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'difftool' has no attribute {name!r}")
