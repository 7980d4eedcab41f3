"""Runs the standard library's own tests under `python -m overlapped` beside plain python, and writes docs/stdlib.md.

`run_beside.py [--python VERSION]... [--backend NAME]... [--children] [--no-build] [--plain] [MODULE]...`;
`make test-stdlib` runs all, on each CPython from 3.11 that is found and on both backends, in some hours. Every module
has its own process, and is begun anew without a test that hangs. What plain python does is kept in target/stdlib/ and
run again with `--plain`. With `--children` every Python that a test starts is under Overlapped, too. With all modules
it writes docs/stdlib.md, from all that is kept.

It fails where a test fails, hangs or is not run with us, plain python passes it, it does so again when it is run by
itself, and it is not in tests/python/known_failures.py; and where one that is there passes.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import document
from modules import MODULES, VERSIONS, expand

ROOT = Path(__file__).resolve().parents[2]
# At the end: test.py there is not the standard library's `test`.
sys.path += [str(ROOT / "tests" / "python"), str(ROOT / "scripts")]
from outside import Result, begin_anew, read_regrtest, run_until_silent  # noqa: E402
from pythons import environment, find  # noqa: E402

from known_failures import IGNORED, known_failures  # noqa: E402

RESULTS = ROOT / "target" / "stdlib"
CUSTOMIZED = Path(__file__).with_name("children")
BACKENDS = ["uring", "poll"]
CHILDREN = " with children"
AT_ONCE = 2
PATIENCE = 60
"""Seconds without output after which a test hangs; more on a crowded machine."""
LONGEST = 900
"""Seconds for a module; more on a crowded machine."""
MOST_HANGS = 6
"""A module is not begun anew more often than that."""
MEMORY = 8 << 30
"""Bytes of address space for each process: a test that runs wild ends, and not the machine."""
BEGUN = re.compile(r"^\w+ \((test\.\S+)\)", re.MULTILINE)


def main() -> None:
    parser = argparse.ArgumentParser(usage=(__doc__ or "").split("`")[3])
    parser.add_argument("modules", nargs="*", default=MODULES)
    parser.add_argument("--python", action="append", dest="versions", choices=VERSIONS)
    parser.add_argument("--backend", action="append", dest="backends", choices=BACKENDS)
    parser.add_argument("--children", action="store_true")
    parser.add_argument("--no-build", action="store_false", dest="build")
    parser.add_argument("--plain", action="store_true")
    wanted = parser.parse_args()
    RESULTS.mkdir(parents=True, exist_ok=True)
    for version in wanted.versions or VERSIONS:
        python = prepare(version, wanted.build)
        if python is None:
            print(f"CPython {version} is not on this machine: nothing is run on it", file=sys.stderr)
            continue
        modules = expand(python, wanted.modules)
        hows = [backend + CHILDREN * wanted.children for backend in wanted.backends or BACKENDS]
        runs = [
            (module, how)
            for module in modules
            for how in ["plain", *hows]
            if how != "plain" or wanted.plain or not path(version, how, module).exists()
        ]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for ended in [pool.submit(keep, version, python, *one) for one in runs]:
                ended.result()
        for module, how in runs:
            if how != "plain":
                confirm(version, python, module, how)
    text, faults = document.write(RESULTS)
    if wanted.modules == MODULES:
        (ROOT / "docs" / "stdlib.md").write_text(text)
    print("\n".join(faults))
    sys.exit(bool(faults))


def prepare(version: str, build: bool) -> Path | None:
    """The Python of an environment that has the package; this one where it is of that version."""
    if version == f"{sys.version_info.major}.{sys.version_info.minor}":
        return Path(sys.executable)
    interpreter = find(version)
    if interpreter is None:
        return None
    return environment("stdlib", version, interpreter, build)


def path(version: str, how: str, module: str) -> Path:
    """Where a run's result is kept."""
    return RESULTS / f"{version},{how},{module}.json"


def keep(version: str, python: Path, module: str, how: str) -> None:
    """Runs a module, and keeps how that ended."""
    begun = time.monotonic()
    result = run(python, how, module)
    result.keep(path(version, how, module))
    seconds = time.monotonic() - begun
    failed = "".join(f"\n    {name}" + " (hangs)" * (name in result.hung) for name in result.failed)
    said = f"{version} {module} {how}: {len(result.failed)} of {len(result.ran)} failed, {seconds:.0f} s {result.note}"
    with speaking:
        print(said + failed * (how != "plain"), flush=True)


speaking = threading.Lock()


def confirm(version: str, python: Path, module: str, how: str) -> None:
    """Runs once more, by themselves, tests that plain python passes: some measure times, and were kept waiting."""
    plain, result = (Result.kept(path(version, one, module)) for one in ("plain", how))
    new = set(result.failed) - set(plain.failed) - known_failures(module)
    if not new:
        return
    alone = run(python, how, module, only=new)
    # What a class or a module needs has no name by which it could be run alone.
    passed = (new & set(alone.ran)) - set(alone.failed)
    result.failed = sorted(set(result.failed) - passed)
    result.hung = sorted(set(result.hung) - passed)
    result.keep(path(version, how, module))


def run(python: Path, how: str, module: str, only: Iterable[str] = ()) -> Result:
    """Runs a module, begun anew after each test that hangs."""
    backend = how.removesuffix(CHILDREN)
    under = [] if how == "plain" else ["-m", "overlapped", "--backend", backend]
    environment = {"PYTHONPATH": str(CUSTOMIZED)} if backend != how else {}
    chosen = [word for name in only for word in ("-m", name)]

    def once(hung: list[str]) -> tuple[Result, str, bool]:
        without = [word for name in hung for word in ("-i", name)]
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "results.xml")
            # From 3.13 on the first of these patterns says what becomes of tests that none of them fits.
            patterns = [*chosen, *IGNORED, *without]
            tests = ["-m", "test", "-v", "-u", "network", "--junit-xml", str(file), *patterns, module]
            command = ["sh", "-c", f'ulimit -v {MEMORY >> 10}; exec "$@"', "sh", str(python), *under, *tests]
            output, ended = run_until_silent(
                command, Path(folder), patience=PATIENCE, longest=LONGEST, environment=environment
            )
            return read_regrtest(file, output), output, ended

    result, output, ended = begin_anew(once, BEGUN, MOST_HANGS, results_are_last=True)
    if not ended:
        result.note = "did not end"
    elif not result.ran and "SkipTest" not in output and "skipped" not in output:
        result.note = output[-1000:]
    return result


if __name__ == "__main__":
    main()
