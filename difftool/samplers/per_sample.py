"""Per-sample adaptive step sizes: what the adaptive solvers share.

Each sample of a batch has its own position u on the way from u_0 to u_1, and its own step size.
Both are kept on the host in float64, as are the points that they stand for; the states stay on
their device. An attempted step waits for the device once, to read its error norms. Finished
samples leave the batch, so that the model evaluates only the others; no sample depends on the
rest of its batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from difftool.errors import DifftoolError
from difftool.samplers.base import Denoiser, State
from difftool.schedules.base import Point

Host = Any  # a float64 CPU tensor, one number (or row) per unfinished sample
Control = Callable[[Host, Host | None], tuple[Host, Host]]

SMALLEST = 1e-15  # relative to u or the way left: a smaller step changes nothing in float64
MOST_STEPS = 20_000  # attempted by one sample
NOT_FINITE = 0.2  # the factor of the step size if the error is not finite


class Walk:
    """The positions of the samples, their next step sizes, and which samples are unfinished.

    control: (inverse error, those of the last two accepted steps or None) -> (accepted or not,
    step-size factor), with the error in units of the tolerance. Raises `DifftoolError` if the
    steps of a sample underflow or are too many. A sample for which the model gives no finite
    answer ends as NaN.
    """

    def __init__(
        self,
        name: str,
        model: Denoiser,
        x: State,
        way: tuple[float, float],
        h: float,
        control: Control,
    ):
        import torch

        (start, self.end), self.name, self.control = way, name, control
        self.length, self.sign = abs(self.end - start), math.copysign(1.0, self.end - start)
        self.whole, self.model, self.total = model, model, len(x)
        self.rows = torch.arange(len(x))
        self.u = torch.full((len(x),), start, dtype=torch.float64)
        self.h = torch.full_like(self.u, min(h, self.length))
        self.lost = torch.zeros(len(x), dtype=torch.bool)
        self.past: Host | None = None
        self.attempts = 0
        self._arrived: list[tuple[Host, State]] = []

    @property
    def going(self) -> bool:
        """Whether any sample is unfinished."""
        return len(self.rows) > 0

    @property
    def step(self) -> Host:
        """The signed step to attempt from u, not past the end."""
        return self.sign * self.h.minimum((self.end - self.u).abs())

    def judge(self, step: Host, error: Host) -> Host:
        """Accept or reject each sample's step by its error; update u and the next step size."""
        import torch

        inverse = 1 / (error + 1e-8)
        accept, factor = self.control(inverse, self.past)
        bad = ~error.isfinite()
        accept, factor = accept & ~bad, factor.where(~bad, NOT_FINITE)
        before = self.past
        if before is None:
            before = torch.stack([inverse, inverse], 1)
        last = before[:, 0]
        self.past = torch.where(accept[:, None], torch.stack([inverse, last], 1), before)
        self.u = torch.where(accept, self.u + step, self.u)
        self.u = torch.where((self.end - self.u).abs() < 1e-12 * self.length, self.end, self.u)
        self.h = step.abs() * factor
        stuck = ~accept & (self.h < SMALLEST * self.u.abs().maximum((self.end - self.u).abs()))
        self.attempts += 1
        if bool((stuck & ~bad).any()) or self.attempts >= MOST_STEPS:
            raise DifftoolError(
                f"{self.name} gave up after {self.attempts} steps, the last of length {float(step.abs().min()):.1g}; "
                f"loosen rtol and atol"
            )
        self.lost = stuck
        return accept

    def leave(self, x: State, *others: Any) -> tuple[Any, ...]:
        """Return x and other per-sample values without the finished samples."""
        gone = (self.u == self.end) | self.lost
        if not bool(gone.any()):
            return (x, *others)
        leaving, staying = gone.nonzero()[:, 0], (~gone).nonzero()[:, 0]
        state = x[to_device_of(leaving, x)]
        state = state.masked_fill(column(self.lost[leaving], state) > 0, math.nan)
        self._arrived.append((self.rows[leaving], state))
        self.rows, self.u, self.h, self.lost = (
            v[staying] for v in (self.rows, self.u, self.h, self.lost)
        )
        if self.past is not None:
            self.past = self.past[staying]
        if self.going and hasattr(self.whole, "rows"):
            self.model = self.whole.rows(self.rows, self.total)
        return tuple(v[to_device_of(staying, v)] for v in (x, *others))

    def result(self) -> State:
        """The final states of all samples."""
        import torch

        rows, states = zip(*self._arrived, strict=True)
        order = torch.cat(rows).argsort()
        return torch.cat(states)[to_device_of(order, states[0])]

    def eps(self, x: State, p: Point) -> State:
        """The noise in x, (x - alpha x0) / sigma, at the points of the samples."""
        return (x - column(p.alpha, x) * self.model(x, p)) / column(p.sigma, x)


def to_device_of(values: Host, x: State) -> State:
    """Move a host tensor to the device of x, without waiting for the device."""
    return values.to(x.device, non_blocking=True)


def column(values: Host, x: State) -> State:
    """One number per sample as (B, 1, ...), on the device of x and in its dtype."""
    return to_device_of(values.reshape(-1, *[1] * (x.ndim - 1)).to(x.dtype), x)


def choose(accept: Host, new: State, old: State) -> State:
    """The new state of samples whose step was accepted, the old one of the others."""
    return new.where(column(accept, new) > 0, old)


def error_norm(difference: State, tolerance: State) -> Host:
    """The RMS of difference / tolerance per sample, on the host: it waits for the device."""
    ratio = (difference / tolerance).detach().reshape(len(difference), -1)
    return ratio.square().mean(1).sqrt().cpu().double()


def check_tolerances(name: str, rtol: float, atol: float, h_init: float) -> None:
    """Raise `DifftoolError` unless all three are finite and at least 1e-30."""
    if not all(
        isinstance(v, (int, float)) and 1e-30 <= v < math.inf for v in (rtol, atol, h_init)
    ):
        raise DifftoolError(
            f"{name} takes rtol, atol and h_init >= 1e-30, got rtol={rtol}, atol={atol}, h_init={h_init}"
        )


@dataclass(frozen=True)
class PI:
    """Classical PI step-size control: a step is accepted if its error is at most 1.

    h' = h * 0.9 e_n^(-0.7/k) e_(n-1)^(0.4/k) after an accepted step, h * 0.9 e_n^(-1/k) after a
    rejected one, with factors limited to 0.2 .. 5; e is the error, of order k in h. Gustafsson
    1991, Control theoretic techniques for stepsize selection in explicit Runge-Kutta methods,
    ACM Transactions on Mathematical Software 17.
    """

    k: int

    def __call__(self, inverse: Host, past: Host | None) -> tuple[Host, Host]:
        accept = inverse >= 1 / (1 + 1e-8)
        smooth = inverse ** (0.7 / self.k)
        if past is not None:
            smooth = smooth * past[:, 0] ** (-0.4 / self.k)
        return accept, (0.9 * smooth.where(accept, inverse ** (1 / self.k))).clamp(0.2, 5.0)
