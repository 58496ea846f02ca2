"""Checks of what a user gives: what they let through, and their lines."""

import math
import subprocess
import sys

import numpy as np
import pytest

from difftool.errors import DifftoolError
from difftool.errors.validation import (
    as_range,
    as_whole,
    check_choice,
    check_kind,
    check_options,
    check_positive,
    check_side,
    check_whole,
    either,
    is_number,
    is_whole,
)


@pytest.mark.parametrize(
    ("value", "whole", "number", "index"),
    [
        (3, True, True, 3),
        (0, False, False, 0),
        (6, False, False, 6),
        (2.0, False, True, None),
        (np.int64(3), False, False, 3),
        (np.float64(3), False, True, None),
        (True, False, False, None),
        (np.True_, False, False, None),
        (math.nan, False, False, None),
        ("3", False, False, None),
        (None, False, False, None),
    ],
)
def test_what_is_a_number(value, whole, number, index):
    assert is_whole(value, 1, 5) is whole
    assert is_number(value, 1, 5) is number
    assert as_whole(value) == index


def test_the_ends_belong_to_a_range():
    assert is_whole(1, 1, 5) and is_whole(5, 1, 5) and is_number(1, 1.0, 5) and is_number(5.0, 1, 5)
    assert check_whole("it is", 1, 1, 5) == 1 and check_whole("it is", 5, 1, 5) == 5
    assert type(check_whole("it is", np.int64(3), 1)) is int
    assert as_range((np.float32(0), 1)) == (0.0, 1.0)
    check_side(1), check_side(4096), check_side(None)
    check_positive("it is", 1e-300)
    check_options(True, "it takes a > 0", a=1)
    check_choice("it is", "a", ("a", "b"))
    check_kind("it", 1, (str, int))


@pytest.mark.parametrize(
    ("check", "says"),
    [
        (lambda: check_whole("steps must be", 0, 1), "steps must be a whole number of at least 1, got 0"),
        (lambda: check_whole("nfe is", 6, 1, 5), "nfe is a whole number from 1 to 5, got 6"),
        (lambda: check_whole("nfe is", "6", 1, 5), "nfe is a whole number from 1 to 5, got '6'"),
        (lambda: check_whole("nfe is", True, 1), "nfe is a whole number of at least 1, got True"),
        (lambda: check_positive("std must be", math.inf), "std must be positive and finite, got inf"),
        (lambda: check_positive("std must be", math.nan), "std must be positive and finite, got nan"),
        (lambda: check_choice("it is", "d", "abc"), "it is a, b or c, got 'd'"),
        (lambda: check_options(False, "it takes a > 0", a=0, fit=1), "it takes a > 0, got a=0, fit=1"),
        (lambda: check_side(0), "size must be from 1 to 4096 pixels, got 0"),
        (lambda: check_side(4097), "size must be from 1 to 4096 pixels, got 4097"),
        (lambda: as_range((1, 1)), "a range must be two finite numbers, low < high, got (1, 1)"),
        (lambda: as_range((0, True)), "a range must be two finite numbers, low < high, got (0, True)"),
        (lambda: as_range(1), "a range must be two finite numbers, low < high, got 1"),
        (lambda: check_kind("it", 1.5, (str, int)), "it must be an instance of str or int, got 1.5"),
        (lambda: check_kind("it", int, int), "it must be an instance of int, got <class 'int'>; create one: int()"),
    ],
)
def test_lines(check, says):
    with pytest.raises(DifftoolError) as error:
        check()
    assert str(error.value) == says


def test_either():
    assert [either("a"), either("ab"), either(range(1, 4))] == ["a", "a or b", "1, 2 or 3"]


def test_it_needs_no_torch():
    code = "import sys, difftool.errors.validation; assert not {'torch', 'numpy'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True)
