"""docs/loops.md, from the results that are kept."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path

from suites import LOOPS, ROOT, SUITES

# At the end: test.py there is not the standard library's `test`.
sys.path += [str(ROOT / "tests" / "python"), str(ROOT / "scripts")]
from outside import Result

from known_failures import KNOWN_FAILURES_OF_THE_LOOP

REASONS = KNOWN_FAILURES_OF_THE_LOOP
"""Why a test fails on ours that passes on the standard loop."""

MIXINS = re.compile(
    r"test\.test_asyncio\.(test_events\.EPollEventLoopTests|test_sock_lowlevel\.EPollEventLoopTests"
    r"|test_server\.(SelectorStartServerTests|TestServer2)|test_buffered_proto\.BufferedProtocolSelectorTests"
    r"|test_subprocess\.Subprocess(Threaded)?(Pidfd|Safe)?WatcherTests)\."
)
"""The tests that CPython's loops share, each once: those of events and sockets are there for each kind of selector."""

TOP = """\
# Others' tests of asyncio's loops, on ours

Written by `scripts/loops/compare.py` (`make loops`), which says what is run. A cell tells how many tests have passed of
those that were run; skipped ones are not counted. Ours is in the place of the standard loop, wherever that is made.
"""


def path(folder: Path, version: str, suite: str, module: str, loop: str) -> Path:
    """Where a run's result is kept."""
    return folder / f"{version},{suite},{module.replace('/', '.')},{loop}.json"


Modules = dict[str, dict[str, Result]]
"""The results of a suite's modules, by loop."""


def kept(folder: Path) -> dict[tuple[str, str], Modules]:
    """What is kept, by suite and version."""
    results: dict[tuple[str, str], Modules] = {}
    for file in sorted(folder.glob("*.json")):
        version, suite, module, loop = file.name.removesuffix(".json").split(",")
        result = Result.kept(file)
        results.setdefault((suite, version), {}).setdefault(module, {})[loop] = result
    return results


def faults(folder: Path) -> list[str]:
    """What ours fails and the standard loop passes without a reason; reasons for what passes wherever it runs."""
    ran, failed, found = set(), set(), []
    for (_, version), modules in kept(folder).items():
        for module, each in modules.items():
            ours, standard = each.get("ours", Result()), each.get("standard", Result())
            ran |= set(ours.ran)
            failed |= set(ours.failed)
            unknown = set(ours.failed) - set(standard.failed) - set(REASONS)
            found += [f"{version} {name}: fails, and has no reason" for name in sorted(unknown)]
            if ours.note and not standard.note:
                found.append(f"{version} {module}: did not come to its end")
    return found + [f"{name}: has a reason, and passes" for name in sorted((set(REASONS) & ran) - failed)]


def document(folder: Path) -> str:
    """All tables; what has not been run is not in them."""
    results = kept(folder)
    parts = [TOP]
    for suite in SUITES:
        for version in sorted(version for name, version in results if name == suite):
            modules = results[suite, version]
            parts.append(f"## {TITLES[suite]}, CPython {version}\n")
            parts += [_table(suite, modules), _failures(modules)]
    return "\n".join(filter(None, parts))


TITLES = {
    "asyncio": "CPython's own tests of asyncio",
    "twisted": "Twisted's tests with --reactor=asyncio",
    "aiohttp": "aiohttp's tests",
    "anyio": "anyio's tests of its asyncio backend",
}


def _table(suite: str, modules: Modules) -> str:
    loops = [loop for loop in LOOPS if any(loop in each for each in modules.values())]
    order = [module for module in SUITES[suite].modules if module in modules]
    lines = ["| | " + " | ".join(loops) + " |", "|---|" + "---|" * len(loops)]
    for module in order:
        cells = (_cell(modules[module].get(loop)) for loop in loops)
        lines.append(f"| `{module}` | " + " | ".join(cells) + " |")
    if suite == "asyncio":
        whole = [loop for loop in loops if all(loop in modules[module] for module in order)]
        shared = {loop: _shared(modules[module][loop] for module in order) for loop in whole}
        cells = (_cell(shared.get(loop)) for loop in loops)
        lines.append("| of these, shared by all loops | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _shared(results: Iterable[Result]) -> Result:
    """The tests of `MIXINS`."""
    every = list(results)
    return Result(
        [name for result in every for name in result.ran if MIXINS.match(name)],
        [name for result in every for name in result.failed if MIXINS.match(name)],
        note=next((result.note for result in every if result.note), ""),
    )


def _cell(result: Result | None) -> str:
    if result is None:
        return ""
    if not result.ran:
        return "did not run"
    cell = f"{len(result.ran) - len(result.failed)} of {len(result.ran)}"
    return cell + (f" ({len(result.hung)} hang)" if result.hung else "") + (", then hangs" if result.note else "")


def _failures(modules: Modules) -> str:
    """What fails on ours, and why; what fails on the standard loop as well is counted."""
    lines, both = [], 0
    for each in modules.values():
        standard = each.get("standard", Result())
        for name in each.get("ours", Result()).failed:
            if name in standard.failed:
                both += 1
            else:
                lines.append(f"- `{name}`: {REASONS.get(name, 'not explained')}")
    if both:
        lines.append(f"- {both} that fail on the standard loop, too, where this was run")
    return "Failed on ours:\n\n" + "\n".join(lines) + "\n" if lines else ""
