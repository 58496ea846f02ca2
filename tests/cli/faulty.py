"""A plugin whose models go wrong, each in one way; they are eight Gaussians otherwise."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import torch

from difftool.hookspecs import hookimpl
from difftool.models import Model
from difftool.zoo import eight_gaussians


class Faulty(Model):
    """Eight Gaussians; `fault(x, p, x0)` returns what is answered in place of x0."""

    shape = (2,)
    evaluations = 0

    def __init__(self, fault):
        self.fault = fault
        self.exact = eight_gaussians()

    def x0(self, x, p, **cond):
        Faulty.evaluations += 1
        return self.fault(x, p, self.exact.x0(x, p))


def nan(size: int = 2, below: float = 0.5):
    """NaN in the last sample of batches of `size`, once t < `below`."""

    def fault(x, p, x0):
        if len(x) == size and p.t < below:
            x0 = x0.clone()
            x0[-1, 0] = float("nan")
        return x0

    return Faulty(fault)


def narrow(size: int = 2):
    """An answer of another shape for batches of `size`."""
    return Faulty(lambda x, p, x0: x0[:, :1] if len(x) == size else x0)


def greedy(size: int = 2):
    """Memory runs out in batches of `size`."""

    def fault(x, p, x0):
        if len(x) == size:
            torch.empty(2**60)
        return x0

    return Faulty(fault)


def vanishing(folder: Path):
    """The folder is gone after the first evaluation."""

    def fault(x, p, x0):
        shutil.rmtree(folder, ignore_errors=True)
        return x0

    return Faulty(fault)


def slow(marker: Path):
    """A tenth of a second for each evaluation; the marker exists once it was asked for the third time."""

    def fault(x, p, x0):
        time.sleep(0.1)
        if Faulty.evaluations == 3:
            marker.touch()
        return x0

    return Faulty(fault)


def plain():
    """Nothing wrong: it counts its evaluations."""
    return Faulty(lambda x, p, x0: x0)


class Flat(Model):
    """Samples that make no picture."""

    shape = (5,)

    def x0(self, x, p, **cond):
        return 0.5 * x


class Shapeless(Model):
    """Does not say what its samples look like."""

    def x0(self, x, p, **cond):
        return 0.5 * x


@hookimpl
def difftool_models():
    models = {"nan": nan, "narrow": narrow, "greedy": greedy, "vanishing": vanishing, "slow": slow, "plain": plain}
    return {**models, "flat": Flat, "shapeless": Shapeless}
