"""Networks as models: x0 = c_skip x + c_out F(c_in x, c_noise), F as in `parametrization`."""

from __future__ import annotations

import inspect
import math
import numbers
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Self

import torch
from torch import Tensor

from difftool.errors import DifftoolError, unknown
from difftool.errors.validation import as_range, check_positive
from difftool.models.base import (
    Affine,
    BoundModel,
    Evaluations,
    Model,
    check_output,
)
from difftool.models.labels import whole_labels
from difftool.models.parametrization import PARAMETRIZATIONS, TIMES, network_time
from difftool.request import Request
from difftool.schedules.base import Point, Schedule


def _infinite_time(time: Callable[[Point], Any], schedule: Schedule) -> bool:
    """Whether the schedule ends at alpha = 0 and the network's time is not finite there."""
    end = schedule.at(schedule.domain[1])
    try:
        return end.alpha == 0 and not math.isfinite(time(end))
    except (ArithmeticError, ValueError):
        return True


class NetworkModel(Model):
    """Any network `net(x, time, **cond)` as a model.

    net: an `nn.Module` or a function; takes x (B, ...) and time (B,), returns a tensor like x.
        A module gets x in its own dtype; a function without parameters gets float32, or the
        dtype set by `to`.
    schedule: the schedule the network was trained on.
    predicts: `eps`, `x0`, `v`, `flow`, `score` or `edm` (see the table in `parametrization`).
    time: the time that is passed to the network: `t`, `index` (M t - 1, continuous),
        `rounded-index` (rounded to an integer index of the M entries of the schedule's table,
        1000 if it has none), `level` (sigma / alpha), `log-level` (log(sigma / alpha) / 4), or
        a function of a point.
    data_std: the standard deviation of the data, for `edm`.
    shape: the shape of one sample, if only one works.
    learned_variance: True if the network returns (B, 2 C, ...) for x (B, C, ...): the estimate
        and r, where v = (r + 1) / 2 places the variance of a step between its bounds
        (`ddpm:variance=learned`; Nichol & Dhariwal 2021, arXiv 2102.09672). All other samplers
        get the estimate only.
    classes: taken from `net.classes`, if that is a whole number.
    data_range: the smallest and largest value in the training data, if known: samples far
        outside of it are reported, and `Clipped` uses it.

    A network net(t, x) of the velocity from noise at t = 0 to data at t = 1 (as in torchcfm) is
    `NetworkModel(lambda x, t: -net(1 - t, x), Flow(), "flow")`: in difftool larger t is more
    noise, and the velocity is eps - x_0.

    Raises `DifftoolError` for unknown names; when sampling, for an answer of the wrong shape,
    dtype or device, and at alpha = 0 if the estimate or the network's time is not finite there.
    """

    schedule: Schedule

    def __init__(
        self,
        net: Callable[..., Tensor],
        schedule: Schedule,
        predicts: str = "eps",
        time: str | Callable[[Point], Any] = "t",
        data_std: float = 0.5,
        shape: tuple[int, ...] | None = None,
        learned_variance: bool = False,
        data_range: tuple[float, float] | None = None,
    ):
        if predicts not in PARAMETRIZATIONS:
            raise unknown("parametrization", predicts, PARAMETRIZATIONS)
        if isinstance(time, str) and time not in TIMES:
            raise unknown("time", time, TIMES)
        check_positive("data_std must be", data_std)
        if not callable(net) or not isinstance(schedule, Schedule):
            raise DifftoolError(
                f"a network model needs net(x, time) and a schedule, got {net!r} and {schedule!r}"
            )
        self.net, self.schedule, self.predicts, self.shape = net, schedule, predicts, shape
        if data_range is None:
            self.data_range = None
        else:
            self.data_range = as_range(data_range)
        classes = getattr(net, "classes", None)
        if isinstance(classes, int):
            self.classes = classes
        else:
            self.classes = None
        self.parametrization = PARAMETRIZATIONS[predicts]
        self.time = network_time(time, schedule)
        self.data_std, self.learned_variance = data_std, learned_variance
        if learned_variance:
            self.estimate = _first_half(net)
        else:
            self.estimate = net
        self.divides_by_alpha = self.parametrization.divides_by_alpha or _infinite_time(
            self.time, schedule
        )
        self._dtype = torch.float32  # of a function without parameters

    def _parameter(self) -> Tensor | None:
        if not isinstance(self.net, torch.nn.Module):
            return None
        return next((p for p in self.net.parameters() if p.is_floating_point()), None)

    @property
    def dtype(self) -> torch.dtype:
        parameter = self._parameter()
        if parameter is None:
            return self._dtype
        return parameter.dtype

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        parameter = self._parameter()
        if parameter is None:
            return torch.device("cpu")
        return parameter.device

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> Self:
        """Move the network in place, as `nn.Module.to` does, and return the model."""
        if isinstance(self.net, torch.nn.Module):
            self.net.to(device=device, dtype=dtype)
        self._dtype = dtype or self._dtype
        return self

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        trained = [
            module
            for net in networks_in(self.net)
            for module in net.modules()
            if module.training
        ]
        try:
            for module in trained:
                module.training = False
            yield
        finally:
            for module in trained:
                module.training = True

    def _known(self, label: Any) -> Any:
        """Check the labels against the network's number of classes, if known."""
        known = self.classes
        if label is None or known is None:
            return label
        whole = whole_labels(label, f"0 to {known - 1}")
        if (highest := int(whole.max())) >= known:
            raise DifftoolError(f"unknown class {highest}; the network knows 0 to {known - 1}")
        return whole

    def coefficients(self, p: Point) -> tuple[Any, Any, Any]:
        """(c_skip, c_out, c_in) at the point p of the model's own schedule."""
        if self.divides_by_alpha and isinstance(p.alpha, (float, int)) and p.alpha == 0:
            raise DifftoolError(
                f"this network, which predicts {self.predicts}, is not defined at alpha = 0; "
                f"start at a noise level up to {self.schedule.level(self.schedule.t_start(True)):.6g}"
            )
        return self.parametrization.coefficients(p, self.data_std)

    def x0(self, x: Tensor, p: Point, **cond: Any) -> Tensor:
        skip, out, scale = self.coefficients(p)
        raw = self._raw(self.estimate, x, p, scale, cond)
        return skip * x + out * check_output(raw, x.to(self.dtype), "the network").to(x.dtype)

    def x0_and_v(self, x: Tensor, p: Point, **cond: Any) -> tuple[Tensor, Tensor]:
        """x0, and v of a network with a learned variance; both shaped like x."""
        skip, out, scale = self.coefficients(p)
        raw, r = halves(self._raw(self.net, x, p, scale, cond), x)
        return skip * x + out * raw.to(x.dtype), (r.to(x.dtype) + 1) / 2

    def _raw(
        self,
        net: Callable[..., Tensor],
        x: Tensor,
        p: Point,
        scale: Any,
        cond: Mapping[str, Any],
    ) -> Tensor:
        """What the network returns for x at p, unchecked."""
        return net((x * scale).to(self.dtype), time_tensor(self.time, p, x, self.dtype), **cond)

    @property
    def answers(self) -> frozenset[str]:
        if self.learned_variance:
            return frozenset({"x0", "variance"})
        return super().answers

    def takes(self, name: str) -> bool:
        """Whether the network has such a parameter; networks in diffusers take mappings."""
        return name in (_parameters(self.net) or ())

    def _bound(self, schedule: Schedule | None, cond: dict[str, Any]) -> BoundModel:
        for name in cond:
            if not _takes(self.net, name):
                if name == "class":
                    way = "pass classes as 'label'"
                else:
                    way = "sample without it (no cond, no --class)"
                raise DifftoolError(f"the network takes no {name!r}; {way}")
        checked = dict(cond)
        if "label" in checked:
            checked["label"] = self._known(checked["label"])
        return BoundNetwork(self, schedule, checked)


