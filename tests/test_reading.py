"""Files from strangers: what is not what it claims to be costs one error, and neither time nor memory."""

from __future__ import annotations

import io
import json
import os
import struct
import tracemalloc
import warnings
import zipfile
import zlib
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from difftool.errors import DifftoolError, printable
from difftool.files import reading
from difftool.files.names import is_name
from difftool.files.reading import open_picture, opening, opening_archive, parse_json, parse_toml, read_bytes, read_text
from difftool.files.tensors import opening_tensors, save_tensors


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null", "/dev/tty"])
def test_devices_are_refused(device):
    if not os.path.exists(device):
        pytest.skip("no such device")
    with pytest.raises(DifftoolError, match="cannot read"), opening(device):
        pass


def test_a_pipe_does_not_wait_for_its_writer(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DifftoolError, match="not an regular file"), opening(tmp_path / "pipe"):
        pass


@pytest.mark.parametrize("name", ["", "missing", "a\0b", "x" * 5000, "\ud800", "."])
def test_names_of_no_file(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DifftoolError) as raised:
        read_bytes(name)
    assert "\0" not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_sparse_file_is_not_read_whole(tmp_path):
    with (tmp_path / "large").open("wb") as file:
        file.truncate(2**40)
    tracemalloc.start()
    with pytest.raises(DifftoolError, match="larger than 1000 bytes"):
        read_bytes(tmp_path / "large", 1000)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def test_text_is_utf8(tmp_path):
    (tmp_path / "text").write_bytes(b"\xff\xfe")
    with pytest.raises(DifftoolError, match="UTF-8"):
        read_text(tmp_path / "text")


@pytest.mark.parametrize("depth", [reading.DEPTH + 1, 900, 100_000])
@pytest.mark.parametrize(
    ("parse", "before", "after"), [(parse_json, "[", "]"), (parse_json, '{"a":', "}"), (parse_toml, "[", "]")]
)
def test_nesting_is_bounded(parse, before, after, depth):
    inner = "a = " if parse is parse_toml else ""
    with pytest.raises(ValueError, match="deep"):
        parse(
            f"{inner}{before * depth}1{after * depth}"
            if parse is parse_json
            else f"a = {before * depth}{after * depth}"
        )


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | st.text(),
        lambda x: st.lists(x) | st.dictionaries(st.text(), x),
    )
)
def test_json_within_the_bounds_is_json(value):
    assert parse_json(json.dumps(value)) == value


def test_a_number_of_many_digits_is_an_error_of_the_text():
    with pytest.raises(ValueError, match="digits"):
        parse_json("9" * 5000)


def archive(file, **members):
    """An .npz file of raw members."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as content:
        for name, data in members.items():
            content.writestr(f"{name}.npy", data)
    return file


def member(array):
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array)
    return buffer.getvalue()


def claiming(descr, shape, data=b""):
    """An array's file with that header, whatever follows."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": descr, "fortran_order": False, "shape": shape})
    return buffer.getvalue() + data


@pytest.mark.parametrize("dtype", ["<f8", ">f8", "<f4", ">f4", "<f2", "g", "<i4", ">i8", "u1", ">u2", "?"])
def test_arrays_of_numbers_come_in_a_form_that_torch_takes(dtype, tmp_path):
    values = np.array([[0, 1, 2], [3, 4, 5]]).astype(dtype)
    np.savez(tmp_path / "a.npz", x=values)
    with opening_archive(tmp_path / "a.npz") as data:
        assert data.names == ["x"]
        out = data.array("x")
    assert np.array_equal(out, values)
    assert torch.equal(torch.as_tensor(out).double(), torch.as_tensor(values.astype("f8")))


CLAIMS = [
    claiming("<f8", (10**11,)),
    claiming("<f8", (2**62, 2**62)),
    claiming("<f4", (3,)),
    claiming("<f4", (-1, 4), b"0" * 16),
    claiming("<c16", (1,), b"0" * 16),
    claiming("<U4", (1,), bytes(16)),
    claiming("<M8[s]", (1,), b"0" * 8),
    b"",
    b"\x93NUMPY",
    b"\x93NUMPY\x09\x00",
    b"\x93NUMPY\x01\x00\xff\xff" + b"{" * 65535,
    b"nonsense" * 10,
]


