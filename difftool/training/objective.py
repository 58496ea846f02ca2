"""The training objective: the squared error of a network's output, at random times, weighted.

    t ~ times,    eps ~ N(0, I),    x_t = alpha x_0 + sigma eps
    loss = w(t) |F(c_in x_t, time(t)) - F*|^2,    F* = a x_0 + b eps

with c_in, a and b of the parametrization, averaged over the elements of a sample. In a custom
training loop it is one call. A network that also learns its variance has another term, see
`variance`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from difftool.errors import DifftoolError
from difftool.models.base import like
from difftool.models.network import NetworkModel, halves, time_tensor
from difftool.models.parametrization import PARAMETRIZATIONS, network_time
from difftool.schedules.base import Point, Schedule
from difftool.training.times import Times, UniformTimes
from difftool.training.variance import Hybrid
from difftool.training.weightings import Output, Simple, Weighting


@dataclass(frozen=True)
class Objective:
    """The loss of a network on a schedule.

    schedule: the noise schedule.
    predicts: what the network returns, `eps`, `x0`, `v`, `flow`, `score` or `edm`.
    time: the time that is passed to the network, as in `NetworkModel`.
    weighting: the weight of errors by noise level; default: `Simple()` for eps and score, else
        `Output()`.
    times: the distribution of training times.
    data_std: the standard deviation of the data, for `edm`.
    hybrid: the term for a learned variance, with which the network returns twice the channels;
        default: not learned.

    Raises `DifftoolError` for an unknown parametrization or time.
    """

    schedule: Schedule
    predicts: str = "eps"
    time: str | Callable[[Point], Any] = "t"
    weighting: Weighting | None = None
    times: Times = field(default_factory=UniformTimes)
    data_std: float = 0.5
    hybrid: Hybrid | None = None

    def __post_init__(self) -> None:
        self.model(lambda x, time: x)  # raises for unknown values
        for name, kind in (("weighting", Weighting), ("times", Times), ("hybrid", Hybrid)):
            value = getattr(self, name)
            if value is not None and not isinstance(value, kind):
                raise DifftoolError(
                    f"{name} must be an instance of {kind.__name__}, got {value!r}"
                )

    def model(
        self, net: Callable[..., Tensor], shape: tuple[int, ...] | None = None
    ) -> NetworkModel:
        """The network as a model to sample from."""
        learned = self.hybrid is not None
        return NetworkModel(
            net, self.schedule, self.predicts, self.time, self.data_std, shape, learned
        )

    @cached_property
    def _last(self) -> float:
        """The largest training time, with alpha >= 1e-3 if the network needs alpha > 0."""
        start: float = self.schedule.t_start(self.model(lambda x, time: x).divides_by_alpha)
        return start

    @property
    def weight(self) -> Weighting:
        """The weighting in use, by default that of the parametrization."""
        return self.weighting or (Simple() if self.predicts in ("eps", "score") else Output())

    def loss(
        self,
        net: Callable[..., Tensor],
        x0: Tensor,
        cond: Mapping[str, Any] | None = None,
        t: Tensor | None = None,
        eps: Tensor | None = None,
    ) -> Tensor:
        """The loss of each sample, (B,).

        x0: clean samples (B, ...). cond: conditioning by name. t, (B,), and eps: drawn by
        default.
        """
        t = (self.times.draw(len(x0), self.schedule) if t is None else t.double()).clamp(
            max=self._last
        )
        if eps is None:
            eps = torch.randn_like(x0)
        p = self.schedule.at(t, like=x0)
        form = PARAMETRIZATIONS[self.predicts]
        skip, out, scale = form.coefficients(p, self.data_std)
        a, b = form.target(p, self.data_std)
        weight = self.weight(p, out, self.data_std, self.schedule)
        alpha, sigma, skip, out, scale, a, b, weight = (
            like(v, x0) for v in (p.alpha, p.sigma, skip, out, scale, a, b, weight)
        )
        x = alpha * x0 + sigma * eps
        time = network_time(self.time, self.schedule)
        answer = net(x * scale, time_tensor(time, p, x0, x0.dtype), **(cond or {})).to(x0.dtype)
        if self.hybrid is not None:
            answer, r = halves(answer, x0)
        if answer.shape != x0.shape:
            raise DifftoolError(
                f"the network returned shape {tuple(answer.shape)}, expected {tuple(x0.shape)}"
            )
        loss = weight * (answer - (a * x0 + b * eps)).square()
        if self.hybrid is not None:
            loss = loss + self.hybrid(
                self.schedule, p, x0, skip * x + out * answer, (r + 1) / 2
            )
        return loss.flatten(1).mean(1)
