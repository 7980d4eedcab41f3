"""Runs the fuzz targets for minutes: random inputs that begin as valid ones, and random programs.

`fuzz.py [--minutes 10] [TARGET ...]` runs all targets, or some, one after the other, over and over with new seeds until
the time is up; each is built before the time begins. Where one fails, what it said is shown, of the shortest input that
was found: with the `OVERLAPPED_SEED=` of that in the environment, `fuzz.py --rounds 1 TARGET` does it again. Each
target is a test that `make test` runs too, in fewer rounds: in Rust those in a module named `fuzz`
(crates/overlapped/tests/support/fuzz.rs tells how inputs are made), in Python one of
tests/python/test_differential_*.py.

`OVERLAPPED_BACKEND` chooses the backend where there is I/O.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import subprocess
import sys
import time
from pathlib import Path

from crates import FACE

ROOT = Path(__file__).resolve().parent.parent


def rust(where: str, module: str = "fuzz::") -> list[str]:
    return ["cargo", "test", "--quiet", *FACE, *where.split(), module]


def python(name: str) -> list[str]:
    return [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"tests/python/test_differential_{name}.py"]


TARGETS: dict[str, tuple[list[str], int]] = {
    "framing": (rust("--test framing"), 20_000),
    "handoff": (rust("--lib", "handoff::wire::fuzz::"), 200_000),
    "handoff-channel": (rust("--lib", "handoff::receiver::fuzz::"), 5000),
    "prefork": (rust("--lib", "prefork::wire::fuzz::"), 200_000),
    "addresses": (rust("--lib", "net::unix::address::fuzz::"), 200_000),
    "names": (rust("--lib", "resolve::fuzz::"), 200_000),
    "systemd": (rust("--lib", "systemd::listen::fuzz::"), 200_000),
    "files": (python("files"), 3000),
    "sockets": (python("sockets"), 800),
}
"""Each target's command, and how many rounds a run of it makes, which are some seconds."""


def run(name: str, rounds: int | None) -> bool:
    """Runs a target once, and shows what it says where it fails."""
    command, usual = TARGETS[name]
    environment = {"OVERLAPPED_SEED": str(random.randrange(1 << 32))} | os.environ
    environment["OVERLAPPED_ROUNDS"] = str(rounds or usual)
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    if done.returncode == 0 and (" 0 passed" in done.stdout or " passed" not in done.stdout):
        print(f"{name}: no test was run by {' '.join(command)}\n{done.stdout}")
        return False
    if done.returncode:
        print(f"{name} failed:\n{done.stdout}")
    return done.returncode == 0


def main() -> None:
    parser = argparse.ArgumentParser(description="Runs the fuzz targets for minutes.")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)} (all)")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long, all in all (10)")
    parser.add_argument("--rounds", type=int, help="so many rounds of each, once, in the place of minutes")
    options = parser.parse_args()
    if unknown := set(options.targets) - set(TARGETS):
        parser.error(f"no such target: {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}")
    names = options.targets or list(TARGETS)
    for command in {tuple(TARGETS[name][0][:-1]) for name in names if TARGETS[name][0][0] == "cargo"}:
        subprocess.run([*command, "--no-run"], cwd=ROOT, check=True)
    times, until = dict.fromkeys(names, 0), time.monotonic() + options.minutes * 60
    for name in names if options.rounds else itertools.cycle(names):
        if not options.rounds and time.monotonic() > until and all(times.values()):
            break
        if not run(name, options.rounds):
            sys.exit(1)
        times[name] += options.rounds or TARGETS[name][1]
    print("rounds: " + ", ".join(f"{name} {rounds}" for name, rounds in times.items()))


if __name__ == "__main__":
    main()
