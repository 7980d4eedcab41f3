"""A server under load: the server on one core, the load on another."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from plan import Plan
from processes import Failed, Process
from tables import Figures

COSTS = {"cpu_us": ("server CPU µs a request", ".2f")}
CONTEXT = {
    "rate": ("requests a second", ".0f"),
    "server_busy": ("server core busy", ".0%"),
    "load_busy": ("load core busy", ".0%"),
}


def measure(plan: Plan, server: Sequence[object], load: str, *arguments: object, unix: bool = False) -> Figures:
    """What the server spent on each request that the load, a program with these arguments, had answered.

    `unix` has the server told a path for its socket.
    """
    with tempfile.TemporaryDirectory(prefix="overlapped-bench-") as folder:
        path = [Path(folder, "socket")] if unix else []
        with Process([*server, *path], plan.server_core) as serving:
            words = [plan.programs[load], serving.line(), *arguments]
            with Process(words, plan.load_core) as loading:
                if loading.line() != "ready":
                    raise Failed("the load generator is not ready")
                server_cpu, load_cpu = serving.cpu(), loading.cpu()
                loading.say("go")
                done = loading.figures()
                server_cpu, load_cpu = serving.cpu() - server_cpu, loading.cpu() - load_cpu
    requests, seconds = done["requests"], done["seconds"]
    return {
        "cpu_us": server_cpu / requests * 1e6,
        "rate": requests / seconds,
        "server_busy": server_cpu / seconds,
        "load_busy": load_cpu / seconds,
    }
