"""The same rows with diffusers as shipped, float32 in places: that `widened` changes digits and no method."""

from __future__ import annotations

from dataclasses import replace

import pytest
from agreement import Case, Increments, Noises, check

pytest.importorskip("diffusers")

import test_diffusers as simple
import test_diffusers_dpm as dpm
import test_diffusers_sde as sde
from diffusers_peer import both

# measured: 1e-7 to 8e-5, and 4e-4 for dpm-solver-2, whose step in half-log-snr is a difference of float32 logarithms
SHIPPED = {"tolerance": 1e-3, "reason": "float32 tables and coefficients"}
CASES = [case for file in (simple, dpm, sde) for case in file.CASES if not case.differs and not case.repair]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_as_shipped(case: Case):
    check(replace(case, **SHIPPED), *both(case, Noises, shipped=True))


@pytest.mark.parametrize("case", sde.PATH, ids=str)
def test_as_shipped_with_path_noise(case: Case):
    check(replace(case, **SHIPPED), *both(case, Increments, shipped=True))
