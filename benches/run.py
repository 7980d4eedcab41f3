"""Measures Overlapped beside its peers: `python benches/run.py [SCENE ...] [--rounds N] [--quick] [--no-build]`.

Scenes: echo-rust, echo-python, files, micro, memory; all of them where none is named. What each measures, and why
CPU a request is the figure that counts, is told in `README.md` beside this file. Tables go to stdout, every round's
figures to `results.json`.
"""

import argparse
import contextlib
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import building
import tables
from processes import Failed, Process
from tables import OURS, Figures

SCRIPTS = building.HERE / "python"
RESULTS = building.HERE / "results.json"


@dataclass(frozen=True)
class Plan:
    """How long and how often to measure, with what."""

    programs: dict[str, Path]
    ours_in_python: bool
    rounds: int
    seconds: float
    messages: Sequence[tuple[int, int]]
    """Connections and bytes of a request."""
    server_core: int | None
    load_core: int | None
    files_in: Path

    def rust(self, kind: str, contenders: Sequence[str]) -> dict[str, list[object]]:
        """The commands of those Rust programs of a kind that were built."""
        commands = {name: self.programs.get(f"{kind}-{name}") for name in contenders}
        return {name: [program] for name, program in commands.items() if program}

    def python(self, contenders: Mapping[str, Sequence[str]]) -> dict[str, list[object]]:
        """The commands of the Python programs, ours among them where it can be imported."""
        chosen = {name: words for name, words in contenders.items() if name != OURS or self.ours_in_python}
        return {name: [building.PYTHON, SCRIPTS / words[0], *words[1:]] for name, words in chosen.items()}


RUST_ECHOES = (OURS, "tokio", "may", "uring-bare")
PYTHON_ECHOES = {
    OURS: ("echo_blocking.py", OURS),
    "gevent": ("echo_blocking.py", "gevent"),
    "uvloop streams": ("echo_asyncio.py", "uvloop", "streams"),
    "uvloop protocol": ("echo_asyncio.py", "uvloop", "protocol"),
    "asyncio protocol": ("echo_asyncio.py", "asyncio", "protocol"),
}


def echo(plan: Plan, face: str, commands: dict[str, list[object]]) -> list[dict]:
    """Echo over TCP on loopback, the server on one core and the load on another."""

    def measure(name: str) -> Figures:
        with Process(commands[name], plan.server_core) as server:
            words = [plan.programs["load"], server.line(), connections, size, plan.seconds, plan.seconds / 5]
            with Process(words, plan.load_core) as load:
                if load.line() != "ready":
                    raise Failed("the load generator is not ready")
                server_cpu, load_cpu = server.cpu(), load.cpu()
                load.say("go")
                done = json.loads(load.line())
                server_cpu, load_cpu = server.cpu() - server_cpu, load.cpu() - load_cpu
        requests, seconds = done["requests"], done["seconds"]
        return {
            "cpu_us": server_cpu / requests * 1e6,
            "rate": requests / seconds,
            "server_busy": server_cpu / seconds,
            "load_busy": load_cpu / seconds,
        }

    costs = {"cpu_us": ("server CPU µs a request", ".2f"), "rate": ("requests a second", ".0f")}
    context = {"server_busy": ("server core busy", ".0%"), "load_busy": ("load core busy", ".0%")}
    results = []
    for connections, size in plan.messages:
        title = f"{face} echo, {connections} connections, {size} B"
        results.append(tables.show(title, *tables.interleaved(list(commands), plan.rounds, measure), costs, context))
    return results


def echo_rust(plan: Plan) -> list[dict]:
    return echo(plan, "Rust", plan.rust("echo", RUST_ECHOES))


def echo_python(plan: Plan) -> list[dict]:
    return echo(plan, "Python", plan.python(PYTHON_ECHOES))


def micro(plan: Plan) -> list[dict]:
    """The costs of the basic moves, on one core."""

    def measure(name: str) -> Figures:
        with Process(commands[name], plan.server_core) as process:
            return json.loads(process.line())

    costs = {
        "spawn_join": ("spawn and join, ns", ".0f"),
        "switch": ("switch, ns", ".0f"),
        "stream": ("stream a value, ns", ".0f"),
        "ping_pong": ("ping-pong a value, ns", ".0f"),
    }
    scripts = {name: ("costs.py", name) for name in (OURS, "gevent", "uvloop", "asyncio")}
    results = []
    for face, commands in (("Rust", plan.rust("micro", (OURS, "tokio", "may"))), ("Python", plan.python(scripts))):
        rounds = tables.interleaved(list(commands), plan.rounds, measure)
        results.append(tables.show(f"{face}, costs of the basic moves", *rounds, costs))
    return results


