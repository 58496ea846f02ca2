"""Figures of samples: each by its formula written out, in any batches, and with a real feature network on real data."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.linalg import sqrtm
from scipy.spatial.distance import cdist

from difftool.data.digits import digits
from difftool.errors import DifftoolError
from difftool.metrics import Scores, energy_distance, mmd, scores, sliced_wasserstein
from difftool.metrics.features import Features, inception, onnx
from difftool.outputs.samples import save
from difftool.runs.evaluation import evaluate
from difftool.runs.recipe import Recipe
from difftool.runs.run import Run
from difftool.schedules import Point
from difftool.zoo import digits_exact

pytestmark = pytest.mark.slow  # features of thousands of pictures, and matrix roots


def pictures(n, seed=0, shift=0.0):
    return (0.5 * torch.randn(n, 1, 4, 4, generator=torch.Generator().manual_seed(seed)) + shift).clamp(-1, 1)


def look(x):
    """A feature network: 5 numbers of a picture, not linear in it."""
    weights = torch.randn(16, 5, generator=torch.Generator().manual_seed(9))
    return torch.tanh(x.flatten(1) @ weights)


def scored(x, y, batch=1000, **options):
    made = Scores(**{"features": look, **options})
    for part in y.split(batch):
        made.add(part, real=True)
    for part in x.split(batch):
        made.add(part, real=False)
    return made


@settings(max_examples=10)
@given(n=st.integers(8, 60), m=st.integers(8, 60), batch=st.integers(1, 30), shift=st.floats(-0.5, 0.5))
def test_the_formulas_written_out(n, m, batch, shift):
    x, y = pictures(n), pictures(m, 1, shift)
    found = scored(x, y, batch).compute()
    a, b = (look(v).double().numpy() for v in (x, y))
    assert found["sliced_wasserstein"] == sliced_wasserstein(x, y)
    assert (found["energy_distance"], found["mmd"]) == (energy_distance(x, y), mmd(x, y))

    (s, t), gap = (np.cov(v, rowvar=False) for v in (a, b)), a.mean(0) - b.mean(0)
    frechet = gap @ gap + np.trace(s + t - 2 * sqrtm(s @ t).real)
    assert found["fid"] == pytest.approx(frechet, rel=1e-3, abs=1e-4)  # roots of rounded eigenvalues near 0

    inner, outer = cdist(b, b), cdist(b, a)
    reach = np.sort(inner, axis=1)[:, 5]  # the first is a sample's distance to itself
    reach_of_samples = np.sort(cdist(a, a), axis=1)[:, 5]
    assert found["precision"] == pytest.approx((outer < reach[:, None]).any(0).mean())
    assert found["recall"] == pytest.approx((outer < reach_of_samples).any(1).mean())
    assert found["density"] == pytest.approx((outer < reach[:, None]).sum(0).mean() / 5)
    assert found["coverage"] == pytest.approx((outer.min(1) < reach).mean())


def test_kid_is_the_polynomial_mmd_where_a_subset_is_all(monkeypatch):
    x, y = pictures(40), pictures(40, 1, 0.3)
    a, b = look(x).double(), look(y).double()
    kernel = lambda p, q: (p @ q.T / 5 + 1) ** 3  # noqa: E731
    own = [(kernel(p, p).sum() - kernel(p, p).diag().sum()) / (40 * 39) for p in (a, b)]
    want = float(own[0] + own[1] - 2 * kernel(a, b).mean())
    assert scored(x, y).compute()["kid"] == pytest.approx(want, rel=1e-4)
    monkeypatch.setattr(scores, "SUBSET", 10)
    torch.manual_seed(1)
    first, state = scored(x, y).compute(), torch.get_rng_state()
    torch.manual_seed(2)
    assert scored(x, y).compute() == first
    torch.manual_seed(1)
    assert state.equal(torch.get_rng_state())


def test_what_is_kept_is_bounded_and_fid_sees_all(monkeypatch):
    x, y = pictures(300), pictures(200, 1, 0.2)
    whole = scored(x, y).compute()
    monkeypatch.setattr(scores, "KEPT", 50)
    made = scored(x, y, batch=32)
    assert sum(map(len, made.samples[True])) == sum(map(len, made.vectors[False])) == 50
    few = made.compute()
    assert few["fid"] == pytest.approx(whole["fid"], rel=1e-3)
    assert few["sliced_wasserstein"] == sliced_wasserstein(x[:50], y[:50])


def test_the_reference_stays():
    x, y, z = pictures(60), pictures(50, 1), pictures(70, 2, 0.3)
    made = scored(x, y)
    first = made.compute()
    made.forget()
    made.add(z, real=False)
    assert made.compute() == scored(z, y).compute() != first


def test_log_density_of_a_mixture():
    model, clean = digits_exact(), Point(0.0, 1.0, 0.0)
    x = model.draw(30, seed=3)
    made = scored(x, model.draw(30), batch=7, features=None, density=lambda x: model.log_density(x, clean))
    assert made.compute()["log_density"] == pytest.approx(float(model.log_density(x, clean).mean()))


# --- a network trained on digits, in a file --------------------------------------------------------------------------


def test_the_file_holds_the_network(network):
    file, body = network
    x = torch.from_numpy(digits().images[:7])
    torch.testing.assert_close(onnx(file)(x), body(x).detach(), rtol=1e-4, atol=1e-4)  # two engines in float32
    torch.testing.assert_close(onnx(file, low=0.0, high=1.0)(x), onnx(file)((x + 1) / 2), rtol=1e-4, atol=1e-4)


def test_fid_tells_good_samples_from_bad_ones(network, tmp_path):
    file, _ = network
    recipe = Recipe(num_samples=500, batch_size=200, sampler="em", steps=60)
    found = {}
    for std in (0.05, 0.5):
        model = f"digits-exact:std={std}"
        found[std] = evaluate(
            Recipe(**{**recipe.__dict__, "model": model}), "digits:split=held-out", against="digits", features=str(file)
        )
    whole = found[0.05]
    good, bad, data = whole.samples.scores, found[0.5].samples.scores, whole.against.scores
    assert good["fid"] < 2 * data["fid"] < bad["fid"] / 3
    assert good["kid"] < bad["kid"] / 3
    assert bad["precision"] < good["precision"] > 0.8
    assert bad["coverage"] < good["coverage"]
    assert (whole.samples.number, whole.against.number, whole.reference) == (500, 500, 355)


def test_samples_from_a_recipe_a_file_and_a_folder_are_the_same(tmp_path):
    recipe = Recipe(num_samples=20, batch_size=7, steps=5)
    x = Run.of(recipe).samples()
    save(x, tmp_path / "a.npz", recipe.to_dict())
    drawn, read = evaluate(recipe, "digits"), evaluate(str(tmp_path / "a.npz"), "digits")
    assert drawn.samples.scores == pytest.approx(read.samples.scores, rel=1e-5)
    assert (drawn.samples.number, drawn.reference) == (read.samples.number, read.reference)
    folder = tmp_path / "pictures"
    folder.mkdir()
    bytes_ = ((x.clamp(-1, 1) + 1) * 127.5).round().byte()
    for i, picture in enumerate(bytes_):
        Image.fromarray(picture[0].numpy()).save(folder / f"{i}.png")
    assert evaluate(str(folder), "digits").samples.scores["sliced_wasserstein"] == pytest.approx(
        sliced_wasserstein(bytes_ / 127.5 - 1, torch.from_numpy(digits().images[~digits().held_out])), rel=1e-5
    )


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda file: onnx(file.with_name("nowhere.onnx")), "there is no file .*nowhere.onnx"),
        (lambda file: onnx(file.with_suffix(".txt")), "is not a network in ONNX format"),
        (lambda file: onnx(file, low=1.0, high=0.0), "low < high"),
        (lambda file: onnx(file)(torch.zeros(2, 2)), r"takes pictures \(B, C, H, W\), got samples of shape \(2,\)"),
        (lambda file: onnx(file)(torch.zeros(2, 3, 8, 8)), "takes 1 channels, the pictures have 3"),
        (
            lambda file: Features(lambda x: x[:1])(torch.zeros(2, 1, 8, 8)),
            r"returned shape \(1, 1, 8, 8\) for 2 pictures, expected vectors",
        ),
        (lambda file: scored(pictures(9), pictures(9), features=lambda x: x * torch.nan), "returned NaN"),
        (lambda file: scored(pictures(4), pictures(9)).compute(), "need more than 5 samples, got 4 and 9"),
        (lambda file: scored(pictures(1), pictures(9)).compute(), "at least 2 samples are needed, got 1 to be scored"),
        (lambda file: scored(torch.zeros(9, 2), pictures(9), features=None).compute(), r"shape \(2,\), the reference"),
        (
            lambda file: Features(lambda x: x[:, 0, 0, 0])(torch.zeros(2, 1, 8, 8)),
            r"returned shape \(2,\) for 2 pictures, expected vectors",
        ),
        (lambda file: onnx(file, size=0), "size must be from 1 to 4096 pixels, got 0"),
        (
            lambda file: evaluate("moons", "digits"),
            r"the samples have shape \(2,\), but those of digits have \(1, 8, 8\)",
        ),
        (lambda file: evaluate("digits", "digits", exact="checkpoint:path=x"), "there is no checkpoint"),
        (lambda file: evaluate("digits", "digits", features=str(file.with_name("b.onnx"))), "there is no file"),
    ],
)
def test_refusals(network, call, words):
    file, _ = network
    file.with_suffix(".txt").write_text("text")
    with pytest.raises(DifftoolError, match=words):
        call(file)


def test_the_standard_inception_says_what_it_needs():
    try:
        import torch_fidelity  # noqa: F401
    except ImportError:
        with pytest.raises(
            DifftoolError, match=r"needs the library torch-fidelity: pip install 'difftool\[inception\]'"
        ):
            inception()
    else:
        with pytest.raises(DifftoolError, match=r"there is no file nowhere\.pth; download https"):
            inception("nowhere.pth")
