"""The table of all samplers in `docs/samplers.md`: claimed and measured orders, and costs."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from difftool.checks.orders import global_order, one_step_order, weak_order
from difftool.checks.sampler import without_noise
from difftool.errors import DifftoolError
from difftool.grids import FlowGrid, Grid
from difftool.models.parametrization import errors_of
from difftool.names.registry import registry
from difftool.names.specs import make
from difftool.outputs.markdown import markdown_table
from difftool.plan import Plan, compile_plan, trace
from difftool.plan.stability import Stability, amplification, stability
from difftool.samplers.base import Sampler
from difftool.schedules import DDPMLinear, Path, Schedule, VPLinear

STEPS = 20  # of the run whose registers are counted and whose errors are propagated


@dataclass(frozen=True)
class Line:
    """One sampler. Pairs are (claimed, measured), None if nothing is claimed."""

    name: str
    accuracy: tuple[float, float] | None
    over_a_run: tuple[float, float] | None
    weak: tuple[float, float] | None
    quiet: bool  # whether the first two are at zero noise
    evaluations: int | None
    registers: int | None  # None if it has no plan
    stability: Stability | None
    gains: tuple[float, float] | None  # amplification of errors of eps and of v
    reference: str

    @property
    def worst(self) -> float:
        """The largest deviation of a measured order from its claim."""
        pairs = [pair for pair in (self.accuracy, self.over_a_run, self.weak) if pair]
        return max((abs(a - b) for a, b in pairs), default=0.0)


def lines(names: Iterable[str] | None = None) -> list[Line]:
    """The named samplers, measured; by default all built-in ones."""
    entries = registry().axis("samplers")
    own = [name for name, entry in entries.items() if entry.origin.startswith("difftool ")]
    return [
        line_of(name, make("samplers", name), source_of(entries[name].load()))
        for name in (own if names is None else names)
    ]


def source_of(target: Any) -> str:
    """The reference of a class, or of a function that builds it under another name."""
    text = " ".join((target.__doc__ or "").split())
    cited = re.search(r"Sources?: (.+?)\.?$", text)
    return getattr(target, "reference", "") or (cited[1] if cited else "")


def line_of(name: str, sampler: Sampler, reference: str = "") -> Line:
    """The line of one sampler, measured."""
    if sampler.adaptive:
        quiet = None
    else:
        quiet = without_noise(sampler)
    accuracy = over_a_run = weak = None
    if quiet is not None and quiet.accuracy is not None:
        accuracy = float(quiet.accuracy), one_step_order(quiet)
    if quiet is not None and (claimed := quiet.run_order) is not None:
        over_a_run = float(claimed), global_order(quiet)
    if sampler.stochastic and sampler.weak_order is not None:
        weak = float(sampler.weak_order), weak_order(sampler) if sampler.weak_order else 0.0
    return Line(
        name, accuracy, over_a_run, weak, sampler.stochastic and over_a_run is not None, sampler.evaluations,
        _registers(sampler), stability(sampler), _gains(sampler), reference or sampler.reference,
    )  # fmt: skip


def _registers(sampler: Sampler) -> int | None:
    """The number of state-sized buffers that the plan needs."""
    plan = _plan(sampler, VPLinear(), FlowGrid())
    if plan is None:
        return None
    return compile_plan(plan, None)[1].registers


def _gains(sampler: Sampler) -> tuple[float, float] | None:
    """The amplification of independent unit errors of eps and of v, on its own grid."""
    plan = _plan(sampler, DDPMLinear(), sampler.grid or FlowGrid())
    if plan is None:
        return None
    return (amplification(plan, errors_of("eps")), amplification(plan, errors_of("v")))


def _plan(sampler: Sampler, schedule: Schedule, grid: Grid) -> Plan | None:
    """The plan of a run of `STEPS` steps; None if there is none."""
    times = grid.starting(schedule.t_start(sampler.divides_by_alpha or grid.needs_level))(
        schedule, STEPS
    )
    try:
        return trace(sampler, Path(schedule, times))
    except DifftoolError:
        return None


def markdown(table: list[Line]) -> str:
    """The text of the page."""
    head = (
        "name", "order of one step", "over a run", "weak order", "NFE per step", "registers", "stability",
        "error of eps", "of v", "reference",
    )  # fmt: skip
    rows = [
        (
            f"`{line.name}`", _pair(line.accuracy, line.quiet), _pair(line.over_a_run, line.quiet), _pair(line.weak),
            "chosen in the run" if line.evaluations is None else str(line.evaluations),
            "no plan" if line.registers is None else str(line.registers),
            "" if line.stability is None else f"{line.stability.real:.2g}; {line.stability.disc:.2g}",
            *(("", "") if line.gains is None else (f"{gain:.2g}" for gain in line.gains)), line.reference,
        )
        for line in table
    ]  # fmt: skip
    return f"{INTRODUCTION}\n{markdown_table(head, rows)}\n"


def _pair(pair: tuple[Any, float] | None, quiet: bool = False) -> str:
    if pair is None:
        return ""
    if pair[0] == 0:
        return "0"
    if math.isinf(pair[1]):
        measured = "exact"
    else:
        measured = f"{pair[1]:.2f}"
    return f"{pair[0]:g} ({measured})" + (" *" if quiet else "")


INTRODUCTION = """# Samplers

Generated by `python docs/generate.py` from all registered samplers with default options. `difftool show NAME` prints
the formula and the options of a sampler, `difftool check NAME` measures it again, with any options.

Orders are given as claimed (measured). They are measured on a mixture of two Gaussians in one dimension, whose
probability flow is known exactly. *Order of one step*: the slope of log local error over log step size, less 1, with
exact history. *Over a run*: the order of the end point over a fixed interval that does not start in noise, start-up
included. *Weak order*: the order in distribution at the end point, computed exactly on Gaussian data; 0 means that
samples do not converge in distribution to the data, however many the steps (Langevin steps of a fixed size, distilled
models). An asterisk means at zero noise. *NFE*: network evaluations; a last step into sigma = 0 may take fewer.
*Registers*: state-sized buffers in a run of 20 steps.

*Stability*: the real and the complex stability interval, that is, the largest Lipschitz constant of the network's
velocity times the step of s = sigma / (alpha + sigma) at which no error grows (Euler: 2; 2). Guidance multiplies that
constant. *Error of eps*, *of v*: the error at the end if all outputs of such a network have independent unit errors, in
20 steps on DDPM's table for data of variance 1/2, on the sampler's own grid or else on flow. `difftool plan` prints
both for any grid and number of steps.
"""
