"""A restart under load: how long a request takes while a server's workers are replaced, against how long in calm."""

import time
from collections.abc import Iterator, Sequence

from charts import Chart
from plan import Plan
from processes import Failed, Process
from tables import OURS, Figures, Table

CONNECTIONS, SIZE = 1000, 64
PACE = 100
"""Milliseconds from one request of a connection to the next: 10,000 a second in all."""
RESTARTS = "restart after restart"
COSTS = {"p50_us": ("median, µs", ".0f"), "p99_us": ("99th percentile, µs", ".0f")}
CONTEXT = {
    "most_us": ("longest, µs", ".0f"),
    "rate": ("requests a second", ".0f"),
    "restarts": ("restarts", ".0f"),
    "restart_s": ("seconds of one", ".2f"),
}


def scene(plan: Plan) -> Iterator[Chart]:
    """The first column, to which the other is put in relation, is the calm."""
    chart = Chart("prefork", "A request while all workers are replaced, over one in calm")
    servers = {"Rust": plan.rust("prefork", [OURS])}
    servers |= {"Python": plan.python({OURS: ("prefork.py",)})} if OURS in plan.modules else {}
    for face, server in servers.items():
        if OURS in server:
            chart.add(_table(plan, face, server[OURS]))
    yield chart


def _table(plan: Plan, face: str, server: Sequence[object]) -> Table:
    def one(name: str) -> Figures:
        with Process(server, plan.server_core) as serving:
            seconds = 5 * plan.seconds
            load = [plan.programs["load"], serving.line(), CONNECTIONS, SIZE, seconds, plan.seconds / 5, 1, PACE]
            with Process(load, plan.load_core) as loading:
                if loading.line() != "ready":
                    raise Failed("the load generator is not ready")
                loading.say("go")
                restarts = _restart(serving, seconds) if name == RESTARTS else {}
                done = loading.figures()
        return done | restarts | {"rate": done["requests"] / done["seconds"]}

    return Table(face, *plan.interleaved([OURS, RESTARTS], one), COSTS, CONTEXT)


def _restart(serving: Process, seconds: float) -> Figures:
    """Has all workers replaced again and again for so long."""
    began, restarts = time.monotonic(), 0
    while time.monotonic() - began < seconds:
        serving.say("restart")
        if serving.line() != "restarted":
            raise Failed("the server has not restarted")
        restarts += 1
    return {"restarts": restarts, "restart_s": (time.monotonic() - began) / restarts}
