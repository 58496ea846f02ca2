"""Plans by name, and their figures: for `difftool plan`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from difftool.errors import DifftoolError
from difftool.models import GaussianMixture
from difftool.plan import Plan, load_plan, compile_plan, trace
from difftool.plan.analysis import Gaussian, error, path_error, prior_mismatch
from difftool.sampling import make_path
from difftool.specs import make


def plan_of(
    sampler: str, *, steps: int, schedule: str, grid: str | None, last: Any, model: str = "digits-exact"
) -> Plan:
    """The plan of a sampler by name on a schedule and grid by name, or the plan in a .json file."""
    if sampler.endswith(".json"):
        return load_plan(Path(sampler))
    if last not in (None, "step", "mean"):
        raise DifftoolError(f"last is step or mean, got {last!r}")
    made = make("samplers", sampler)
    path = make_path(
        make("models", model), made, steps=steps, schedule=make("schedules", schedule),
        grid=make("grids", grid) if grid else None,
    )  # fmt: skip
    return trace(made, path, last)


def figures(plan: Plan, model: str) -> dict[str, str]:
    """NFE, registers and, on Gaussian data with the mean and covariance of an exact model, the exact errors."""
    formed, program = compile_plan(plan, None)
    facts = {
        "NFE": str(plan.nfe),
        "registers": f"{program.registers} (x0 model, kept as {formed.form})",
        "noises": str(len(plan.noises)),
    }
    exact = make("models", model)
    if not isinstance(exact, GaussianMixture):
        return facts
    data = gaussian_of(exact)
    facts["exact error"] = f"W2 {error(plan, data):.4g} to the Gaussian with the mean and covariance of {model}"
    if not plan.noises and plan.rows[-1].point.t < plan.rows[0].point.t:
        facts["path error"] = f"RMS {path_error(plan, data):.4g} to the probability flow's end points"
    facts["prior mismatch"] = f"W2 {prior_mismatch(plan, data):.4g} at the start, N(0, sigma^2) to the true law"
    return facts


def gaussian_of(model: GaussianMixture) -> Gaussian:
    """The Gaussian with a mixture's mean and covariance, along its principal axes."""
    import numpy as np

    mean, cov = (a.numpy() for a in model.moments())
    values, vectors = np.linalg.eigh(cov)
    return Gaussian.of(vectors.T @ mean, values.clip(0))
