"""Grids: at which times a run evaluates its model.

A grid is a frozen dataclass called as `grid(schedule, steps)`; it returns `steps + 1` times, from the start of the
run to its end. Every grid has the options

    start   the first time (None: the end of the schedule's domain, or alpha = 1e-3 where that has no finite level)
    end     the last time (None: the lower end of the domain, sigma = 0)

so that image-to-image starts later and a run may stop at a small level. With start < end the grid runs upwards
(encoding): it is the mirror of the grid that comes down. The ends are exactly these on any schedule: a rule or a table
made for other noise levels is stretched or cut to them (each class says how). Only `leading` may begin below its
start, as its published form does.

    base        Grid: the ends, the mirror, the order
    uniform     equal or quadratic steps in t
    entries     the integer timesteps of a network that was trained on a table of noise levels
    flow        steps in sigma / (alpha + sigma)
    level       steps in a function of the noise level sigma / alpha
    beta        quantiles of a beta distribution, in t, of entries or in the level
    published   noise levels optimised for published models
    given       the user's own times or levels

Uniform in log-SNR-like variables cannot reach sigma = 0. Such grids end their regular part at the noise level
`level_min` and take one last step from there to sigma = 0; that step does not shrink with more steps (`refines`).
"""

from difftool.grids.base import Grid, check_steps
from difftool.grids.beta import Beta, BetaEntries, BetaLevel
from difftool.grids.entries import Leading, Linspace, Simple, Trailing, ddim_uniform
from difftool.grids.flow import FlowGrid, LinearQuadratic
from difftool.grids.given import Explicit, from_file
from difftool.grids.level import HalfLogSNR, Karras, KLOptimal, LevelGrid, PolyExponential
from difftool.grids.published import AYS, GITS
from difftool.grids.uniform import Normal, Quadratic, SGMUniform, Uniform

__all__ = [
    "AYS",
    "GITS",
    "Beta",
    "BetaEntries",
    "BetaLevel",
    "Explicit",
    "FlowGrid",
    "Grid",
    "HalfLogSNR",
    "KLOptimal",
    "Karras",
    "Leading",
    "LevelGrid",
    "LinearQuadratic",
    "Linspace",
    "Normal",
    "PolyExponential",
    "Quadratic",
    "SGMUniform",
    "Simple",
    "Trailing",
    "Uniform",
    "check_steps",
    "ddim_uniform",
    "from_file",
]
