"""Adams methods on the probability-flow ODE: a polynomial through the model's newest answers.

One class covers them all. Options say what is interpolated (`interpolates`: eps, x0, or the
flow velocity eps - x0), in which variable (`variable`: half-log-snr, level, flow, t), and at
which order. The linear part is always solved exactly, so that x0 and eps in half-log-snr are
the exponential Adams methods. The names in the literature:

    interpolates, variable    names
    x0, half-log-snr          DPM-Solver++ multistep, of order 2 (`heun`) and 3 (factor 2);
                              azula xEAB; res-multistep
    x0, level                 -
    eps, half-log-snr         DEIS (tAB in log rho); azula zEAB
    eps, level                LMS (k-diffusion, diffusers), DEIS (rho)
    eps, t                    DEIS (t); azula zAB where its schedule's time is that t
    flow, flow                flow-ab; azula vAB on its rectified schedule
"""

from __future__ import annotations

from dataclasses import dataclass

from difftool.samplers.base import NoiseSource, State
from difftool.samplers.currencies import CURRENCIES, CurrencyName
from difftool.samplers.interpolate import History, advance
from difftool.samplers.multistep import Predictor, Start
from difftool.samplers.options import check_choice
from difftool.samplers.variables import VARIABLES, VariableName
from difftool.schedules.base import Point
from difftool.schedules.path import Path


@dataclass(frozen=True)
class Adams(Predictor):
    """Adams-Bashforth: model outputs interpolated in a chosen variable, the linear part exact.

    x_b = A x_a + sum_j w_j q_j, with w_j the integral of the j-th Lagrange polynomial (see
    `interpolate`). One evaluation per step. Options:

    order: answers in the polynomial, 1 to 5; none: 4 for eps in the level (LMS), else 3, or the
        number of steps if smaller.
    start: `ramp`, or `runge-kutta` for first steps as accurate as the method.
    taper: lower orders in the last steps.
    interpolates: the quantity to interpolate: `x0`, `eps`, or `flow` (eps - x0).
    variable: the variable of the polynomial: `half-log-snr`, `level` (sigma / alpha), `flow`
        (sigma / (alpha + sigma)), or `t`.

    Where half-log-snr or the level is infinite, that answer is left out. Raises `DifftoolError`
    for other values.
    """

    interpolates: CurrencyName = "flow"
    variable: VariableName = "flow"

    name = "adams"
    reference = (
        "Adams & Bashforth 1883; Zhang & Chen 2022, DEIS, arXiv 2204.13902; Lu et al. 2022, DPM-Solver++, arXiv "
        "2211.01095"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_choice(self.name, "interpolates", self.interpolates, CurrencyName)
        check_choice(self.name, "variable", self.variable, VariableName)

    @property
    def usual(self) -> int:
        is_lms = (self.interpolates, self.variable) == ("eps", "level")
        if is_lms:
            return 4
        return 3

    @property
    def divides_by_alpha(self) -> bool:
        return self.interpolates == "eps"

    def answer(self, x: State, x0: State, p: Point) -> State:
        return CURRENCIES[self.interpolates].answer(x, x0, p)

    def step(
        self, x: State, now: Point, nxt: Point, known: History, path: Path, noise: NoiseSource
    ) -> State:
        currency, variable = CURRENCIES[self.interpolates], VARIABLES[self.variable]
        return advance(x, now, nxt, known, path, currency, variable)


def lms(order: int | None = None, start: Start = "ramp", taper: bool = False) -> Adams:
    """Linear multistep (LMS): Adams-Bashforth on eps in the noise level, order 4 by default.

    x_b / alpha_b = x_a / alpha_a + sum_j eps_j int L_j dl. Options as in `adams`. Source:
    k-diffusion's LMS; Karras et al. 2022, arXiv 2206.00364, for the ODE.
    """
    return Adams(order, start, taper, "eps", "level")


def deis(
    order: int | None = None,
    start: Start = "ramp",
    taper: bool = False,
    variable: VariableName = "half-log-snr",
) -> Adams:
    """DEIS (diffusion exponential integrator sampler): Adams-Bashforth on eps, default order 3.

    x_b / alpha_b = x_a / alpha_a + sum_j eps_j int L_j dl, with L_j polynomials in `variable`:
    `half-log-snr` (the paper's log rho, as published), `level` (its rho; the same as `lms`) or
    `t`. Other options as in `adams`. Source: Zhang & Chen 2022, arXiv 2204.13902.
    """
    return Adams(order, start, taper, "eps", variable)


def flow_ab(order: int | None = None, start: Start = "ramp", taper: bool = False) -> Adams:
    """Adams-Bashforth on the flow velocity eps - x0 in the flow time, order 3 by default.

    Regular at both ends of a run. Options as in `adams`. Source: Adams & Bashforth 1883; Lipman
    et al. 2022, arXiv 2210.02747, for the ODE.
    """
    return Adams(order, start, taper, "flow", "flow")


def exponential_adams(
    order: int | None = None, start: Start = "ramp", taper: bool = False
) -> Adams:
    """Exponential Adams-Bashforth on x0 in half-log-SNR, order 3 by default.

    Order 3 is DPM-Solver++(3M) with its factor 2; order 2 is refined exponential multistep
    (res-multistep). Options as in `adams`. Sources: Lu et al. 2022, arXiv 2211.01095; Zhang et
    al. 2023, arXiv 2308.02157.
    """
    return Adams(order, start, taper, "x0", "half-log-snr")
