"""Every sampler, grid and schedule together: finite everywhere, and convergent on every grid that refines.

The cover is pairwise: every two of (sampler, grid, schedule, number of steps) meet in some case. The state is one
number, and the model the exact one of two Gaussians in one dimension, so that a case of 1000 steps takes milliseconds.
"""

from __future__ import annotations

import math
import random
from functools import cache
from itertools import product

import pytest
from registered import GRIDS, SAMPLERS, SCHEDULES

from difftool.errors import DifftoolError
from difftool.names.specs import make
from difftool.samplers import Heun, finish
from difftool.sampling import make_path
from difftool.schedules import Cosine, Flow, VPLinear
from difftool.zoo import eight_gaussians

STEPS = [1, 2, 3, 5, 10, 50, 999, 1000]
WEIGHTS, MEANS, VARIANCE = (0.4, 0.6), (-0.8, 0.6), 0.05
TENSORS = ("ode", "embedded", "dpm-adaptive", "gotta-go-fast")  # these need tensors; so do Langevin steps by the norm
SCALAR = [
    spec for spec in SAMPLERS if not spec.startswith((*TENSORS, "annealed", "predictor-corrector")) or "=level" in spec
]


def x0(x, p):
    """E[x_0 | x_t = x]."""
    if p.sigma == 0:
        return x / p.alpha
    v = p.alpha**2 * VARIANCE + p.sigma**2
    logits = [math.log(w) - (x - p.alpha * m) ** 2 / (2 * v) for w, m in zip(WEIGHTS, MEANS, strict=True)]
    top = max(logits)
    shares = [math.exp(value - top) for value in logits]
    means = [m + p.alpha * VARIANCE / v * (x - p.alpha * m) for m in MEANS]
    return sum(s * m for s, m in zip(shares, means, strict=True)) / sum(shares)


@cache
def model():
    return eight_gaussians()  # for the rule of where a run starts


def end_of(sampler, grid, schedule, steps, u=0.8):
    """Where the run from u sigma ends."""
    path = make_path(model(), sampler, steps=steps, grid=grid, schedule=schedule)
    noise = random.Random(0)
    out = finish(sampler, x0, u * path[0].sigma, path, lambda *_: noise.gauss(0, 1), sampler.last)
    return float(out)


@cache
def cases():
    """(sampler, grid, schedule, steps), pairwise: every sampler with every grid, the rest where it is new."""
    met: set = set()
    out = []

    def newest(options, *others):
        best = max(options, key=lambda option: sum((other, option) not in met for other in others))
        met.update((other, best) for other in others)
        return best

    for sampler, grid in product(SCALAR, GRIDS):
        schedule = newest(SCHEDULES, sampler, grid)
        out.append((sampler, grid, schedule, newest(STEPS, schedule, sampler, grid)))
    return out


def test_the_cover_is_pairwise():
    covered = cases()
    axes = (SCALAR, GRIDS, SCHEDULES, STEPS)
    for a, b in ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)):
        met = {(str(case[a]), str(case[b])) for case in covered}
        missing = {(str(x), str(y)) for x, y in product(axes[a], axes[b])} - met
        assert not missing, (len(missing), sorted(missing)[:3])


def finite(sampler, grid, schedule, steps):
    made, times = make("samplers", sampler), make("grids", grid)
    try:
        value = end_of(made, times, schedule, max(steps, made.needs_steps))
    except DifftoolError as error:
        value = 0.0 if "entries" in str(error) else math.nan  # a grid of table entries has no more steps than entries
    assert math.isfinite(value), (sampler, grid, schedule, steps)


@pytest.mark.parametrize("part", range(8))
def test_finite_at_few_steps(part):
    for case in [case for case in cases() if case[3] <= 50][part::16]:
        finite(*case)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(16))
def test_finite_everywhere(part):
    for case in cases()[part::16]:
        finite(*case)


DETERMINISTIC = [spec for spec in SCALAR if not (s := make("samplers", spec)).stochastic and s.accuracy]
# linear-quadratic in the level takes half its steps of one length, from levels of 150 to 999: 320 of them are not many
REFINING = [spec for spec in GRIDS if make("grids", spec).refines and "variable=level" not in spec]


@cache
def reference(schedule):
    return end_of(Heun(), None, schedule, 3000)


@pytest.mark.slow
@pytest.mark.parametrize("grid", REFINING)
@pytest.mark.parametrize("schedule", [VPLinear(), Flow(), Cosine()], ids=str)
def test_convergent_on_every_grid_that_refines(grid, schedule):
    """Eight times the steps leave less than a third of the error (order 1 leaves an eighth), down to 1e-4.

    1e-4, because samplers and grids that need a finite level start at alpha = 1e-3, and there at another state.
    """
    for spec in DETERMINISTIC:
        sampler = make("samplers", spec)
        few, many = (abs(end_of(sampler, make("grids", grid), schedule, n) - reference(schedule)) for n in (40, 320))
        assert many < max(few / 3, 2e-3), (spec, few, many)
