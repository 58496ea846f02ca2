"""What makes a schedule a schedule."""

from __future__ import annotations

import math

import numpy as np
import torch

from difftool.checks.finding import Finding, at_most, holds
from difftool.schedules import Schedule


def check_schedule(schedule: Schedule) -> list[Finding]:
    """The contract of a schedule, with figures.

    Finite coefficients >= 0; sigma = 0 and alpha = 1 at the lower end; log(alpha / sigma) strictly falling; floats,
    numpy and torch agree, float32 to its precision; inverse, drift and diffusion agree with the two functions.
    """
    times = _times(schedule)
    return [
        holds("coefficients finite, not negative", "all", lambda: _finite(schedule, times)),
        holds("clean at the lower end", "alpha = 1, sigma = 0", lambda: _clean(schedule)),
        holds("more t is more noise", "strictly", lambda: _falling(schedule, times)),
        at_most("floats, numpy, torch float64 agree", lambda: _kinds(schedule, times), 1e-12),
        at_most("float32 against float64", lambda: _single(schedule, times), 1e-5),
        at_most("t_at_half_log_snr inverts half_log_snr", lambda: _inverse(schedule, times), 1e-8),
        at_most("drift is d log(alpha) / dt", lambda: _derivative(schedule, "drift"), 1e-5),
        at_most("diffusion2 is 2 sigma^2 d log(sigma/alpha) / dt", lambda: _derivative(schedule, "diffusion2"), 1e-5),
    ]


def _times(schedule: Schedule) -> list[float]:
    low, high = schedule.domain
    inner = [low + (high - low) * u for u in (1e-9, 1e-6, 1e-3, 0.0015, *np.linspace(0.01, 0.999, 60))]
    return [low, *map(float, inner), high]


def _finite(schedule: Schedule, times: list[float]) -> str:
    for t in times:
        p = schedule.at(t)
        assert math.isfinite(p.alpha) and p.alpha >= 0, f"alpha({t:g}) = {p.alpha}"
        assert math.isfinite(p.sigma) and p.sigma >= 0, f"sigma({t:g}) = {p.sigma}"
        assert p.alpha + p.sigma > 0, f"alpha and sigma are both 0 at t = {t:g}"
    return f"{len(times)} times"


def _clean(schedule: Schedule) -> str:
    p = schedule.at(schedule.domain[0])
    assert p.sigma == 0 and abs(p.alpha - 1) < 1e-12, f"alpha = {p.alpha}, sigma = {p.sigma}"
    return "exactly"


def _falling(schedule: Schedule, times: list[float]) -> str:
    values = [schedule.half_log_snr(t) for t in times]
    for t, a, b in zip(times[1:], values, values[1:], strict=False):
        assert b < a, f"half_log_snr does not fall at t = {t:g}"
    return "strictly"


def _kinds(schedule: Schedule, times: list[float]) -> float:
    array, tensor = np.array(times), torch.tensor(times, dtype=torch.float64)
    worst = 0.0
    for name in ("alpha", "sigma"):
        function = getattr(schedule, name)
        plain = np.array([function(t) for t in times])
        worst = max(
            worst, float(abs(plain - function(array)).max()), float(abs(plain - function(tensor).numpy()).max())
        )
    return worst


def _single(schedule: Schedule, times: list[float]) -> float:
    """Largest relative error in float32 of sigma at times that float32 holds exactly, and of alpha (absolute)."""
    t32 = torch.tensor([t for t in times if t > 0], dtype=torch.float32)
    t64 = t32.double()
    sigma = (schedule.sigma(t32).double() - schedule.sigma(t64)).abs() / schedule.sigma(t64)
    alpha = (schedule.alpha(t32).double() - schedule.alpha(t64)).abs()
    return float(torch.maximum(sigma, alpha).max())


def _inverse(schedule: Schedule, times: list[float]) -> float:
    low, high = schedule.domain
    worst = 0.0
    for t in times:
        value = schedule.half_log_snr(t)
        if math.isfinite(value):
            worst = max(worst, abs(schedule.t_at_half_log_snr(value) - t) / (high - low))
    return worst


def _derivative(schedule: Schedule, name: str) -> float:
    """Relative difference to central differences inside the domain, at times that are no entries of a table."""
    low, high = schedule.domain
    worst = 0.0
    for u in 0.0503 + 0.04 * np.arange(23):
        t, h = float(low + (high - low) * u), 1e-5 * (high - low)
        f = (math.log(schedule.alpha(t + h)) - math.log(schedule.alpha(t - h))) / (2 * h)
        if name == "diffusion2":
            slope = -(schedule.half_log_snr(t + h) - schedule.half_log_snr(t - h)) / (2 * h)
            f = 2 * schedule.sigma(t) ** 2 * slope
        worst = max(worst, abs(getattr(schedule, name)(t) - f) / (abs(f) + 1e-3))
    return worst
