"""Schedules that are wrong in one thing each."""

from __future__ import annotations

import math

import numpy as np
import torch

from difftool.schedules import Flow, Schedule, VPLinear


def sqrt(value):
    return torch.sqrt(value) if isinstance(value, torch.Tensor) else np.sqrt(value)


def wrong(name, change, base=VPLinear):
    """A subclass of VPLinear with one method changed: change(the right method, self, *arguments)."""
    right = getattr(base, name)
    method = lambda self, *args, **options: change(right, self, *args, **options)  # noqa: E731
    return type(f"Wrong_{name}", (base,), {name: method})()


def between(t, low, high):
    return (t > low) * (t < high) * 1.0


class Textbook(Schedule):
    """sigma = sqrt(1 - alpha^2), which rounds to 0 near t = 0."""

    def alpha(self, t):
        return VPLinear().alpha(t)

    def sigma(self, t):
        return sqrt(1 - self.alpha(t) ** 2)


class AlphaAboveOne(Schedule):
    """alpha rises above 1 before it falls."""

    def alpha(self, t):
        return (1 - t) * (1 + 2 * t)

    def sigma(self, t):
        return 3 * t


ESCAPED = [
    (wrong("level", lambda f, s, t: 1.001 * f(s, t)), "level"),
    (wrong("half_log_snr", lambda f, s, t: f(s, t) + 1e-4), "level, half_log_snr"),
    (wrong("at", lambda f, s, t, like=None: f(s, t, like)._replace(sigma=1.001 * s.sigma(t))), "level, half"),
    (wrong("add_noise", lambda f, s, x, t, eps: f(s, x, t, 1.001 * eps)), "add_noise"),
    (wrong("t_at_level", lambda f, s, level: f(s, 1.001 * level)), "t_at_level"),
    (wrong("t_at_flow", lambda f, s, flow: f(s, 0.999 * flow)), "t_at_flow"),
    (wrong("t_at_half_log_snr", lambda f, s, v: f(s, v) + 5e-9), "t_at_half_log_snr"),
    (wrong("t_at_half_log_snr", lambda f, s, v: f(s, v) + 1e-4 * between(v, 0.30, 0.36)), "t_at_half_log_snr"),
    (wrong("t_start", lambda f, s, divides=False: 0.99), "t_start"),
    (wrong("t_start", lambda f, s, divides=False: 0.9 if divides else 1.0, Flow), "t_start"),
    (wrong("diffusion2", lambda f, s, t: f(s, t) * (1 + 0.01 * (t < 0.045))), "diffusion2"),
    (wrong("diffusion2", lambda f, s, t: f(s, t) * (1 + 0.01 * (t > 0.95))), "diffusion2"),
    (wrong("drift", lambda f, s, t: f(s, t) * (1 + 0.01 * between(t, 0.40, 0.41))), "drift"),
    (wrong("drift", lambda f, s, t: -f(s, t)), "drift"),
    (wrong("drift", lambda f, s, t: -f(s, t) if isinstance(t, torch.Tensor) else f(s, t)), "derivatives"),
    (wrong("drift", lambda f, s, t: f(s, t) + math.nan * (t > 0.5)), "drift"),
    (wrong("alpha", lambda f, s, t: f(s, t) + 0.02 * between(t, 0.5001, 0.5011)), "increases with t"),
    (AlphaAboveOne(), "alpha <= 1"),
    (Textbook(), "float32"),
]
