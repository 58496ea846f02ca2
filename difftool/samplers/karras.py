"""k-diffusion's relatives of Runge-Kutta methods, in the noise level l = sigma / alpha.

The ODE is dy/dl = eps with y = x / alpha. They divide by alpha. A step into sigma = 0 is an
Euler step, x = alpha x0.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from difftool.samplers.base import Denoiser, NoiseSource, Sampler, State, eps_of
from difftool.schedules.base import Point
from difftool.schedules.path import Path


def _move(x: State, eps: State, now: Point, nxt: Point) -> State:
    """x_b = alpha_b (x_a / alpha_a + (l_b - l_a) eps)."""
    return nxt.alpha / now.alpha * x + nxt.alpha * (nxt.level - now.level) * eps


@dataclass(frozen=True)
class DPM2(Sampler):
    """DPM-2: the midpoint method in the noise level, with the geometric mean as the midpoint.

    x_m = alpha_m (x_a / alpha_a + (l_m - l_a) eps_a),   l_m = sqrt(l_a l_b),
    x_b = alpha_b (x_a / alpha_a + (l_b - l_a) eps_m),

    with eps = (x - alpha x0) / sigma. Order 2. Two evaluations per step, one in a last step
    into sigma = 0. No options; for churn use `churn:solver=dpm-2`.
    """

    name = "dpm-2"
    accuracy = 2
    evaluations = 2
    reference = (
        "Crowson 2022, k-diffusion (sample_dpm_2), after Lu et al. 2022, arXiv "
        "2206.00927, and Karras et al. 2022"
    )

    @property
    def divides_by_alpha(self) -> bool:
        return True

    def __call__(self, model: Denoiser, x: State, path: Path, noise: NoiseSource) -> State:
        for now, nxt in pairwise(path):
            eps = eps_of(x, model(x, now), now)
            if now.sigma > 0 and nxt.sigma > 0:
                mid = path.at_half_log_snr((now.half_log_snr + nxt.half_log_snr) / 2)
                u = _move(x, eps, now, mid)
                eps = eps_of(u, model(u, mid), mid)
            x = _move(x, eps, now, nxt)
        return x

    def nfe(self, path: Path) -> int:
        """Two evaluations per step; one in a step into sigma = 0, none in a step from there."""
        total = 0
        for now, nxt in pairwise(path):
            if now.sigma > 0:
                total += 2 if nxt.sigma > 0 else 1
        return total


@dataclass(frozen=True)
class HeunPP2(Sampler):
    """Heun++: slopes at this point and the next two, weighted by their noise levels.

    x_{i+1} = alpha_{i+1} (x_i / alpha_i + (l_{i+1} - l_i) (w_1 eps_1 + w_2 eps_2 + w_3 eps_3)),
    w_2 = l_{i+1} / (3 l_0),   w_3 = l_{i+2} / (3 l_0),   w_1 = 1 - w_2 - w_3,

    with eps_2 and eps_3 at the next two points, reached by Euler steps. The last step but one
    has w_2 = l_{i+1} / (2 l_0) and no third slope; the last one is an Euler step. It has order
    1 over a run (measured 0.99), because the weights follow the level and not the steps: the
    last step but one is Heun's only close to the start, where l_i / l_0 is near 1. Three
    evaluations per step, two and one in the last two. No options; raises `DifftoolError` for
    upward grids.
    """

    name = "heunpp2"
    global_order = 1
    evaluations = 3
    reference = "ComfyUI (sample_heunpp2), after Carzit, sd-webui-samplers-scheduler"

    @property
    def divides_by_alpha(self) -> bool:
        return True

    @property
    def downwards_only(self) -> bool:
        return True

    def __call__(self, model: Denoiser, x: State, path: Path, noise: NoiseSource) -> State:
        for i, (now, nxt) in enumerate(pairwise(path)):
            ahead = path.points[i + 1 : min(i + 3, len(path) - 1)]
            total = (len(ahead) + 1) * path[0].level
            first = eps = eps_of(x, model(x, now), now)
            slope = first
            u, p = x, now
            for q in ahead:
                u, p = _move(u, eps, p, q), q
                eps = eps_of(u, model(u, q), q)
                slope = slope + q.level / total * (eps - first)
            x = _move(x, slope, now, nxt)
        return x

    def nfe(self, path: Path) -> int:
        n = len(path) - 1
        return sum(min(3, n - i) for i in range(n))
