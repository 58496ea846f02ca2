"""ipndm, ipndm-v and the pseudo-numerical methods: the published loops spelled out."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from difftool.errors import DifftoolError
from difftool.samplers import IPNDM, PNDM
from difftool.samplers.adams import lms
from difftool.samplers.ipndm import ipndm_v, published
from difftool.samplers.pndm import pndm_plms
from difftool.schedules import VE, Cosine, Flow, Path, VPLinear

WEIGHTS = {1: [1], 2: [3 / 2, -1 / 2], 3: [23 / 12, -4 / 3, 5 / 12], 4: [55 / 24, -59 / 24, 37 / 24, -3 / 8]}
steps_apart = st.lists(st.floats(0.2, 1.0), min_size=4, max_size=4)


def model(x, p):
    """Not affine, and different at every point."""
    return x / p.alpha if p.sigma == 0 else np.tanh(x / (p.alpha + p.sigma)) * (1 + 0.3 * p.flow)


def run(sampler, path, x=0.8):
    return sampler(model, np.array([x, -0.3, 0.1]), path, None)


def noise_in(x, p):
    return (x - p.alpha * model(x, p)) / p.sigma


def transfer(x, e, a, b):
    """Liu et al. 2022, eq. 11, with their alpha-bar = alpha^2 of a variance preserving schedule."""
    at, to = a.alpha**2, b.alpha**2
    shrink = 1 / (at**0.5 * (at**0.5 + to**0.5))
    return x + (to - at) * (shrink * x - e / (at**0.5 * (((1 - to) * at) ** 0.5 + ((1 - at) * to) ** 0.5)))


def levels(schedule, values):
    return Path(schedule, [schedule.t_at_level(v) for v in values])


@pytest.mark.parametrize("schedule", [VPLinear(), Cosine(), VE(), Flow()], ids=str)
@pytest.mark.parametrize("order", [1, 2, 3, 4, None])
def test_on_equal_steps_of_the_level_all_are_adams_bashforth(schedule, order):
    path = levels(schedule, np.linspace(3.0, 0.0, 8))
    expected = run(lms(order), path)
    np.testing.assert_allclose(run(IPNDM(order), path), expected, atol=1e-11)
    if order in (1, 2, 3):
        np.testing.assert_allclose(run(ipndm_v(order, published=True), path), expected, atol=1e-11)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_ipndm_takes_the_weights_of_equal_steps_on_any_grid(order):
    path = levels(VPLinear(), [5.0, 2.5, 2.0, 0.8, 0.5, 0.1, 0.02])
    x, history = np.array([0.8, -0.3, 0.1]), []
    for a, b in pairwise(path):
        history.insert(0, noise_in(x, a))
        weights = WEIGHTS[min(order, len(history))]
        x = transfer(x, sum(c * e for c, e in zip(weights, history, strict=False)), a, b)
    np.testing.assert_allclose(run(IPNDM(order), path), x, atol=1e-12)


def test_ipndm_v_is_lms():
    assert ipndm_v() == lms()
    assert ipndm_v(3, "runge-kutta", True) == lms(3, "runge-kutta", True)


def as_in_the_code(h, order):
    """The coefficients of diff-sampler's and ComfyUI's ipndm_v, from the steps h[0] (this one), h[1] (before), ..."""
    ratio = h[0] / h[1]
    if order == 2:
        return [(2 + ratio) / 2, -ratio / 2]
    one = (1 - h[0] / (3 * (h[0] + h[1])) * (h[0] * (h[0] + h[1])) / (h[1] * (h[1] + h[2]))) / 2
    q = h[1] / h[2]
    if order == 3:
        return [(2 + ratio) / 2 + one, -ratio / 2 - (1 + q) * one, one * q]
    k = h[1] * (h[1] + h[2]) / (h[2] * (h[2] + h[3]))
    two = (1 - h[0] / (3 * (h[0] + h[1]))) / 2 + (1 - h[0] / (2 * (h[0] + h[1]))) * h[0] / (6 * (h[0] + h[1] + h[2]))
    two *= h[0] * (h[0] + h[1]) * (h[0] + h[1] + h[2]) / (h[1] * (h[1] + h[2]) * (h[1] + h[2] + h[3]))
    return [
        (2 + ratio) / 2 + one + two,
        -ratio / 2 - (1 + q) * one - (1 + q + k) * two,
        one * q + (q + k * (1 + h[2] / h[3])) * two,
        -two * k * h[1] / h[2],
    ]


@given(steps_apart, st.integers(2, 4))
def test_the_published_coefficients(h, order):
    points = levels(VE(), np.cumsum([0.5, *h])[::-1]).points[4 - order :]
    np.testing.assert_allclose(published(points), as_in_the_code(h, order), atol=1e-12)


@pytest.mark.parametrize(
    ("values", "order", "right"),
    [
        ([4.0, 3.5, 2.3, 2.0, 1.1], 2, 2),
        ([4.0, 3.5, 2.3, 2.0, 1.1], 3, 2),
        ([4.0, 3.5, 2.3, 2.0, 1.1], 4, 0),
        ([4.0, 3.5, 3.0, 2.5, 2.0], 3, 3),
        ([4.0, 3.5, 3.0, 2.5, 2.0], 4, 3),
    ],
)
def test_where_the_published_coefficients_are_wrong(values, order, right):
    """They should integrate polynomials of degree < order; they do so for degree < right."""
    points = levels(VE(), values).points
    c, nodes = np.array(published(points[4 - order :])), np.array(values[-2::-1][:order])
    a, b = values[-2:]
    for degree in range(order):
        exact = (b ** (degree + 1) - a ** (degree + 1)) / (degree + 1) / (b - a)
        assert (abs(c @ nodes**degree - exact) < 1e-10) == (degree < right), degree


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 8])
def test_pseudo_runge_kutta_then_pseudo_linear_multistep(steps):
    path = Path(VPLinear(), np.linspace(0.9, 0.05, steps + 1))
    x, history = np.array([0.8, -0.3, 0.1]), []
    for i, (a, b) in enumerate(pairwise(path)):
        e = noise_in(x, a)
        history.insert(0, e)
        if i < 3:
            half = path.at((a.t + b.t) / 2)
            e2 = noise_in(transfer(x, e, a, half), half)
            e3 = noise_in(transfer(x, e2, a, half), half)
            e4 = noise_in(transfer(x, e3, a, b), b)
            x = transfer(x, (e + 2 * e2 + 2 * e3 + e4) / 6, a, b)
        else:
            x = transfer(x, sum(c * old for c, old in zip(WEIGHTS[4], history, strict=False)), a, b)
    np.testing.assert_allclose(run(PNDM(), path), x, atol=1e-12)
    assert PNDM().nfe(path) == steps + 3 * min(3, steps)


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 8])
def test_plms_averages_its_first_step(steps):
    path = Path(VPLinear(), np.linspace(0.9, 0.05, steps + 1))
    x, history = np.array([0.8, -0.3, 0.1]), []
    for i, (a, b) in enumerate(pairwise(path)):
        e = noise_in(x, a)
        history.insert(0, e)
        if i == 0:
            e = (e + noise_in(transfer(x, e, a, b), b)) / 2
        else:
            e = sum(c * old for c, old in zip(WEIGHTS[min(4, i + 1)], history, strict=False))
        x = transfer(x, e, a, b)
    np.testing.assert_allclose(run(pndm_plms(), path), x, atol=1e-12)
    assert pndm_plms().nfe(path) == steps + 1


@pytest.mark.parametrize("sampler", [PNDM(), pndm_plms()], ids=repr)
def test_nothing_large_cancels_at_a_high_noise_level(sampler):
    """From level 1000 in float32 to a single point: errors of the size of float32's, not of their products with it."""
    path = Path(Flow(), [0.999, 0.85, 0.6, 0.3, 0.1, 0.0])
    x = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    out = sampler(lambda x, p: x / p.alpha if p.sigma == 0 else 0.4 + 0 * x, x, path, None)
    assert out.dtype == np.float32
    assert abs(out - 0.4).max() < 1e-4  # 6e-8, times levels of 1000


def test_refusals():
    with pytest.raises(DifftoolError, match="ipndm takes order 1, 2, 3 or 4, got 5"):
        IPNDM(5)
    with pytest.raises(DifftoolError, match="ipndm takes coefficients uniform or published, got 'x'"):
        IPNDM(coefficients="x")
    with pytest.raises(DifftoolError, match="pndm takes begin prk or plms, got 'euler'"):
        PNDM("euler")
