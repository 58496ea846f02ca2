"""Elementary functions of floats, numpy arrays and torch tensors, with lazy imports of both."""

from __future__ import annotations

import math
from typing import Any


def _elementary(name: str, numpy_name: str | None = None) -> Any:
    scalar = getattr(math, name)

    def function(x: Any) -> Any:
        if isinstance(x, (float, int)):
            return scalar(x)
        # these are methods of torch tensors, but not of numpy arrays
        method = getattr(x, name, None)
        if method is not None:
            return method()
        import numpy

        with numpy.errstate(divide="ignore"):  # log(0) = -inf, as in torch
            return getattr(numpy, numpy_name or name)(x)

    function.__name__ = name
    return function


exp = _elementary("exp")
expm1 = _elementary("expm1")
log1p = _elementary("log1p")
sqrt = _elementary("sqrt")
sin = _elementary("sin")
cos = _elementary("cos")
sinh = _elementary("sinh")
cosh = _elementary("cosh")
asinh = _elementary("asinh", "arcsinh")
atan = _elementary("atan", "arctan")
floor = _elementary("floor")
_log = _elementary("log")


def log(x: Any) -> Any:
    """Natural logarithm with log(0) = -inf, as for arrays."""
    if isinstance(x, (float, int)) and x == 0:
        return -math.inf
    return _log(x)


def ratio(a: Any, b: Any) -> Any:
    """a / b with a / 0 = inf, as for arrays."""
    if isinstance(b, (float, int)) and b == 0:
        return math.inf
    return a / b


def log_alpha_vp(half_log_snr: Any) -> Any:
    """log(alpha) at a variance-preserving point: -log(1 + exp(-2 lambda)) / 2, no overflow."""
    x = -2 * half_log_snr
    positive = x * (x > 0)
    return -(positive + log1p(exp(x - 2 * positive))) / 2  # exp(-|x|)


def clip(x: Any, low: float, high: float) -> Any:
    """x limited to [low, high]."""
    if isinstance(x, (float, int)):
        return min(max(x, low), high)
    return x.clip(low, high)


def where(condition: Any, a: Any, b: Any) -> Any:
    """a where the condition is true, else b."""
    if isinstance(condition, bool):
        if condition:
            return a
        return b
    if hasattr(condition, "where"):
        import torch

        return torch.where(condition, a, b)
    import numpy

    return numpy.where(condition, a, b)


def as_dtype(x: Any, like: Any) -> Any:
    """x in the dtype of `like`; floats are unchanged."""
    if hasattr(x, "to"):
        return x.to(like.dtype)
    if hasattr(like, "dtype") and hasattr(x, "astype"):
        return x.astype(like.dtype)
    return x
