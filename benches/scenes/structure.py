"""The costs of groups, of waiting for the first of several, and of conditions, on one core."""

from collections.abc import Iterator

from charts import Chart
from plan import Plan
from tables import OURS

from .costs import costs

RUST = (OURS, "tokio")
PYTHON = {name: ("structure.py", name) for name in (OURS, "gevent", "trio", "threads")}
COSTS = {
    "group": ("a member of a group, ns", ".0f"),
    "first": ("first of two events, ns", ".0f"),
    "condition": ("a turn through a condition, ns", ".0f"),
}


def scene(plan: Plan) -> Iterator[Chart]:
    return costs(plan, "structure", "Costs of groups, first_of and conditions", PYTHON, RUST, COSTS)
