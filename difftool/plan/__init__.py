"""Plans: samplers as tables of numbers, their executor, exact analysis and file format."""

from difftool.plan.execution import Execution, compile_plan, steps
from difftool.plan.files import load_plan, plan_from_json, plan_to_json, save_plan
from difftool.plan.plan import Plan, RunState
from difftool.plan.rows import Row
from difftool.plan.runner import Runner, run
from difftool.plan.trace import trace

__all__ = [
    "Execution",
    "Plan",
    "Row",
    "RunState",
    "Runner",
    "compile_plan",
    "load_plan",
    "plan_from_json",
    "plan_to_json",
    "run",
    "save_plan",
    "steps",
    "trace",
]
