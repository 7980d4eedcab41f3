"""The costs of the basic moves, on one core."""

from collections.abc import Iterator

from charts import Chart
from plan import Plan
from processes import Process
from tables import OURS, Figures, Table

RUST = (OURS, "tokio", "may")
PYTHON = {name: ("costs.py", name) for name in (OURS, "gevent", "uvloop", "asyncio")}
COSTS = {
    "spawn_join": ("spawn and join, ns", ".0f"),
    "switch": ("switch, ns", ".0f"),
    "stream": ("stream a value, ns", ".0f"),
    "ping_pong": ("ping-pong a value, ns", ".0f"),
}


def scene(plan: Plan) -> Iterator[Chart]:
    yield _chart(plan, "Python", plan.python(PYTHON))
    yield _chart(plan, "Rust", plan.rust("micro", RUST))


def _chart(plan: Plan, face: str, commands: dict[str, list[object]]) -> Chart:
    def one(name: str) -> Figures:
        with Process(commands[name], plan.server_core) as process:
            return process.figures()

    chart = Chart(f"micro-{face.lower()}", f"Costs of the basic moves in {face}")
    chart.add(Table("", *plan.interleaved(list(commands), one), COSTS))
    return chart
