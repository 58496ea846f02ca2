"""Samplers that are wrong in one thing each, as a plugin author might write them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch

from difftool.samplers import DDPM, Sampler, eps_of


def ancestral(x, x0, now, nxt, z, factor=1.0):
    """The step of DDPM, its noise times a factor."""
    r = nxt.sigma * now.alpha / (now.sigma * nxt.alpha)
    x = nxt.alpha * (1 - r * r) * x0 + nxt.sigma / now.sigma * r * x
    return x + factor * nxt.sigma * math.sqrt(1 - r * r) * z if nxt.sigma > 0 else x


@dataclass(frozen=True)
class Stale(Sampler):
    """Adams-Bashforth 2 in the noise level that forgets its correction between two levels."""

    low: float = 0.0
    high: float = math.inf

    accuracy = 2
    divides_by_alpha = True

    def __call__(self, model, x, path, noise):
        old, k = None, 0.0
        for now, nxt in pairwise(path):
            d, h = eps_of(x, model(x, now), now), nxt.level - now.level
            w = 0.0 if old is None or self.low < now.level < self.high else h / (2 * k)
            slope = d if old is None else (1 + w) * d - w * old
            x = nxt.alpha * (x / now.alpha + h * slope)
            old, k = d, h
        return x


@dataclass(frozen=True)
class StaleLast(Sampler):
    """DDIM whose last step into sigma = 0 takes the noise of the one before."""

    accuracy = 1
    divides_by_alpha = True

    def __call__(self, model, x, path, noise):
        old = None
        for now, nxt in pairwise(path):
            new = eps_of(x, model(x, now), now)
            eps = old if nxt.sigma == 0 and old is not None else new
            x = nxt.alpha * ((x - now.sigma * eps) / now.alpha) + nxt.sigma * eps
            old = new
        return x


@dataclass(frozen=True)
class Loud(Sampler):
    """DDPM with 3% more variance of its noise, above a noise level."""

    above: float = 5.0

    weak_order = 1
    stochastic = True

    def __call__(self, model, x, path, noise):
        for now, nxt in pairwise(path):
            factor = math.sqrt(1.03) if now.level > self.above else 1.0
            x = ancestral(x, model(x, now), now, nxt, noise(now, nxt) if nxt.sigma > 0 else None, factor)
        return x


@dataclass(frozen=True)
class LoudUnclaimed(Loud):
    """The same everywhere, and nothing claimed."""

    above: float = 0.0

    weak_order = None
    point_mass = False


@dataclass(frozen=True)
class LoudUnplanned(LoudUnclaimed):
    """The same with 6%, in a loop that no plan holds."""

    def __call__(self, model, x, path, noise):
        for now, nxt in pairwise(path):
            x0 = model(x, now).clamp(-1e6, 1e6)
            x = ancestral(x, x0, now, nxt, noise(now, nxt) if nxt.sigma > 0 else None, math.sqrt(1.06))
        return x


@dataclass(frozen=True)
class OnVPOnly(Sampler):
    """DPM-Solver++(2M) that takes the ratio of its steps from alpha, which tells nothing where alpha stays 1."""

    accuracy = 2
    divides_by_alpha = True

    def __call__(self, model, x, path, noise):
        old = None
        for i, (now, nxt) in enumerate(pairwise(path)):
            x0 = model(x, now)
            d = x0
            if old is not None and nxt.sigma > 0:
                before, after = (math.log(b.alpha / a.alpha) for a, b in ((path[i - 1], now), (now, nxt)))
                r = before / after if after else 1.0
                d = (1 + 1 / (2 * r)) * x0 - 1 / (2 * r) * old
            h = nxt.half_log_snr - now.half_log_snr
            x = nxt.sigma / now.sigma * x - nxt.alpha * math.expm1(-h) * d if nxt.sigma > 0 else nxt.alpha * d
            old = x0
        return x


@dataclass(frozen=True)
class EtaBetween(Sampler):
    """DDIM with eta, right for 0 and 1; in between as if noise added up by standard deviations."""

    eta: float = 1.0

    weak_order = 1
    noise_option = "eta"

    @property
    def stochastic(self):
        return self.eta > 0

    def __call__(self, model, x, path, noise):
        for now, nxt in pairwise(path):
            x0 = model(x, now)
            r = nxt.sigma * now.alpha / (now.sigma * nxt.alpha)
            std = self.eta * nxt.sigma * math.sqrt(1 - r * r)
            kept = nxt.sigma - self.eta * (nxt.sigma - r * nxt.sigma)
            x = nxt.alpha * x0 + kept * eps_of(x, x0, now)
            if self.eta > 0 and nxt.sigma > 0:
                x = x + std * noise(now, nxt)
        return x


@dataclass(frozen=True)
class NoPoints(Sampler):
    """DDPM that says for no noise where it belongs."""

    weak_order = 1
    stochastic = True

    def __call__(self, model, x, path, noise):
        for now, nxt in pairwise(path):
            x = ancestral(x, model(x, now), now, nxt, noise() if nxt.sigma > 0 else None)
        return x


@dataclass(frozen=True)
class AnotherInterval(Sampler):
    """DDPM that asks for the noise of the step before, or of the next one."""

    ahead: int = -1

    weak_order = 1
    stochastic = True

    def __call__(self, model, x, path, noise):
        for i, (now, nxt) in enumerate(pairwise(path)):
            j = min(max(i + self.ahead, 0), len(path) - 2)
            x = ancestral(x, model(x, now), now, nxt, noise(path[j], path[j + 1]) if nxt.sigma > 0 else None)
        return x


@dataclass(frozen=True)
class NearlyTwo(Sampler):
    """Heun in the noise level with a correction that is short of h^0.9: order 1.9, sold as 2."""

    accuracy = 2
    evaluations = 2
    divides_by_alpha = True

    def nfe(self, path):
        return 2 * (len(path) - 1) - (path[-1].sigma == 0) - (path[0].sigma == 0)

    def __call__(self, model, x, path, noise):
        for now, nxt in pairwise(path):
            h = nxt.level - now.level
            d = eps_of(x, model(x, now), now)
            y = nxt.alpha * (x / now.alpha + h * d)
            e = eps_of(y, model(y, nxt), nxt)
            share = 0.5 * (1 - min(abs(h) / max(now.level, nxt.level), 1.0) ** 0.9)
            x = nxt.alpha * (x / now.alpha + h * ((1 - share) * d + share * e))
        return x


@dataclass(frozen=True)
class Leapfrog(Sampler):
    """Twice the slope from the state before the last: of order 2, and stable for no network at all."""

    accuracy = 2
    divides_by_alpha = True

    def __call__(self, model, x, path, noise):
        y, before = x / path[0].alpha, None
        for i, (now, nxt) in enumerate(pairwise(path)):
            d, h = eps_of(now.alpha * y, model(now.alpha * y, now), now), nxt.level - now.level
            if before is None:
                y, before = y + h * d, y
            else:
                k = now.level - path[i - 1].level
                y, before = before * (h / k) ** 2 + (1 - (h / k) ** 2) * y + h * (1 + h / k) * d, y
        return path[-1].alpha * y


@dataclass(frozen=True)
class Forgetful(Sampler):
    """Forgets to return."""

    def __call__(self, model, x, path, noise):
        for now, nxt in pairwise(path):
            x0 = model(x, now)
            x = nxt.alpha * x0 + nxt.sigma * eps_of(x, x0, now)


@dataclass(frozen=True)
class InThirteenSteps(Sampler):
    """DDIM that is wrong in 13 steps only."""

    accuracy = 1

    def __call__(self, model, x, path, noise):
        factor = 1.1 if len(path) == 14 else 1.0
        for now, nxt in pairwise(path):
            x0 = factor * model(x, now)
            x = nxt.alpha * x0 + nxt.sigma * eps_of(x, x0, now)
        return x


@dataclass(frozen=True)
class LargeBatches(Sampler):
    """DDIM that mixes the samples of batches of more than eight."""

    accuracy = 1

    def __call__(self, model, x, path, noise):
        for now, nxt in pairwise(path):
            x0 = model(x, now)
            x = nxt.alpha * x0 + nxt.sigma * eps_of(x, x0, now)
        return x if not isinstance(x, torch.Tensor) or len(x) <= 8 else 0.99 * x + 0.01 * x.mean(0)


@dataclass(frozen=True)
class FarOut(Sampler):
    """DDPM that loses everything above noise level 200."""

    weak_order = 1
    stochastic = True

    def __call__(self, model, x, path, noise):
        for now, nxt in pairwise(path):
            if now.level > 200 and not math.isinf(now.level):
                x = x * math.nan
            x = DDPM()(model, x, two_points(path, now, nxt), noise)
        return x


def two_points(path, now, nxt):
    i = list(path).index(now)
    return path[i : i + 2]


@dataclass(frozen=True)
class Forgets(Sampler):
    """Adams-Bashforth 2 in the flow time whose history is dropped every hundred steps."""

    every: int = 100

    accuracy = 2

    def __call__(self, model, x, path, noise):
        old, k = None, 0.0
        for i, (now, nxt) in enumerate(pairwise(path)):
            x0, h = model(x, now), nxt.flow - now.flow
            v = eps_of(x, x0, now) - x0
            slope = v if old is None or i % self.every == 0 else v + h / (2 * k) * (v - old)
            x = (nxt.alpha + nxt.sigma) * (x / (now.alpha + now.sigma) + h * slope)
            old, k = v, h
        return x


@dataclass(frozen=True)
class WarmStart(Sampler):
    """DDIM that asks its model at every other step only, from step 50 on, and does not say so."""

    accuracy = 1

    def __call__(self, model, x, path, noise):
        x0 = None
        for i, (now, nxt) in enumerate(pairwise(path)):
            x0 = model(x, now) if i < 50 or i % 2 == 0 else x0
            x = nxt.alpha * x0 + nxt.sigma * eps_of(x, x0, now)
        return x


@dataclass(frozen=True)
class VarianceOnVPOnly(Sampler):
    """DDPM with an option that is right on variance preserving schedules only."""

    variance: Literal["small", "large"] = "small"

    weak_order = 1
    stochastic = True
    divides_by_alpha = True

    def __call__(self, model, x, path, noise):
        for now, nxt in pairwise(path):
            unit = now.alpha**2 + now.sigma**2 if self.variance == "large" else 1.0
            x = ancestral(x, model(x, now), now, nxt, noise(now, nxt) if nxt.sigma > 0 else 0.0, unit)
        return x


@dataclass(frozen=True)
class Uphill(Sampler):
    """DDIM with a Langevin step after each of its own, against the score, and no claim of a law."""

    weak_order = 0
    stochastic = True
    point_mass = False
    divides_by_alpha = True
    evaluations = 2
    last = "mean"

    def nfe(self, path):
        return 2 * (len(path) - 1) - (path[-1].sigma == 0)

    def __call__(self, model, x, path, noise):
        for now, nxt in pairwise(path):
            x0 = model(x, now)
            x = nxt.alpha * x0 + nxt.sigma * eps_of(x, x0, now)
            if nxt.sigma > 0:
                h = 0.1 * nxt.sigma**2
                x = x + h * eps_of(x, model(x, nxt), nxt) / nxt.sigma + (2 * h) ** 0.5 * noise(nxt)
        return x


@dataclass(frozen=True)
class OneNoiseForAllPlaces(Sampler):
    """DDPM by torch's own functions, with one noise for all places of a sequence or a video."""

    axes: int = 3

    weak_order = None
    stochastic = True
    divides_by_alpha = True

    def __call__(self, model, x, path, noise):
        for now, nxt in pairwise(path):
            z = noise(now, nxt)
            z = z[..., :1].expand(x.shape) if x.ndim == self.axes else torch.clone(z)
            x = ancestral(x, model(x, now), now, nxt, z)
        return x


