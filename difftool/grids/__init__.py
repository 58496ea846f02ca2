"""Time grids: the times at which a run evaluates its model.

A grid is a frozen dataclass called as `grid(schedule, steps)`; it returns `steps + 1` times,
from the start of the run to its end. Every grid has the options

    start   the first time (None: the end of the schedule's domain, or alpha = 1e-3 if the grid
            needs a finite level)
    end     the last time (None: the lower end of the domain, sigma = 0)

so image-to-image can start later, and a run can stop at a small level. With start < end the
grid runs upwards (encoding): it is the downward grid, reversed. The ends are exact on any
schedule: a rule or table for other noise levels is stretched or cropped to them (see each
class). Only `leading` may begin below its start, as in its published form.

    base        Grid: ends, direction and order
    uniform     equal or quadratic steps in t
    entries     integer timesteps of networks trained on a table of noise levels
    flow        steps in sigma / (alpha + sigma)
    level       steps in a function of the noise level sigma / alpha
    beta        quantiles of a beta distribution, in t, table entries or the level
    published   noise levels optimized for published models
    given       user-specified times or levels

Grids in the log SNR and the like cannot reach sigma = 0. Their regular part ends at the noise
level `level_min`, followed by one last step to sigma = 0, which does not shrink with more steps
(`refines`).
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
