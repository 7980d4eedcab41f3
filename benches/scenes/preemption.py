"""What it costs threads under `python -m overlapped` that they may be preempted, and what the others gain by it."""

from collections.abc import Iterator

from charts import Chart
from plan import Plan
from processes import Process
from tables import OURS, Figures, Table

from .load import CONTEXT, COSTS, measure

PREEMPTED = "may be preempted"
COST = {
    OURS: ("-m", "overlapped", "preemption.py", "costs", "--whole-turns"),
    PREEMPTED: ("-m", "overlapped", "preemption.py", "costs"),
}
ECHO = {
    OURS: ("-m", "overlapped", "preemption.py", "echo", "--whole-turns"),
    PREEMPTED: ("-m", "overlapped", "preemption.py", "echo"),
}
BESIDE = {OURS: ("-m", "overlapped", "preemption.py", "beside"), "python": ("preemption.py", "beside")}
MOVES = {"spawn_join": ("a thread, ns", ".0f"), "switch": ("a switch, ns", ".0f")}
WAIT = {"request_us": ("µs for each request", ".0f")}
CONNECTIONS, SIZE = 50, 64
MANY = 100
"""Connections beside the thread that computes."""


def scene(plan: Plan) -> Iterator[Chart]:
    """In the first chart ours is what is never preempted."""
    if OURS not in plan.modules:
        return
    yield _cost(plan)
    yield _beside(plan)


def _cost(plan: Plan) -> Chart:
    def moves(name: str) -> Figures:
        with Process(costs[name], plan.server_core) as process:
            return process.figures()

    def echo(name: str) -> Figures:
        return measure(plan, echoes[name], "load", CONNECTIONS, SIZE, plan.seconds, plan.seconds / 5)

    costs, echoes = plan.python(COST), plan.python(ECHO)
    chart = Chart("preemption", "Threads that may be preempted, over threads that are not")
    chart.add(Table("", *plan.interleaved(list(costs), moves), MOVES))
    chart.add(Table(f"{CONNECTIONS} connections, {SIZE} B", *plan.interleaved(list(echoes), echo), COSTS, CONTEXT))
    return chart


def _beside(plan: Plan) -> Chart:
    def one(name: str) -> Figures:
        found = measure(plan, servers[name], "load", MANY, SIZE, plan.seconds, plan.seconds / 5)
        return found | {"request_us": 1e6 / found["rate"]}

    servers = plan.python(BESIDE)
    chart = Chart("beside", f"{MANY} connections beside a thread that computes")
    chart.add(Table("", *plan.interleaved(list(servers), one), WAIT, CONTEXT))
    return chart
