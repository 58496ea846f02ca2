"""A run that is cut and continued from its states: the law of the whole run, and its samples if it has no history."""

from __future__ import annotations

import math

import pytest
import torch
from registered import ONE_EACH, slow

from difftool import sample
from difftool.grids import Uniform
from difftool.models import GaussianMixture
from difftool.names.specs import make
from difftool.noise import BrownianPath, Generator, Independent
from difftool.samplers.wrapper import takes_single_steps
from difftool.schedules import VE, Cosine, Flow, VPLinear

F64 = torch.float64
STOCHASTIC = [name for name in ONE_EACH if make("samplers", name).stochastic]
EVERY_DAY = "em", "ddpm", "euler-a", "seeds-2", "churn", "dpmpp-2m-sde", "flow-sde"
SINGLE = [
    name
    for name in ONE_EACH
    if not (sampler := make("samplers", name)).adaptive
    and sampler.batch_independent  # what corrects its states by norms corrects those of the cut twice
    and sampler.needs_steps == 1
    and takes_single_steps(sampler)
]
N = 20_000
NORMAL = GaussianMixture(torch.zeros(1, 1, dtype=F64), 1.0)
TWO = GaussianMixture(torch.tensor([[1.0, 0.5], [-1.0, 0.0]], dtype=F64), 0.2)


def test_the_samplers_of_single_steps_are_among_them():
    assert {"ddim", "ddpm", "em", "euler-a", "dpmpp-sde", "seeds-2", "predictor-corrector", "heun"} <= {*SINGLE}


@pytest.mark.parametrize("shift", [0, *slow(1)])
@pytest.mark.parametrize("noise", [Independent(), BrownianPath()], ids=str)
@pytest.mark.parametrize("name", SINGLE)
def test_cut_anywhere_it_ends_where_the_uncut_run_ends(name, noise, shift):
    turn = SINGLE.index(name) + shift
    schedule = (VPLinear(), Cosine(), Flow(), VE(sigma_max=20.0))[turn % 4]
    low, high = schedule.domain
    times = [low + (high - low) * t for t in (0.95, 0.8, 0.6, 0.45, 0.3, 0.2, 0.1, 0.03)]
    cut, options = 1 + turn % 6, {"schedule": schedule, "noise": noise, "seed": 3, "dtype": F64}
    whole = sample(TWO, make("samplers", name), shape=(4, 2), grid=times, **options)
    part = sample(TWO, make("samplers", name), shape=(4, 2), grid=times[: cut + 1], **options)
    both = sample(TWO, make("samplers", name), x=part, grid=times[cut:], **options)
    torch.testing.assert_close(both, whole, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("noise", [Independent(), Generator()], ids=str)
@pytest.mark.parametrize("name", [*EVERY_DAY, *slow(*(name for name in STOCHASTIC if name not in EVERY_DAY))])
def test_no_noise_is_drawn_twice(name, noise):
    """Two parts of other steps end with the standard deviation that they have where the second has another seed."""
    sampler = make(
        "samplers", f"{name}:step_size=level" if name in ("predictor-corrector", "annealed-langevin") else name
    )
    options = {"schedule": VPLinear(), "noise": noise, "dtype": F64}
    if sampler.adaptive:
        first, second = {"grid": [0.99, 0.5]}, {"grid": [0.5, 1e-3]}
    else:
        first, second = ({"grid": Uniform(start=a, end=b), "steps": 40} for a, b in ((0.99, 0.5), (0.5, 0.0)))
    middle = sample(NORMAL, sampler, shape=(N, 1), **options, **first)
    both, apart = (sample(NORMAL, sampler, x=middle, seed=seed, **options, **second) for seed in (0, 1))
    assert abs(float(both.std() / apart.std()) - 1) < 5 / math.sqrt(N)


def test_path_noise_of_the_parts_is_that_of_the_whole():
    """One Brownian path: the parts have disjoint pieces of it."""
    noise, n = BrownianPath(), 4000
    options = {"schedule": VPLinear(), "noise": noise, "dtype": F64}
    middle = sample(
        NORMAL, make("samplers", "em"), shape=(n, 1), grid=Uniform(start=0.99, end=0.5), steps=10, **options
    )
    both = sample(NORMAL, make("samplers", "em"), x=middle, grid=Uniform(start=0.5), steps=10, **options)
    apart = sample(NORMAL, make("samplers", "em"), x=middle, grid=Uniform(start=0.5), steps=10, seed=1, **options)
    assert abs(float(both.std() / apart.std()) - 1) < 5 / math.sqrt(n)
