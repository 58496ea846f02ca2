"""Integer timesteps of networks trained on a table of noise levels.

Entry i = 0 .. length - 1 of the table is the time t = (i + 1) / length (as a fraction of the
schedule's domain). The default length is that of the sampling schedule's table, or 1000, as in
most public models, if it has none. Of the M entries above the run's end and up to its start,
these grids pick N, and end with a step from the lowest of them to the run's end, by default
sigma = 0. There cannot be more steps than entries.

The timesteps are those of `timestep_spacing` in diffusers. Its multistep schedulers
(DPM-Solver, UniPC, DEIS, SA-Solver) space N + 1 timesteps and drop the lowest: that is
`extra=1` here. Ties are rounded as in diffusers, by the same order of float64 operations. Three
of its faults are not reproduced: an offset past the end of the table is lowered, a single step
of linspace starts at the top (in diffusers at timestep 0), and there are no surplus or repeated
timesteps.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

from difftool.errors import DifftoolError
from difftool.errors.validation import check_options
from difftool.grids.base import Grid
from difftool.schedules.base import Schedule

REFERENCE = "Lin et al. 2024, Common diffusion noise schedules and sample steps are flawed, arXiv 2305.08891, table 2"


@dataclass(frozen=True)
class EntryGrid(Grid):
    """A grid on the entries of a table; a subclass implements `entries`."""

    length: int | None = None

    refines = False

    def __post_init__(self) -> None:
        check_options(
            self.length is None or (isinstance(self.length, int) and self.length >= 1),
            f"{self.name} takes a table of length >= 1 (entries)",
            length=self.length,
        )

    @property
    def spare(self) -> int:
        """The number of entries that are spaced with the others but not used."""
        return 0

    def between(self, schedule: Schedule, steps: int, start: float, end: float) -> list[float]:
        length = self.length or schedule.entries
        below, upto = (entries_upto(schedule, length, t) for t in (end, start))
        room = upto - below - self.spare
        if steps > room:
            raise DifftoolError(
                f"{self.name} takes at most {max(room, 0)} steps on a table of {length} entries between "
                f"t={start:g} and t={end:g}, got {steps}; take fewer steps or a larger length"
            )
        picked = self.entries(upto - below, steps)
        return [*(time_of_entry(schedule, length, below + i) for i in picked), end]

    @abstractmethod
    def entries(self, count: int, steps: int) -> list[int]:
        """`steps` decreasing indices in 0 .. count - 1."""


@dataclass(frozen=True)
class Leading(EntryGrid):
    """Every k-th entry from the bottom, k = M // N: i = k (N - 1 - j) + offset for j < N.

    The first time is up to k entries below the run's start, so the network never sees the pure
    noise it was trained to start from: the flaw that the reference describes. Kept as
    published; use `trailing` to avoid it.

    Options: `length`, the entries of the table (>= 1; none: the schedule's); `offset`, added to
    every entry (>= 0; steps_offset in diffusers, lowered if it would exceed the table);
    `extra`, 0 or 1: with 1, N + 1 entries are spaced and the lowest is dropped. `start` is the
    latest time at which the run starts. Raises `DifftoolError` for invalid values, and for more
    steps than entries.
    """

    offset: int = 0
    extra: int = 0

    name = "leading"
    own_start = True
    reference = REFERENCE

    def __post_init__(self) -> None:
        super().__post_init__()
        check_options(
            isinstance(self.offset, int) and self.offset >= 0 and self.extra in (0, 1),
            "leading takes offset >= 0 and extra 0 or 1",
            offset=self.offset,
            extra=self.extra,
        )

    @property
    def spare(self) -> int:
        return self.extra

    def entries(self, count: int, steps: int) -> list[int]:
        n = steps + self.extra
        k = count // n
        offset = min(self.offset, count - 1 - k * (n - 1))
        return [k * j + offset for j in range(n - 1, self.extra - 1, -1)]


@dataclass(frozen=True)
class Trailing(EntryGrid):
    """Every (M / N)-th entry of the table from the top: i = round(M (1 - j/N)) - 1 for j < N.

    Option: `length`, the entries of the table (>= 1; none: the schedule's). Raises
    `DifftoolError` for invalid values, and for more steps than entries.
    """

    name = "trailing"
    reference = REFERENCE

    def entries(self, count: int, steps: int) -> list[int]:
        gap = count - (count - count / steps)  # as in numpy.arange
        return [round(count - j * gap) - 1 for j in range(steps)]


@dataclass(frozen=True)
class Linspace(EntryGrid):
    """N equally spaced entries, last to first: i = round((M - 1) (1 - j / (N - 1))) for j < N.

    Options: `length`, the entries of the table (>= 1; none: the schedule's); `extra`, 0 or 1:
    with 1, N + 1 entries are spaced and the lowest is dropped. Raises `DifftoolError` for
    invalid values, and for more steps than entries.
    """

    extra: int = 0

    name = "linspace"
    reference = REFERENCE

    def __post_init__(self) -> None:
        super().__post_init__()
        check_options(self.extra in (0, 1), "linspace takes extra 0 or 1", extra=self.extra)

    @property
    def spare(self) -> int:
        return self.extra

    def entries(self, count: int, steps: int) -> list[int]:
        n = steps + self.extra
        if n == 1:
            return [count - 1]
        gap = (count - 1) / (n - 1)
        return [count - 1, *(round(j * gap) for j in range(n - 2, self.extra - 1, -1))]


@dataclass(frozen=True)
class Simple(EntryGrid):
    """Every (M / N)-th entry from the top, rounded up: i = M - 1 - floor(j M/N) for j < N.

    Option: `length`, the entries of the table (>= 1; none: the schedule's). Raises
    `DifftoolError` for invalid values, and for more steps than entries.
    """

    name = "simple"
    reference = "ComfyUI (simple)"

    def entries(self, count: int, steps: int) -> list[int]:
        gap = count / steps
        return [count - 1 - int(j * gap) for j in range(steps)]


def ddim_uniform(
    length: int | None = None, start: float | None = None, end: float | None = None
) -> Leading:
    """Every k-th entry of the table from the second, k = M // N: `leading` with an offset of 1.

    If N does not divide the table, ddim_uniform in ComfyUI takes more than N steps; this one
    takes N.

    Options: `length`, the entries of the table (>= 1; none: the schedule's); `start` and `end`,
    times. Raises `DifftoolError` for invalid values, and for more steps than entries. Source:
    ComfyUI (ddim_uniform); Song et al. 2020, arXiv 2010.02502.
    """
    return Leading(length=length, offset=1, start=start, end=end)


def entries_upto(schedule: Schedule, length: int, t: float) -> int:
    """The number of table entries at or below t."""
    low, high = schedule.domain
    # the exact time of an entry counts, despite rounding
    return int((t - low) / (high - low) * length + 1e-9)


def time_of_entry(schedule: Schedule, length: int, i: float) -> float:
    """The time of entry i."""
    low, high = schedule.domain
    return low + (high - low) * ((i + 1) / length)
