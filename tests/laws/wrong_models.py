"""Models that are wrong in one thing each."""

from __future__ import annotations

import torch

from difftool.models import GaussianMixture, Model, NetworkModel
from difftool.models.parametrization import PARAMETRIZATIONS
from difftool.schedules import VPLinear

F64 = torch.float64


def exact(std=0.3):
    """Three clusters in the plane."""
    return GaussianMixture(torch.tensor([[1.0, 0.2], [-0.7, 0.6], [0.1, -1.1]], dtype=F64), std**2)


def network(gives, schedule=None, told=None, factor=1.0):
    """The exact model of three clusters as a network that answers with `gives`, taken for one that answers `told`."""
    schedule, data = schedule or VPLinear(), exact()

    def net(x, t):
        p = schedule.at(t.double(), like=x)
        _, _, scale = PARAMETRIZATIONS[gives].coefficients(p, 0.5)
        skip, out, _ = PARAMETRIZATIONS[gives].coefficients(p, 0.5)
        y = x.double() / scale
        return (factor * (data.x0(y, p) - skip * y) / out).to(x.dtype)

    return NetworkModel(net, schedule, told or gives)


class Wrong(Model):
    """The exact model of three clusters, with its x0 changed."""

    def __init__(self, change, shape=(2,)):
        self.change, self.data, self.shape = change, exact(), shape

    def x0(self, x, p, **cond):
        return self.change(self.data.x0(x, p), x, p)


class OffByOnePercent(GaussianMixture):
    """A mixture whose x0 is that of means 1% further out than those of its density."""

    def x0(self, x, p, **cond):
        return 1.01 * super().x0(x, p, **cond)


def leaky(x0, x, p):
    return x0 if len(x) <= 4 else x0 + 1e-3 * x0.mean(0)


def convolution():
    """A network for pictures that does not say so."""
    return NetworkModel(_Pictures(), VPLinear(), "x0")


class _Pictures(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x, t):
        return self.layer(x)


class Deaf(Model):
    """The exact model of three clusters, that takes a label and does without."""

    shape = (2,)

    def x0(self, x, p, label=None):
        return exact().x0(x, p)


def copies(x0, x, p):
    return torch.cat([x0[:64], x0[:1].expand(len(x0) - 64, -1)]) if len(x0) > 64 else x0


ESCAPED = [
    (Deaf(), "another label"),
    (Wrong(copies), "batch"),
    (network("eps", factor=-1.0), "pure noise"),
    (network("v", told="eps"), "pure noise"),
    (network("x0", told="eps"), "pure noise"),
    (network("eps", told="x0"), "noised samples"),
    (network("eps", told="v"), "noised samples"),
    (network("flow", told="v"), "noised samples"),
    (network("score", told="eps"), "pure noise"),
    (Wrong(lambda x0, x, p: x0 + 0.1), "noised samples"),
    (Wrong(lambda x0, x, p: 1.02 * x0), "noised samples"),
    (Wrong(lambda x0, x, p: x0.detach()), "gradients"),
    (Wrong(lambda x0, x, p: x0 * (float("nan") if p.level > 75 else 1.0)), "finite"),
    (Wrong(lambda x0, x, p: 0 * x0 if p.level < 5e-3 else x0), "noised samples"),
    (Wrong(leaky), "batch"),
    (OffByOnePercent(exact().means, 0.09), "score"),
    (convolution(), "takes x"),
]
