"""The contract of noise schedules."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from difftool.checks.finding import Finding, Worst, at_most, holds, worst_of
from difftool.checks.variants import others_hold, variants
from difftool.errors import DifftoolError
from difftool.plan.analysis import Array
from difftool.schedules import Schedule
from difftool.schedules.base import ALPHA_MIN, NEAR_END
from difftool.schedules.path import ROUNDING as EDGE

PLACES = 4000  # times to check at once; EACH of them are also checked one by one
EACH = 200
NEAR = 1e-9  # distance of the nearest times from the ends, as a fraction of the domain
SLOPES = (1e-3, 1e-5, 1e-7)  # difference steps, as fractions of the distance to the nearer end
INVERSE = 1e-9  # tolerance of inverses, in half-log-SNR, beyond rounding
ROUNDING = 1e-15  # relative
HINT = (
    "if it is sqrt(1 - alpha^2), which rounds to 0 there, avoid the difference: use sin if "
    "alpha is cos, sqrt(-expm1(2 log(alpha))) if log(alpha) has its own formula"
)
ROUNDED = 1e10  # a noise level above which the flow time rounds to 1
SMOOTHED = 0.05  # tolerance of the default derivatives, at kinks
EPS, SPOILT = 2.3e-16, 1e-3  # relative; largest fraction of a difference that may be rounding


def check_schedule(schedule: Schedule, patience: float = 2.0) -> list[Finding]:
    """The contract of a schedule, with figures, at thousands of times that cluster at the ends.

    Coefficients are finite, alpha in [0, 1], sigma >= 0; sigma = 0 and alpha = 1 at the lower
    end; log(alpha / sigma) strictly decreases. Floats, numpy and torch agree, float32 up to its
    precision. Everything derived from alpha and sigma stays consistent if overridden: level,
    half-log-SNR, points (also one per sample), noised data, the start of a run, inverses, drift
    and diffusion. All of it holds with other options too.

    patience: seconds for other options, after the first two.
    """
    times = _times(schedule)
    some = np.array(_some(times))
    return [
        holds(
            "coefficients finite, 0 <= alpha <= 1, sigma >= 0",
            "all",
            lambda: _finite(schedule, times),
        ),
        holds("clean at the lower end", "alpha = 1, sigma = 0", lambda: _clean(schedule)),
        holds("noise increases with t", "strictly", lambda: _falling(schedule, times)),
        at_most(
            "floats, numpy, torch float64 agree",
            lambda: _kinds(schedule, some, ("alpha", "sigma")),
            1e-12,
        ),
        at_most(
            "floats, numpy, torch agree on derivatives",
            lambda: _kinds(schedule, some[1:-1], ("drift", "diffusion2")),
            1e-6,
        ),
        at_most("float32 against float64", lambda: _single(schedule, times), 1e-5),
        holds("one time per sample", "(B, 1, ...)", lambda: _each(schedule)),
        *_following(schedule, times),
        holds(
            "holds with other options",
            "all derived quantities",
            lambda: _others(schedule, patience),
        ),
    ]


def _following(schedule: Schedule, times: Array) -> list[Finding]:
    """The checks of quantities derived from alpha and sigma."""
    return [
        at_most("level, half_log_snr, at, add_noise", lambda: _derived(schedule, times), 1e-9),
        holds("t_start", "alpha >= 1e-3 where required", lambda: _start(schedule)),
        *(_inverse(schedule, name, of, times) for name, of in INVERSES.items()),
        _slope(schedule, "drift", "d log(alpha) / dt", times),
        _slope(schedule, "diffusion2", "2 sigma^2 d log(sigma/alpha) / dt", times),
    ]


def _others(schedule: Schedule, patience: float) -> str:
    return others_hold(variants(schedule), patience, [_wrong])


def _wrong(schedule: Schedule) -> str | None:
    """The first derived quantity that is wrong; None if there is none, or no valid schedule."""
    try:
        times = _times(schedule)[:: PLACES // EACH]
        _falling(schedule, times)
    except (AssertionError, DifftoolError):
        return None
    wrong = next((f for f in _following(schedule, times) if not f.ok), None)
    if wrong is None:
        return None
    return f"{wrong.check}: {wrong.measured}"


def _each(schedule: Schedule) -> str:
    """Check times (B,) for x (B, ...), as in training, against one time after the other."""
    low, high = schedule.domain
    t = torch.linspace(
        low + 0.1 * (high - low), low + 0.9 * (high - low), 4, dtype=torch.float64
    )
    for shape in ((4, 4), (4, 3, 2, 2)):
        x0, eps = (
            torch.linspace(a, b, math.prod(shape), dtype=torch.float64).reshape(shape)
            for a, b in ((-1, 1), (2, 1))
        )
        p, column = schedule.at(t, like=x0), (4, *[1] * (len(shape) - 1))
        assert p.alpha.shape == p.sigma.shape == column, (
            f"at(t, like=x) of {tuple(t.shape)} is {tuple(p.alpha.shape)}"
        )
        noised, alone = (
            schedule.add_noise(x0, t, eps),
            [schedule.add_noise(x0[i], float(t[i]), eps[i]) for i in range(4)],
        )
        assert torch.allclose(noised, torch.stack(alone), rtol=1e-9, atol=1e-12), (
            "add_noise mixes up the times of samples"
        )
    return "same as one at a time"


def _times(schedule: Schedule) -> Array:
    """Times spaced evenly, at random, and geometrically towards both ends of the domain."""
    low, high = schedule.domain
    near = np.geomspace(NEAR, 0.1, PLACES // 8)
    even, scattered = (
        np.linspace(0, 1, PLACES // 4)[1:-1],
        np.random.default_rng(0).random(PLACES // 2),
    )
    inner = np.unique(np.concatenate([near, even, scattered, 1 - near]))
    return np.array([low, *(low + (high - low) * inner), high])


def _some(times: Array) -> list[float]:
    """`EACH` of the times, both ends included."""
    return [
        float(times[i])
        for i in np.unique(np.linspace(0, len(times) - 1, EACH).round().astype(int))
    ]


def _finite(schedule: Schedule, times: Array) -> str:
    alpha, sigma = schedule.alpha(times), schedule.sigma(times)
    for what, wrong in (
        ("alpha", ~np.isfinite(alpha) | (alpha < 0) | (alpha > 1 + 1e-12)),
        ("sigma", ~np.isfinite(sigma) | (sigma < 0)),
        ("alpha + sigma", alpha + sigma <= 0),
    ):
        assert not wrong.any(), (
            f"{what} at t = {times[wrong][0]:g}: alpha = {alpha[wrong][0]}, sigma = {sigma[wrong][0]}"
        )
    return f"{len(times)} times"


def _clean(schedule: Schedule) -> str:
    p = schedule.at(schedule.domain[0])
    if p.alpha < p.sigma:
        way_out = "; in difftool t = 0 is data and noise increases with t: use 1 - t"
    else:
        way_out = ""
    assert p.sigma == 0 and abs(p.alpha - 1) < 1e-12, (
        f"alpha = {p.alpha}, sigma = {p.sigma}{way_out}"
    )
    return "exactly"


def _falling(schedule: Schedule, times: Array) -> str:
    inner = times[1:-1]
    alpha, sigma = schedule.alpha(inner), schedule.sigma(inner)
    zero = sigma == 0
    assert not zero.any(), f"sigma is 0 at t = {inner[zero][-1]:g}, expected sigma > 0; {HINT}"
    with np.errstate(divide="ignore"):
        values = np.log(alpha / sigma)
    for a, b, t in zip(values, values[1:], inner[1:], strict=False):
        assert b < a, f"half_log_snr does not decrease at t = {t:.9g}: {a:.9g}, {b:.9g}"
    return "strictly"


def _kinds(schedule: Schedule, some: Array, names: tuple[str, ...]) -> Worst:
    worst = Worst(0.0, "")
    for name in names:
        function = getattr(schedule, name)
        plain = np.array([function(float(t)) for t in some])
        for kind, values in (
            ("numpy", function(some)),
            ("torch", function(torch.from_numpy(some)).numpy()),
        ):
            off = abs(plain - values) / (1 + abs(plain))
            i = int(np.argmax(off))
            worst = worst_of(
                worst,
                Worst(float(off[i]), f"between floats and {kind}, {name} at t = {some[i]:.6g}"),
            )
    return worst


def _single(schedule: Schedule, times: Array) -> float:
    """The largest float32 error of sigma, relative, and of alpha, at times exact in float32."""
    t32 = torch.tensor(times[times > schedule.domain[0]], dtype=torch.float32).clamp(
        max=schedule.domain[1]
    )
    t64 = t32.double()
    sigma = (schedule.sigma(t32).double() - schedule.sigma(t64)).abs() / schedule.sigma(t64)
    lost = ~(sigma < 0.1)
    assert not lost.any(), (
        f"sigma loses its precision in float32 at t = {t32[lost][0]:g}; {HINT}"
    )
    alpha = (schedule.alpha(t32).double() - schedule.alpha(t64)).abs()
    return float(torch.maximum(sigma, alpha).max())


def _derived(schedule: Schedule, times: Array) -> Worst:
    """The largest relative error of quantities that need no derivatives."""
    worst = Worst(0.0, "")
    x0, eps = (
        torch.linspace(-1, 1, 3, dtype=torch.float64),
        torch.linspace(2, 1, 3, dtype=torch.float64),
    )
    for t in _some(times):
        alpha, sigma, p = schedule.alpha(t), schedule.sigma(t), schedule.at(t)
        pairs = [("at", p.t, t), ("at", p.alpha, alpha), ("at", p.sigma, sigma)]
        if alpha > 0 and sigma > 0:
            pairs.append(("level", schedule.level(t), sigma / alpha))
            pairs.append(("half_log_snr", schedule.half_log_snr(t), math.log(alpha / sigma)))
        pairs += [
            ("add_noise", float(a), float(b))
            for a, b in zip(
                schedule.add_noise(x0, t, eps), alpha * x0 + sigma * eps, strict=True
            )
        ]
        for name, found, wanted in pairs:
            worst = worst_of(
                worst,
                Worst(abs(found - wanted) / (1e-3 + abs(wanted)), f"of {name} at t = {t:.6g}"),
            )
    return worst


def _start(schedule: Schedule) -> str:
    low, high = schedule.domain
    anywhere, divided = schedule.t_start(), schedule.t_start(True)
    assert anywhere == high, (
        f"a run starts at t = {anywhere:g}, expected the end of the domain, {high:g}"
    )
    assert low < divided <= high, (
        f"t_start(True) = {divided:g} is outside the domain; expected alpha >= {ALPHA_MIN:g}"
    )
    alpha = schedule.alpha(divided)
    assert alpha >= ALPHA_MIN * (1 - 1e-6), (
        f"alpha = {alpha:g} at t = {divided:g}, expected {ALPHA_MIN:g} or more"
    )
    beyond = schedule.alpha(math.nextafter(divided, high))
    latest = divided == high or alpha < ALPHA_MIN * 1.01 or beyond < ALPHA_MIN
    assert latest, (
        f"t = {divided:g} has alpha = {alpha:g}; a later time still has {ALPHA_MIN:g}"
    )
    return f"{anywhere:g}, {divided:g}"


INVERSES: dict[str, Callable[[Schedule, Any], Any]] = {
    "t_at_half_log_snr": lambda schedule, t: schedule.half_log_snr(t),
    "t_at_level": lambda schedule, t: schedule.level(t),
    "t_at_flow": lambda schedule, t: schedule.at(t).flow,
}


def _inverse(
    schedule: Schedule, name: str, of: Callable[[Schedule, Any], Any], times: Array
) -> Finding:
    """The error of an inverse for floats and arrays, in half-log-SNR, beyond rounding."""

    def measure() -> Worst:
        inverse, worst = getattr(schedule, name), Worst(0.0, "")
        if name == "t_at_flow":
            most = ROUNDED
        else:
            most = 1 / NEAR_END
        some = [t for t in _some(times) if NEAR_END < schedule.level(t) < most]
        values = [float(of(schedule, t)) for t in some]
        together = inverse(np.array(values))
        for t, value, other in zip(some, values, together, strict=True):
            for found in (inverse(value), float(other)):
                worst = worst_of(
                    worst,
                    Worst(_apart(schedule, t, found), f"at t = {t:.6g}, found {found:.6g}"),
                )
        return worst

    return at_most(f"{name} is an exact inverse", measure, INVERSE)


def _apart(schedule: Schedule, t: float, found: float) -> float:
    """The difference in half-log-SNR, less the effect of rounding in t, alpha and sigma."""
    low, high = schedule.domain
    if not low - EDGE * (high - low) <= found <= high + EDGE * (high - low):
        return math.inf
    found = min(max(found, low), high)
    if found == t:
        return 0.0
    a, b = schedule.half_log_snr(t), schedule.half_log_snr(found)
    slope = abs(b - a) / abs(found - t)
    bits = (
        ROUNDING
        * (1 + abs(a))
        * (1 + 1 / max(schedule.alpha(t), 1e-12) + 1 / max(schedule.sigma(t), 1e-12))
    )
    return max(abs(b - a) - 8 * bits - 8 * ROUNDING * slope * max(abs(t), high - low), 0.0)


def _slope(schedule: Schedule, name: str, formula: str, times: Array) -> Finding:
    """The relative error of a derivative against the nearest of several finite differences.

    These have several step sizes, and are central or one-sided, since at a kink (an entry of a
    table) either side is right. Rounding is subtracted, and differences that are mostly
    rounding are left out. The default of `Schedule`, which smooths over kinks, has a larger
    tolerance.
    """

    def measure() -> Worst:
        worst = Worst(0.0, "")
        for t in _some(times)[1:-1]:
            value = getattr(schedule, name)(t)
            estimates = _estimates(schedule, name, t)
            wrong = (max(abs(value - v) - bits, 0.0) / (abs(v) + 1e-3) for v, bits in estimates)
            worst = worst_of(worst, Worst(min(wrong, default=0.0), f"at t = {t:.6g}"))
        return worst

    own = getattr(type(schedule), name) is not getattr(Schedule, name)
    return at_most(f"{name} is {formula}", measure, 1e-5 if own else SMOOTHED)


def _estimates(schedule: Schedule, name: str, t: float) -> list[tuple[float, float]]:
    """Finite differences for drift or squared diffusion at t, each with its rounding error."""
    low, high = schedule.domain
    out = []
    for part in SLOPES:
        h = part * min(t - low, high - t)
        if schedule.alpha(t + 2 * h) == 0 or schedule.sigma(t - 2 * h) == 0:
            continue
        if name == "drift":
            scale = 1.0
        else:
            scale = 2 * schedule.sigma(t) ** 2
        for slope in _differences(schedule, name, t, h):
            bits = scale * 8 * EPS * (1 + abs(t * slope)) / h
            if bits < SPOILT * (abs(scale * slope) + 1e-3):
                out.append((scale * slope, bits))
    return out


def _differences(schedule: Schedule, name: str, t: float, h: float) -> list[float]:
    """Finite differences of log(alpha) or log(sigma / alpha): central, left, right."""

    def f(u: float) -> float:
        if name == "drift":
            return math.log(schedule.alpha(u))
        return -schedule.half_log_snr(u)

    far, left, here, right, further = (f(t + k * h) for k in (-2, -1, 0, 1, 2))
    central = (8 * (right - left) - (further - far)) / 12
    return [
        v / h
        for v in (
            central,
            (3 * here - 4 * left + far) / 2,
            (-3 * here + 4 * right - further) / 2,
        )
    ]