@dataclass(frozen=True)
class CarriesY(Sampler):
    """Adams-Bashforth 2 in the flow time as papers write it, y = x / (alpha + sigma) carried along: right."""

    accuracy = 2

    def __call__(self, model, x, path, noise):
        y, old, k = x / (path[0].alpha + path[0].sigma), None, 0.0
        for now, nxt in pairwise(path):
            u, h = (now.alpha + now.sigma) * y, nxt.flow - now.flow
            x0 = model(u, now)
            v = eps_of(u, x0, now) - x0
            y = y + h * (v if old is None else v + h / (2 * k) * (v - old))
            old, k = v, h
        return (path[-1].alpha + path[-1].sigma) * y


ESCAPED = [
    (Forgets(), "in 192 steps"),
    (WarmStart(), "network evaluations"),
    (VarianceOnVPOnly(), "other options"),
    (Uphill(), "growth of the error"),
    (OneNoiseForAllPlaces(3), "any sample shape"),
    (OneNoiseForAllPlaces(5), "any sample shape"),
    (Stale(low=3.0), "everywhere"),
    (Stale(high=0.3), "everywhere"),
    (Stale(low=1.5, high=2.0), "everywhere"),
    (Stale(low=20.0, high=30.0), "everywhere"),
    (Loud(5.0), "distribution at every level"),
    (Loud(50.0), "distribution at every level"),
    (StaleLast(), "last step"),
    (OnVPOnly(), "everywhere"),
    (EtaBetween(), "other options"),
    (EtaBetween(0.5), "weak order"),
    (NoPoints(), "noise"),
    (AnotherInterval(-1), "noise"),
    (AnotherInterval(1), "noise"),
    (NearlyTwo(), "order of one step"),
    (LoudUnclaimed(), "distribution at every level"),
    (LoudUnplanned(), "distribution of many samples"),
    (Leapfrog(), "stability"),
    (Forgetful(), "runs on every schedule"),
    (InThirteenSteps(), "error in N steps"),
    (LargeBatches(), "plain loop"),
    (FarOut(), "runs on every schedule"),
]
