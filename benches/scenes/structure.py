"""The costs of groups, of waiting for the first of several, and of conditions, on one core."""

from collections.abc import Iterator

from charts import Chart
from plan import Plan
from processes import Process
from tables import OURS, Figures, Table

PYTHON = {name: ("structure.py", name) for name in (OURS, "gevent", "trio", "threads")}
COSTS = {
    "group": ("a member of a group, ns", ".0f"),
    "first": ("first of two events, ns", ".0f"),
    "condition": ("a turn through a condition, ns", ".0f"),
}


def scene(plan: Plan) -> Iterator[Chart]:
    commands = plan.python(PYTHON)

    def one(name: str) -> Figures:
        with Process(commands[name], plan.server_core) as process:
            return process.figures()

    chart = Chart("structure", "Costs of groups, first_of and conditions in Python")
    chart.add(Table("", *plan.interleaved(list(commands), one), COSTS))
    yield chart
