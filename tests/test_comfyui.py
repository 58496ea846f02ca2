"""ComfyUI's loops that are in no package, as it runs them: on x / alpha and levels, on flow models on x and s."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from difftool.models import GaussianMixture
from difftool.names import atlas
from difftool.names.specs import make
from difftool.schedules import Cosine, Flow, Path, Point

MODEL = GaussianMixture(torch.tensor([[0.0, 1.0], [2.0, -1.0]], dtype=torch.float64), 0.1)
LEVELS = (20.0, 9.0, 4.0, 1.7, 0.6, 0.2, 0.0)
TIMES = (0.95, 0.8, 0.7, 0.5, 0.3, 0.1, 0.0)


def normal(seed):
    return torch.randn(4, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def x0(x, p):
    return x / p.alpha if p.sigma == 0 else MODEL.x0(x, p)


def denoised(y, level):
    """Their model, on y = x / alpha."""
    alpha = 1 / math.sqrt(1 + level**2)
    return x0(alpha * y, Point(math.nan, alpha, level * alpha))


def flow_denoised(x, s):
    """Their model of flow matching."""
    return x0(x, Point(s, 1 - s, s))


class Draws:
    """The n-th draw is the same for both sides."""

    def __init__(self):
        self.count = 0

    def __call__(self, *ignored):
        self.count += 1
        return normal(self.count)


def row(name):
    return next(row for row in atlas.tool("comfyui").rows["samplers"] if row.name == name)


def test_res_multistep():
    """Refined exponential multistep: phi functions of -h, h in -log of the level."""
    y, old = LEVELS[0] * normal(0), None
    for i, (a, b) in enumerate(pairwise(LEVELS)):
        d = denoised(y, a)
        if b == 0 or old is None:
            y = y + (y - d) / a * (b - a)
        else:
            h, c2 = math.log(a / b), -math.log(LEVELS[i - 1] / a) / math.log(a / b)
            phi_1 = math.expm1(-h) / -h
            phi_2 = (phi_1 - 1) / -h
            y = math.exp(-h) * y + h * ((phi_1 - phi_2 / c2) * d + phi_2 / c2 * old)
        old = d
    schedule = Cosine(s=0.0)
    path = Path(schedule, [schedule.t_at_level(level) for level in LEVELS])
    x = make("samplers", row("res_multistep").ours)(x0, path[0].alpha * LEVELS[0] * normal(0), path, None)
    torch.testing.assert_close(x, y, rtol=0, atol=1e-12)


def on_flow(name, x, noise=None):
    """Ours, as the atlas has it for flow models."""
    return make("samplers", row(name).flow)(x0, x, Path(Flow(), TIMES), noise)


def test_heun_on_flow_models():
    x = start = normal(0)
    for a, b in pairwise(TIMES):
        d = (x - flow_denoised(x, a)) / a
        if b > 0:
            u = x + (b - a) * d
            d = (d + (u - flow_denoised(u, b)) / b) / 2
        x = x + (b - a) * d
    torch.testing.assert_close(on_flow("heun", start), x, rtol=0, atol=1e-12)


def test_lms_on_flow_models():
    x = start = normal(0)
    slopes = []
    for i, (a, b) in enumerate(pairwise(TIMES)):
        slopes = [(x - flow_denoised(x, a)) / a, *slopes][:4]
        nodes = TIMES[max(i - 3, 0) : i + 1][::-1]
        for j, slope in enumerate(slopes):
            others = np.atleast_1d(np.poly([s for k, s in enumerate(nodes) if k != j]))
            integral = np.polyint(others / np.polyval(others, nodes[j]))
            x = x + (np.polyval(integral, b) - np.polyval(integral, a)) * slope
    torch.testing.assert_close(on_flow("lms", start), x, rtol=0, atol=1e-11)  # polynomials of degree 4 cancel


@pytest.mark.parametrize("name", ["euler_ancestral", "dpmpp_2s_ancestral"])
def test_ancestral_on_flow_models(name):
    x = start = normal(0)
    z = Draws()
    for a, b in pairwise(TIMES):
        down = b * (1 + (b / a - 1))
        s = 1 / (1 + math.sqrt((1 / a - 1) * (1 / down - 1))) if down > 0 else 0.0  # half way in log((1 - s) / s)
        d = flow_denoised(x, a)
        if name.startswith("dpmpp") and s > 0:
            d = flow_denoised(s / a * x + (1 - s / a) * d, s)
        x = down / a * x + (1 - down / a) * d
        if b > 0:
            ratio = (1 - b) / (1 - down)
            x = ratio * x + math.sqrt(b**2 - (ratio * down) ** 2) * z()
    torch.testing.assert_close(on_flow(name, start, Draws()), x, rtol=0, atol=1e-12)


def test_every_row_for_flow_models_is_here():
    spelled = {"heun", "lms", "euler_ancestral", "dpmpp_2s_ancestral"}
    assert {row.name for row in atlas.tool("comfyui").rows["samplers"] if row.flow} == spelled
