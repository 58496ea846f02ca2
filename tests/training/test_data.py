"""Data sets: what they hold, in every format, and what they refuse."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from difftool.data import toys
from difftool.data.base import Arrays, Part
from difftool.data.digits import dataset, digits
from difftool.data.folder import Folder
from difftool.data.given import npz
from difftool.data.hub import Hub, cifar10, mnist
from difftool.errors import DifftoolError
from difftool.names.registry import registry
from difftool.names.specs import make

TOYS = ["moons", "rings", "eight-gaussians", "swiss-roll", "checkerboard", "grid"]


def picture(seed, size=(8, 8), channels=3):
    array = np.random.default_rng(seed).integers(0, 256, (*size, channels), dtype=np.uint8)
    return array[..., 0] if channels == 1 else array


@pytest.fixture
def pictures(tmp_path):
    for i in range(6):
        (tmp_path / "abc"[i % 3]).mkdir(exist_ok=True)
        Image.fromarray(picture(i)).save(tmp_path / "abc"[i % 3] / f"{i}.png")
    return tmp_path


# --- points ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TOYS)
@given(n=st.integers(1, 300), seed=st.integers(0, 9))
def test_points_follow_from_their_seed(name, n, seed):
    a, b = (make("datasets", f"{name}:n={n},seed={seed}") for _ in range(2))
    assert len(a) == n
    assert a.shape == (2,)
    assert torch.equal(a.all().x, b.all().x)
    if n > 5:
        assert not torch.equal(a.all().x, make("datasets", f"{name}:n={n},seed={seed + 1}").all().x)
    assert float(a.all().x.abs().max()) < 2


def test_points_lie_where_they_should():
    x, label, _ = toys.rings(n=2000, noise=0.0).all()
    torch.testing.assert_close(x.norm(dim=1), (label + 1) / 4)
    x, label, _ = toys.eight_gaussians(n=2000, noise=0.0).all()
    torch.testing.assert_close(torch.atan2(x[:, 1], x[:, 0]) % (2 * math.pi), label * math.pi / 4, rtol=1e-5, atol=1e-5)
    x, label, _ = toys.grid(n=2000, noise=0.0, side=3).all()
    torch.testing.assert_close(x, torch.stack([label % 3, label // 3], 1) - 1.0)
    x = toys.checkerboard(n=2000).all().x
    fields = ((x + 1) * 2).floor()
    assert bool(((fields.sum(1) % 2) == 0).all() | ((fields.sum(1) % 2) == 1).all())
    assert {*fields.flatten().int().tolist()} == {0, 1, 2, 3}
    x, label, _ = toys.moons(n=2000, noise=0.0).all()
    for c, centre in ((0, (-0.5, -0.25)), (1, (0.5, 0.25))):
        radius = (x[label == c] - torch.tensor(centre)).norm(dim=1)
        torch.testing.assert_close(radius, torch.ones_like(radius))


def test_noise_has_its_standard_deviation():
    still, moved = (toys.grid(n=5000, noise=noise, seed=1).all() for noise in (0.0, 0.3))
    torch.testing.assert_close((moved.x - still.x).std(), torch.tensor(0.3), rtol=0.03, atol=0)


# --- arrays and files ------------------------------------------------------------------------------------------------


def test_digits_are_split_once():
    train, held_out = dataset("train"), dataset("held-out")
    assert len(train) + len(held_out) == len(dataset("all")) == 1797
    assert train.classes == held_out.classes == 10
    held = {row.tobytes() for row in held_out.all().x.numpy()}
    assert sum(row.tobytes() in held for row in digits().images[~digits().held_out]) == 0


def test_bytes_are_pictures_between_minus_one_and_one():
    x = torch.tensor([[[[0, 255], [51, 204]]]], dtype=torch.uint8)
    torch.testing.assert_close(Arrays(x).all().x, torch.tensor([[[[-1.0, 1.0], [-0.6, 0.6]]]]))


@pytest.mark.parametrize(("shape", "expected"), [((5, 4, 4), (1, 4, 4)), ((5, 4, 4, 3), (3, 4, 4)), ((5, 2), (2,))])
@pytest.mark.parametrize("names", [("x", "labels"), ("images", "y")])
def test_npz(tmp_path, shape, expected, names):
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    np.savez(tmp_path / "a.npz", **{names[0]: x, names[1]: np.arange(5) % 3})
    data = npz(tmp_path / "a.npz")
    assert (data.shape, data.classes, len(data)) == (expected, 3, 5)
    index = torch.tensor([3, 0, 3])
    order = np.moveaxis(x, 3, 1) if x.ndim == 4 else x
    np.testing.assert_array_equal(data.batch(index).x.numpy(), order[[3, 0, 3]].reshape(3, *expected))
    assert data.batch(index).label.tolist() == [0, 0, 0]


def test_npz_with_texts(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.zeros((4, 2)), text=np.ones((4, 3, 5)))
    data = npz(tmp_path / "a.npz")
    assert (data.text, data.classes) == (5, None)
    assert data.all().cond["text"].shape == (4, 3, 5)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"y": np.zeros(3)}, "has no array named x, images, data, samples; it has y"),
        ({"x": np.zeros((3, 2)), "y": np.zeros(4)}, "3 samples and 4 labels"),
        ({"x": np.array([[1.0, np.nan]])}, "NaN or infinity"),
        ({"x": np.zeros((0, 2))}, "N >= 1"),
        ({"x": np.zeros((2, 2)), "y": np.array([-1, 0])}, "labels must be whole numbers of at least 0"),
        ({"x": np.array(["a", "b"])}, "must be numbers, got <U1"),
    ],
)
def test_bad_npz(tmp_path, arrays, words):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(DifftoolError, match=words):
        npz(tmp_path / "a.npz")


def test_nothing_is_unpickled(tmp_path):
    (tmp_path / "a.npz").write_bytes(pickle.dumps({"x": 1}))
    np.savez(tmp_path / "b.npz", x=np.array([{"a": 1}], dtype=object))
    for name in ("a.npz", "b.npz", "none.npz"):
        with pytest.raises(DifftoolError):
            npz(tmp_path / name)


# --- pictures --------------------------------------------------------------------------------------------------------


def test_a_folder_of_folders_has_classes(pictures):
    data = Folder(pictures)
    assert (len(data), data.shape, data.classes, data.class_names) == (6, (3, 8, 8), 3, ["a", "b", "c"])
    batch = data.batch(torch.tensor([2, 0, 2]))
    assert batch.label.tolist() == [1, 0, 1]
    expected = torch.from_numpy(picture(1)).permute(2, 0, 1) / 127.5 - 1  # b/1.png is the third by name
    torch.testing.assert_close(batch.x[0], expected)
    torch.testing.assert_close(data.batch(torch.tensor([2])).x[0], expected)  # again, as it was kept


def test_a_flat_folder_has_none(tmp_path):
    Image.fromarray(picture(0, channels=1)).save(tmp_path / "0.png")
    data = Folder(tmp_path)
    assert (data.shape, data.classes) == ((1, 8, 8), None)


def test_sizes(tmp_path):
    for i, size in enumerate([(8, 8), (12, 20)]):
        Image.fromarray(picture(i, size)).save(tmp_path / f"{i}.png")
    with pytest.raises(DifftoolError, match=r"different sizes: .*1.png has 20x12, the first one 8x8; give a size"):
        Folder(tmp_path).all()
    assert Folder(tmp_path, size=6).all().x.shape == (2, 3, 6, 6)
    assert Folder(tmp_path, size=6, grey=True).all().x.shape == (2, 1, 6, 6)


@pytest.mark.filterwarnings("ignore::difftool.errors.DifftoolWarning")
def test_what_cannot_be_read_is_named_and_skipped(pictures):
    whole = (pictures / "b" / "1.png").read_bytes()
    (pictures / "b" / "1.png").write_bytes(whole[: len(whole) // 2])
    data = Folder(pictures)
    batch = data.batch(torch.tensor([2, 1]))
    assert batch.label.tolist() == [1, 0]
    torch.testing.assert_close(batch.x[0], data.batch(torch.tensor([3])).x[0])  # the next one in its place
    assert [*data.skipped] == [2]
    assert "b/1.png" in data.skipped[2]


@pytest.mark.filterwarnings("ignore::difftool.errors.DifftoolWarning")
def test_too_many_that_cannot_be_read(tmp_path):
    for i in range(30):
        Image.fromarray(picture(i)).save(tmp_path / f"{i:02}.png")
        if i % 2:
            (tmp_path / f"{i:02}.png").write_bytes(b"no picture")
    with pytest.raises(DifftoolError, match=r"\d+ of 30 pictures cannot be read, the last .*png: cannot identify"):
        Folder(tmp_path).all()


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("folder:path=nowhere", "there is no folder nowhere"),
        ("folder:path=.", "has no pictures"),
        ("folder:path=.,size=0", "has no pictures"),
        ("digits:split=test", "takes split=train | held-out | all, got 'test'"),
        ("moons:n=0", "1 <= n <= "),
        ("moons:noise=-1", "noise >= 0"),
        ("grid:side=1", "side >= 2, got 1"),
        ("mnist:path=nowhere", "there is no folder nowhere with a copy of ylecun/mnist"),
    ],
)
def test_refusals(tmp_path, monkeypatch, spec, words):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DifftoolError) as error:
        make("datasets", spec)
    assert words in str(error.value)


# --- the hub, by copies on this disk ---------------------------------------------------------------------------------


def rows(columns, channels, size=(8, 8)):
    from datasets import ClassLabel, Dataset, Features
    from datasets import Image as Column

    image, label = columns
    features = Features({image: Column(), label: ClassLabel(num_classes=10)})
    cells = {image: [Image.fromarray(picture(i, size, channels)) for i in range(7)], label: [i % 4 for i in range(7)]}
    return Dataset.from_dict(cells, features=features)


@pytest.mark.parametrize("saved", ["parquet", "disk", "dict"])
def test_copies_in_the_formats_of_the_hub(tmp_path, saved):
    from datasets import DatasetDict

    made = rows(("image", "label"), 1)
    if saved == "parquet":
        made.to_parquet(tmp_path / "train-00000-of-00001.parquet")
    else:
        (made if saved == "disk" else DatasetDict(train=made)).save_to_disk(tmp_path)
    data = mnist(path=tmp_path)
    assert (len(data), data.shape, data.classes) == (7, (1, 8, 8), 10)
    batch = data.batch(torch.tensor([5]))
    assert batch.label.tolist() == [1]
    torch.testing.assert_close(batch.x[0, 0], torch.from_numpy(picture(5, channels=1)) / 127.5 - 1)


def test_columns_are_found_by_their_type(tmp_path):
    rows(("img", "fine"), 3).to_parquet(tmp_path / "train.parquet")
    data = cifar10(path=tmp_path, size=4)
    assert (data.shape, data.classes) == ((3, 4, 4), 10)
    with pytest.raises(DifftoolError, match="has no column 'text'; it has img, fine"):
        Hub("a/b", path=tmp_path, image="text")


def test_a_copy_that_cannot_be_read(tmp_path):
    (tmp_path / "train.parquet").write_bytes(b"nothing")
    with pytest.raises(DifftoolError, match=r"cannot read .*, the copy of ylecun/mnist"):
        mnist(path=tmp_path)
    from datasets import DatasetDict

    DatasetDict(train=rows(("image", "label"), 1)).save_to_disk(tmp_path / "d")
    with pytest.raises(DifftoolError, match="has no split 'test'"):
        mnist("test", path=tmp_path / "d")
    rows(("image", "label"), 1).save_to_disk(tmp_path / "one")
    with pytest.raises(DifftoolError, match="has only the split 'train', not 'test'"):
        mnist("test", path=tmp_path / "one")


def test_a_hub_that_cannot_be_reached(monkeypatch):
    import datasets

    def fails(*arguments, **options):
        raise ConnectionError("no route to the hub")

    monkeypatch.setattr(datasets, "load_dataset", fails)
    with pytest.raises(
        DifftoolError, match=r"cannot load ylecun/mnist from the hub \(no route to the hub\); .*path=FOLDER"
    ):
        mnist()


def test_every_data_set_is_tried_here():
    assert {*registry().axis("datasets")} == {
        *TOYS,
        "digits",
        "folder",
        "npz",
        "hub",
        "mnist",
        "cifar10",
        "lsun-bedrooms",
    }


@given(n=st.integers(1, 30), k=st.integers(1, 30))
def test_a_part_is_some_of_the_samples_each_once(n, k):
    data = Arrays(torch.arange(n)[:, None].float() * torch.ones(1, 2), torch.arange(n) % 3)
    if k > n:
        with pytest.raises(DifftoolError, match=f"from 1 to {n}, the size of the data set, got {k}"):
            Part(data, k)
        return
    part = Part(data, k)
    x, label, _ = part.all()
    assert len(part) == k == len(set(x[:, 0].tolist()))
    assert (label == x[:, 0].long() % 3).all() and (part.shape, part.classes) == (data.shape, data.classes)
    assert Part(data, k).all().x.equal(x)


def test_texts_of_one_vector_are_short_sequences():
    data = Arrays(torch.zeros(4, 2), text=torch.ones(4, 5))
    assert (data.text, tuple(data.all().text.shape)) == (5, (4, 1, 5))
    for bad in (torch.ones(4, 2, 2, 5), torch.full((4, 5), torch.nan)):
        with pytest.raises(DifftoolError, match=r"texts must be finite, of shape \(N, L, D\) or \(N, D\)"):
            Arrays(torch.zeros(4, 2), text=bad)


def test_pictures_of_16_bits_and_on_their_side(tmp_path):
    wide = np.linspace(0, 65535, 32).reshape(4, 8).astype(np.uint16)
    Image.fromarray(wide).save(tmp_path / "a.png")
    x = Folder(tmp_path).all().x
    torch.testing.assert_close(x[0, 0], torch.from_numpy(wide / 65535 * 2 - 1).float(), rtol=0, atol=1 / 255)
    (tmp_path / "a.png").unlink()
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    Image.fromarray(np.zeros((4, 8), np.uint8)).save(tmp_path / "b.jpg", exif=exif)
    assert Folder(tmp_path).shape == (1, 8, 4)
