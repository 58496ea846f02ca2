"""Shared by all tests: quiet hypothesis, float64 tolerance, the things that are registered."""

from __future__ import annotations

import os
import warnings

import pytest
import torch
from hypothesis import HealthCheck, settings
from torch import nn

from difftool.data.digits import digits

settings.register_profile(
    "ci", deadline=None, max_examples=25, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("ci")
os.environ.setdefault("COLUMNS", "120")


@pytest.fixture(autouse=True)
def _one_thread():
    """Small tensors: threads only get in each other's way, with several test processes above all."""
    torch.set_num_threads(int(os.environ.get("DIFFTOOL_TEST_THREADS", "1")))


@pytest.fixture(scope="session")
def network(tmp_path_factory):
    """A small classifier of digits, as ONNX; its features are those before the last layer."""
    images, labels, held_out = (torch.from_numpy(v) for v in digits())
    torch.manual_seed(0)
    body = nn.Sequential(
        nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(256, 16)
    )
    whole = nn.Sequential(body, nn.ReLU(), nn.Linear(16, 10))
    optimizer = torch.optim.Adam(whole.parameters(), lr=3e-3)
    for _ in range(200):
        batch = torch.randint(len(images), (128,))
        batch = batch[~held_out[batch]]
        loss = nn.functional.cross_entropy(whole(images[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (whole(images[held_out]).argmax(1) == labels[held_out]).float().mean() > 0.95
    file = tmp_path_factory.mktemp("features") / "digits.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter's own
        torch.onnx.export(
            body.eval(), (images[:2],), str(file), dynamic_shapes=({0: torch.export.Dim("batch")},),
            external_data=False, verbose=False,
        )  # fmt: skip
    return file, body
