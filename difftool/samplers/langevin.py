"""Langevin dynamics at a fixed point p: x <- x + h score + sqrt(2 h) z.

It keeps the distribution of x_p as h -> 0. The step size h follows from a signal-to-noise ratio
`snr`, in one of three ways:

    level    h = 2 (snr sigma)^2                    the same for all; only this fits a plan
    sample   h = 2 (snr |z| / |score|)^2            norms of each sample
    batch    h = 2 (snr mean|z| / mean|score|)^2    norms averaged over the batch, as published

Sources: Song & Ermon 2019 (arXiv 1907.05600, algorithm 1), Song et al. 2021 (arXiv 2011.13456,
algorithms 2 to 5).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

from difftool.errors import DifftoolError
from difftool.samplers.base import Denoiser, NoiseSource, Sampler, State, eps_of, name_of
from difftool.samplers.options import check_choice, check_number, check_whole
from difftool.samplers.sde import EulerMaruyama
from difftool.samplers.wrapper import takes_single_steps
from difftool.schedules.base import Point
from difftool.schedules.path import Path

StepSize = Literal["level", "sample", "batch"]
FEW = 16  # a sample with fewer elements may have a score of norm near 0


@dataclass(frozen=True)
class _Langevin(Sampler):
    """The common part of the two samplers below: `corrections` Langevin steps at a point."""

    corrections: int = 1
    snr: float = 0.16
    step_size: StepSize = "sample"

    weak_order = 0  # steps of a fixed size widen the distribution
    last = "mean"
    point_mass = False

    def __post_init__(self) -> None:
        check_whole(self.name, "corrections", self.corrections, 1)
        check_number(self.name, "snr", self.snr, 0.0, above=True)
        check_choice(self.name, "step_size", self.step_size, StepSize)

    @property
    def stochastic(self) -> bool:
        return True

    @property
    def divides_by_alpha(self) -> bool:
        return True

    @property
    def batch_independent(self) -> bool:
        return self.step_size != "batch"

    def caution(self, size: int) -> str | None:
        """A warning before runs whose samples have few elements, if step_size is `sample`."""
        if self.step_size != "sample" or size >= FEW:
            return None
        return (
            f"{name_of(self)} sizes its steps by the norm of each sample's score, which in {size} dimensions can be "
            f"near 0 and make steps arbitrarily large; use step_size=batch or step_size=level"
        )

    def correct(self, model: Denoiser, x: State, p: Point, noise: NoiseSource) -> State:
        """Take `corrections` Langevin steps at p."""
        for _ in range(self.corrections):
            score = -1 / p.sigma * eps_of(x, model(x, p), p)
            z = noise(p)
            h, root = self._step(score, z, p)
            x = x + h * score + root * z
        return x

    def _step(self, score: State, z: State, p: Point) -> tuple[Any, Any]:
        """h and sqrt(2 h), as floats or as tensors (B, 1, ...)."""
        if self.step_size == "level":
            return 2 * (self.snr * p.sigma) ** 2, 2 * self.snr * p.sigma
        norms = [a.flatten(1).norm(dim=1) for a in (z, score)]
        if self.step_size == "batch":
            norms = [n.mean().expand_as(n) for n in norms]
        ratio = self.snr * norms[0] / norms[1].clamp_min(1e-12)
        ratio = ratio.reshape(-1, *[1] * (score.ndim - 1))
        return 2 * ratio**2, 2 * ratio


@dataclass(frozen=True)
class AnnealedLangevin(_Langevin):
    """Langevin dynamics on a falling sequence of noise levels.

    At each point of the path, `corrections` steps x <- x + h score + sqrt(2 h) z, then on to
    the next point with x <- (alpha_s / alpha_t) x. `corrections` evaluations per step, and one
    for the mean at the end. Options:

    corrections: Langevin steps per point (1 to 10,000).
    snr: the signal-to-noise ratio that sets the step size (> 0).
    step_size: `level`, h = 2 (snr sigma)^2, the published choice; `sample`, h = 2 (snr
        |z| / |score|)^2 with the norms of each sample; `batch`, with norms averaged over the
        batch.

    Raises `DifftoolError` for other values and for upward grids.
    """

    corrections: int = 5
    snr: float = 0.32
    step_size: StepSize = "level"

    name = "annealed-langevin"
    reference = "Song & Ermon 2019, Generative modeling by estimating gradients, arXiv 1907.05600, algorithm 1"

    @property
    def evaluations(self) -> int:
        return self.corrections

    def __call__(self, model: Denoiser, x: State, path: Path, noise: NoiseSource) -> State:
        x = self.correct(model, x, path[0], noise)
        for now, nxt in pairwise(path):
            x = nxt.alpha / now.alpha * x
            if nxt.sigma > 0:
                x = self.correct(model, x, nxt, noise)
        return x

    def nfe(self, path: Path) -> int:
        return self.corrections * sum(p.sigma > 0 for p in path)


@dataclass(frozen=True)
class PredictorCorrector(_Langevin):
    """Steps of any sampler, each followed by Langevin steps at the point it reached.

    The predictor's step, then `corrections` times x <- x + h score + sqrt(2 h) z. Evaluations
    per step: the predictor's plus `corrections`. Options:

    corrections: Langevin steps after each predictor step (1 to 10,000).
    snr: the signal-to-noise ratio that sets the step size (> 0).
    step_size: `sample`, h = 2 (snr |z| / |score|)^2 with the norms of each sample; `batch`,
        with norms averaged over the batch, the published choice; `level`, h = 2 (snr sigma)^2.
        In few dimensions the norm of one sample's score may be near 0, and `sample` then takes
        unbounded steps: use another choice there.
    predictor: any single-step sampler.

    Raises `DifftoolError` for other values and for upward grids.
    """

    predictor: Sampler = field(default_factory=EulerMaruyama)

    name = "predictor-corrector"
    reference = "Song et al. 2021, Score-based generative modeling through SDEs, arXiv 2011.13456, algorithm 1"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.predictor, Sampler):
            raise DifftoolError(f"the predictor must be a sampler, got {self.predictor!r}")
        if self.predictor.adaptive or self.predictor.evaluations is None:
            raise DifftoolError(
                "the predictor must take single steps; an adaptive sampler cannot"
            )
        if not takes_single_steps(self.predictor):
            raise DifftoolError(
                f"{self.name} takes a single-step predictor (em, ddim, heun, ..); "
                f"{name_of(self.predictor)} keeps history between steps"
            )

    @property
    def evaluations(self) -> int | None:
        if self.predictor.evaluations is None:
            return None
        return self.predictor.evaluations + self.corrections

    def __call__(self, model: Denoiser, x: State, path: Path, noise: NoiseSource) -> State:
        for i, nxt in enumerate(path[1:]):
            x = self.predictor(model, x, path[i : i + 2], noise)
            if nxt.sigma > 0:
                x = self.correct(model, x, nxt, noise)
        return x

    def nfe(self, path: Path) -> int | None:
        each = [self.predictor.nfe(path[i : i + 2]) for i in range(len(path) - 1)]
        corrections = self.corrections * sum(p.sigma > 0 for p in path[1:])
        return sum(n for n in each if n is not None) + corrections