@pytest.mark.parametrize("content", CLAIMS)
def test_arrays_that_are_not_what_they_claim(content, tmp_path):
    file = archive(tmp_path / "a.npz", x=content)
    tracemalloc.start()
    with opening_archive(file) as data, pytest.raises(DifftoolError) as raised:
        data.array("x")
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()
    assert "\n" not in str(raised.value)


def test_objects_are_never_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "trapped"),)

    np.savez(tmp_path / "a.npz", x=np.array([Trap()], dtype=object))
    with opening_archive(tmp_path / "a.npz") as data, pytest.raises(DifftoolError, match="object"):
        data.array("x")
    assert not (tmp_path / "trapped").exists()


def test_what_unpacks_to_much_more_than_it_is(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "ARRAYS", 2**20)
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros(2**20))
    np.savez(tmp_path / "b.npz", x=np.zeros(2**20))
    with opening_archive(tmp_path / "a.npz") as data, pytest.raises(DifftoolError, match="bytes"):
        data.array("x")
    with opening_archive(tmp_path / "b.npz") as data:
        assert data.array("x").shape == (2**20,)


@contextmanager
def one_line():
    """Nothing, or a `DifftoolError` of one line."""
    try:
        yield
    except DifftoolError as error:
        text = str(error)
    else:
        text = ""
    assert "\n" not in text


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 10_000), value=st.binary(min_size=1, max_size=8), cut=st.integers(0, 10_000) | st.none())
def test_damaged_archives(place, value, cut, tmp_path):
    buffer = io.BytesIO()
    np.savez(buffer, samples=np.arange(12.0), recipe=np.array("{}"))
    data = bytearray(buffer.getvalue())
    place %= len(data)
    data[place : place + len(value)] = value
    file = tmp_path / "a.npz"
    file.write_bytes(data[: None if cut is None else cut % len(data)])
    with one_line(), opening_archive(file) as content:
        for name in content.names:
            (content.text if name == "recipe" else content.array)(name)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.integers(0, 10_000), value=st.binary(min_size=1, max_size=8), cut=st.integers(0, 10_000) | st.none())
def test_damaged_tensors(place, value, cut, tmp_path):
    whole = tmp_path / "whole.safetensors"
    if not whole.exists():
        save_tensors({"x": torch.arange(12.0)}, whole, json.dumps({"format": "x"}))
    data = bytearray(whole.read_bytes())
    place %= len(data)
    data[place : place + len(value)] = value
    file = tmp_path / "a.safetensors"
    file.write_bytes(data[: None if cut is None else cut % len(data)])
    with one_line(), opening_tensors(file) as (opened, _):
        for name in opened.keys():  # noqa: SIM118
            opened.get_tensor(name)


def png(width, height):
    """A PNG file that claims that size and holds next to nothing."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("size", [(8193, 8192), (13_000, 13_000), (2**31 - 1, 2**31 - 1), (1, 2**30)])
def test_pictures_of_too_many_pixels(size, tmp_path):
    (tmp_path / "a.png").write_bytes(png(*size))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DifftoolError, match="pixels"):
            open_picture(tmp_path / "a.png")


def test_a_picture_of_many_pixels_is_opened(tmp_path):
    (tmp_path / "a.png").write_bytes(png(8192, 8192))
    assert open_picture(tmp_path / "a.png").size == (8192, 8192)


@given(st.text())
def test_what_is_printed_controls_no_terminal(text):
    shown = printable(text)
    assert shown.isprintable()
    assert is_name(text) <= (shown == text and "/" not in text and text not in (".", ".."))


@pytest.mark.parametrize("text", ["\x1b[31mred", "a\nb", "a\0", "\u202eabc", "\ud800", "x" * 1000])
def test_control_characters_are_escaped(text):
    assert printable(text) != text
    assert len(printable(text)) <= 6 * 80


@pytest.mark.parametrize("text", ["a/../../evil", "..", ".", "", "a b", "\x1b[0m", "x" * 81, 3, None])
def test_these_are_no_names(text):
    assert not is_name(text)
