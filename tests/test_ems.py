"""Empirical model statistics: in closed form for Gaussians, by automatic differentiation for mixtures."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from exact import ExactNetwork, mixture

from difftool.errors import DifftoolError
from difftool.grids import HalfLogSNR
from difftool.models import GaussianMixture, NetworkModel
from difftool.samplers import DPMSolverV3
from difftool.samplers.adams import exponential_adams
from difftool.samplers.statistics import Curve
from difftool.sampling import sample
from difftool.schedules import Path, ScaledLinear, VPLinear
from difftool.study import reference
from difftool.study.ems import model_statistics, statistics_of
from difftool.zoo import eight_gaussians


def test_gaussian_data():
    """l = 1 / (1 + v e^(2 lambda)), f = -mu l in every element, so that s is l' / l = -2 (1 - l) but for the ridge."""
    means = torch.tensor([[0.3, -1.2, 0.5]])
    model = GaussianMixture(means, 0.4)
    data = model.draw(40, seed=3)
    made = model_statistics(model, data, points=200)
    u, linear = np.array(made.half_log_snr), np.array(made.l)
    assert (u[0], u[-1]) == pytest.approx((-math.log(999), -math.log(0.002)), abs=0.05)
    np.testing.assert_allclose(linear, 1 / (1 + 0.4 * np.exp(2 * u)), atol=1e-9)
    square = float(means.square().mean()) * linear**2
    s = -2 * (1 - linear) * square / (square + 1e-4 * float(data.square().mean()))
    np.testing.assert_allclose(made.s, s, atol=0.02)  # the slope of l is that of a curve through points 0.07 apart
    assert made.affine


def least_squares(model, data, noise, made, i, bias):
    """s and b at the i-th point by numpy, on f and its differences along exact steps of the probability flow."""
    schedule, h, u = VPLinear(), 1e-3, made.half_log_snr[i]
    curve = Curve(made.half_log_snr, made.l)
    at = [schedule.at(schedule.t_at_half_log_snr(v)) for v in (u, u - h, u + h)]
    x = at[0].alpha * data + at[0].sigma * noise
    f = []
    for p, v in zip(at, (u, u - h, u + h), strict=True):
        y = x if p == at[0] else reference(model, x, Path(schedule, (at[0].t, p.t))).x
        f.append(((1 - curve(v)) * y / p.alpha - model.x0(y, p)).flatten().numpy())
    columns = np.stack([f[0], np.ones_like(f[0])][: 1 + bias], 1)
    ridge = [math.sqrt(1e-4 * float(data.square().sum())), 0.0][: 1 + bias]
    if bias:  # the ridge is on s alone
        columns[:, 0] -= f[0].mean()
    wide, slope = np.vstack([columns, ridge]), np.append((f[2] - f[1]) / (2 * h), 0.0)
    fit = np.linalg.lstsq(wide, slope, rcond=None)[0]
    return (fit[0], fit[1] - fit[0] * f[0].mean()) if bias else (fit[0], 0.0)


@pytest.mark.parametrize("bias", [False, True])
def test_s_and_b_are_a_fit(bias):
    model = mixture(3, components=4, shape=(2,))
    data = model.draw(400, seed=5).double()
    made = model_statistics(model, data, points=5, level_min=0.1, level_max=5.0, bias=bias, seed=7)
    noise = torch.randn(data.shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    for i in (1, 2, 3):
        s, b = least_squares(model, data, noise, made, i, bias)
        assert (made.s[i], made.b[i]) == pytest.approx((s, b), abs=2e-3)  # differences over 0.04 in lambda
    assert made.affine != bias


def test_l_is_the_mean_of_the_jacobians_diagonal():
    """Along the same random signs, whose square is 1 and whose products vanish in the mean."""
    model = mixture(1, components=5, shape=(3,))
    data = model.draw(300, seed=2).double()
    made = model_statistics(model, data, points=5, level_min=0.05, level_max=5.0, seed=4)
    g = torch.Generator().manual_seed(4)
    noise, signs = (torch.randn(data.shape, generator=g, dtype=torch.float64) for _ in range(2))
    signs = signs.sign()
    for u, linear in zip(made.half_log_snr, made.l, strict=True):
        p = VPLinear().at(VPLinear().t_at_half_log_snr(u))
        x = p.alpha * data + p.sigma * noise
        jacobian = torch.func.vmap(torch.func.jacrev(lambda v, p=p: model.x0(v[None], p)[0]))(x)
        exact = 1 - p.alpha * float(torch.einsum("bi,bij,bj->", signs, jacobian, signs)) / x.numel()
        assert linear == pytest.approx(exact, abs=5e-3)  # differences over a tenth of the noise


def test_networks_give_the_statistics_of_their_own_samples():
    exact = GaussianMixture(torch.tensor([[0.3, -1.2, 0.5]]), 0.4)
    network = ExactNetwork(exact, "eps")
    model = NetworkModel(network, ScaledLinear(), "eps", time=network.number, shape=(3,))
    made = model_statistics(model, points=4, count=6)
    top = ScaledLinear().level(1.0)
    assert made.half_log_snr[0] == pytest.approx(-math.log(top), abs=0.05)  # not above what it was trained on
    linear = 1 / (1 + 0.4 * np.exp(2 * np.array(made.half_log_snr)))
    np.testing.assert_allclose(made.l, linear, atol=1e-6)
    model.shape = None
    with pytest.raises(DifftoolError, match="does not define the shape of its samples; pass data"):
        model_statistics(model, points=4, count=6)


def test_they_help():
    """Six steps on eight Gaussians on the half-log-SNR grid, far from where DPM-Solver++ ends."""
    model, schedule, grid = eight_gaussians(), VPLinear(), HalfLogSNR(level_min=0.01)
    fitted = statistics_of("eight-gaussians", points=60, count=512)
    z = torch.randn(200, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = z * schedule.at(1.0).sigma
    exact = reference(model, x, Path(schedule, (1.0, 0.0))).x

    def median(sampler):
        out = sample(model, sampler, x=x, steps=6, grid=grid, schedule=schedule)
        return float((out - exact).square().mean(1).sqrt().median())

    assert median(DPMSolverV3(statistics=fitted)) < 0.3 * median(exponential_adams(3))


def test_refusals():
    model = GaussianMixture(torch.zeros(1, 2), 1.0)
    with pytest.raises(DifftoolError, match=r"points from 2 to 10000 \(a whole number\), got 1"):
        model_statistics(model, points=1, count=5)
    with pytest.raises(DifftoolError, match=r"data of shape \(B, \*\(2,\)\), got \(5, 3\)"):
        model_statistics(model, torch.zeros(5, 3))
    with pytest.raises(DifftoolError, match="0 <= seed < 2"):
        model_statistics(model, seed=2**64)
    with pytest.raises(DifftoolError, match=r"0 < level_min < level_max <= 959\.8"):
        model_statistics(model, level_min=5.0, level_max=2.0)
