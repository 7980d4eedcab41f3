"""asyncio's loop: what its moves cost, on one core, and echo by protocol and by streams."""

from collections.abc import Iterator

from charts import Chart
from plan import Plan
from processes import figures
from tables import OURS, Figures, Table

from .load import CONTEXT, measure
from .load import COSTS as CPU

LOOPS = {OURS: "overlapped.asyncio", "uvloop": "uvloop", "zuvloop": "zuvloop", "asyncio": "asyncio"}
MOVES = {
    "call_soon": ("call_soon, ns", ".0f"),
    "threadsafe": ("call_soon_threadsafe, ns", ".0f"),
    "timer_cancelled": ("a timer set and cancelled, ns", ".0f"),
    "timer_due": ("a timer set and due, ns", ".0f"),
    "sleep": ("sleep(0), ns", ".0f"),
    "getaddrinfo": ("getaddrinfo of numbers, ns", ".0f"),
    "child": ("a child process, ns", ".0f"),
    "child_output": ("a child's output, ns", ".0f"),
    "child_pipes": ("to a child and back, ns", ".0f"),
    "pipe": ("to a pipe and back, ns", ".0f"),
    "datagram": ("a datagram and back, ns", ".0f"),
    "tasklet_ready": ("await a tasklet that is ready, ns", ".0f"),
    "tasklet_ended": ("await one that has ended, ns", ".0f"),
}


def scene(plan: Plan) -> Iterator[Chart]:
    chart = Chart("asyncio", "asyncio's loop")
    moves = plan.python({name: ("loop.py", module) for name, module in LOOPS.items()})

    def one(name: str) -> Figures:
        return figures(moves[name], plan.server_core)

    chart.add(Table("Moves", *plan.interleaved(list(moves), one), MOVES))
    for style in ("protocol", "streams"):
        servers = plan.python({name: ("echo_asyncio.py", module, style) for name, module in LOOPS.items()})
        for connections in (8, 500) if plan.quick else (1, 8, 50, 500):

            def echo(name: str, servers: dict[str, list[object]] = servers, connections: int = connections) -> Figures:
                return measure(plan, servers[name], "load", connections, 64, plan.seconds, plan.seconds / 5, 1)

            title = f"Echo by {style}, {connections} connection" + "s" * (connections > 1) + ", 64 B"
            chart.add(Table(title, *plan.interleaved(list(servers), echo), CPU, CONTEXT))
    yield chart
