"""HTTP/1 and HTTP/2 by hyper, the same on every runtime."""

from collections.abc import Iterator

from charts import Chart
from plan import Plan
from tables import OURS, Figures, Table

from .load import CONTEXT, COSTS, measure

RUST = (OURS, "tokio", "compio", "monoio", "glommio")
IN_TASKLETS = "a tasklet a request"
"""Ours too: each request is answered in a tasklet of its own, where code may block."""
CELLS = ((50, 1), (8, 16), (500, 1))
"""Connections, and requests in flight on each."""


def scene(plan: Plan) -> Iterator[Chart]:
    chart = Chart("http", "HTTP by hyper, server CPU µs a request")
    for version in (1, 2):
        commands = plan.rust("http", RUST, version)
        if OURS in commands:
            commands[IN_TASKLETS] = [*commands[OURS], "tasklet"]
        for connections, depth in CELLS[:1] if plan.quick else CELLS:
            chart.add(_table(plan, version, connections, depth, commands))
    yield chart


def _table(plan: Plan, version: int, connections: int, depth: int, commands: dict[str, list[object]]) -> Table:
    def one(name: str) -> Figures:
        load = (connections, 0, plan.seconds, plan.seconds / 5, depth, 0, f"http{version}")
        return measure(plan, commands[name], "load", *load)

    title = f"HTTP/{version}, {connections} connections" + f", {depth} in flight" * (depth > 1)
    return Table(title, *plan.interleaved(list(commands), one), COSTS, CONTEXT, aside=(IN_TASKLETS,))
