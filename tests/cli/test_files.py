"""Files are written whole or not at all, and recipes come back from them."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from reading import files, read

from difftool.errors import DifftoolError
from difftool.files import writing as module
from difftool.files.writing import check_writable, free_name, writing
from difftool.outputs.plots import image_grid
from difftool.outputs.samples import is_picture, read_recipe, save
from difftool.runs.recipe import Recipe


def test_the_name_is_taken_when_all_is_written(folder):
    with writing("a.txt") as temporary:
        temporary.write_text("new")
        assert temporary.parent.resolve() == folder
        assert temporary.suffix == ".txt"
        assert not Path("a.txt").exists()
    assert Path("a.txt").read_text() == "new"
    assert files(folder) == ["a.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("before", [None, "old"])
def test_a_failure_leaves_what_was(folder, error, before):
    if before:
        Path("a.txt").write_text(before)
    with pytest.raises(error), writing("a.txt") as temporary:  # noqa: PT012
        temporary.write_text("half")
        raise error
    assert files(folder) == (["a.txt"] if before else [])
    if before:
        assert Path("a.txt").read_text() == before


def test_a_full_disk(folder):
    with pytest.raises(DifftoolError, match=r"cannot write a\.txt: No space left on device"), writing("a.txt"):
        raise OSError(28, os.strerror(28))
    assert files(folder) == []


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o000])
def test_permissions_are_those_of_any_new_file(folder, mask):
    old = os.umask(mask)
    try:
        with writing("a.txt") as temporary:
            temporary.write_text("new")
        Path("b.txt").write_text("plain")
        assert os.umask(mask) == mask
    finally:
        os.umask(old)
    assert stat.S_IMODE(os.stat("a.txt").st_mode) == stat.S_IMODE(os.stat("b.txt").st_mode)


def test_overwriting_is_a_choice(folder):
    for text in ("old", "new"):
        with writing("a.txt") as temporary:
            temporary.write_text(text)
    assert Path("a.txt").read_text() == "new"
    with pytest.raises(DifftoolError, match="exists already"), writing("a.txt", overwrite=False) as temporary:
        temporary.write_text("newer")
    assert Path("a.txt").read_text() == "new"
    assert files(folder) == ["a.txt"]


def test_a_file_that_appears_meanwhile_is_not_overwritten(folder):
    refused = pytest.raises(DifftoolError, match="exists already")
    with refused, writing("a.txt", overwrite=False) as temporary:
        temporary.write_text("ours")
        Path("a.txt").write_text("theirs")
    assert Path("a.txt").read_text() == "theirs"
    assert files(folder) == ["a.txt"]


@pytest.mark.parametrize("exists", [False, True])
def test_where_the_file_system_has_no_links(folder, monkeypatch, exists):
    def link(*names):
        raise PermissionError(1, os.strerror(1))

    monkeypatch.setattr(module.os, "link", link)
    if exists:
        Path("a.txt").write_text("theirs")
        with pytest.raises(DifftoolError, match="exists already"), writing("a.txt", overwrite=False):
            pass
    else:
        with writing("a.txt", overwrite=False) as temporary:
            temporary.write_text("ours")
    assert Path("a.txt").read_text() == ("theirs" if exists else "ours")
    assert files(folder) == ["a.txt"]


def test_check_writable_leaves_nothing(folder):
    check_writable("a.txt")
    check_writable(Path("b.txt"), overwrite=True)
    assert files(folder) == []


def test_check_writable_refuses(folder):
    Path("a.txt").touch()
    Path("there").mkdir()
    Path("link").symlink_to("nowhere")
    for name, overwrite, says in [
        ("a.txt", False, "exists already"), ("there", True, "there is a folder"), ("link", False, "exists already"),
        ("no/a.txt", False, "no such folder"), ("a.txt/b", False, "Not a directory"), ("b" * 300, False, "too long"),
    ]:  # fmt: skip
        with pytest.raises(DifftoolError, match=says):
            check_writable(name, overwrite)
    check_writable("a.txt", overwrite=True)
    assert files(folder) == ["a.txt", "link", "there"]


def test_free_name(folder):
    assert free_name("a", folder, ".png") == folder / "a-001.png"
    Path("a-001.png").touch()
    Path("a-002.png").symlink_to("nowhere")
    Path("a-004.png").touch()
    assert free_name("a", folder, ".png") == folder / "a-003.png"
    assert free_name("a", folder, ".npz") == folder / "a-001.npz"


SAMPLES = torch.arange(2 * 3 * 4 * 4, dtype=torch.float32).reshape(2, 3, 4, 4) / 48 - 1


@pytest.mark.parametrize("suffix", [".png", ".npz", ".safetensors", ".PNG"])
def test_a_recipe_comes_back(folder, suffix):
    recipe = Recipe(sampler="em:a='ü\"'", steps=3, plan={"rows": [[0.1, 1e-300]]})
    save(SAMPLES, Path(f"a{suffix}"), recipe.to_dict())
    assert read_recipe(Path(f"a{suffix}")) == recipe.to_dict()
    assert Recipe.load(Path(f"a{suffix}")) == recipe


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_arrays_keep_every_bit(folder, suffix, dtype):
    samples = SAMPLES.to(dtype).transpose(2, 3) / 3  # not contiguous
    save(samples, Path(f"a{suffix}"), {})
    got, _ = read(f"a{suffix}")
    np.testing.assert_array_equal(got, samples.numpy())
    assert got.dtype == samples.numpy().dtype


def test_pictures_keep_colours(folder):
    colours = torch.tensor([[1.0, -1, -1], [-1, 1, -1], [-1, -1, 1], [5, -5, 0]]).reshape(4, 3, 1, 1).expand(4, 3, 2, 2)
    save(colours, Path("a.png"), {})
    pixels, _ = read("a.png")
    height, width, _ = pixels.shape
    found = [pixels[y, x].tolist() for y in (height // 4, 3 * height // 4) for x in (width // 4, 3 * width // 4)]
    assert found == [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 0, 128]]


@pytest.mark.parametrize("count", [1, 2, 3, 10, 5000])
def test_a_picture_has_room_for_all(count):
    grid = np.asarray(image_grid(np.full((count, 1, 8, 8), -1, np.float32)))
    assert max(grid.shape) < 5000
    assert max(grid.shape) <= 2 * min(grid.shape)
    black = (grid == 0).sum()
    assert black % (count * 64) == 0
    scale = round((black / (count * 64)) ** 0.5)
    assert black == count * 64 * scale**2


def test_is_picture():
    assert is_picture((1, 8, 8))
    assert is_picture((3, 8, 8))
    assert is_picture((2,))
    assert not any(map(is_picture, [(2, 8, 8), (8, 8), (3,), (1,), (), (1, 2, 3, 4)]))


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> dict[str, bytes]:
    place = tmp_path_factory.mktemp("whole")
    for suffix in (".png", ".npz", ".safetensors"):
        save(SAMPLES, place / f"a{suffix}", Recipe().to_dict())
    return {path.suffix: path.read_bytes() for path in place.iterdir()}


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_is_told_or_harmless(folder, whole, data):
    """Cut anywhere, any byte changed: the same recipe, or a `DifftoolError` in one line; never another."""
    suffix = data.draw(st.sampled_from(sorted(whole)))
    content = bytearray(whole[suffix])
    place = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        del content[place:]
    else:
        content[place] ^= data.draw(st.integers(1, 255))
    file = folder / f"a{suffix}"
    file.write_bytes(bytes(content))
    try:
        recipe = Recipe.load(file)
    except DifftoolError as error:
        assert str(file) in str(error)  # noqa: PT017
    else:
        assert suffix != ".png"  # its check sums find every change
        assert isinstance(recipe, Recipe)


def test_a_picture_of_a_million_pixels_and_more_is_read(folder, monkeypatch):
    """The recipe is read without decoding the pixels, which Pillow refuses for large pictures."""
    save(SAMPLES, Path("a.png"), Recipe().to_dict())
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert Recipe.load(Path("a.png")) == Recipe()


def test_recipes_are_plain_json():
    recipe = Recipe(model="a", batch_size=2, last="mean")
    assert json.loads(json.dumps(recipe.to_dict())) == recipe.to_dict()


def test_title_and_plan_file():
    recipe = Recipe(model="digits-exact:std=0.2", sampler="ddim:eta=1")
    assert (recipe.title, recipe.plan_file) == ("digits-exact-ddim", None)
    for text in ("x/tuned.json", "'x/tuned.json'"):
        recipe = Recipe(sampler=text)
        assert (recipe.title, recipe.plan_file) == ("digits-exact-tuned", Path("x/tuned.json"))
    assert Recipe(sampler="mine:file=tuned.json").plan_file is None
    assert Recipe(sampler="tuned.json:eta=1").plan_file is None
