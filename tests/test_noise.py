"""Noise: published words of Philox, the same noise for any batching, and the laws of a Brownian path.

Statistical bounds: with fixed seeds a test is deterministic. A correlation or a moment of n numbers is held to
BOUND = 4.9 standard errors (p = 1e-6 two-sided), a Kolmogorov-Smirnov test to p > 1e-4.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import combinations, pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from difftool.errors import DifftoolError
from difftool.noise import BrownianPath, Generator, Independent, NoiseKey, Numbers, philox4x32
from difftool.noise.base import place_of
from difftool.noise.path import LOWEST, _between, _octave
from difftool.noise.philox import CALLS, box_muller

BOUND = 4.9
KINDS = [Independent(), BrownianPath(), Generator()]
KEYED = [Independent(), BrownianPath()]
INF = math.inf

seeds = st.integers(0, 2**64 - 1)
shapes = st.lists(st.integers(1, 9), min_size=1, max_size=4).map(tuple)
levels = st.one_of(st.just(0.0), st.floats(-29, 30.9).map(lambda e: 2.0**e))
keys = st.one_of(
    st.integers(0, 2**32 - 1).map(NoiseKey),
    st.lists(levels | st.just(INF), min_size=2, max_size=2, unique=True).map(lambda u: NoiseKey(-1, tuple(sorted(u)))),
)


def path(low, high):
    return NoiseKey(-1, (low, high))


def point(level):
    return SimpleNamespace(level=level)


def key_for(kind, key):
    """Independent noise takes numbered keys only."""
    return key if kind.correlated or key.call >= 0 else NoiseKey(abs(hash(key)) % 2**32)


def separate(*points):
    """Whether the path resolves the steps between these levels: further apart than a smallest cell."""
    points = sorted(points)
    return all(b - a > 1e-5 * b and b > 2.0**LOWEST for a, b in pairwise(points))


ZEROS, ONES = (0, 0, 0, 0), (0xFFFFFFFF,) * 4
ANSWERS = [
    (ZEROS, (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    (ONES, (0xFFFFFFFF, 0xFFFFFFFF), (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "words"), ANSWERS)
def test_philox_known_answers(counter, key, words):
    """Random123's kat_vectors, on host ints and on broadcast tensors."""
    assert philox4x32(counter, key) == words
    tensors = philox4x32([torch.tensor([[w]]) for w in counter], [torch.full((2, 3), k) for k in key])
    assert [t.tolist() for t in tensors] == [[[w] * 3] * 2 for w in words]


