"""Runs libraries' own tests under `python -m overlapped -m pytest` beside plain python, and writes docs/suites.md.

`library_suites.py [--python VERSION] [--backend NAME]... [--no-build] [--plain] [SUITE]...`; `make suites` runs all, in
an hour. The suites are those of blocking programs and of loops of their own: for asyncio's loops there is `make loops`.
What plain python does is kept in target/suites/ and run again with `--plain`. A suite that has no result there keeps
its line in the table.

It fails where a test fails or hangs with us, plain python passes it, it does so again when it is run by itself, and no
reason is given for it here.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "tests" / "python"))
import pythons  # noqa: E402
from outside import Result, begin_anew, read_junit, run_until_silent, source  # noqa: E402

import servers  # noqa: E402

RESULTS = ROOT / "target" / "suites"
BACKENDS = ["uring", "poll"]
PATIENCE = 60
"""Seconds after which a test hangs; more on a crowded machine."""
MOST_HANGS = 6
"""A suite is not begun anew more often than that."""
BEGUN = re.compile(r"^(\S+\.py::[^\n]*?) (?:PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS|$)", re.MULTILINE)


@dataclass(frozen=True)
class Suite:
    """A library's tests."""

    arguments: list[str]
    """What pytest is told."""
    source: bool = True
    """Whether they come with its source distribution; else they are installed with it."""
    redis: bool = False
    """Whether they need a redis server."""


SUITES = {
    "redis": Suite(
        [
            "-m",
            "not redismod and not onlycluster and not ssl and not cp_integration and not multidb_integration",
            # asyncio's have loops of their own to run on; the others want more than a server.
            *(f"--ignore=tests/{it}" for it in ("test_asyncio", "test_scenario", "test_observability")),
            "--ignore=tests/test_credentials.py",
            "tests",
        ],
        redis=True,
    ),
    "trio": Suite(["-p", "trio._tests.pytest_plugin", "--skip-optional-imports", "--pyargs", "trio"], source=False),
    "pytest-asyncio": Suite(["tests"]),
    "urllib3": Suite(["-m", "not requires_network", "test"]),
    "cheroot": Suite(["--pyargs", "cheroot.test"], source=False),
}
REASONS = {
    "_tests.test_threads.test_named_thread_os": "a thread is a tasklet, and no thread of the system's that has a name",
}
"""Why a test fails with us that plain python passes."""

TOP = """\
# Libraries' own tests, under `python -m overlapped`

Written by `make suites`, which runs each suite with plain `python` and on each backend; `scripts/library_suites.py`
says how. A *difference* is a test that plain python passes, and that fails or is not run with us, twice.
"""


def main() -> None:
    parser = argparse.ArgumentParser(usage=(__doc__ or "").split("`")[3])
    parser.add_argument("suites", nargs="*", default=list(SUITES))
    parser.add_argument("--python", default=f"{sys.version_info.major}.{sys.version_info.minor}")
    parser.add_argument("--backend", action="append", dest="backends", choices=BACKENDS)
    parser.add_argument("--no-build", action="store_false", dest="build")
    parser.add_argument("--plain", action="store_true")
    wanted = parser.parse_args()
    interpreter = pythons.find(wanted.python)
    if interpreter is None:
        sys.exit(f"CPython {wanted.python} is not on this machine")
    requirements = "--requirement", str(Path(__file__).with_suffix(".txt"))
    python = pythons.environment("suites", wanted.python, interpreter, wanted.build, *requirements)
    RESULTS.mkdir(parents=True, exist_ok=True)
    for name in wanted.suites:
        for how in ["plain", *(wanted.backends or BACKENDS)]:
            if how != "plain" or wanted.plain or not path(wanted.python, how, name).exists():
                keep(wanted.python, python, name, how)
    file = ROOT / "docs" / "suites.md"
    text, faults = document(file.read_text())
    file.write_text(text)
    sys.exit("\n".join(faults) or None)


def path(version: str, how: str, suite: str) -> Path:
    """Where a run's result is kept."""
    return RESULTS / f"{version},{how},{suite}.json"


