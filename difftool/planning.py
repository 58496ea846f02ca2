"""Plans by name, and their figures: for `difftool plan`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from difftool.errors import DifftoolError, NotAffine
from difftool.files import check_kind
from difftool.grids import Explicit
from difftool.models import GaussianMixture
from difftool.plan import Plan, compile_plan, load_plan, trace
from difftool.plan.analysis import Gaussian, error, path_error, prior_mismatch
from difftool.sampling import make_path
from difftool.spec_text import parse
from difftool.specs import make

STEPS = 10


def plan_of(
    sampler: str,
    *,
    steps: int | None = None,
    schedule: str | None = None,
    grid: str | None = None,
    last: Any = None,
    model: str = "digits-exact",
) -> Plan:
    """The plan of a sampler by name on a schedule and grid by name, or the plan in a .json file."""
    name, options = parse(sampler)
    if name.endswith(".json") and not options:
        if not (steps is schedule is grid is last is None):
            raise DifftoolError("a plan in a file has its own steps, schedule, grid and last step; leave those out")
        return load_plan(Path(name))
    if last not in (None, "step", "mean"):
        raise DifftoolError(f"last is step or mean, got {last!r}")
    made, times = make("samplers", sampler), make("grids", grid) if grid else None
    along = make("schedules", schedule or "vp-linear")
    free = isinstance(times, Explicit) or (made.adaptive and times is None)
    steps = STEPS if steps is None and not free else steps
    path = make_path(make("models", model), made, steps=steps, grid=times, schedule=along)
    try:
        return trace(made, path, last)
    except NotAffine as error:
        raise NotAffine(f"{sampler} has no plan: {error}") from None


def check_plan_file(file: Path | None, force: bool) -> None:
    """Raise `DifftoolError` if a plan could not be written there."""
    if file is None:
        if force:
            raise DifftoolError("--force is for an explicit --out")
        return
    check_kind(file, ".json", force)


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
