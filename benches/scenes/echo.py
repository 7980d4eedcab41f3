"""Echo: connections that stay, each with one request in flight, or some."""

from collections.abc import Iterator
from dataclasses import dataclass

from charts import Chart
from plan import Plan
from tables import OURS, THREADS, Figures, Table

from .load import CONTEXT, COSTS, measure

FLOOR = "uring-bare"
RUST = (OURS, "tokio", "compio", "monoio", "glommio", "may", FLOOR)
PYTHON = {
    OURS: ("echo_blocking.py", "overlapped"),
    THREADS: ("-m", "overlapped", "echo_blocking.py", "threads"),
    "gevent": ("echo_blocking.py", "gevent"),
    "uvloop protocol": ("echo_asyncio.py", "uvloop", "protocol"),
    "zuvloop protocol": ("echo_asyncio.py", "zuvloop", "protocol"),
    "uvloop streams": ("echo_asyncio.py", "uvloop", "streams"),
}


@dataclass(frozen=True)
class Cell:
    connections: int
    size: int
    """Bytes of a request."""
    read: int = 4096
    """What the server asks for at once: its `recv` size, where it has one."""
    depth: int = 1
    """Requests in flight on a connection."""
    unix: bool = False
    lines: bool = False
    """Read by `makefile` and `readline`, in Python."""

    def __str__(self) -> str:
        size = f"{self.size} B" if self.size < 1024 else f"{self.size // 1024} KiB"
        words = [f"{self.connections} connection" + "s" * (self.connections > 1), size]
        if self.read > max(self.size, 4096):
            words.append(f"recv({self.read})")
        if self.depth > 1:
            words.append(f"{self.depth} in flight")
        words += ["Unix sockets"] * self.unix + ["makefile"] * self.lines
        return ", ".join(words)


FEW = (Cell(50, 64), Cell(500, 4096, read=16384))
ALL = (
    *(Cell(connections, 64) for connections in (1, 8, 50, 500)),
    *(Cell(connections, 4096, read) for connections in (50, 500) for read in (4096, 16384)),
    Cell(50, 4096, read=65536),
    Cell(50, 16384, read=16384),
    Cell(50, 65536, read=65536),
    *(Cell(connections, 64, depth=16) for connections in (8, 50)),
    Cell(50, 64, unix=True),
)
LINES = Cell(50, 64, lines=True)


def _table(plan: Plan, cell: Cell, commands: dict[str, list[object]]) -> Table:
    def one(name: str) -> Figures:
        load = (cell.connections, cell.size, plan.seconds, plan.seconds / 5, cell.depth)
        return measure(plan, commands[name], "load", *load, unix=cell.unix)

    return Table(str(cell), *plan.interleaved(list(commands), one), COSTS, CONTEXT, aside=(THREADS, FLOOR))


def rust(plan: Plan) -> Iterator[Chart]:
    chart = Chart("echo-rust", "Echo in Rust, server CPU µs a request")
    for cell in FEW if plan.quick else ALL:
        chart.add(_table(plan, cell, plan.rust("echo", RUST, cell.read, 0)))
    yield chart


def python(plan: Plan) -> Iterator[Chart]:
    chart = Chart("echo-python", "Echo in Python, server CPU µs a request")
    for cell in FEW if plan.quick else (*ALL, LINES):
        contenders = dict(PYTHON)
        if cell.lines:
            # A protocol has no file to read lines from.
            contenders = {name: words for name, words in PYTHON.items() if words[-1] != "protocol"}
        style = ["--lines"] * cell.lines
        chart.add(_table(plan, cell, plan.python(contenders, cell.read, *style)))
    yield chart
