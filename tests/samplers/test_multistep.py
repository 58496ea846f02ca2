"""Multistep families: the formulas of their papers spelled out, and which of them are one method."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from difftool.errors import DifftoolError
from difftool.grids import FlowGrid
from difftool.plan import trace
from difftool.samplers import DDIM, DDPM, Adams, DPMpp, FlowABM, FlowSDE, SASolver, Singlestep, UniPC
from difftool.samplers.adams import deis, exponential_adams, flow_ab, lms
from difftool.samplers.dpmpp import dpmpp_2m
from difftool.samplers.unipc import unip
from difftool.schedules import VE, Cosine, Flow, Path, VPLinear

SCHEDULES = [VPLinear(), Cosine(), VE(), Flow()]


@st.composite
def paths(draw, least=1):
    """Above sigma = 0 or down to it, uneven, from a finite level."""
    schedule = draw(st.sampled_from(SCHEDULES))
    s = draw(st.lists(st.integers(2, 95), min_size=least + 1, max_size=8, unique=True))
    times = [schedule.t_at_flow(v / 100) for v in sorted(s, reverse=True)]
    return Path(schedule, [*times, schedule.domain[0]] if draw(st.booleans()) else times)


def affine(x, p):
    """A model that is affine in x and depends on the point."""
    return 0.3 * p.alpha * x / (p.alpha**2 + p.sigma**2) + 0.1 * p.flow - 0.2


def run(sampler, path, x=0.8, noises=()):
    source = iter(noises)
    return sampler(lambda x, p: x / p.alpha if p.sigma == 0 else affine(x, p), x, path, lambda *_: next(source))


def same(a, b, path, tolerance=1e-9):
    assert run(a, path) == pytest.approx(run(b, path), abs=tolerance)


@given(paths())
def test_names_of_one_method(path):
    same(DPMpp(order=1), DDIM(), path)
    same(UniPC(order=1, corrector=False), DDIM(), path)
    same(Singlestep(1, "eps"), DDIM(), path)
    same(Adams(order=1), DDIM(), path)
    same(deis(variable="level"), lms(), path)
    if len(path) > 3:
        same(exponential_adams(3), DPMpp(order=3, variant="3m"), path)
        same(SASolver(order=3, corrector_order=0, tau=0.0), exponential_adams(3), path)
    if len(path) > 2:
        same(unip(2), DPMpp(order=2), path)
        same(exponential_adams(2), DPMpp(order=2, variant="2m-exact"), path)


@given(paths(), st.lists(st.floats(-2, 2), min_size=9, max_size=9))
def test_stochastic_ones_of_one_method(path, z):
    eta = DDIM(eta=1.0)
    assert run(DPMpp(order=1, eta=1.0), path, noises=z) == pytest.approx(run(eta, path, noises=z), abs=1e-9)
    sa = SASolver(order=1, corrector_order=0, tau=1.0)
    assert run(sa, path, noises=z) == pytest.approx(run(eta, path, noises=z), abs=1e-9)
    if len(path) > 2:
        a = DPMpp(order=2, variant="2m-exact", eta=0.49)
        b = SASolver(order=2, corrector_order=0, tau=0.7)
        assert run(a, path, noises=z) == pytest.approx(run(b, path, noises=z), abs=1e-9)


def by_the_papers(path, x, order, published):
    """DPM-Solver++(2M) and (3M) as Lu et al. 2022 write them, on paths above sigma = 0."""
    out = []
    for i, (s, t) in enumerate(pairwise(path)):
        out.insert(0, affine(x, s))
        lam = [p.half_log_snr for p in reversed(path[: i + 2])]
        h = lam[0] - lam[1]
        grown = np.expm1(-h)
        n = min(order, i + 1)
        x = t.sigma / s.sigma * x - t.alpha * grown * out[0]
        if n == 2:
            d1 = (out[0] - out[1]) / ((lam[1] - lam[2]) / h)
            x -= 0.5 * t.alpha * grown * d1 if order == 2 or published else -t.alpha * (grown / h + 1) * d1
        if n == 3:
            r0, r1 = (lam[1] - lam[2]) / h, (lam[2] - lam[3]) / h
            d10, d11 = (out[0] - out[1]) / r0, (out[1] - out[2]) / r1
            d1, d2 = d10 + r0 / (r0 + r1) * (d10 - d11), (d10 - d11) / (r0 + r1)
            x += t.alpha * (grown / h + 1) * d1 - (1 if published else 2) * t.alpha * ((grown + h) / h**2 - 0.5) * d2
    return x


@given(paths(least=3))
def test_dpmpp_as_published(path):
    path = path if path[-1].sigma > 0 else path[:-1]
    for order, variant in ((2, "2m"), (3, "3m"), (3, "3m-published")):
        expected = by_the_papers(path, 0.8, order, variant == "3m-published")
        assert run(DPMpp(order=order, variant=variant), path) == pytest.approx(expected, abs=1e-9)


@given(paths())
def test_unipc_by_its_linear_system(path):
    """Zhao et al. 2023, algorithms 1 and 2: R rho = b solved with numpy, the weight 1/2 for one difference."""
    path = path if path[-1].sigma > 0 else path[:-1]
    if len(path) < 3:
        return
    for order in (1, 2, 3):
        for bh in ("bh1", "bh2"):
            if order <= len(path) - 1:
                assert run(UniPC(order=order, bh=bh), path) == pytest.approx(unipc(path, 0.8, order, bh), abs=1e-9)


def unipc(path, x, order, bh):
    lam = [p.half_log_snr for p in path]
    out, y, predicted, used = [], x, x, 0

    def advance(y, i, known, answer=None):
        """From point i to i + 1 by answers at `known`, newest first, and that at the end if given."""
        s, t, h = path[i], path[i + 1], lam[i + 1] - lam[i]
        r = [(lam[k] - lam[i]) / h for k in known[1:]] + ([] if answer is None else [1.0])
        d = [(out[k] - out[i]) / rk for k, rk in zip(known[1:], r, strict=False)]
        d += [] if answer is None else [answer - out[i]]
        b_h = -h if bh == "bh1" else np.expm1(-h)
        phi = np.expm1(-h) / -h - 1
        rows, b, factorial = [], [], 1
        for n in range(1, len(r) + 1):
            factorial *= n
            rows.append([rk ** (n - 1) for rk in r])
            b.append(phi * factorial / b_h)
            phi = phi / -h - 1 / (factorial * (n + 1))
        rho = [0.5] if len(r) == 1 else np.linalg.solve(np.array(rows), np.array(b)) if r else []
        y = t.sigma / s.sigma * y - t.alpha * np.expm1(-h) * out[i]
        return y - t.alpha * b_h * float(np.dot(rho, d)) if r else y

    for i in range(len(path) - 1):
        answer = affine(predicted, path[i])
        if used:
            y = advance(y, i - 1, [*range(i - 1, i - 1 - used, -1)], answer)
        out.append(answer)
        used = min(order, i + 1)
        predicted = advance(y, i, [*range(i, i - used, -1)])
    return predicted


@given(st.sampled_from([VPLinear(), Flow(), Cosine()]), st.integers(1, 60), st.integers(1, 5))
def test_flow_abm_by_its_definition(schedule, n, p):
    """In y and s, with the integrals of numpy's polynomials."""
    p = min(p, n)
    path = Path(schedule, FlowGrid(a=4 / 3, b=5 / 3)(schedule, n))
    s = [q.flow for q in path]
    v = []

    def area(nodes, a, b):
        out = 0.0
        for j in nodes:
            others = [s[m] for m in nodes if m != j]
            poly = np.poly1d(others, r=True) / np.prod([s[j] - o for o in others]) if others else np.poly1d([1.0])
            whole = poly.integ()
            out += v[j] * (whole(b) - whole(a))
        return out

    y = predicted = 0.8 / (path[0].alpha + path[0].sigma)
    for i in range(n):
        x = predicted * (path[i].alpha + path[i].sigma)
        x0 = affine(x, path[i])
        v.append((x - path[i].alpha * x0) / path[i].sigma - x0)
        if i:
            y += area([*range(i, i - min(p + 1, i + 1, n - i + 2), -1)], s[i - 1], s[i])
        predicted = y + area([*range(i, i - min(p, i + 1, n - i + 1), -1)], s[i], s[i + 1])
    expected = predicted * (path[-1].alpha + path[-1].sigma)
    assert run(FlowABM(p), path) == pytest.approx(expected, abs=1e-8)  # poly1d loses some digits at order 5


