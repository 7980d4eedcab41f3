"""Several threads: what a second one adds, how connections are spread, what it costs to hand a value to another."""

from collections.abc import Iterator
from dataclasses import dataclass

from charts import Chart
from plan import Plan
from processes import Process, figures
from tables import OURS, Figures, Table

from .load import measure

STEPS = 20_000
"""Multiplications for each request, one after the other: some 20 µs."""
REQUEST = 64
"""Bytes."""
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
    "thread_stream": ("stream a value from a thread of the system's, ns", ".0f"),
    "thread_ping_pong": ("there or back, ns (a thread of the system's)", ".0f"),
}


@dataclass(frozen=True)
class Cell:
    title: str
    load: str
    """The program, whose clients are 16."""
    at_once: int = 1
    """Requests that a client sends as one message, so that the load leaves the cores to the server."""
    reads: int = 0
    """After so many a connection is ended; 0: it stays."""


CELLS = (
    Cell("16 connections, 64 B, 16 at once", "load", at_once=16),
    Cell("16 connections, 64 B", "load"),
    Cell("accept, serve, close: 16 clients, 64 B", "dial", reads=1),
)


def scene(plan: Plan) -> Iterator[Chart]:
    """Nothing is pinned: the load takes its share of the same cores."""
    chart = Chart("threads", "Two threads, each request with 20 µs to compute")
    for cell in CELLS:
        chart.add(_table(plan, cell))
    yield chart

    commands = plan.rust("handover", (OURS, "crossbeam", "tokio"))
    chart = Chart("handover", "A value to another thread")
    chart.add(Table("", *plan.interleaved(list(commands), lambda name: figures(commands[name])), HANDOVER))
    yield chart


def _table(plan: Plan, cell: Cell) -> Table:
    programs = {name: plan.programs.get(f"threads-{program}") for name, (program, _, _) in CONTENDERS.items()}

    def spread(server: Process) -> Figures:
        server.say("spread")
        return server.figures()

    def one(name: str) -> Figures:
        _, threads, how = CONTENDERS[name]
        server = [programs[name], threads, STEPS, cell.reads, how]
        load = (16, cell.at_once * REQUEST, plan.seconds, plan.seconds / 5)
        return measure(plan, server, cell.load, *load, pinned=False, requests=cell.at_once, after=spread)

    there = [name for name, program in programs.items() if program]
    return Table(cell.title, *plan.interleaved(there, one), COSTS, CONTEXT, aside=(ONE, PORT, EACH))