@given(seeds, st.integers(0, 2**32 - 9), st.integers(0, 2**32 - 1), shapes)
def test_independent_noise_isbox_muller_of_philox_words(seed, first, call, shape):
    """A reference in numpy: word 0 is a radius, word 1 its angle, so are 2 and 3; a quarter of a sample from each."""
    size = math.prod(shape[1:])
    blocks = torch.arange(-(-size // 4))
    samples = torch.arange(first, first + shape[0])[:, None]
    words = [w.numpy() for w in philox4x32((call, blocks, CALLS, samples), (seed % 2**32, seed >> 32))]
    radius = [np.sqrt(-2 * np.log((w.astype(np.float32) + np.float32(0.5)) * 2.0**-32)) for w in words[::2]]
    angle = [w * (2 * np.pi / 2**32) for w in words[1::2]]
    quarters = [r * f(a) for f in (np.cos, np.sin) for r, a in zip(radius, angle, strict=True)]
    expected = np.concatenate(quarters, axis=1)[:, :size].reshape(shape)
    z = Independent().source(shape, seed=seed, first=first).draw(NoiseKey(call))
    assert z.numpy() == pytest.approx(expected, abs=4e-6)  # float32: an angle of pi is known to 2e-7, a radius is < 7


def test_extreme_words_are_finite():
    words = torch.tensor([0, 2**31, 2**32 - 1]).expand(2, 1, 1, 3)
    z = torch.empty(1, 1, 4, 3)
    box_muller(z, words, torch.zeros_like(words), torch.empty(3, 2, 1, 1, 3))
    cos, sin = z[0, 0, 0].tolist(), z[0, 0, 2].tolist()
    assert cos == pytest.approx([math.sqrt(66 * math.log(2)), math.sqrt(2 * math.log(2)), 0], abs=1e-6)
    assert sin == [0, 0, 0]


@pytest.mark.parametrize("kind", KEYED)
@given(data=st.data(), seed=seeds, shape=shapes, key=keys)
def test_any_split_of_a_batch_gives_the_same_noise(kind, data, seed, shape, key):
    key = key_for(kind, key)
    first = data.draw(st.integers(0, 2**32 - shape[0]))
    batch = kind.source(shape, seed=seed, first=first)
    cuts = sorted(data.draw(st.sets(st.integers(1, shape[0] - 1))) if shape[0] > 1 else [])
    parts = list(zip([0, *cuts], [*cuts, shape[0]], strict=True))
    for a, b in data.draw(st.permutations(parts)):
        part = kind.source((b - a, *shape[1:]), seed=seed, first=first + a)
        torch.testing.assert_close(part.draw(key), batch.draw(key)[a:b], atol=1e-6, rtol=1e-6)
        torch.testing.assert_close(part.initial(), batch.initial()[a:b], atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("kind", KEYED)
def test_large_batches_are_cut_without_a_trace(kind):
    """More counters than are drawn at once: 5 x 40000 blocks; numbers drawn ahead: none, against 8 for one sample."""
    shape, key = (5, 160_001), path(0.5, 0.75) if kind.correlated else NoiseKey(9)
    z = kind.source(shape, seed=1).draw(key)
    for i in range(5):
        assert torch.equal(kind.source((1, 160_001), seed=1, first=i).draw(key)[0], z[i])
    small = kind.source((3, 8), seed=1)
    assert torch.equal(small.draw(key), torch.cat([kind.source((1, 8), seed=1, first=i).draw(key) for i in range(3)]))


@pytest.mark.parametrize("kind", KEYED)
@given(seed=seeds, shape=shapes, asked=st.lists(keys, min_size=1, max_size=6))
def test_draws_depend_on_their_key_only(kind, seed, shape, asked):
    """Any order, any dtype, into `out` or fresh, before or after others."""
    asked = [key_for(kind, key) for key in asked]
    run, wide = kind.source(shape, seed=seed), kind.source(shape, seed=seed, dtype=torch.float64)
    there = [run.draw(key) for key in asked]
    back = [run.draw(key).clone() for key in reversed(asked)]
    for key, a, b in zip(asked, there, reversed(back), strict=True):
        fresh = kind.source(shape, seed=seed).draw(key)
        out = torch.full(shape, math.nan)
        assert run.draw(key, out) is out
        assert wide.draw(key).dtype == torch.float64
        for z in (a, b, out, wide.draw(key).float()):
            torch.testing.assert_close(z, fresh, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_loop_gets_the_numbered_draws_and_owns_them(kind):
    """Without places the n-th call is NoiseKey(n), `initial` does not count; a draw that is changed stays behind."""
    loop, keyed = (replace(kind, placed=False).source((2, 5), seed=3) for _ in range(2))
    start = loop.initial()
    for n in range(20):
        z = loop()
        assert torch.equal(z, keyed.draw(NoiseKey(n)))
        assert not torch.equal(z, start)
        assert not z.is_inference()
        z.fill_(math.nan)
        assert torch.equal(loop.initial(), start)
    assert loop.resumable == (kind != Generator())


def test_a_loop_with_points():
    ordinary, brownian = (kind.source((2, 5), seed=3) for kind in KEYED)
    at_two = (64 + 1) * 2**25  # log2(2) = 1
    assert torch.equal(ordinary(point(2.0), point(1.0)), ordinary.draw(NoiseKey(at_two)))
    assert torch.equal(ordinary(point(2.0 + 1e-15), point(2.0)), ordinary.draw(NoiseKey(2 * 2**32 + at_two)))
    assert torch.equal(ordinary(point(2.0)), ordinary.draw(NoiseKey(2**32 + at_two)))
    expected = brownian.draw(path(1.0, 2.0))
    assert torch.equal(brownian(point(2.0), point(1.0)), expected)
    assert torch.equal(brownian(point(1.0), point(2.0)), expected)
    assert torch.equal(brownian(point(2.0)), brownian.draw(NoiseKey(2**32 + at_two)))
    assert torch.equal(brownian(), brownian.draw(NoiseKey(2**32)))
    assert torch.equal(brownian(), brownian.draw(NoiseKey(3 * 2**32)))


@given(st.lists(levels | st.just(INF), min_size=1, max_size=9), st.sampled_from([0.0, 1.0, INF]), st.booleans())
def test_no_number_comes_twice(places, origin, placed):
    """And a run that is cut goes on with those of the whole run."""
    whole, before, after = (Numbers(origin, placed) for _ in range(3))
    numbers = [whole(point(u), end) for u in places for end in (None, point(0.0))] + [whole(), whole()]
    assert len({*numbers}) == len(numbers)
    assert all(0 <= n < 2**56 for n in numbers)
    fall = sorted({*map(place_of, places)})
    steps = {place_of(u): u for u in places}
    cut = len(fall) // 2
    there = [before(point(steps[n])) for n in fall[:cut]] + [after(point(steps[n])) for n in fall[cut:]]
    if placed:
        assert there == [2**32 + place for place in fall]


@given(st.floats(2.0**-60, 2.0**60), st.floats(-1e-14, 1e-14), st.floats(1e-6, 1.0))
def test_places_part_steps_and_not_roundings(level, rounding, step):
    assert abs(place_of(level * (1 + rounding)) - place_of(level)) <= 1  # 1 where the cells meet
    assert place_of(level * (1 + step)) > place_of(level)
    assert 0 == place_of(0.0) < place_of(level) < place_of(INF) < 2**32


def test_what_is_expected_is_drawn_together_and_the_same():
    keys = [NoiseKey(n) for n in (7, 2**40 + 1, 3, 2**55, 12)]
    for kind in KEYED:
        alone, together = kind.source((2, 5), seed=3), kind.source((2, 5), seed=3)
        together.expect(keys)
        for key in (*keys, NoiseKey(99), *keys[::-1]):
            assert torch.equal(alone.draw(key), together.draw(key))


def test_generators_of_the_parts_of_a_run_differ():
    first, second, again = (Generator().source((2, 5), seed=3, origin=u) for u in (9.0, 3.0, 3.0))
    assert torch.equal(first.initial(), second.initial())
    assert not torch.equal(first(), z := second())
    assert torch.equal(again(), z)


N = 100_000


def streams():
    """Noise that must be unit normal, and independent of each other: (name, N numbers)."""
    for kind in KINDS:
        for seed, first in [(0, 0), (1, 0), (2**32, 0), (2**63, 0), (0, 1), (0, 2**31)]:
            source = kind.source((1, N), seed=seed, first=first)
            name = f"{type(kind).__name__} {seed} {first}"
            yield f"{name} initial", source.initial() if kind != BrownianPath() else source.draw(path(0.3, INF))
            if kind.correlated:
                yield f"{name} steps", source.draw(path(0.1, 0.3))
                yield f"{name} next steps", source.draw(path(0.3, 5.7))
            else:
                yield f"{name} call 0", source.draw(NoiseKey(0))
                yield f"{name} call 1", source.draw(NoiseKey(1))
    yield "last call", Independent().source((1, N)).draw(NoiseKey(2**32 - 1))
    yield "short step", BrownianPath().source((1, N)).draw(path(9.1, 9.1 + 1e-9))
    yield "from 0", BrownianPath().source((1, N)).draw(path(0.0, 0.1))
    yield "near 0", BrownianPath().source((1, N), seed=5).draw(path(1e-11, 2e-11))


def test_streams_are_unit_normal_and_uncorrelated():
    """Seeds that differ in the high word only, samples, calls, steps and the starting state: also their squares."""
    names, z = zip(*streams(), strict=True)
    z = torch.cat(z).double()
    for name, row in zip(names, z, strict=True):
        assert stats.kstest(row.numpy(), "norm").pvalue > 1e-4, name
        for power, moment, variance in [(1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)]:
            assert abs((row**power).mean() - moment) < BOUND * math.sqrt(variance / N), (name, power)
    for values in (z, (z**2 - 1) / math.sqrt(2)):
        correlation = values @ values.T / math.sqrt(N)
        for i, j in combinations(range(len(names)), 2):
            assert abs(correlation[i, j]) < BOUND, (names[i], names[j])


@pytest.mark.parametrize("kind", KEYED)
def test_elements_of_a_sample_are_uncorrelated(kind):
    """Neighbours, and the four quarters of a sample, which share Philox calls."""
    z = kind.source((1, N), seed=4).draw(path(1.0, 1.5) if kind.correlated else NoiseKey(2))[0].double()
    for lag in [1, 2, 3, 4, 5, N // 4, N // 2, 3 * N // 4]:
        for values in (z, (z**2 - 1) / math.sqrt(2)):
            assert abs(values[lag:] @ values[:-lag]) < BOUND * math.sqrt(N - lag), lag


def inner(p, q):
    return math.fsum(w * q.get(node, 0.0) for node, w in p.items())


@given(st.lists(levels, min_size=4, max_size=4, unique=True))
def test_covariance_of_increments_is_their_overlap(four):
    """From the weights, hence exact: variance high - low, covariance the common length, 0 for disjoint increments."""
    assume(separate(*four))
    a, b, c, d = sorted(four)
    for p, q in [((a, b), (a, b)), ((a, b), (c, d)), ((a, c), (b, d)), ((a, d), (b, c)), ((a, b), (b, c))]:
        overlap = max(0.0, min(p[1], q[1]) - max(p[0], q[0]))
        scale = math.sqrt((p[1] - p[0]) * (q[1] - q[0]))
        assert inner(_between(*p), _between(*q)) == pytest.approx(overlap, abs=1e-9 * scale, rel=1e-9)


@given(st.floats(-400, LOWEST).map(lambda e: 2.0**e))
def test_the_bottom_cell_has_the_right_variance(level):
    assert inner(_between(0.0, level), _between(0.0, level)) == pytest.approx(level, rel=1e-12, abs=0)


@given(st.lists(levels, min_size=2, max_size=2, unique=True).map(sorted))
def test_nodes_are_words_and_levels_are_theirs(ends):
    low, high = ends
    assert all(0 <= node < 2**32 for node in _between(low, high))
    assert _octave(low) <= _octave(high)
    width = 2.0 ** (LOWEST - 1 + _octave(high))
    assert high < 2.0**LOWEST or width <= high < 2 * width


@given(seed=seeds, three=st.lists(levels, min_size=3, max_size=3, unique=True).map(sorted), close=st.floats(1e-4, 1))
def test_increments_add_up(seed, three, close):
    """sqrt(hi - lo) z(lo, hi) = the same over (lo, mid) + over (mid, hi), in one run and across runs."""
    low, mid, high = three
    for a, b, c in [(low, mid, high), (mid, mid * (1 + 0.3 * close), mid * (1 + close))]:
        if not separate(a, b, c) or c >= 2.0**31:
            continue
        run = BrownianPath().source((1, 64), seed=seed)
        whole = math.sqrt(c - a) * BrownianPath().source((1, 64), seed=seed).draw(path(a, c))
        parts = math.sqrt(b - a) * run.draw(path(a, b)) + math.sqrt(c - b) * run.draw(path(b, c))
        torch.testing.assert_close(parts, whole, rtol=0, atol=2e-6 * math.sqrt(c))  # float32 rounding of W


def test_nested_grids_see_one_path():
    """The steps of a coarse grid are sums of the steps of a fine one, walked down."""
    fine = np.geomspace(0.002, 80, 65)[::-1]
    walk, coarse = (BrownianPath().source((2, 32), seed=8) for _ in range(2))
    steps = [math.sqrt(a - b) * walk(point(a), point(b)) for a, b in pairwise(fine)]
    for i in range(0, 64, 8):
        a, b = fine[i], fine[i + 8]
        z = coarse(point(a), point(b))
        torch.testing.assert_close(sum(steps[i : i + 8]) / math.sqrt(a - b), z, atol=1e-5, rtol=0)  # 8 roundings of W


@given(seeds, levels, levels, st.sampled_from([-1e-15, 1e-15]))
def test_the_path_is_continuous(seed, low, high, nudge):
    """Levels rounded differently give the same noise: a Brownian path moves by sqrt(1e-15 u)."""
    low, high = sorted((low, high))
    assume(separate(low, high) and high - low > 1e-3 * high)
    a, b = (BrownianPath().source((1, 64), seed=seed) for _ in range(2))
    nudged = b.draw(path(low * (1 + nudge), high * (1 - nudge)))
    torch.testing.assert_close(nudged, a.draw(path(low, high)), rtol=0, atol=1e-4)  # 2e-6 sqrt(1000), see above


def test_sampled_covariance_of_path_noise():
    """Overlap / sqrt(product of the lengths), on draws; the correlation of N pairs has standard error 1 / sqrt(N)."""
    source = BrownianPath().source((1, N), seed=6)
    ends = [(0.0, 0.4), (0.1, 0.3), (0.2, 2.5), (0.3, 0.30001), (0.3, 70.0), (2.5, 70.0)]
    z = [source.draw(path(*e))[0].double() for e in ends]
    for (p, zp), (q, zq) in combinations(zip(ends, z, strict=True), 2):
        overlap = max(0.0, min(p[1], q[1]) - max(p[0], q[0]))
        expected = overlap / math.sqrt((p[1] - p[0]) * (q[1] - q[0]))
        assert abs(zp @ zq / N - expected) < BOUND / math.sqrt(N) * math.sqrt(1 + expected**2), (p, q)


def test_from_pure_noise():
    """An increment from an infinite level is the same wherever it ends, and independent of all finite ones."""
    source = BrownianPath().source((1, N), seed=7)
    z = source(point(INF), point(80.0))
    assert torch.equal(source(point(0.0), point(INF)), z)
    assert torch.equal(source(point(80.0), point(INF)), z)
    for ends in [(80.0, 2.0**30), (2.0**30, 2.0**31 - 1), (0.0, 1e-12)]:
        assert abs(z[0].double() @ source.draw(path(*ends))[0].double()) < BOUND * math.sqrt(N)


def test_generator_is_reproducible_in_order():
    def run(**given):
        source = Generator().source((2, 50), seed=given.get("seed", 5), first=given.get("first", 0))
        return torch.stack([source.draw(NoiseKey(7), torch.empty(2, 50)), source(), source()])

    assert torch.equal(run(), run())
    others = [run(), run(first=2), run(seed=6), run(seed=5 + 2**32), run(seed=5 + 2**63)]
    assert all(not torch.any(a == b) for a, b in combinations(others, 2))
    source = Generator().source((2, 50), seed=5)
    source(), source()
    assert torch.equal(source.initial(), Generator().source((2, 50), seed=5).initial())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"seed": -1}, "0 <= seed < 2\\*\\*64, got -1"),
        ({"seed": 2**64}, "0 <= seed < 2\\*\\*64"),
        ({"seed": 1.0}, "seed must be an int"),
        ({"first": -1}, "first must be"),
        ({"first": 2**32 - 1}, "first must be"),
        ({"dtype": torch.bfloat16}, "float32 or float64, got torch.bfloat16"),
        ({"shape": ()}, "shape must be"),
        ({"shape": (2, 0)}, "shape must be"),
    ],
)
def test_bad_runs_are_refused(kind, given, message):
    with pytest.raises(DifftoolError, match=message) as error:
        kind.source(**{"shape": (2, 3)} | given)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", KINDS)
def test_bad_calls_are_refused(kind):
    source = kind.source((2, 3))
    with pytest.raises(DifftoolError, match="both points"):
        source(None, point(1.0))
    with pytest.raises(DifftoolError, match=r"out has shape \(3,\), the noise has \(2, 3\)"):
        source.draw(NoiseKey(0), torch.empty(3))


@pytest.mark.parametrize("call", [-1, 2**56])
@pytest.mark.parametrize("kind", KEYED)
def test_numbers_end_somewhere(kind, call):
    with pytest.raises(DifftoolError, match=f"a number .* got {call}"):
        kind.source((2, 3)).draw(NoiseKey(call))


@pytest.mark.parametrize(
    "ends", [(1.0, 1.0), (INF, INF), (2.0, 1.0), (-1.0, 1.0), (1.0, 2.0**31), (math.nan, 1.0), (1.0, math.nan)]
)
def test_bad_intervals_are_refused(ends):
    with pytest.raises(DifftoolError, match="path noise takes levels"):
        BrownianPath().source((2, 3)).draw(path(*ends))