@pytest.mark.parametrize(("n", "p"), [(1, 1), (5, 2), (39, 2), (40, 3), (79, 3), (80, 4), (159, 4), (160, 5), (400, 5)])
def test_the_order_of_flow_abm_grows_with_the_logarithm_of_the_steps(n, p):
    path = Path(Flow(), FlowGrid()(Flow(), n))
    assert run(FlowABM(), path) == run(FlowABM(p), path)


def slope_weight(r, k, q, s):
    return k * (q / r) ** k * (r / (1 + r) - s) / r


@given(st.sampled_from([VPLinear(), VE(), Flow()]), st.integers(1, 30), st.sampled_from([0.0, 0.5, 1.0]))
def test_flow_sde_by_its_definition(schedule, n, tau):
    """In y = x / alpha and the noise level, the gradient's integral by scipy."""
    from scipy.integrate import quad

    path = Path(schedule, FlowGrid(b=2.0, start=schedule.t_at_level(30.0))(schedule, n))
    z = np.random.default_rng(0).normal(size=n)
    y, old = 0.8 / path[0].alpha, None
    for i, (a, b) in enumerate(pairwise(path)):
        p, q = a.level, b.level
        d = affine(a.alpha * y, a)
        g = 0.0 if old is None else (d - old[0]) / (a.flow - old[1])
        tau2 = tau**2 * a.flow
        k = 1 + tau2
        if q == 0:
            y = d - a.flow * g
            break
        area, _ = quad(slope_weight, q, p, args=(k, q, a.flow), epsabs=1e-13)
        e = (q / p) ** k
        y = e * y + (1 - e) * d + area * g + q * np.sqrt(1 - (q / p) ** (2 * tau2)) * z[i]
        old = (d, a.flow)
    assert run(FlowSDE(tau=tau), path, noises=z) == pytest.approx(path[-1].alpha * y, abs=1e-7)  # quad's tolerance


