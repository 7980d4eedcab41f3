"""Runs suites that others wrote for asyncio's loops on ours beside the standard one, uvloop and zuvloop.

`compare.py [--python VERSION]... [--loop LOOP]... [--no-build] [SUITE[:MODULE]]...`; `make loops` runs all, in an
hour. The suites: CPython's tests of `asyncio` on each CPython from 3.11 that is found, `twisted`'s of its asyncio
reactor, and those of `aiohttp` and `anyio`, on the oldest. What each run has brought is kept in target/loops/; with
all suites it writes docs/loops.md, from all that is kept. Where ours fails what the standard loop passes, the reason is
there, or the command fails. OVERLAPPED_BACKEND chooses our loop's backend.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import environment
import table
from suites import LOOPS, ROOT, SUITES

sys.path.append(str(ROOT / "scripts"))
import pythons
from outside import Result

VERSIONS = ["3.11", "3.12", "3.13", "3.14"]


def main() -> None:
    parser = argparse.ArgumentParser(usage=(__doc__ or "").split("`")[1])
    parser.add_argument("suites", nargs="*", default=list(SUITES))
    parser.add_argument("--python", action="append", dest="versions")
    parser.add_argument("--loop", action="append", dest="loops", choices=list(LOOPS))
    parser.add_argument("--no-build", action="store_false", dest="build")
    wanted = parser.parse_args()
    for version in wanted.versions or VERSIONS:
        interpreter = pythons.find(version)
        if interpreter is None:
            print(f"CPython {version} is not on this machine: nothing is run on it", file=sys.stderr)
            continue
        needed = "--requirement", str(environment.REQUIREMENTS)
        python = pythons.environment("loops", version, interpreter, wanted.build, *needed)
        for suite in wanted.suites:
            name, _, module = suite.partition(":")
            if name == "asyncio" or wanted.versions or version == VERSIONS[0]:
                run(version, python, name, [module] if module else SUITES[name].modules, wanted.loops or list(LOOPS))
    if wanted.suites == list(SUITES):
        (ROOT / "docs" / "loops.md").write_text(table.document(environment.SOURCES))
    sys.exit("\n".join(table.faults(environment.SOURCES)) or None)


def run(version: str, python: Path, name: str, modules: list[str], loops: list[str]) -> None:
    """Runs modules of a suite on each of the loops, and keeps the results."""
    suite = SUITES[name]
    environment.SOURCES.mkdir(parents=True, exist_ok=True)
    folder = environment.source(python, suite.folder) if suite.folder else None
    for module in modules:
        for loop in environment.loops(python, loops):
            result = suite.run(python, loop, module, folder)
            result.keep(table.path(environment.SOURCES, version, name, module, loop))
            tell(version, module, loop, result)


def tell(version: str, module: str, loop: str, result: Result) -> None:
    print(f"{version} {module} {loop}: {len(result.failed)} of {len(result.ran)} failed {result.note}", flush=True)
    for test in result.failed:
        print(f"    {test}" + " (hangs)" * (test in result.hung), flush=True)


if __name__ == "__main__":
    main()
