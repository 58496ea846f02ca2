"""Schedules: the closed-form marginal, by other ways of saying it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from registered import SCHEDULES, slow

from difftool.checks import check_schedule
from difftool.errors import DifftoolError
from difftool.schedules import ALPHA_MIN, VE, Cosine, DDPMLinear, Flow, Laplace, Path, Schedule, VPLinear

schedules = st.sampled_from(SCHEDULES)
fractions = st.floats(0.01, 0.99)


@pytest.mark.parametrize("patience", [0.0, *slow(2.0)])
@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_contract(schedule, patience):
    for finding in check_schedule(schedule, patience):
        assert finding.ok, finding


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_ends_are_exact(schedule, dtype):
    low, high = schedule.domain
    ends = torch.tensor([low, high], dtype=dtype)
    alpha, sigma = schedule.alpha(ends), schedule.sigma(ends)
    assert alpha.dtype == sigma.dtype == dtype
    assert alpha[0] == 1
    assert sigma[0] == 0
    if isinstance(schedule, (Cosine, Flow)):
        assert alpha[1] == 0
        assert sigma[1] == 1


@given(schedules, st.lists(fractions, min_size=2, max_size=20, unique=True))
def test_iterated_forward_kernels_are_the_closed_form(schedule, places):
    """x_b | x_a = (alpha_b / alpha_a) x_a + sqrt(sigma_b^2 - (alpha_b sigma_a / alpha_a)^2) eps, from clean data on."""
    low, high = schedule.domain
    alpha, variance = 1.0, 0.0
    before = schedule.at(low)
    for u in sorted(places):
        p = schedule.at(low + u * (high - low))
        scale = p.alpha / before.alpha
        alpha, variance = scale * alpha, scale**2 * variance + (p.sigma**2 - (scale * before.sigma) ** 2)
        before = p
    assert alpha == pytest.approx(before.alpha, rel=1e-12)
    assert math.sqrt(variance) == pytest.approx(before.sigma, rel=1e-12)


def test_a_thousand_ddpm_kernels():
    """The chain of the paper, sqrt(1 - beta) x + sqrt(beta) eps, from the betas alone."""
    schedule = DDPMLinear()
    alpha, variance = 1.0, 0.0
    for i, beta in enumerate(np.linspace(1e-4, 0.02, 1000)):
        alpha, variance = math.sqrt(1 - beta) * alpha, (1 - beta) * variance + beta
        p = schedule.at((i + 1) / 1000)
        assert p.alpha == pytest.approx(alpha, rel=1e-12)
        assert p.sigma == pytest.approx(math.sqrt(variance), rel=1e-12)


@given(schedules, st.tuples(fractions, fractions).filter(lambda u: abs(u[0] - u[1]) > 1e-3))
def test_drift_and_diffusion_integrate_to_the_marginal(schedule, places):
    """d log(alpha) = f dt and d (sigma / alpha)^2 = g^2 / alpha^2 dt, by Gauss's rule between any two times."""
    low, high = schedule.domain
    a, b = sorted(places)
    # the rates of a table jump at its entries, so the pieces end there
    cuts = np.unique([a, *(c for c in np.arange(1001) / 1000 if a < c < b), b]) * (high - low) + low
    nodes, weights = np.polynomial.legendre.leggauss(5)
    half = np.diff(cuts)[:, None] / 2
    t, w = half * nodes + (cuts[:-1] + cuts[1:])[:, None] / 2, half * weights
    f = schedule.drift(t)
    g2 = schedule.diffusion2(t) / schedule.alpha(t) ** 2
    a, b = cuts[0], cuts[-1]
    assert (w * f).sum() == pytest.approx(math.log(schedule.alpha(b) / schedule.alpha(a)), rel=1e-9, abs=1e-12)
    assert (w * g2).sum() == pytest.approx(schedule.level(b) ** 2 - schedule.level(a) ** 2, rel=1e-7)


