"""References, errors, distances of laws and sweeps, each against a second way of getting the same figure."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path as File

import numpy as np
import pytest
import torch
from exact import ExactNetwork, mixture, randn, seeds
from hypothesis import given, settings
from hypothesis import strategies as st
from registered import slow
from scipy.special import ndtr

from difftool.errors import DifftoolError
from difftool.grids import Explicit, FlowGrid, Karras
from difftool.metrics import SlicedDistance
from difftool.models import GaussianMixture, NetworkModel
from difftool.names.specs import make
from difftool.plan import trace
from difftool.plan.analysis import Gaussian, exact_map, output_map
from difftool.samplers import DDIM, DDPM
from difftool.samplers.adaptive import AdaptiveODE
from difftool.sampling import make_path, sample, steps_for_nfe, steps_within
from difftool.schedules import VE, Cosine, DDPMLinear, Flow, Path, VPLinear
from difftool.study import References, SampleLaw, errors, reference, sweep

SCHEDULES = [VPLinear(), DDPMLinear(), Cosine(), VE(), Flow()]
schedules = st.sampled_from(SCHEDULES)
downwards = st.booleans()


def ends(schedule, down=True, upper=1.0, lower=0.0):
    """A path of two points: fractions of the domain."""
    low, high = schedule.domain
    times = [low + upper * (high - low), low + lower * (high - low)]
    return Path(schedule, times if down else times[::-1])


def states(path, seed, *shape):
    return math.hypot(path[0].alpha, path[0].sigma) * randn(seed, *shape)


# ---- errors ----------------------------------------------------------------------------------------------------------
@given(seeds, st.integers(1, 9), st.integers(1, 5), st.floats(0.1, 10))
def test_errors_are_norms_over_elements_then_figures_over_samples(seed, n, d, scale):
    ref, away = randn(seed, n, d, 1), randn(seed + 1, n, d, 1)
    e = errors(ref + away, ref)
    each = np.linalg.norm(away.numpy().reshape(n, d), axis=1) / math.sqrt(d)
    np.testing.assert_allclose(e.per_sample, each, rtol=1e-9)
    assert e.rms == pytest.approx(math.sqrt(float((away**2).mean())), rel=1e-9)
    assert (e.median, e.max) == pytest.approx((np.median(each), each.max()), rel=1e-9)
    assert errors(ref, ref).max == 0
    assert errors(ref + scale * away, ref).median == pytest.approx(scale * e.median, rel=1e-9)


def test_a_sample_that_is_lost_counts_as_infinitely_far():
    ref = randn(0, 5, 2)
    out = ref + 0.1
    out[3, 1] = math.nan
    e = errors(out, ref)
    assert math.isinf(e.rms) and math.isinf(e.max) and e.median == pytest.approx(0.1)
    out[4] = -math.inf
    assert int(torch.isinf(errors(out, ref).per_sample).sum()) == 2


@pytest.mark.parametrize(
    ("out", "ref", "says"),
    [
        (randn(0, 3, 2), randn(0, 2, 2), r"shape \(3, 2\), the reference \(2, 2\)"),
        (randn(0, 0, 2), randn(0, 0, 2), "no sample"),
        (randn(0, 2, 2), randn(0, 2, 2) / 0, "the reference is not finite"),
    ],
)
def test_errors_refuse_what_does_not_fit(out, ref, says):
    with pytest.raises(DifftoolError, match=says):
        errors(out, ref)


# ---- references ------------------------------------------------------------------------------------------------------
@pytest.mark.slow
@given(seeds, schedules, downwards)
@settings(max_examples=15)
def test_a_gaussian_in_closed_form_is_the_same_gaussian_said_twice(seed, schedule, down):
    """Two equal components are one Gaussian, but are integrated."""
    one = mixture(seed, components=1, kind="per element")
    two = GaussianMixture(one.means.repeat(2, 1), one.variance)
    path = ends(schedule, down)
    x = states(path, seed, 4, 3)
    closed, integrated = reference(one, x, path), reference(two, x, path)
    assert (closed.how, integrated.how, closed.error.max) == ("exact", "dop853", 0)
    torch.testing.assert_close(integrated.x, closed.x, rtol=1e-8, atol=1e-8)


@given(seeds, schedules, downwards)
@settings(max_examples=15)
def test_in_one_dimension_quantiles_go_to_quantiles(seed, schedule, down):
    data = mixture(seed, kind="per component", shape=(1,))
    path = ends(schedule, down)

    def rank(x, p):
        centres, std = p.alpha * data.means[:, 0], (p.alpha**2 * data.variance[:, 0] + p.sigma**2).sqrt()
        return ndtr(((x - centres) / std).numpy()) @ data._log_w.exp().numpy()

    x = data.at(path[0]).draw(20, seed=seed).double()
    found = reference(data, x, path)
    np.testing.assert_allclose(rank(found.x, path[-1]), rank(x, path[0]), atol=1e-8)
    assert found.error.max < 1e-6  # of 30 times the tolerance; the flow may magnify it in a gap between components


@given(seeds, schedules)
@settings(max_examples=4)
def test_there_and_back(seed, schedule):
    data, path = mixture(seed), ends(schedule, upper=0.9)
    x = states(path, seed, 4, 3)
    back = reference(data, reference(data, x, path).x, ends(schedule, down=False, upper=0.9))
    torch.testing.assert_close(back.x, x, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("predicts", ["eps", "v", "edm", *slow("x0", "flow", "score")])
@pytest.mark.parametrize("along", [VPLinear(), *slow(Flow())])
def test_a_network_is_followed_as_its_exact_model_is(predicts, along):
    """The doubling knows nothing of the mixture but what the network says; along a foreign schedule too."""
    data = mixture(3)
    network = ExactNetwork(data, predicts)
    model = NetworkModel(network, VPLinear(), predicts, time=network.number)
    path = Path(along, [along.t_at_level(50.0), 0.0])
    x = states(path, 3, 6, 3)
    expected = reference(data, x, path)
    for tolerance in (1e-3, 1e-6):
        found = reference(model, x, path, tolerance=tolerance)
        assert found.how == "doubling" and found.error.rms <= tolerance
        assert errors(found.x, expected.x).rms <= 0.2 * tolerance  # the last change, over 2^4 - 1 if all is smooth


def test_what_has_no_density_is_followed_too():
    """One point: everything ends there. Two points: at the nearer one, by symmetry."""
    path = ends(VPLinear())
    x = states(path, 0, 6, 2)
    found = reference(GaussianMixture(torch.tensor([[0.3, -0.2]]), 0.0), x, path)
    assert found.how == "doubling"
    torch.testing.assert_close(found.x, torch.tensor([[0.3, -0.2]]).double().expand(6, 2))
    two = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    torch.testing.assert_close(reference(GaussianMixture(two, 0.0), x, path).x[:, 0], x[:, 0].sign())


def test_a_label_is_the_mixture_of_its_class():
    data, path, y = mixture(1, components=6), ends(Cosine()), torch.tensor([0, 2, -1, 1])
    x = states(path, 1, 4, 3)
    found = reference(data, x, path, cond={"label": y}).x
    for i, label in enumerate(y.tolist()):
        mask = (data.labels == label) | (label < 0)
        part = GaussianMixture(data.means[mask], data.variance, data._log_w.exp()[mask])
        torch.testing.assert_close(found[i : i + 1], reference(part, x[i : i + 1], path).x, rtol=1e-7, atol=1e-7)


def test_conditioning_that_the_model_does_not_know_is_refused():
    data = GaussianMixture(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), 0.1, labels=torch.tensor([0, 1]))
    with pytest.raises(DifftoolError, match="a mixture takes cond="):
        reference(data, torch.zeros(2, 2), Path(VPLinear(), (0.9, 0.1)), cond={"labels": torch.tensor([0, 1])})


def test_a_reference_that_is_not_reached_says_how_near_it_came():
    """A network that knows whole steps of time only."""
    data, schedule = mixture(2), VPLinear()

    def stairs(x, time):
        return data.x0(x, schedule.at(max(math.ceil(20 * float(time[0])), 1) / 20))

    model, path = NetworkModel(stairs, schedule, "x0"), ends(schedule)
    x = states(path, 2, 5, 3)
    rough = reference(model, x, path, tolerance=0.5)
    with pytest.raises(DifftoolError, match=r"move by \S+ \(RMS; .* from 32 to 64 steps, .*tolerance=1e-09") as caught:
        reference(model, x, path, tolerance=1e-9, most=64)
    change = float(str(caught.value).split("move by ")[1].split()[0])
    assert 1e-6 < change < rough.error.rms * 10


@pytest.mark.parametrize(
    ("options", "says"),
    [({"tolerance": 0.0}, "tolerance > 0"), ({"tolerance": math.nan}, "tolerance > 0"), ({"most": 8}, "most >= 32")],
)
def test_bad_options_of_a_reference(options, says):
    path = ends(VPLinear())
    with pytest.raises(DifftoolError, match=says):
        reference(mixture(), states(path, 0, 2, 3), path, **options)
    with pytest.raises(DifftoolError, match="not finite"):
        reference(mixture(), states(path, 0, 2, 3) * math.nan, path)


# ---- laws ------------------------------------------------------------------------------------------------------------
FIGURES = ["moments", "sliced", "spread"]


@pytest.mark.parametrize("figure", FIGURES)
def test_exact_samples_get_the_floor(figure):
    data = mixture(5)
    law = SampleLaw(data, 500, directions=16)
    each = [getattr(law, figure)(data.draw(500, seed=100 + i)) for i in range(20)]
    assert len({(d.floor, d.scatter) for d in each}) == 1
    # a mean of 20 and one of 5 differ by half a scatter in the root mean square; the scatter is known to a third
    assert np.mean([d.value for d in each]) == pytest.approx(each[0].floor, abs=2 * each[0].scatter)


def test_floors_of_distances_fall_as_the_root_of_the_number():
    data = mixture(5)
    for figure in ("moments", "sliced"):
        floors = [getattr(SampleLaw(data, n, directions=16), figure)(data.draw(n)).floor for n in (250, 4000)]
        assert floors[1] == pytest.approx(floors[0] / 4, rel=0.5)  # five sets each
    near, far = (SampleLaw(data, n).spread(data.draw(n)) for n in (250, 4000))
    assert (near.floor, far.floor) == pytest.approx((1, 1), abs=0.05)
    assert far.scatter < near.scatter


@given(seeds, st.floats(0.5, 2.0))
@settings(max_examples=10)
def test_moments_of_a_wider_and_shifted_gaussian(seed, scale):
    """x = m + shift + scale A z has W2^2 = |shift|^2 + (scale - 1)^2 tr(A A^T) to N(m, A A^T)."""
    data = mixture(seed)
    mean, covariance = data.moments()
    shift, z = randn(seed, 3), randn(seed + 1, 20_000, 3)
    x = mean + shift + scale * z @ torch.linalg.cholesky(covariance).T
    expected = math.sqrt(float(shift @ shift + (scale - 1) ** 2 * covariance.trace()))
    found = SampleLaw(data, 20_000).moments(x)
    assert found.value == pytest.approx(expected, abs=3 * found.floor * max(scale, 1))


def test_spread_is_the_width_around_the_centres():
    """Far apart components: noise of c times the width gives c; one distance does not see what it should."""
    data = GaussianMixture(torch.eye(4) * 9, 0.04)
    law = SampleLaw(data, 4000, directions=16)
    which = torch.arange(4000) % 4
    for width in (0.5, 1.0, 1.3):
        x = data.means[which] + 0.2 * width * randn(1, 4000, 4)
        assert law.spread(x).value == pytest.approx(width, rel=0.02)  # 16,000 normals: 0.6%
    assert law.sliced(x).value == pytest.approx(
        SlicedDistance(data.draw(100_000, seed=9), 16, 0)(x), abs=3 * law.sliced(x).scatter
    )


@pytest.mark.parametrize(
    ("x", "says"),
    [
        (randn(0, 9, 3), r"shape \(9, 3\), expected \(10, ...\) with 3 elements"),
        (randn(0, 10, 4), "with 3 elements"),
        (randn(0, 10, 3) / 0, "not finite"),
    ],
)
def test_sets_of_samples_that_do_not_fit(x, says):
    with pytest.raises(DifftoolError, match=says):
        SampleLaw(mixture(), 10).moments(x)
    with pytest.raises(DifftoolError, match="at least 2"):
        SampleLaw(mixture(), 1)


# ---- sweeps ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", ["ddim", "heun", "heun:variable=level", "heun:variable=t"])
@pytest.mark.parametrize("grid", [None, Karras()])
def test_the_most_steps_within_a_budget(name, grid):
    data, sampler = mixture(), make("samplers", name)
    for nfe in range(1, 12):
        steps = steps_within(data, sampler, nfe, grid=grid)
        path = make_path(data, sampler, steps=steps + 1, grid=grid)
        assert steps_for_nfe(data, sampler, min(nfe, 2 * steps - 1) if "heun" in name else nfe, grid=grid) == steps
        assert trace(sampler, path).nfe > nfe


def test_budgets_of_explicit_grids():
    grid = Explicit(times=(1.0, 0.5, 0.0))
    assert [steps_within(mixture(), DDIM(), nfe, grid=grid) for nfe in (1, 2, 3)] == [0, 2, 2]


@dataclass(frozen=True)
class Picky(FlowGrid):
    """As a method of order 4 does: not below four steps."""

    def between(self, schedule, steps, start, end):
        if steps < 4:
            raise DifftoolError(f"four steps at least, got {steps}")
        return super().between(schedule, steps, start, end)


def test_budgets_below_what_a_method_takes_are_refused():
    assert [steps_within(mixture(), DDIM(), nfe, grid=Picky()) for nfe in (4, 5, 9)] == [4, 5, 9]
    with pytest.raises(DifftoolError, match="four steps at least, got 3"):
        steps_within(mixture(), DDIM(), 3, grid=Picky())


def test_cells_hold_the_errors_of_the_runs():
    """On Gaussian data a run and the flow are affine maps of the start, known from the plan."""
    data = mixture(4, components=1, kind="per element")
    gaussian = Gaussian.of(data.means[0].numpy(), data.variance[0].numpy())
    z = randn(4, 30, 3)
    methods = {name: (make("samplers", name), grid) for name, grid in [("ddim", None), ("heun", Karras())]}
    cells = list(sweep(References(data, z), methods, [4, 7], schedule=DDPMLinear()))
    assert [(c.name, c.budget, c.nfe, c.steps) for c in cells] == [
        ("ddim", 4, 4, 4), ("ddim", 7, 7, 7), ("heun", 4, 3, 2), ("heun", 7, 7, 4),
    ]  # fmt: skip
    for cell in cells:
        sampler, grid = methods[cell.name]
        path = make_path(data, sampler, steps=cell.steps, grid=grid, schedule=DDPMLinear())
        plan, x = trace(sampler, path), z.numpy() * math.hypot(path[0].alpha, path[0].sigma)
        (o, g), (eo, eg) = output_map(plan, gaussian), exact_map(plan, gaussian)
        assert cell.errors.rms == pytest.approx(math.sqrt(((o + g * x - eo - eg * x) ** 2).mean()), rel=1e-9)


def test_cells_of_other_networks_and_schedules_start_where_their_runs_do():
    data, z = mixture(2), randn(2, 8, 3)
    references = References(data, z)
    for grid in (FlowGrid(), FlowGrid(start=0.7), Karras()):
        (cell,) = sweep(references, {"ddim": (DDIM(), grid)}, [6], schedule=Cosine())
        path = make_path(data, DDIM(), steps=6, grid=grid, schedule=Cosine())
        x = references.start(path)
        out = sample(data, DDIM(), x=x, steps=6, grid=grid, schedule=Cosine())
        assert cell.errors.rms == pytest.approx(errors(out, reference(data, x, path).x).rms, rel=1e-9)
    assert len(references._known) == 3


def test_adaptive_samplers_count_where_their_cost_fits():
    data, z = mixture(2), randn(2, 8, 3)
    methods = {"ode": (AdaptiveODE(), None)}
    (cell,) = sweep(References(data, z), methods, [5, 10_000])
    assert (cell.budget, cell.steps) == (10_000, 2)
    assert 5 < cell.nfe < 10_000 and cell.errors.rms < 1e-2


def test_runs_that_fail_are_cells_too():
    class Lost(GaussianMixture):
        def x0(self, x, p, **cond):
            return super().x0(x, p, **cond) / (0 if p.t < 0.5 else 1)

    data, z = mixture(2), randn(2, 8, 3)
    references = References(Lost(data.means, 0.1), z)
    path = make_path(data, DDIM(), steps=1)
    references._known[path.schedule, path.times[0], path.times[-1]] = References(data, z)(path)
    (lost,) = sweep(references, {"ddim": (DDIM(), None)}, [5])
    assert math.isinf(lost.errors.rms)
    for grid in (Explicit(times=(2.0, 0.0)), FlowGrid(start=2.0)):
        refused = list(sweep(References(data, z), {"ddim": (DDIM(), grid)}, [5]))
        assert [(c.nfe, c.errors) for c in refused] == [(None, None)] and "defined for t in [0, 1]" in refused[0].note
    with pytest.raises(DifftoolError, match=r"ddpm draws noise"):
        list(sweep(References(data, z), {"ddpm": (DDPM(), None)}, [5]))


# ---- the benchmark ---------------------------------------------------------------------------------------------------
def test_the_benchmark_says_what_the_library_says(tmp_path):
    """Its Gaussian problem against the exact map of the plan: E|error|^2 over a unit normal start."""
    script = File(__file__).parents[1] / "benchmarks" / "quality.py"
    out = tmp_path / "figures.json"
    command = [sys.executable, str(script), "ddim", "ddim:eta=1", "--problems", "gauss64", "--nfes", "5,10", "--json"]
    text = subprocess.run([*command, str(out)], check=True, capture_output=True, text=True, timeout=100).stdout
    assert "best peer" in text
    found = json.loads(out.read_text())
    k = np.arange(8)
    variance = 1 / (0.5 + k[:, None] ** 2 + k**2).ravel()
    data = Gaussian.of(np.eye(64)[0] * -1.6, variance * 0.25 / variance.mean())
    for nfe in (5, 10):
        plan = trace(DDIM(), Path(DDPMLinear(), FlowGrid()(DDPMLinear(), nfe)))
        (o, g), (eo, eg) = output_map(plan, data), exact_map(plan, data)
        expected = math.sqrt(((o - eo) ** 2 + (g - eg) ** 2).mean())
        assert found["ode"]["gauss64"]["ddim"][str(nfe)]["rms"] == pytest.approx(expected, rel=0.01)  # 65,536 normals
        assert 0.5 < found["sde"]["gauss64"]["ddim:eta=1"][str(nfe)]["w2"] < 2
