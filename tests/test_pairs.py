"""Distances by all pairs: on laws where they are known, and against sums written out."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from difftool.errors import DifftoolError
from difftool.metrics import energy_distance, mmd, nearest, pairs


def draws(n, d, seed=0):
    return torch.randn(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=20)
@given(n=st.integers(2, 9), m=st.integers(2, 9), d=st.integers(1, 3), h=st.floats(0.2, 5))
def test_the_sums_written_out(n, m, d, h):
    x, y = draws(n, d), draws(m, d, 1) + 1

    def mean(a, b, f, same):
        values = [f(float((p - q).norm())) for i, p in enumerate(a) for j, q in enumerate(b) if not (same and i == j)]
        return sum(values) / len(values)

    def total(f):
        return mean(x, x, f, True), mean(y, y, f, True), mean(x, y, f, False)

    a, b, c = total(lambda r: r)
    assert energy_distance(x, y) == pytest.approx(2 * c - a - b, abs=1e-12)
    a, b, c = total(lambda r: math.exp(-0.5 * (r / h) ** 2))
    assert mmd(x, y, h) == pytest.approx(a + b - 2 * c, abs=1e-12)


def test_blocks_change_nothing(monkeypatch):
    x, y = draws(50, 3), draws(40, 3, 1) + 0.5
    whole = energy_distance(x, y), mmd(x, y, 1.0), nearest(x, y), nearest(x, x, same=True)
    monkeypatch.setattr(pairs, "BLOCK", 7)
    parts = energy_distance(x, y), mmd(x, y, 1.0), nearest(x, y), nearest(x, x, same=True)
    assert whole[:2] == pytest.approx(parts[:2])
    for a, b in zip(whole[2:], parts[2:], strict=True):
        assert torch.equal(a.which, b.which)


def test_two_gaussians():
    """In one dimension E|x - y| for x - y ~ N(m, 2 s^2) is known; so is the kernel's mean."""
    n, m = 4000, 1.5
    x, y = draws(n, 1), draws(n, 1, 1) + m

    def absolute(mu, s):
        return s * math.sqrt(2 / math.pi) * math.exp(-(mu**2) / (2 * s**2)) + mu * math.erf(mu / (s * math.sqrt(2)))

    s = math.sqrt(2)
    expected = 2 * absolute(m, s) - 2 * absolute(0.0, s)
    assert energy_distance(x, y) == pytest.approx(expected, rel=0.05)  # the sampling error of 4000 points
    scale = 1 / math.sqrt(3)  # of exp(-(x - y)^2 / 2) with x - y ~ N(m, 2)
    assert mmd(x, y, 1.0) == pytest.approx(2 * scale * (1 - math.exp(-(m**2) / 6)), rel=0.05)


@pytest.mark.parametrize("distance", [energy_distance, lambda x, y: mmd(x, y, 1.0)])
def test_one_law_twice_is_nothing_in_the_mean(distance):
    values = torch.tensor([distance(draws(100, 2, 2 * i), draws(80, 2, 2 * i + 1)) for i in range(60)])
    assert abs(float(values.mean())) < 4 * float(values.std()) / math.sqrt(60)
    assert float(values.min()) < 0


def test_neighbours():
    x, reference = draws(20, 4), draws(30, 4, 1)
    found = nearest(x, reference)
    brute = (x[:, None] - reference[None]).norm(dim=2)
    assert torch.equal(found.which, brute.argmin(1))
    torch.testing.assert_close(found.distance.double(), brute.min(1).values, rtol=1e-6, atol=0)
    assert float(nearest(x, x).distance.max()) == 0
    assert float(nearest(x, x, same=True).distance.min()) > 0


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: energy_distance(draws(1, 2), draws(5, 2)), r"n >= 2, got \(1, 2\)"),
        (lambda: mmd(draws(4, 2), draws(5, 3)), r"one shape, got \(2,\) and \(3,\)"),
        (lambda: mmd(draws(4, 2), draws(5, 2), 0.0), "bandwidth of a kernel must be positive"),
        (lambda: nearest(draws(4, 2) / 0, draws(5, 2)), "finite"),
    ],
)
def test_refusals(call, words):
    with pytest.raises(DifftoolError, match=words):
        call()
