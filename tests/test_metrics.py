"""Distances between sets of samples, against exact transport; and the digits, against where they come from."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from exact import randn, seeds
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from difftool.data.digits import SHAPE, digits
from difftool.errors import DifftoolError
from difftool.metrics import SlicedDistance, balls, sliced_wasserstein
from difftool.metrics.balls import precision_and_coverage

sizes = st.integers(1, 9)


@given(seeds, sizes, st.integers(1, 5))
def test_no_distance_to_itself_in_any_order(seed, n, d):
    x = randn(seed, n, d)
    assert sliced_wasserstein(x, x) == 0
    assert sliced_wasserstein(x, x.flip(0)) < 1e-12
    assert sliced_wasserstein(x, x.repeat(3, 1)) < 1e-12  # the same law, in other numbers
    assert SlicedDistance(x)(x) < 1e-12  # sums and differences of the reference


@given(seeds, sizes, sizes)
def test_in_one_dimension_it_is_optimal_transport(seed, n, m):
    """Every point of x m times, every point of y n times, matched at the least cost."""
    x, y = randn(seed, n, 1), 2 * randn(seed + 1, m, 1) + 1
    cost = torch.cdist(x.repeat(m, 1), y.repeat(n, 1)).square().numpy()
    expected = math.sqrt(cost[linear_sum_assignment(cost)].mean())
    assert sliced_wasserstein(x, y) == pytest.approx(expected, rel=1e-9)
    if n == m:
        assert SlicedDistance(y)(x) == pytest.approx(expected, rel=1e-6, abs=1e-9)


@given(seeds, sizes, sizes, st.integers(1, 5), st.floats(0.1, 10))
def test_it_is_a_distance(seed, n, m, d, scale):
    x, y, z = randn(seed, n, d), randn(seed + 1, m, d) + 1, randn(seed + 2, n, d) * 2
    assert sliced_wasserstein(x, y) == pytest.approx(sliced_wasserstein(y, x), rel=1e-12)
    assert sliced_wasserstein(x, y) > 0
    assert sliced_wasserstein(x, z) <= sliced_wasserstein(x, y) + sliced_wasserstein(y, z) + 1e-12
    assert sliced_wasserstein(scale * x, scale * y) == pytest.approx(scale * sliced_wasserstein(x, y), rel=1e-9)
    assert sliced_wasserstein(x, y) == sliced_wasserstein(x.reshape(n, 1, d, 1), y.reshape(m, d, 1))


@given(seeds, st.integers(1, 6))
def test_a_shift_by_v_is_seen_as_v_over_the_root_of_d(seed, d):
    """Along theta a shift is theta . v, with mean square |v|^2 / d and variance 2 |v|^4 (d - 1) / (d^2 (d + 2))."""
    count, v = 2000, randn(seed, d)
    x = randn(seed + 1, 5, d)
    error = sliced_wasserstein(x, x + v, directions=count, seed=seed) ** 2 * d / float(v @ v) - 1
    assert abs(error) <= 5 * math.sqrt(2 * (d - 1) / (d + 2) / count) + 1e-9
    away = SlicedDistance(torch.cat([x] * 4), directions=count, seed=seed)(x + v) ** 2 * d / float(v @ v) - 1
    assert abs(away - error) < 1e-9


@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_gaussians_of_two_widths(scale):
    """W2 of N(0, 1) and N(1, s^2) in one dimension is sqrt(1 + (1 - s)^2)."""
    x, y, expected = randn(0, 50_000, 1), 1 + scale * randn(1, 50_000, 1), math.sqrt(1 + (1 - scale) ** 2)
    assert sliced_wasserstein(x, y, directions=2) == pytest.approx(expected, rel=0.02)  # of a draw: 1 / sqrt(n)
    assert SlicedDistance(y, directions=2)(x[:20_000]) == pytest.approx(expected, rel=0.03)


def test_samples_of_one_law_come_to_the_floor():
    """The distance of n samples to many of the same law falls as 1 / sqrt(n); that of another law does not."""
    distance = SlicedDistance(randn(0, 100_000, 4), directions=32)
    near = [np.mean([distance(randn(100 * n + i, n, 4)) for i in range(8)]) for n in (100, 400, 1600)]
    for a, b in pairwise(near):
        assert b == pytest.approx(a / 2, rel=0.25)  # eight draws; the tails cost a logarithm
    far = [distance(1.3 * randn(1, n, 4)) for n in (100, 400, 1600)]
    assert far[2] == pytest.approx(0.3, rel=0.15)  # |1.3 - 1| along every direction
    assert far[2] > 5 * near[2]


@given(seeds, st.integers(1, 6), st.integers(1, 5), st.integers(1, 4))
def test_against_a_larger_reference_it_is_the_distance_of_the_two_sets(seed, n, times, d):
    reference, x = randn(seed, n * times, d), randn(seed + 1, n, d)
    distance = SlicedDistance(reference, directions=7, seed=seed)(x)
    assert distance == pytest.approx(sliced_wasserstein(x, reference, directions=7, seed=seed), rel=1e-9, abs=1e-9)


def test_too_little_spread_is_a_distance():
    """All samples at the mean are one standard deviation away, also if there is only one of them."""
    reference = randn(0, 4096, 3)
    for n in (1, 4, 64):
        assert SlicedDistance(reference)(torch.zeros(n, 3)) == pytest.approx(1.0, rel=0.05)


@settings(max_examples=10)
@given(seeds, st.integers(1, 8))
def test_directions_are_uniform_on_the_sphere(seed, d):
    theta = SlicedDistance(randn(seed, 2, d), directions=4000, seed=seed).theta
    assert theta.shape == (d, 4000)
    assert torch.allclose(theta.norm(dim=0), torch.ones(4000, dtype=torch.float64))
    assert (theta.mean(1) * math.sqrt(4000 * d)).abs().max() < 5
    assert (theta @ theta.T / 4000 - torch.eye(d) / d).abs().max() < 5 / math.sqrt(4000)
    x, y = randn(seed, 3, d + 1), randn(seed + 1, 3, d + 1)
    assert sliced_wasserstein(x, y, seed=1) == sliced_wasserstein(x, y, seed=1)
    assert sliced_wasserstein(x, y, seed=1) != sliced_wasserstein(x, y, seed=2)
    assert sliced_wasserstein(x, y, directions=3) != sliced_wasserstein(x, y, directions=4)


X = torch.zeros(4, 3)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: sliced_wasserstein(X, torch.zeros(4, 2)), "2 elements each, expected 3"),
        (lambda: SlicedDistance(X)(torch.zeros(4, 2)), "2 elements each, expected 3"),
        (lambda: SlicedDistance(X)(torch.zeros(5, 3)), "5 samples against a reference of 4"),
        (lambda: SlicedDistance(torch.zeros(0, 3)), "at least one"),
        (lambda: SlicedDistance(X)(torch.zeros(0, 3)), "at least one"),
        (lambda: sliced_wasserstein(X, torch.zeros(4, 0)), "at least one"),
        (lambda: sliced_wasserstein(X, torch.tensor(1.0)), "at least one"),
        (
            lambda: sliced_wasserstein(X, [[1.0, 2.0, 3.0]]),
            "samples must be a tensor (n, ...) with at least one, got list",
        ),
        (lambda: sliced_wasserstein(X, X * math.nan), "not finite"),
        (lambda: SlicedDistance(X)(X + math.inf), "not finite"),
        (lambda: SlicedDistance(X, directions=0), "directions must be a whole number of at least 1, got 0"),
        (lambda: sliced_wasserstein(X, X, directions=2.5), "got 2.5"),
    ],
)
def test_distances_refuse(make, words):
    with pytest.raises(DifftoolError) as caught:
        make()
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


# --- digits -----------------------------------------------------------------------------------------------------------


def test_digits_are_images_between_minus_one_and_one():
    data = digits()
    assert data.images.shape == (1797, *SHAPE)
    assert data.images.dtype == np.float32
    assert data.images.min() == -1
    assert data.images.max() == 1
    assert set(np.unique(data.images * 8).tolist()) == set(range(-8, 9))  # 17 levels of grey, exact in float32
    assert data.images.mean() < -0.2  # ink is the rarer
    assert digits() is data  # read once


def test_digits_are_labelled_and_balanced():
    labels = digits().labels
    assert labels.shape == (1797,)
    assert labels.dtype == np.int64
    assert set(labels.tolist()) == set(range(10))
    counts = np.bincount(labels)
    assert counts.min() >= 170
    assert counts.max() <= 190


def test_a_fixed_fifth_of_every_class_is_held_out():
    data = digits()
    assert data.held_out.shape == (1797,)
    assert data.held_out.dtype == bool
    for label in range(10):
        own = data.held_out[data.labels == label]
        assert own.sum() == len(own) // 5
        assert own.reshape(-1)[4::5].all()  # every fifth, in the order of the file
        assert not np.delete(own, np.s_[4::5]).any()
    assert data.held_out.sum() == 355  # as written in DIGITS.md
    assert digits.__wrapped__().held_out.tolist() == data.held_out.tolist()  # the same when read again


def test_labels_are_told_by_the_images():
    """A held-out digit is nearest to one of its own class: images and labels are in one order."""
    data = digits()
    images, kept = data.images.reshape(1797, -1), ~data.held_out
    near = torch.cdist(torch.from_numpy(images[data.held_out]), torch.from_numpy(images[kept])).argmin(1)
    assert (data.labels[kept][near] == data.labels[data.held_out]).mean() > 0.95


def test_digits_are_those_of_scikit_learn():
    sklearn = pytest.importorskip("sklearn.datasets")
    theirs, ours = sklearn.load_digits(), digits()
    assert np.array_equal(theirs.images, 8 * (ours.images[:, 0].astype(np.float64) + 1))
    assert np.array_equal(theirs.target, ours.labels)


@pytest.mark.parametrize("shift", [0.0, 0.7, 5.0])
def test_precision_and_coverage_pair_by_pair(monkeypatch, shift):
    monkeypatch.setattr(balls, "BLOCK", 7)
    g = torch.Generator().manual_seed(0)
    x, y = torch.randn(23, 3, generator=g) + shift, torch.randn(31, 3, generator=g)
    samples, reference, k = x.tolist(), y.tolist(), 4

    def holds(centre, own, point):
        others = sorted(math.dist(centre, other) for other in own if other is not centre)
        return math.dist(centre, point) < others[k - 1]

    around = [sum(holds(c, reference, a) for c in reference) for a in samples]
    assert precision_and_coverage(x, y, k) == pytest.approx(
        {
            "precision": sum(count > 0 for count in around) / 23,
            "recall": sum(any(holds(c, samples, b) for c in samples) for b in reference) / 31,
            "density": sum(around) / (k * 23),
            "coverage": sum(any(holds(c, reference, a) for a in samples) for c in reference) / 31,
        },
        abs=1e-12,
    )
    with pytest.raises(DifftoolError, match="precision and recall need more than 4 samples, got 4 and 31"):
        precision_and_coverage(x[:4], y, k)