class BoundNetwork(BoundModel):
    """A network bound to a sampling schedule: its affine map to x0 is known at every point."""

    model: NetworkModel

    def several(self, x: Tensor, p: Point, request: Request) -> tuple[Tensor, ...]:
        if "variance" not in request.answers:
            return super().several(x, p, request)
        x, q = self.seen(x, p)
        x0, v = self.model.x0_and_v(x, q, **self.cond)
        known = {"x0": x0, "variance": v}
        return tuple(known[name] for name in request.answers)

    def affine(self, p: Point) -> Affine:
        q, rescale = self.own(p)
        skip, out, scale = self.model.coefficients(q)
        time = self.model.time(q)
        return Affine(
            skip * rescale,
            out,
            scale * rescale,
            time.item() if isinstance(time, Tensor) else time,
        )

    def prepare(self, points: Sequence[Point], x: Tensor) -> Evaluations:
        dtype, state = self.model.dtype, x.dtype
        net = self.model.estimate
        if self.cond:
            net = partial(net, **self.cond)
        forms = [self.affine(p) for p in points]
        whole = all(_whole(form.time) for form in forms)
        table = torch.tensor([form.time for form in forms], dtype=_time_dtype(dtype, whole))
        times = table.to(x.device)[:, None].expand(-1, len(x)).contiguous().unbind(0)
        scales = [form.scale for form in forms]
        if dtype == state and all(scale == 1 for scale in scales):
            return net, times

        def scaled(x: Tensor, inputs: tuple[Tensor, float]) -> Tensor:
            time, scale = inputs
            x = (x if scale == 1 else x * scale).to(dtype)
            return check_output(net(x, time), x, "the network").to(state)

        return scaled, list(zip(times, scales, strict=True))


