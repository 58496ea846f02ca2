"""Long runs on real data end where exact samples are: slow, so outside the everyday run.

Two figures of 1024 samples: the sliced Wasserstein distance to exact ones, which sees where the samples are, and the
mean of the exact log density, which sees how wide they are about the images (64 dimensions: a tenth of the noise
missing shifts it by 6, thirty times its standard error).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from statistics import mean, stdev

import pytest
from torch import Tensor

from difftool.metrics import SlicedDistance
from difftool.names.registry import registry
from difftool.names.specs import make
from difftool.samplers import EulerMaruyama
from difftool.sampling import sample
from difftool.schedules import Point

pytestmark = pytest.mark.slow

NUMBER = 1024
SPREADS = 4  # standard errors that a right sampler stays within


class Judge:
    """Compares sets of samples with as many exact ones."""

    def __init__(self) -> None:
        self.model = make("models", "digits-exact")
        self.distance = SlicedDistance(self.model.draw(16 * NUMBER, seed=2**31))
        exact = [self.model.draw(NUMBER, seed=2**31 + 1 + i) for i in range(20)]
        distances = [self.distance(x) for x in exact]
        self.farthest = mean(distances) + SPREADS * stdev(distances)
        densities = [self.density(x) for x in exact]
        self.middle, self.spread = mean(densities), stdev(densities) * sqrt(1 + 1 / len(exact))

    def density(self, x: Tensor) -> float:
        return float(self.model.log_density(x.double(), Point(0.0, 1.0, 0.0)).mean())

    def in_place(self, x: Tensor) -> bool:
        return self.distance(x) < self.farthest

    def as_wide(self, x: Tensor) -> bool:
        return abs(self.density(x) - self.middle) < SPREADS * self.spread

    def samples(self, sampler, steps, **options) -> Tensor:
        return sample(self.model, sampler, shape=(NUMBER, 1, 8, 8), steps=steps, **options)


@pytest.fixture(scope="module")
def judge():
    return Judge()


SCHEDULES = sorted(set(registry().axis("schedules")) - {"betas"})  # (which has no table of its own)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(("sampler", "steps"), [("em", 500), ("ddpm", 1000)])
def test_stochastic_samplers_draw_the_data(judge, sampler, steps, schedule):
    # laplace hurries through its noise: em is 6 standard errors too narrow in 500 steps, 0.7 in 2000
    steps = 4 * steps if (sampler, schedule) == ("em", "laplace") else steps
    x = judge.samples(make("samplers", sampler), steps, schedule=make("schedules", schedule))
    assert judge.in_place(x)
    assert judge.as_wide(x)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_predictor_corrector_ends_among_the_data(judge, schedule):
    """Its Langevin steps are too long to end exactly as wide, at any number of predictor steps."""
    assert judge.in_place(
        judge.samples(make("samplers", "predictor-corrector"), 250, schedule=make("schedules", schedule))
    )


@dataclass(frozen=True)
class TooQuiet(EulerMaruyama):
    """Euler-Maruyama with a tenth of its noise missing."""

    def __call__(self, model, x, path, noise):
        return super().__call__(model, x, path, lambda *step: 0.9 * noise(*step))


def test_they_tell_a_wrong_sampler(judge):
    assert not judge.as_wide(judge.samples(TooQuiet(), 500))
    mean_image = judge.model.draw(NUMBER, seed=5).mean(dim=0, keepdim=True)
    assert not judge.in_place(0.9 * judge.model.draw(NUMBER, seed=5) + 0.1 * mean_image)
