"""The costs of groups, of waiting for the first of several, and of conditions, on one core."""

from collections.abc import Iterator

from charts import Chart
from plan import Plan
from processes import Process
from tables import OURS, Figures, Table

RUST = (OURS, "tokio")
PYTHON = {name: ("structure.py", name) for name in (OURS, "gevent", "trio", "threads")}
COSTS = {
    "group": ("a member of a group, ns", ".0f"),
    "first": ("first of two events, ns", ".0f"),
    "condition": ("a turn through a condition, ns", ".0f"),
}


def scene(plan: Plan) -> Iterator[Chart]:
    yield _chart(plan, "Python", plan.python(PYTHON))
    yield _chart(plan, "Rust", plan.rust("structure", RUST))


def _chart(plan: Plan, face: str, commands: dict[str, list[object]]) -> Chart:
    def one(name: str) -> Figures:
        with Process(commands[name], plan.server_core) as process:
            return process.figures()

    chart = Chart(f"structure-{face.lower()}", f"Costs of groups, first_of and conditions in {face}")
    chart.add(Table("", *plan.interleaved(list(commands), one), COSTS))
    return chart
