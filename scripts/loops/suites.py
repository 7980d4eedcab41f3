"""Suites that others wrote for asyncio's loops, each module run in a process of its own, and how their tests ended.

A test that hangs would take the rest of its module with it. pytest ends it after `PATIENCE` seconds; else the run is
ended when nothing has been written for so long, the test that had begun last counts as failed, and the module runs
again without it.
"""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# At the end: test.py there is not the standard library's `test`.
sys.path += [str(ROOT / "tests" / "python"), str(ROOT / "scripts")]
from outside import Result, begin_anew, read_junit, read_regrtest, run_until_silent  # noqa: E402

from stdlib_run import LOOP_MODULES  # noqa: E402

WITH_LOOP = ROOT / "tests" / "python" / "programs" / "with_loop.py"
LOOPS = {
    "standard": "asyncio:SelectorEventLoop",
    "ours": "overlapped.asyncio:EventLoop",
    "uvloop": "uvloop:Loop",
    "zuvloop": "zuvloop:EventLoop",
}
PATIENCE = 60
"""Seconds without output after which a test hangs; more on a crowded machine."""
LONGEST = 900
"""Seconds for what has a process of its own; more on a crowded machine."""
HANGS = "hangs"
MOST_HANGS = 8
"""A module is not begun anew more often than that."""


@dataclass(frozen=True)
class Suite:
    """How a suite's modules are run, and how what a run has written is read."""

    modules: list[str]
    arguments: Callable[[str, Path, list[str]], list[str]]
    """Of a module, a folder for its results, and the tests to leave out: what follows ``python -m``."""
    begun: re.Pattern[str]
    """A line that says that a test has begun, or its beginning."""
    read: Callable[[Path, str], Result]
    """Of the folder and the output."""
    folder: str = ""
    """Where it runs: a source distribution by its requirement, else a temporary folder."""
    apart: bool = False
    """Whether each file of a folder has a process of its own: one that hangs does not keep the others."""

    def run(self, python: Path, loop: str, module: str, folder: Path | None = None) -> Result:
        """Runs a module with one of `LOOPS`."""
        if not (self.apart and folder and (folder / module).is_dir()):
            return self._run_one(python, loop, module, folder)
        whole = Result()
        for file in sorted((folder / module).glob("test_*.py")):
            result = self._run_one(python, loop, str(file.relative_to(folder)), folder)
            whole.ran += result.ran
            whole.failed += result.failed
            whole.hung += result.hung
            if result.note == HANGS:
                whole.note += f"{file.name} {HANGS} "
        return whole

    def _run_one(self, python: Path, loop: str, module: str, folder: Path | None) -> Result:
        """Runs what has a process of its own, begun anew after each test that hangs."""

        def once(hung: list[str]) -> tuple[Result, str, bool]:
            with tempfile.TemporaryDirectory() as results:
                arguments = self.arguments(module, Path(results), hung)
                # The standard loop runs the tests as they are.
                program = ["-m"] if loop == "standard" else [str(WITH_LOOP), LOOPS[loop]]
                output, ended = run_until_silent(
                    [str(python), *program, *arguments], folder or Path(results), patience=PATIENCE, longest=LONGEST
                )
                return self.read(Path(results), output), output, ended

        result, output, ended = begin_anew(once, self.begun, MOST_HANGS, results_are_last=False)
        if not ended or not result.ran:
            result.note = HANGS if not ended else output[-300:]
        return result


def read_asyncio(folder: Path, output: str) -> Result:
    """What regrtest writes to a file, and says."""
    return read_regrtest(folder / "results.xml", output)


def read_pytest(folder: Path, _output: str) -> Result:
    """What pytest writes to a file."""
    return read_junit(folder / "results.xml")


def read_trial(_folder: Path, output: str) -> Result:
    """What trial's verbose reporter says: a line a test, ``NAME ... [OK]``."""
    result = Result()
    for name, how in TRIAL_LINE.findall(output):
        if how in ("OK", "EXPECTED FAILURE", "FAIL", "ERROR"):
            result.ran.append(name)
        if how in ("FAIL", "ERROR"):
            result.failed.append(name)
    return result


TRIAL_LINE = re.compile(r"^(twisted\.[\w.]+) \.\.\.[^\[]*\[([A-Z ]+)\]", re.MULTILINE)


def _asyncio(module: str, results: Path, without: list[str]) -> list[str]:
    ignored = [word for name in without for word in ("--ignore", name)]
    return ["test", "-v", "-u", "network", "--junit-xml", str(results / "results.xml"), *ignored, module]


def _trial(module: str, results: Path, without: list[str]) -> list[str]:
    # It runs the tests of a module by name, and has no option for those that it shall leave out.
    arguments = ["--reactor=asyncio", "--reporter=timing", f"--temp-directory={results / 'trial'}", module]
    return ["twisted.trial", *arguments]


def _pytest(*left_out: str) -> Callable[[str, Path, list[str]], list[str]]:
    def arguments(module: str, results: Path, without: list[str]) -> list[str]:
        junit = [f"--junit-xml={results / 'results.xml'}", f"--basetemp={results / 'tmp'}"]
        plain = ["-o", "addopts=", "-p", "no:cacheprovider", "-p", "no:xdist", "-v", "--tb=short", "--color=no"]
        limit = [f"--timeout={PATIENCE}", "--timeout-method=signal"]
        deselected = [f"--deselect={name}" for name in without]
        return ["pytest", *plain, *junit, *limit, *deselected, *left_out, module]

    return arguments


PYTEST_BEGUN = re.compile(r"^(tests/\S+::[^\n]*?) (?:PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS|$)", re.MULTILINE)

SUITES = {
    "asyncio": Suite(LOOP_MODULES, _asyncio, re.compile(r"^\w+ \((test\.\S+)\)", re.MULTILINE), read_asyncio),
    "twisted": Suite(
        [
            "twisted.internet.test.test_process",
            "twisted.internet.test.test_tcp",
            "twisted.internet.test.test_udp",
            "twisted.test.test_process",
        ],
        _trial,
        re.compile(r"^(twisted\.[\w.]+) \.\.\.", re.MULTILINE),
        read_trial,
    ),
    "aiohttp": Suite(
        ["tests"],
        _pytest("-m", "not dev_mode and not autobahn and not internal"),
        PYTEST_BEGUN,
        read_pytest,
        "aiohttp",
        apart=True,
    ),
    "anyio": Suite(
        ["tests"], _pytest("-m", "not network", "-k", "asyncio and not uvloop"), PYTEST_BEGUN, read_pytest, "anyio"
    ),
}
