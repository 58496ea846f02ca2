"""A run that is cut and continued from its states: the law, and where the method has no history the samples, of one run."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from registered import ONE_EACH

from difftool import sample
from difftool.grids import Uniform
from difftool.models import GaussianMixture
from difftool.noise import BrownianPath, Generator, Independent
from difftool.samplers.wrapper import takes_single_steps
from difftool.schedules import VE, Cosine, Flow, VPLinear
from difftool.specs import make

F64 = torch.float64
NOISES = [Independent(), BrownianPath(), Generator()]
STOCHASTIC = [name for name in ONE_EACH if make("samplers", name).stochastic]
SINGLE = [
    name
    for name in ONE_EACH
    if not (sampler := make("samplers", name)).adaptive and sampler.needs_steps == 1 and takes_single_steps(sampler)
]
N = 20_000
NORMAL = GaussianMixture(torch.zeros(1, 1, dtype=F64), 1.0)


def test_the_samplers_of_single_steps_are_among_them():
    assert {"ddim", "ddpm", "em", "euler-a", "dpmpp-sde", "seeds-2", "predictor-corrector", "heun"} <= {*SINGLE}


@pytest.mark.parametrize("noise", NOISES[:2], ids=str)
@pytest.mark.parametrize("name", SINGLE)
@given(cut=st.integers(1, 6), schedule=st.sampled_from([VPLinear(), Cosine(), Flow(), VE(sigma_max=20.0)]))
def test_cut_anywhere_it_ends_where_the_uncut_run_ends(name, noise, cut, schedule):
    sampler, model = make("samplers", name), GaussianMixture(torch.tensor([[1.0, 0.5], [-1.0, 0.0]], dtype=F64), 0.2)
    low, high = schedule.domain
    times = [low + (high - low) * t for t in (0.95, 0.8, 0.6, 0.45, 0.3, 0.2, 0.1, 0.03)]
    options = {"schedule": schedule, "noise": noise, "seed": 3, "dtype": F64, "last": "step"}
    whole = sample(model, sampler, shape=(4, 2), grid=times, **options)
    part = sample(model, sampler, shape=(4, 2), grid=times[: cut + 1], **options)
    both = sample(model, sampler, x=part, grid=times[cut:], **options)
    torch.testing.assert_close(both, whole, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("noise", NOISES, ids=str)
@pytest.mark.parametrize("name", STOCHASTIC)
def test_no_noise_is_drawn_twice(name, noise):
    """The standard deviation of N(0, 1) data is that of the uncut run, whatever the steps of the two parts."""
    sampler, adaptive = make("samplers", name), make("samplers", name).adaptive
    options = {"schedule": VPLinear(), "noise": noise, "dtype": F64}
    steps = {} if adaptive else {"steps": 40}
    grids = [(1.0, 0.5), (0.5, 1e-3 if adaptive else 0.0)]
    first, second = ({"grid": list(ends)} if adaptive else {"grid": Uniform(start=ends[0], end=ends[1])} for ends in grids)
    if sampler.divides_by_alpha and not adaptive:
        first = {"grid": Uniform(start=0.99, end=0.5)}
    middle = sample(NORMAL, sampler, shape=(N, 1), **options, **first, **steps)
    both = sample(NORMAL, sampler, x=middle, **options, **second, **steps)
    # what both parts are given in one run, with the same numbers of steps
    other = sample(NORMAL, sampler, x=middle, **options, seed=1, **second, **steps)
    assert abs(float(both.std() / other.std()) - 1) < 5 * math.sqrt(1 / N)