def keep(version: str, python: Path, name: str, how: str) -> None:
    """Runs a suite, once more by itself what fails and should not, and keeps how that ended."""
    result = run(python, name, how)
    if how != "plain" and (
        new := set(result.failed) - set(Result.kept(path(version, "plain", name)).failed) - {*REASONS}
    ):
        # Some tests measure times, and were kept waiting.
        again = run(python, name, how, only=new)
        passed = (new & set(again.ran)) - set(again.failed)
        result.failed = sorted(set(result.failed) - passed)
        result.hung = sorted(set(result.hung) - passed)
    result.keep(path(version, how, name))
    print(f"{name} {how}: {len(result.failed)} of {len(result.ran)} failed {result.note}", flush=True)
    for test in result.failed if how != "plain" else []:
        print(f"    {test}" + " (hangs)" * (test in result.hung), flush=True)


def run(python: Path, name: str, how: str, only: Iterable[str] = ()) -> Result:
    """Runs a suite, begun anew after each test that takes it with it; `only` some tests, as the results name them."""
    suite = SUITES[name]
    under = [] if how == "plain" else ["-m", "overlapped", "--backend", how]
    options = ["-o", "addopts=", "-p", "no:cacheprovider", "-v", "--tb=short", "--color=no"]
    options += ["--continue-on-collection-errors", f"--timeout={PATIENCE}", "--timeout-method=signal"]
    chosen = ["-k", " or ".join(sorted({test.rpartition(".")[2].partition("[")[0] for test in only}))] if only else []

    def once(hung: list[str]) -> tuple[Result, str, bool]:
        with tempfile.TemporaryDirectory() as scratch, server(suite, Path(scratch)) as more:
            results = Path(scratch, "results.xml")
            folder = source(python, name, RESULTS) if suite.source else Path(scratch)
            without = [f"--deselect={test}" for test in hung]
            last = [f"--junit-xml={results}", f"--basetemp={scratch}/tmp", *more, *chosen, *without, *suite.arguments]
            command = [str(python), *under, "-m", "pytest", *options, *last]
            output, ended = run_until_silent(command, folder, patience=3 * PATIENCE)
            return read_junit(results), output, ended

    result, output, ended = begin_anew(once, BEGUN, MOST_HANGS, results_are_last=True)
    if not ended or not result.ran:
        result.note = "does not end" if not ended else output[-1000:]
    return result


@contextlib.contextmanager
def server(suite: Suite, folder: Path) -> Iterator[list[str]]:
    """What a suite is told of the server that it needs."""
    if not suite.redis:
        yield []
        return
    with servers.redis(folder) as port:
        yield [f"--redis-url=redis://127.0.0.1:{port}/0"]


def document(before: str) -> tuple[str, list[str]]:
    """The tables of all that is kept, with what they had before of other suites, and differences without a reason."""
    kept: dict[str, dict[str, dict[str, Result]]] = {}
    for version in re.findall(r"^## CPython (\S+)$", before, re.MULTILINE):
        kept[version] = {}
    for file in sorted(RESULTS.glob("*.json")):
        version, how, suite = file.name.removesuffix(".json").split(",")
        kept.setdefault(version, {}).setdefault(suite, {})[how] = Result.kept(file)
    parts, faults = [TOP], []
    for version, suites in kept.items():
        lines = [
            f"## CPython {version}\n",
            f"| suite | plain | {' | '.join(BACKENDS)} | differences |",
            "|---|---|---|---|---|",
        ]
        found: list[str] = []
        told = before.partition(f"## CPython {version}\n")[2].partition("\n## ")[0]
        for name in SUITES:
            each = suites.get(name, {})
            if "plain" not in each:
                lines += re.findall(rf"^\| {name} \|.*", told, re.MULTILINE)
                found += re.findall(rf"^- {name}: .*", told, re.MULTILINE)
                continue
            new = sorted({test for how in BACKENDS if how in each for test in differences(each["plain"], each[how])})
            cells = (cell(each.get(how)) for how in ["plain", *BACKENDS])
            lines.append(f"| {name} | {' | '.join(cells)} | {len(new)} |")
            found += [f"- {name}: `{test}`: {REASONS.get(test, 'not explained')}" for test in new]
            faults += [f"{version} {name}: {test}" for test in new if test not in REASONS]
        parts += ["\n".join([*lines, *[""] * bool(found), *found]) + "\n"]
    return "\n".join(parts), faults


def differences(plain: Result, ours: Result) -> set[str]:
    """Tests that plain python passes and we do not."""
    passed = set(plain.ran) - set(plain.failed)
    return (set(ours.failed) - set(plain.failed)) | (passed - set(ours.ran))


def cell(result: Result | None) -> str:
    if result is None:
        return "not run"
    return f"{len(result.ran) - len(result.failed)} of {len(result.ran)}" + ", does not end" * bool(result.note)


if __name__ == "__main__":
    main()
