"""Every registered sampler held to its contract, and wrong samplers rejected by it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
import torch
from registered import ONE_EACH, SAMPLERS, slow
from wrong_samplers import ancestral

from difftool.checks import check_sampler
from difftool.checks.orders import global_order
from difftool.checks.sampler import findings
from difftool.errors import DifftoolError
from difftool.names.registry import registry
from difftool.names.specs import make, parse
from difftool.samplers import (
    DDIM,
    DDPM,
    Adams,
    AdaptiveODE,
    AnnealedLangevin,
    EulerMaruyama,
    FlowABM,
    Heun,
    PredictorCorrector,
    Sampler,
    eps_of,
)
from difftool.sampling import prepare, sample
from difftool.schedules import VE, Cosine, Flow, VPLinear


def test_everything_registered_is_held_to_the_contract():
    built_in = {name for name, entry in registry().axis("samplers").items() if entry.origin.startswith("difftool ")}
    assert built_in == {parse(spec)[0] for spec in SAMPLERS}


EVERY_DAY = ("ddim", "heun", "dpmpp-2m-sde", "unipc", "euler-a", "dpm-adaptive")


@pytest.mark.parametrize("spec", [*EVERY_DAY, *slow(*(s for s in SAMPLERS if s not in EVERY_DAY))])
def test_contract(spec):
    for finding in check_sampler(
        make("samplers", spec), patience=0.5 if spec in ONE_EACH and spec not in EVERY_DAY else 0.0
    ):
        assert finding.ok, finding


# --- deliberately wrong, each in one thing ---------------------------------------------------------------------------


@dataclass(frozen=True)
class WrongSigma(Sampler):
    """DDIM with sigma_t where sigma_s belongs."""

    accuracy = 1

    def __call__(self, model, x, path, noise):
        for now, nxt in pairwise(path):
            x0 = model(x, now)
            x = nxt.alpha * x0 + now.sigma * eps_of(x, x0, now)
        return x


@dataclass(frozen=True)
class UniformCoefficients(Sampler):
    """Adams-Bashforth 2 with the coefficients of a uniform grid, on grids that are not."""

    accuracy = 2

    @property
    def divides_by_alpha(self):
        return True

    def __call__(self, model, x, path, noise):
        old = None
        for now, nxt in pairwise(path):
            eps = eps_of(x, model(x, now), now)
            slope = eps if old is None else 1.5 * eps - 0.5 * old
            x = nxt.alpha * (x / now.alpha + (nxt.level - now.level) * slope)
            old = eps
        return x


@dataclass(frozen=True)
class ForgottenStartUp(Sampler):
    """Adams-Bashforth 2 whose first step behaves as if the slope before it had been zero."""

    accuracy = 2

    def __call__(self, model, x, path, noise):
        old, h_old = 0.0 * x, None
        for now, nxt in pairwise(path):
            x0 = model(x, now)
            d, h = eps_of(x, x0, now) - x0, nxt.flow - now.flow
            w = h / (2 * (h_old or h))
            x = (nxt.alpha + nxt.sigma) * (x / (now.alpha + now.sigma) + h * ((1 + w) * d - w * old))
            old, h_old = d, h
        return x


@dataclass(frozen=True)
class TooLittleNoise(Sampler):
    """DDPM with nine tenths of its noise."""

    weak_order = 1

    @property
    def stochastic(self):
        return True

    def __call__(self, model, x, path, noise):
        for now, nxt in pairwise(path):
            x = ancestral(x, model(x, now), now, nxt, noise(now, nxt), factor=0.9)
        return x


@dataclass(frozen=True)
class Undeclared(Sampler):
    """Draws noise and does not say so, so that its weak order would go unmeasured."""

    weak_order = 2

    def __call__(self, model, x, path, noise):
        return DDPM()(model, x, path, noise)


@dataclass(frozen=True)
class Stateful(DDIM):
    """Remembers how often it was called."""

    seen: list = field(default_factory=list)

    def __call__(self, model, x, path, noise):
        self.seen.append(1)
        return super().__call__(model, x, path, noise) * (1 + 1e-3 * len(self.seen))


@dataclass(frozen=True)
class Mixing(DDIM):
    """Pulls every sample towards the mean of its batch."""

    def __call__(self, model, x, path, noise):
        x = super().__call__(model, x, path, noise)
        return 0.9 * x + 0.1 * x.mean(0, keepdim=True)


@dataclass(frozen=True)
class TwoFaced(DDIM):
    """Does one thing to symbols and another to tensors."""

    def __call__(self, model, x, path, noise):
        factor = 1.01 if isinstance(x, torch.Tensor) else 1.0
        return factor * super().__call__(model, x, path, noise)


@dataclass(frozen=True)
class Spendthrift(DDIM):
    """Evaluates twice and says once; its own step size depends on the state, so there is no plan to count on."""

    def __call__(self, model, x, path, noise):
        for i, (now, _) in enumerate(pairwise(path)):
            model(x * (1 + 0 * x.mean()), now)
            x = super().__call__(model, x, path[i : i + 2], noise)
        return x


@dataclass(frozen=True)
class Exploding(DDIM):
    """Divides by alpha without saying so."""

    def __call__(self, model, x, path, noise):
        return super().__call__(model, x * (path[0].alpha / path[0].alpha), path, noise)


@dataclass(frozen=True)
class OneWay(Sampler):
    """DDIM that takes a root of what only falls downwards, and does not say so."""

    accuracy = 1

    def __call__(self, model, x, path, noise):
        for now, nxt in pairwise(path):
            x0 = model(x, now)
            x = nxt.alpha * x0 + nxt.sigma * eps_of(x, x0, now) + 0.0 * math.sqrt(now.t - nxt.t) * x
        return x


@dataclass(frozen=True)
class Clamped(Sampler):
    """DDIM with a clamp that changes nothing but that there is no plan, and with claims that it does not keep."""

    accuracy = 4
    weak_order = 2
    noisy: bool = False

    @property
    def stochastic(self):
        return self.noisy

    def __call__(self, model, x, path, noise):
        for now, nxt in pairwise(path):
            x0 = model(x, now).clamp(-1e6, 1e6)
            x = nxt.alpha * x0 + nxt.sigma * (noise(now, nxt) if self.noisy else eps_of(x, x0, now))
        return x


WRONG: list[tuple[Sampler, str]] = [
    (WrongSigma(), "order of one step"),
    (UniformCoefficients(), "order of one step"),
    (ForgottenStartUp(), "order over a run"),
    (TooLittleNoise(), "weak order"),
    (TooLittleNoise(), "point mass"),
    (Stateful(), "same numbers twice"),
    (Mixing(), "batches"),
    (TwoFaced(), "plan = plain loop"),
    (Spendthrift(), "network evaluations"),
    (Undeclared(), "noise"),
    (OneWay(), "upwards"),
    (Clamped(), "order over a run"),
    (Clamped(noisy=True), "weak order"),
]


@pytest.mark.parametrize(("wrong", "law"), WRONG, ids=lambda v: v if isinstance(v, str) else type(v).__name__)
def test_the_contract_rejects(wrong, law):
    assert any(law in finding.check and not finding.ok for finding in findings(wrong))


def test_a_loop_without_a_plan_may_keep_its_claims():
    @dataclass(frozen=True)
    class Honest(Clamped):
        accuracy = 1
        weak_order = None

    found = {finding.check: finding for finding in check_sampler(Honest(), 0.0)}
    assert all(finding.ok for finding in found.values())
    assert "`.clamp`" in found["plan"].measured
    assert float(found["order over a run"].measured) == pytest.approx(1, abs=0.15)


def test_a_loop_that_writes_into_its_state_leaves_the_callers_alone():
    @dataclass(frozen=True)
    class InPlace(Sampler):
        def __call__(self, model, x, path, noise):
            return x.mul_(0.5)

    x = torch.ones(2, 3)
    assert float(sample(gaussian_of(3), InPlace(), x=x, steps=2).max()) == 0.5
    assert bool((x == 1).all())


def gaussian_of(size):
    from difftool.models import GaussianMixture

    return GaussianMixture(torch.zeros(1, size), 1.0)


def test_the_contract_reports_a_crash_as_a_finding():
    failed = [finding for finding in check_sampler(Exploding(), 0.0) if not finding.ok]
    assert any("ZeroDivisionError" in finding.measured for finding in failed)


# --- what has no plan ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class InPlace(Sampler):
    """DDIM that looks at its numbers, so that it has no plan, and writes into the state that it is given."""

    accuracy = 1

    def __call__(self, model, x, path, noise):
        for now, nxt in pairwise(path):
            assert float(x.abs().max()) >= 0
            x0 = model(x, now)
            eps = eps_of(x, x0, now)
            x.mul_(0).add_(nxt.alpha * x0 + nxt.sigma * eps)
        return x


def test_a_loop_that_writes_into_its_state_spoils_no_measure_of_another():
    for sampler in (InPlace(), DDIM(), InPlace()):
        assert global_order(sampler) == pytest.approx(1.0, abs=0.02)


MEAN = torch.linspace(-1, 1, 64, dtype=torch.float64)
VARIANCE = torch.linspace(0.05, 1.0, 64, dtype=torch.float64)


def gaussian():
    from difftool.models import GaussianMixture

    return GaussianMixture(MEAN[None], VARIANCE[None])


@pytest.mark.parametrize("schedule", [VPLinear(), Cosine(), VE(), Flow()], ids=str)
@pytest.mark.parametrize(
    "method", ["dopri5", "dopri8", "bosh3", "adaptive-heun", "scipy-rk45", "scipy-dop853", "scipy-lsoda"]
)
def test_adaptive_solvers_follow_the_exact_flow(method, schedule):
    """On Gaussian data x_b = alpha_b mu + sqrt(v_b / v_a) (x_a - alpha_a mu), with v = alpha^2 var + sigma^2."""
    end = schedule.t_at_level(0.05)
    x = torch.randn(3, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    tolerance = 1e-5 if method in ("adaptive-heun", "bosh3") else 1e-7
    sampler = AdaptiveODE(method=method, rtol=tolerance, atol=tolerance)
    job = prepare(
        gaussian(), sampler, shape=(3, 64), grid=(schedule.t_start(), end), schedule=schedule, dtype=torch.float64
    )
    a, b = job.path[0], job.path[-1]
    va, vb = (p.alpha**2 * VARIANCE + p.sigma**2 for p in (a, b))
    exact = b.alpha * MEAN + (vb / va).sqrt() * (x * a.sigma - a.alpha * MEAN)
    out = job.batch(0, 3, x * a.sigma)
    assert float((out - exact).abs().max()) < 100 * tolerance  # the local tolerance adds up over the steps
    assert job.nfe > 10


def test_adaptive_solvers_end_at_clean_data():
    """From N(0, sigma^2) to sigma = 0 by default, near what Heun gives in 2000 steps."""
    x = torch.randn(4, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    fine = sample(gaussian(), Heun(), x=x, steps=2000, schedule=Flow())
    for method in ("dopri5", "scipy-dop853"):
        out = sample(gaussian(), AdaptiveODE(method=method, rtol=1e-7, atol=1e-7), x=x, schedule=Flow())
        assert torch.allclose(out, fine, atol=1e-4)  # the last step, from level 1e-3, is the mean


@pytest.mark.parametrize("step_size", ["sample", "batch", "level"])
@pytest.mark.parametrize("predictor", [DDIM(), EulerMaruyama()], ids=str)
def test_the_predictor_corrector_has_the_right_law(step_size, predictor):
    """Means and variances in 64 dimensions.

    Langevin steps of size h widen a direction of variance v by about h / (2 v), with h = 2 snr^2 times about 0.33 by
    norms here: 2% of the smallest v at snr = 0.05, and some more because h varies. The sampling error of 4000 samples
    is 2.2% of a variance, the largest of 64 about 7%.
    """
    sampler = PredictorCorrector(predictor=predictor, snr=0.05, step_size=step_size)
    x = sample(gaussian(), sampler, shape=(4000, 64), steps=60, schedule=VPLinear(), seed=3).double()
    assert float(((x.mean(0) - MEAN) / VARIANCE.sqrt()).abs().max()) < 0.1
    assert float((x.var(0) / VARIANCE - 1).abs().max()) < 0.14


def test_evaluations_with_any_predictor():
    """The predictor is called step by step, so that its own evaluations at the start of a path come every time."""
    for predictor in (Heun(), DDIM()):
        job = prepare(gaussian(), PredictorCorrector(predictor=predictor), shape=(2, 64), steps=4)
        declared = job.nfe
        job.batch(0, 2)
        assert job.nfe == declared


@pytest.mark.parametrize("step_size", ["sample", "batch"])
def test_the_step_size_by_norms(step_size):
    """x + h score + sqrt(2 h) z with h = 2 (snr |z| / |score|)^2, norms of each sample or batch means."""
    p = VPLinear().at(0.4)
    g = torch.Generator().manual_seed(0)
    x, z = (torch.randn(5, 64, dtype=torch.float64, generator=g) for _ in range(2))
    model = gaussian()
    score = model.score(x, p)
    norms = [v.norm(dim=1) if step_size == "sample" else v.norm(dim=1).mean() for v in (z, score)]
    h = (2 * (0.16 * norms[0] / norms[1]) ** 2).reshape(-1, 1)
    expected = x + h * score + (2 * h).sqrt() * z
    out = PredictorCorrector(snr=0.16, step_size=step_size).correct(model.bind(VPLinear()), x, p, lambda now: z)
    assert torch.allclose(out, expected, rtol=1e-12)


def test_langevin_steps_widen_the_law_as_they_must():
    """One direction, level rule: w <- (1 - h/v)^2 w + 2 h per step, whose fixed point is v / (1 - h / (2 v))."""
    from difftool.plan import trace
    from difftool.plan.analysis import Gaussian, output_law
    from difftool.schedules import Path

    sampler = AnnealedLangevin(corrections=400, snr=0.3, step_size="level")
    path = Path(VE(), (1.0, 0.9999999))
    h = 2 * (0.3 * 1.0) ** 2
    v = 0.5 + 1.0
    law = output_law(trace(sampler, path), Gaussian.of(0.0, 0.5))
    assert law.variance[0] == pytest.approx(v / (1 - h / (2 * v)), rel=1e-6)


def test_a_predictor_takes_single_steps():
    for predictor in (FlowABM(), Adams(start="runge-kutta")):
        with pytest.raises(DifftoolError, match="predictor-corrector takes a single-step predictor"):
            PredictorCorrector(predictor=predictor)


def test_a_sampler_is_called_what_it_is_registered_as():
    for name, entry in registry().axis("samplers").items():
        if isinstance(target := entry.load(), type) and entry.origin.startswith("difftool "):
            assert target.name == name


def test_declared_claims_are_complete():
    for spec in SAMPLERS:
        sampler = make("samplers", spec)
        assert sampler.reference, spec
        if (
            sampler.stochastic
            and sampler.evaluations is not None
            and "langevin" not in spec
            and "corrector" not in spec
        ):
            assert sampler.weak_order is not None, spec  # 0: consistency sampling has no order in the steps
        if not sampler.stochastic and not sampler.adaptive:
            assert sampler.accuracy or sampler.global_order, spec