def files(plan: Plan) -> list[dict]:
    """Copies of 10 files of 3 MB and 20 small ones at once, with a ticker that is to run on; on all cores."""
    sets = 3

    def measure(name: str) -> Figures:
        target = Path(tempfile.mkdtemp(dir=folder))
        try:
            with Process([*commands[name], source, target]) as process:
                done = json.loads(process.line())
        finally:
            shutil.rmtree(target)
        megabytes = done["bytes"] / 1e6
        return {
            "ms": done["seconds"] * 1e3,
            "cpu_us": done["cpu"] / megabytes * 1e6,
            "worst_gap_ms": done["worst_gap_ms"],
        }

    costs = {
        "ms": ("ms", ".1f"),
        "cpu_us": ("CPU µs a MB", ".0f"),
        "worst_gap_ms": ("worst gap of the ticker, ms", ".1f"),
    }
    commands = plan.python({name: ("files.py", name) for name in (OURS, "gevent", "aiofiles", "blocking")})
    with tempfile.TemporaryDirectory(prefix="overlapped-bench-", dir=plan.files_in) as folder:
        source = Path(folder, "source")
        source.mkdir()
        for number in range(sets):
            for big in range(10):
                (source / f"{number}-big-{big}").write_bytes(os.urandom(3_000_000))
            for small in range(20):
                (source / f"{number}-small-{small}").write_bytes(os.urandom(100 * small + 1))
        for name in commands:
            # Once for nothing: fills the page cache and the guest's free memory. What fails is told in the rounds.
            with contextlib.suppress(Failed):
                measure(name)
        rounds = tables.interleaved(list(commands), plan.rounds, measure)
    return [tables.show(f"Python, {sets * 30} files copied at once in pieces of 64 KiB", *rounds, costs)]


def memory(plan: Plan) -> list[dict]:
    """What an idle tasklet and an idle connection occupy in the process; what the kernel keeps is not in it."""
    rounds = min(plan.rounds, 3)
    costs = {"resident": ("resident bytes each", ".0f"), "page_tables": ("page tables, bytes each", ".0f")}

    def tasklets(name: str) -> Figures:
        with Process([*commands[name], items], plan.server_core) as process:
            return json.loads(process.line())

    def connections(name: str) -> Figures:
        with Process(commands[name], plan.server_core) as server:
            port = server.line()
            with Process([plan.programs["load"], port, 50, 64], plan.load_core) as first:
                first.line()  # warms what is made once
            before = server.memory()
            with Process([plan.programs["load"], port, count, 64], plan.load_core) as load:
                if load.line() != "ready":
                    raise Failed("the load generator is not ready")
                after = server.memory()
        return {kind: (after[kind] - before[kind]) / count for kind in after}

    results = []
    commands = plan.rust("idle", (OURS, "tokio", "may"))
    for items in (30_000, 100_000):
        found = tables.interleaved(list(commands), rounds, tasklets)
        results.append(tables.show(f"Rust, {items} idle tasklets", *found, costs))
    count = min(10_000, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 100)
    # Small reads: what is measured is a connection, and not the buffer that the program chose for it.
    rust = {name: [*command, 64] for name, command in plan.rust("echo", RUST_ECHOES).items()}
    for face, commands in (("Rust", rust), ("Python", plan.python(PYTHON_ECHOES))):
        found = tables.interleaved(list(commands), rounds, connections)
        results.append(tables.show(f"{face}, {count} idle connections", *found, costs))
    return results


SCENES = {"echo-rust": echo_rust, "echo-python": echo_python, "files": files, "micro": micro, "memory": memory}


def environment(plan: Plan) -> dict[str, str]:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), "?")
    stat = subprocess.run(["stat", "-f", "-c", "%T", plan.files_in], capture_output=True, text=True)
    told = {
        "kernel": platform.release(),
        "cores": str(os.cpu_count()),
        "processor": model,
        "files on": stat.stdout.strip(),
    }
    return told | building.versions(plan.programs)


def main() -> None:
    parser = argparse.ArgumentParser(description="Overlapped beside its peers, in interleaved rounds.")
    parser.add_argument("scenes", nargs="*", metavar="SCENE", help=f"of {', '.join(SCENES)}; else all")
    parser.add_argument("--rounds", type=int, help="rounds of each table (7; quick: 3)")
    parser.add_argument("--quick", action="store_true", help="short rounds, two of four message shapes")
    parser.add_argument("--no-build", action="store_true", help="measure what is built already")
    parser.add_argument(
        "--files-in", type=Path, default=Path(tempfile.gettempdir()), help="where the files scene works"
    )
    chosen = parser.parse_args()
    if unknown := set(chosen.scenes) - set(SCENES):
        parser.error(f"no such scene: {', '.join(sorted(unknown))}")
    scenes = chosen.scenes or list(SCENES)

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        print("warning: one core only: server and load share it; look at CPU a request alone", file=sys.stderr)
    programs = building.rust(not chosen.no_build)
    if "load" not in programs:
        sys.exit("the Rust programs did not build: nothing to measure with")
    ours_in_python = building.python(not chosen.no_build) if scenes != ["echo-rust"] else False
    plan = Plan(
        programs=programs,
        ours_in_python=ours_in_python,
        rounds=chosen.rounds or (3 if chosen.quick else 7),
        seconds=0.5 if chosen.quick else 2.0,
        messages=[(50, 64), (500, 4096)] if chosen.quick else [(50, 64), (500, 64), (50, 4096), (500, 4096)],
        server_core=cores[0],
        load_core=cores[-1],
        files_in=chosen.files_in,
    )
    told = environment(plan)
    print(", ".join(f"{what} {value}" for what, value in told.items()))
    print(f"medians of {plan.rounds} rounds; x is the ratio to ours")
    results = {}
    for scene in scenes:
        results[scene] = SCENES[scene](plan)
        RESULTS.write_text(json.dumps({"environment": told, "rounds": plan.rounds, "scenes": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
