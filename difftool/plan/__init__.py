"""Plans: samplers on a path as tables of numbers, their executor, their exact analysis, their files."""

from difftool.plan.plan import Plan, Row
from difftool.plan.run import Execution, Runner, compile_plan, run, steps
from difftool.plan.state import RunState, load_plan, plan_from_json, plan_to_json, save_plan
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
