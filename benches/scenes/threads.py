"""Several threads: what a second one adds, how connections are spread, what it costs to hand a value to another."""

from collections.abc import Iterator

from charts import Chart
from plan import Plan
from processes import Failed, Process
from tables import OURS, Figures, Table

STEPS = 20_000
"""Multiplications for each request, one after the other: some 20 µs."""
ONE, PORT, EACH = "one thread", "SO_REUSEPORT", "accept on each"
CONTENDERS: dict[str, tuple[str, int, str]] = {
    OURS: (OURS, 2, "serve"),
    ONE: (OURS, 1, "serve"),
    PORT: (OURS, 2, "port"),
    EACH: (OURS, 2, "each"),
    "tokio": ("tokio", 2, ""),
    "tokio, one thread": ("tokio", 1, ""),
}
COSTS = {"wall_us": ("µs a request", ".2f"), "cpu_us": ("server CPU µs a request", ".2f")}
CONTEXT = {"busiest": ("of them by the busiest thread", ".0%"), "load_busy": ("load core busy", ".0%")}
HANDOVER = {
    "stream": ("stream a value to another thread, ns", ".0f"),
    "ping_pong": ("there or back, ns", ".0f"),
}


def scene(plan: Plan) -> Iterator[Chart]:
    """Nothing is pinned: the load takes its share of the same cores."""
    chart = Chart("threads", "Two threads, each request with 20 µs to compute")
    chart.add(_table(plan, "16 connections, 64 B", STEPS, 0, "load", 16))
    chart.add(_table(plan, "accept, serve, close: 16 clients, 64 B", STEPS, 1, "dial", 16))
    yield chart

    commands = plan.rust("handover", (OURS, "crossbeam", "tokio"))

    def one(name: str) -> Figures:
        with Process(commands[name]) as process:
            return process.figures()

    chart = Chart("handover", "A value to another thread")
    chart.add(Table("", *plan.interleaved(list(commands), one), HANDOVER))
    yield chart


def _table(plan: Plan, title: str, steps: int, requests: int, load: str, connections: int) -> Table:
    programs = {name: plan.programs.get(f"threads-{program}") for name, (program, _, _) in CONTENDERS.items()}

    def one(name: str) -> Figures:
        _, threads, how = CONTENDERS[name]
        with Process([programs[name], threads, steps, requests, how]) as serving:
            words = [plan.programs[load], serving.line(), connections, 64, plan.seconds, plan.seconds / 5]
            with Process(words) as loading:
                if loading.line() != "ready":
                    raise Failed("the load generator is not ready")
                server_cpu, load_cpu = serving.cpu(), loading.cpu()
                loading.say("go")
                done = loading.figures()
                server_cpu, load_cpu = serving.cpu() - server_cpu, loading.cpu() - load_cpu
                serving.say("spread")
                spread = serving.figures()
        answered, seconds = done["requests"], done["seconds"]
        costs = {"wall_us": seconds / answered * 1e6, "cpu_us": server_cpu / answered * 1e6}
        return costs | spread | {"load_busy": load_cpu / seconds}

    there = [name for name, program in programs.items() if program]
    return Table(title, *plan.interleaved(there, one), COSTS, CONTEXT, aside=(ONE, PORT, EACH))
