"""Plans by name, and their properties: for `difftool plan`."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

from difftool.errors import DifftoolError, NotAffine
from difftool.files.writing import check_kind
from difftool.models import ExactModel, Guided, Model, NetworkModel
from difftool.models.parametrization import errors_of
from difftool.names.specs import is_file, make, spec_of
from difftool.names.text import parse
from difftool.noise import Independent
from difftool.plan import Plan, compile_plan, load_plan
from difftool.plan.analysis import Gaussian, beyond_x0, error, path_error, prior_mismatch
from difftool.plan.stability import amplification, error_gains, guided_growth, stability
from difftool.sampling import choose, decide, default
from difftool.schedules import DDPMLinear

STEPS = 10
KINDS = {"predicts eps": "eps", "predicts x0": "x0", "predicts v or flow": "v"}
SHOWN = 10  # gains of single errors, from each end of a run


def plan_of(
    sampler: str,
    *,
    steps: int | None = None,
    schedule: str | None = None,
    grid: str | None = None,
    last: Any = None,
    model: str = "digits-exact",
) -> Plan:
    """The plan of a sampler on a schedule and grid, by name, or the plan in a .json file."""
    if is_file("samplers", sampler):
        if not (steps is schedule is grid is last is None):
            raise DifftoolError(
                "a plan in a file has its own steps, schedule, grid and last step; leave those options out"
            )
        return load_plan(Path(parse(sampler)[0]))
    walked, times = make("samplers", sampler), make("grids", grid) if grid else None
    if times is None:
        own_steps = walked.adaptive
    else:
        own_steps = times.own_steps is not None
    if steps is None and not own_steps:
        steps = STEPS
    decision = decide(
        make("models", model),
        walked,
        steps=steps,
        grid=times,
        schedule=make("schedules", schedule or "vp-linear"),
        last=last,
    )
    try:
        return decision.traced(Independent())
    except NotAffine as error:
        raise NotAffine(f"{sampler} has no plan: {error}") from None


def check_plan_file(file: Path | None, force: bool) -> None:
    """Raise `DifftoolError` if a plan cannot be written to that file."""
    if file is None:
        if force:
            raise DifftoolError("--force needs an explicit --out")
        return
    check_kind(file, ".json", force)


def figures(plan: Plan, model: str, sampler: str | None = None) -> dict[str, str]:
    """NFE, registers, amplification of errors, and exact errors on Gaussian data.

    The data have the mean and covariance of the model, if it is exact. sampler: its stability
    intervals are added.
    """
    formed, program = compile_plan(plan, None)
    facts = {
        "NFE": str(plan.nfe),
        "registers": f"{program.registers} (x0 model, kept as {formed.form})",
        "noises": str(len(plan.noises)),
    }
    steps = [
        abs(a.point.flow - b.point.flow)
        for a, b in pairwise(row for row in plan.rows if row.kind == "grid")
    ]
    if sampler is None or is_file("samplers", sampler):
        found = None
    else:
        found = stability(make("samplers", sampler))
    if found is not None and steps:
        facts["stability"] = (
            f"Lipschitz constant up to {found.real:.3g} (real), {found.disc:.3g} (complex) over the step in s: "
            f"{found.real / max(steps):.3g} at the largest step, {max(steps):.2g}"
        )
    exact = make("models", model)
    facts |= _network_error(plan, exact.predicts or "x0")
    if not isinstance(exact, ExactModel):
        return facts
    reason = beyond_x0(plan)
    if reason is not None:
        return {**facts, "exact error": f"unknown: {reason}"}
    data = gaussian_of(exact)
    facts["exact error"] = (
        f"W2 {error(plan, data):.4g} to the Gaussian with the mean and covariance of {model}"
    )
    if not plan.noises and plan.rows[-1].point.t < plan.rows[0].point.t:
        facts["path error"] = (
            f"RMS {path_error(plan, data):.4g} to the end points of the probability flow"
        )
    facts["prior mismatch"] = (
        f"W2 {prior_mismatch(plan, data):.4g} at the start, from N(0, sigma^2) to the true distribution"
    )
    return facts


def default_of(
    model: str | None,
    steps: int | None,
    nfe: int | None,
    guidance: float | None,
    stochastic: bool,
) -> tuple[str, dict[str, str]]:
    """The rationale of the default; what `sample` runs for that model, or in general."""
    why = (default.__doc__ or "").strip()
    if model is None:
        if not (steps is nfe is guidance is None) or stochastic:
            raise DifftoolError(
                "these options need a model: difftool show default --model NAME"
            )
        return why, {kind: _by_steps(predicts) for kind, predicts in KINDS.items()}
    if steps is not None and nfe is not None:
        raise DifftoolError(f"give --steps or --nfe, not both; got steps={steps}, nfe={nfe}")
    wanted: Model = make("models", model)
    if guidance is not None:
        wanted = Guided(wanted, guidance)
    decision = decide(wanted, steps=steps, nfe=nfe, stochastic=stochastic)
    n = len(decision.path) - 1
    facts = {
        "sampler": spec_of("samplers", decision.sampler),
        "grid": spec_of("grids", decision.grid),
        "steps": str(n),
        "NFE": str(n * wanted.nfe),
    }
    if decision.sampler.stochastic:
        return why, facts
    plan = decision.traced(Independent())
    facts |= _network_error(plan, wanted.predicts or "x0")
    if wanted.guidance > 1:
        growth = guided_growth(plan, wanted.guidance)
    else:
        growth = 0.0
    if growth > default.LARGEST:
        facts["unstable"] = (
            f"on Gaussian data the samples end {growth:.2g} times as large as the data"
        )
    return why, facts


def _by_steps(predicts: str) -> str:
    """The default choices by number of steps, for a network on DDPM's table."""
    model = NetworkModel(lambda x, time: x, DDPMLinear(), predicts)
    chosen: dict[str, list[int]] = {}
    for n in (5, 10, 20, 50, 100):
        sampler, grid = choose(model, steps=n)
        chosen.setdefault(
            f"{spec_of('samplers', sampler)}@{spec_of('grids', grid)}", []
        ).append(n)
    return "; ".join(
        f"{spec} in {', '.join(map(str, ns))} steps" for spec, ns in chosen.items()
    )


def _network_error(plan: Plan, predicts: str) -> dict[str, str]:
    """The gains of errors in the network output, all together and one by one."""
    if beyond_x0(plan) is not None:
        return {}
    gains = ", ".join(
        f"{amplification(plan, errors_of(kind)):.3g} ({kind})"
        for kind in ("eps", "x0", "v", "flow")
    )
    each = [f"{gain:.2g}" for gain in error_gains(plan, errors_of(predicts))]
    if len(each) <= 2 * SHOWN:
        shown = each
    else:
        shown = [*each[:SHOWN], "..", *each[-SHOWN:]]
    return {
        "network error": f"x {gains}: at the end, of independent unit errors in all network outputs",
        "of each answer": f"x {' '.join(shown)} ({predicts})",
    }


def gaussian_of(model: ExactModel) -> Gaussian:
    """The Gaussian with an exact model's mean and covariance, in its principal axes."""
    import numpy as np

    mean, cov = (a.numpy() for a in model.moments())
    values, vectors = np.linalg.eigh(cov)
    return Gaussian.of(vectors.T @ mean, values.clip(0))
