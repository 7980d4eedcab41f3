"""Accept, serve, close: clients that come and go, each with one request."""

from collections.abc import Iterator

from charts import Chart
from plan import Plan
from tables import THREADS, Figures, Table

from .echo import FLOOR, PYTHON, RUST
from .load import CONTEXT, COSTS, measure

CLIENTS = 16
"""Of them, each has one call after the other."""
SIZE = 64


def scene(plan: Plan) -> Iterator[Chart]:
    yield _chart(plan, "Python", plan.python(PYTHON, 4096, "--once"))
    yield _chart(plan, "Rust", plan.rust("echo", RUST, 4096, 1))


def _chart(plan: Plan, face: str, commands: dict[str, list[object]]) -> Chart:
    def one(name: str) -> Figures:
        return measure(plan, commands[name], "dial", CLIENTS, SIZE, plan.seconds, plan.seconds / 5)

    chart = Chart(f"accept-{face.lower()}", f"Accept, serve, close in {face}, server CPU µs a connection")
    rounds = plan.interleaved(list(commands), one)
    chart.add(Table(f"{CLIENTS} clients, {SIZE} B", *rounds, COSTS, CONTEXT, aside=(THREADS, FLOOR)))
    return chart