@pytest.mark.parametrize("length", [100, 200, 400])
def test_the_table_tends_to_its_continuous_limit(length):
    """ddpm-linear with betas beta / length tends to vp-linear, with an error that falls as 1 / length."""
    limit = VPLinear(0.1, 20.0)
    times = np.linspace(0.1, 1.0, 19)

    def gap(n):
        table = DDPMLinear(beta_min=0.1 / n, beta_max=20.0 / n, length=n)
        return abs(table.half_log_snr(times) - limit.half_log_snr(times)).max()

    assert gap(2 * length) == pytest.approx(gap(length) / 2, rel=0.15)


@given(schedules, st.floats(0.0, 1.0))
def test_add_noise_is_the_point(schedule, u):
    low, high = schedule.domain
    t = low + u * (high - low)
    x0, eps = torch.ones(3, 2, 4, 4, dtype=torch.float64), 2 * torch.ones(3, 2, 4, 4, dtype=torch.float64)
    p = schedule.at(t)
    whole = schedule.add_noise(x0, t, eps)
    each = schedule.add_noise(x0, torch.full((3,), t, dtype=torch.float64), eps)
    assert torch.allclose(whole, torch.full_like(whole, p.alpha + 2 * p.sigma))
    assert torch.allclose(whole, each)


@given(schedules)
def test_start_rule(schedule):
    safe = schedule.t_start(divides_by_alpha=True)
    assert schedule.alpha(safe) >= ALPHA_MIN
    if safe < schedule.domain[1]:
        assert schedule.alpha(min(safe + 1e-6, schedule.domain[1])) < ALPHA_MIN
    assert schedule.t_start() == schedule.domain[1]


@given(schedules, st.sampled_from([0.0, 1e-6, 0.002, 0.5, 3.0, 9.0]))
def test_level_and_flow_time_invert(schedule, level):
    assert schedule.level(schedule.t_at_level(level)) == pytest.approx(level, rel=1e-6)
    assert schedule.at(schedule.t_at_flow(level / (1 + level))).flow == pytest.approx(level / (1 + level), rel=1e-6)


def test_infinite_level_is_the_end():
    assert Flow().t_at_level(math.inf) == 1.0
    assert Flow().t_at_flow(1.0) == 1.0
    assert Cosine().at(1.0).level == math.inf
    assert Cosine().at(1.0).half_log_snr == -math.inf
    assert Cosine().at(0.0).half_log_snr == math.inf


@dataclass(frozen=True)
class OnlyTwo(Schedule):
    """The cosine schedule of Nichol & Dhariwal without any closed form but the two functions."""

    def alpha(self, t):
        return Cosine().alpha(t)

    def sigma(self, t):
        return Cosine().sigma(t)


@given(st.floats(0.01, 0.95))
def test_defaults_follow_from_the_two_functions(t):
    ours, closed = OnlyTwo(), Cosine()
    assert ours.drift(t) == pytest.approx(closed.drift(t), rel=1e-8)
    assert ours.diffusion2(t) == pytest.approx(closed.diffusion2(t), rel=1e-8)
    value = closed.half_log_snr(t)
    assert ours.t_at_half_log_snr(value) == pytest.approx(t, abs=1e-12)
    array = torch.tensor([value, value / 2], dtype=torch.float64)
    assert ours.t_at_half_log_snr(array)[0].item() == pytest.approx(t, abs=1e-12)
    assert ours.drift(torch.tensor([t], dtype=torch.float32)).item() == pytest.approx(closed.drift(t), rel=1e-4)


@dataclass(frozen=True)
class OnlyTwoLinear(Schedule):
    """vp-linear without any closed form but the two functions: smooth up to both ends of its domain."""

    def alpha(self, t):
        return VPLinear().alpha(t)

    def sigma(self, t):
        return VPLinear().sigma(t)


