"""Shared by all tests: quiet hypothesis, float64 tolerance, the things that are registered."""

from __future__ import annotations

import os

import pytest
import torch
from hypothesis import HealthCheck, settings

settings.register_profile(
    "ci", deadline=None, max_examples=40, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("ci")
os.environ.setdefault("COLUMNS", "120")


@pytest.fixture(autouse=True)
def _one_thread():
    """Small tensors: threads only get in each other's way, with several test processes above all."""
    torch.set_num_threads(1)