def test_the_default_needs_few_registers():
    """Six velocities, the corrected state, the predicted one, and one that is being made."""
    from difftool.plan import compile_plan

    plan = trace(FlowABM(), Path(Flow(), FlowGrid()(Flow(), 50)))
    assert compile_plan(plan, None)[1].registers <= 9


@pytest.mark.parametrize("make", [DPMpp, UniPC, Adams, SASolver, flow_ab, lms, deis])
def test_orders_out_of_range(make):
    for order in (0, 7, 2.5, True):
        with pytest.raises(DifftoolError, match=rf"takes order 1, .* or \d, got {order}"):
            make(order=order)


@pytest.mark.parametrize(
    ("make", "options", "words"),
    [
        (DPMpp, {"eta": -0.1}, "dpmpp takes eta >= 0, got -0.1"),
        (DPMpp, {"variant": "3M"}, "dpmpp takes variant 2m, 2m-exact, 3m or 3m-published, got '3M'"),
        (dpmpp_2m, {"variant": "heun"}, "dpmpp-2m takes variant midpoint or exact, got 'heun'"),
        (DPMpp, {"variant": "2m", "order": 3}, "order 1 or 2 with variant 2m, got 3"),
        (DPMpp, {"interpolates": "eps", "eta": 1.0}, "eta = 0 with interpolates eps"),
        (DPMpp, {"eta": 1.0, "start": "runge-kutta"}, "start ramp with noise"),
        (SASolver, {"tau": float("nan")}, "0 <= tau <= 1000, got nan"),
        (SASolver, {"corrector_order": 6}, "corrector_order 0, 1, .* or 5, got 6"),
        (SASolver, {"level_min": 2.0, "level_max": 1.0}, "sa-solver takes level_max > 2, got 1.0"),
        (FlowSDE, {"tau": -1.0}, "flow-sde takes 0 <= tau <= 1000, got -1.0"),
        (FlowABM, {"order": 6}, "flow-abm takes order 1, 2, 3, 4 or 5, got 6"),
        (UniPC, {"bh": "bh3"}, "unipc takes bh bh1 or bh2"),
        (Singlestep, {"r1": 1.2}, "singlestep takes 0.01 <= r1 <= 1, got 1.2"),
        (Singlestep, {"order": 3, "r1": 0.7}, "r1 < r2, got 0.7 and 0.66"),
        (Singlestep, {"r1": 1e-14}, "singlestep takes 0.01 <= r1 <= 1, got 1e-14"),
        (Singlestep, {"order": 2, "r2": 0.7}, "singlestep of order 2 has no stage at r2"),
        (Singlestep, {"order": 3, "ending": 2}, r"the orders of its last steps as ending=\(2, 1\), got 2"),
        (DDPM, {"v": 0.9}, "ddpm takes v only with variance between; leave it out with variance small"),
        (Singlestep, {"order": 4}, "singlestep takes order 1, 2 or 3, got 4"),
        (Singlestep, {"ending": (3,)}, "singlestep takes ending 1 or 2, got 3"),
        (Adams, {"variable": "log"}, "adams takes variable"),
    ],
)
def test_options_out_of_range(make, options, words):
    with pytest.raises(DifftoolError, match=words):
        make(**options)