@pytest.mark.parametrize("t", [0.0, 1e-5, 2e-4, 5e-4, 0.9995, 0.9999, 1.0])
def test_derivatives_at_the_ends_stay_in_the_domain(t):
    assert OnlyTwoLinear().drift(t) == pytest.approx(VPLinear().drift(t), rel=1e-7)
    assert OnlyTwoLinear().diffusion2(t) == pytest.approx(VPLinear().diffusion2(t), rel=1e-7)
    array = OnlyTwoLinear().drift(np.array([t, 0.5]))
    assert array == pytest.approx(VPLinear().drift(np.array([t, 0.5])), rel=1e-7)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_rates_at_the_ends_and_in_single_precision(schedule):
    """Finite and not negative at the clean end; at alpha = 0 the drift is -inf, the diffusion +inf, never NaN."""
    low, high = schedule.domain
    for t in (torch.tensor([low, high]), np.array([low, high], dtype=np.float32)):
        with np.errstate(divide="ignore"):
            f, g2 = schedule.drift(t), schedule.diffusion2(t)
        assert f.dtype == g2.dtype == t.dtype == schedule.sigma(t).dtype
        assert f[0] <= 0 <= g2[0]
        if not isinstance(schedule, Laplace):  # (2 t)^(b - 1) is infinite there
            assert -1e30 < f[0] <= g2[0] < 1e30
        assert f[1] <= 0 <= g2[1]


@dataclass(frozen=True)
class WrongDiffusion(VPLinear):
    """g^2 of the variance-exploding formula on a variance-preserving schedule."""

    def diffusion2(self, t):
        return 2 * self.sigma(t) ** 2 * (self.beta_min + t * (self.beta_max - self.beta_min)) / 2


@dataclass(frozen=True)
class Cancelling(VPLinear):
    """sigma by 1 - alpha^2, which loses every digit in float32 near t = 0."""

    def sigma(self, t):
        square = 1 - self.alpha(t) ** 2
        return math.sqrt(square) if isinstance(square, float) else square**0.5


@dataclass(frozen=True)
class Upside(Flow):
    """Less noise at larger t."""

    def alpha(self, t):
        return t * 1.0

    def sigma(self, t):
        return 1.0 - t


@pytest.mark.parametrize("wrong", [WrongDiffusion(), Cancelling(), Upside()], ids=str)
def test_the_contract_rejects(wrong):
    assert not all(finding.ok for finding in check_schedule(wrong))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: VPLinear(beta_min=0.0), "beta_min"),
        (lambda: VPLinear(beta_min=3.0, beta_max=1.0), "beta_max=1.0"),
        (lambda: Cosine(s=-1.0), "s >= 0"),
        (lambda: VE(sigma_max=0.0), "sigma_max > 0"),
        (lambda: DDPMLinear(length=1), "length from 2 to 100000"),
        (lambda: Path(Flow(), [1.0, float("nan"), 0.0]), "time 1 of the grid is NaN"),
        (lambda: Path(Flow(), [1.0, 0.2, 0.5]), "not strictly monotone"),
        (lambda: Path(Flow(), [0.5, 0.5]), "not strictly monotone"),
        (lambda: Path(Flow(), [1.5, 0.0]), "[0, 1]"),
        (lambda: Path(Flow(), []), "at least one"),
        (lambda: Path(Flow(), ["a"]), "numbers"),
    ],
)
def test_bad_input(make, words):
    with pytest.raises(DifftoolError) as caught:
        make()
    assert words in str(caught.value)


def test_paths_are_sequences_of_points():
    path = Path(Flow(), (1.0, 0.5, 0.0))
    assert path[1] == Flow().at(0.5)
    assert len(path[1:]) == 2
    assert path[1:].schedule == Flow()
    assert path.downwards
    assert not Path(Flow(), (0.0, 1.0)).downwards
    assert path.at_half_log_snr(0.0).alpha == pytest.approx(0.5)
