"""difftool: sampling diffusion and flow models. Schedules, grids, models and samplers that mix and match.

    from difftool import sample
    from difftool.samplers import DDIM

    x = sample(model, DDIM(), shape=(64, 1, 8, 8), steps=20)

Importing the package is cheap; torch is loaded with the first name that needs it.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "sample": "difftool.sampling",
    "NetworkModel": "difftool.models",
    "GaussianMixture": "difftool.models",
    "Model": "difftool.models",
    "trace": "difftool.plan",
    "DifftoolError": "difftool.errors",
}

__all__ = [
    "DifftoolError",
    "GaussianMixture",
    "Model",
    "NetworkModel",
    "__version__",
    "sample",
    "trace",
]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'difftool' has no attribute {name!r}")
