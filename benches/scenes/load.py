"""A server under load: the server on one core, the load on another."""

import tempfile
from collections.abc import Callable, Sequence
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


def measure(
    plan: Plan,
    server: Sequence[object],
    load: str,
    *arguments: object,
    unix: bool = False,
    pinned: bool = True,
    requests: int = 1,
    after: Callable[[Process], Figures] = lambda server: {},
) -> Figures:
    """What the server spent on each request that the load, a program with these arguments, had answered.

    `unix` has the server told a path for its socket; `requests` is how many go as one message; `after` asks the server
    when the load has ended. Where they are not `pinned`, both may be on any core.
    """
    server_core, load_core = (plan.server_core, plan.load_core) if pinned else (None, None)
    with tempfile.TemporaryDirectory(prefix="overlapped-bench-") as folder:
        path = [Path(folder, "socket")] if unix else []
        with Process([*server, *path], server_core) as serving:
            words = [plan.programs[load], serving.line(), *arguments]
            with Process(words, load_core) as loading:
                if loading.line() != "ready":
                    raise Failed("the load generator is not ready")
                server_cpu, load_cpu = serving.cpu(), loading.cpu()
                loading.say("go")
                done = loading.figures()
                server_cpu, load_cpu = serving.cpu() - server_cpu, loading.cpu() - load_cpu
                told = after(serving)
    answered, seconds = done["requests"] * requests, done["seconds"]
    return told | {
        "cpu_us": server_cpu / answered * 1e6,
        "wall_us": seconds / answered * 1e6,
        "rate": answered / seconds,
        "server_busy": server_cpu / seconds,
        "load_busy": load_cpu / seconds,
    }