def time_tensor(
    time: Callable[[Point], Any], p: Point, x: Tensor, dtype: torch.dtype
) -> Tensor:
    """The time at p for a network that computes in that dtype: (B,), on x's device."""
    value = time(p)
    out = torch.as_tensor(value, dtype=_time_dtype(dtype, whole=_whole(value))).to(
        x.device, non_blocking=True
    )
    if out.ndim:
        return out.reshape(-1)
    return out.expand(len(x))


def halves(raw: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """The two halves of an output (B, 2 C, ...) for x (B, C, ...)."""
    channels = x.shape[1]
    if not isinstance(raw, Tensor) or raw.shape != (len(x), 2 * channels, *x.shape[2:]):
        if isinstance(raw, Tensor):
            got = tuple(raw.shape)
        else:
            got = type(raw).__name__
        raise DifftoolError(
            f"a network with a learned variance must return twice the channels, "
            f"{(len(x), 2 * channels, *x.shape[2:])}, got {got}"
        )
    return raw[:, :channels], raw[:, channels:]


def _first_half(net: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda x, time, **cond: halves(net(x, time, **cond), x)[0]


def networks_in(net: Any, deep: int = 3) -> list[torch.nn.Module]:
    """The networks in a callable: itself, or those in a method, partial, closure or object."""
    if isinstance(net, torch.nn.Module):
        return [net]
    if deep == 0:
        return []
    if isinstance(net, partial):
        parts = [net.func, *net.args, *net.keywords.values()]
    elif inspect.ismethod(net):
        parts = [net.__self__]
    elif inspect.isfunction(net):
        seen = inspect.getclosurevars(net)
        parts = [*seen.nonlocals.values(), *seen.globals.values()]
    elif inspect.isclass(net) or inspect.ismodule(net):
        parts = []
    else:
        parts = list(getattr(net, "__dict__", {}).values())
    return [found for part in parts for found in networks_in(part, deep - 1)]


def _takes(net: Callable[..., Any], name: str) -> bool:
    """Whether a network takes a parameter of that name; True if its signature is unknown."""
    parameters = _parameters(net)
    if parameters is None:
        return True
    return name in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def _parameters(net: Callable[..., Any]) -> Mapping[str, inspect.Parameter] | None:
    """The parameters of a network by name; None if its signature is unknown."""
    try:
        return inspect.signature(
            net.forward if isinstance(net, torch.nn.Module) else net
        ).parameters
    except (TypeError, ValueError):
        return None


def _whole(time: Any) -> bool:
    """Whether a time is a whole number, the index of a table entry."""
    if isinstance(time, Tensor):
        return not time.is_floating_point()
    return isinstance(time, numbers.Integral)


def _time_dtype(dtype: torch.dtype, whole: bool) -> torch.dtype:
    """The dtype of a network's time: int64 for indices, else its own, at least float32."""
    if whole:
        return torch.int64
    if dtype == torch.float64:
        return torch.float64
    return torch.float32
