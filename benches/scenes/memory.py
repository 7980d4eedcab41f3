"""What an idle tasklet and an idle connection occupy in the process; what the kernel keeps is not in it."""

import resource
from collections.abc import Iterator

from charts import Chart
from plan import Plan
from processes import Failed, Process, figures
from tables import OURS, THREADS, Columns, Figures, Table

from . import echo

COSTS = {"bytes": ("bytes each", ".0f")}
CONTEXT = {"resident": ("of it resident", ".0f"), "page_tables": ("page tables", ".0f")}
IDLE = (OURS, "tokio", "may")
TASKLETS = (30_000, 100_000)
MANY = 1_000_000
STEPS = COSTS | {
    "spawn": ("spawn, ns", ".0f"),
    "block": ("begin and wait, ns", ".0f"),
    "join": ("wake and join, ns", ".0f"),
}
CONNECTIONS = 10_000
MOST_ROUNDS = 5
"""Memory spreads little."""
PYTHON = echo.PYTHON | {"asyncio protocol": ("echo_asyncio.py", "asyncio", "protocol")}


def _with_sum(figures: Figures) -> Figures:
    return figures | {"bytes": figures["resident"] + figures["page_tables"]}


def scene(plan: Plan) -> Iterator[Chart]:
    chart = Chart("memory-rust", "Memory of what is idle in Rust, bytes each")
    for items in TASKLETS:
        chart.add(_tasklets(plan, items))
    chart.add(_connections(plan, plan.rust("echo", echo.RUST, 64)))
    yield chart
    chart = Chart("million", f"{MANY:,} at once that wait for one event, each")
    chart.add(_tasklets(plan, MANY, STEPS))
    yield chart
    chart = Chart("memory-python", "Memory of what is idle in Python, bytes each")
    chart.add(_connections(plan, plan.python(PYTHON)))
    yield chart


def _tasklets(plan: Plan, items: int, costs: Columns = COSTS) -> Table:
    commands = plan.rust("idle", IDLE, items)

    def one(name: str) -> Figures:
        return _with_sum(figures(commands[name], plan.server_core))

    title = f"{items} tasklets" if costs is COSTS else ""
    return Table(title, *plan.interleaved(list(commands), one, MOST_ROUNDS), costs, CONTEXT)


def _connections(plan: Plan, commands: dict[str, list[object]]) -> Table:
    count = min(CONNECTIONS, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 100)

    def one(name: str) -> Figures:
        with Process(commands[name], plan.server_core) as server:
            port = server.line()
            with Process([plan.programs["load"], port, 50, 64], plan.load_core) as first:
                first.line()  # warms what is made once
            before = server.memory()
            with Process([plan.programs["load"], port, count, 64], plan.load_core) as load:
                if load.line() != "ready":
                    raise Failed("the load generator is not ready")
                after = server.memory()
        return _with_sum({kind: (after[kind] - before[kind]) / count for kind in after})

    found = plan.interleaved(list(commands), one, MOST_ROUNDS)
    return Table(f"{count} connections", *found, COSTS, CONTEXT, aside=(THREADS, echo.FLOOR))
