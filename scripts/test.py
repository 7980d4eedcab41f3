"""Runs all tests, some parts at a time, and ends with a table and a line that counts them.

`test.py [rust] [python] [pythons] [windows]` runs some. It is run by the Python of the virtual environment in which the
package is built: see the Makefile. Every part runs, also after one that failed. `OVERLAPPED_BACKEND` limits them to one
backend.

A part is a command, whose tests run one after the other or as it likes. What it says goes to a file in target/tests
while it runs, and comes as one block when it has ended: the lines of two parts among each other, even each with its
part's name, would tear every failure's stack trace into pieces. Who ends the whole run is told what was running.

One by one the parts leave half of two processors idle, for tests wait for their programs; two leave a fifth. With one
more than there are processors little is left. Any parts can run at once, without a list of what cannot: what several
need is built before the first, each folder is one part's own, the tests choose no port or name that another process
might have, and what they count is their own process's.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "python"))

from crates import FACE, PORT  # noqa: E402
from pythons import find  # noqa: E402

from load import crowd  # noqa: E402

OTHER_PYTHONS = ["3.12", "3.13", "3.14"]
INSTALLED = "tests/python/test_readme.py tests/python/test_main.py"
"""What is run again with the package that pip installed."""
ELSEWHERE = "tests/python --ignore=tests/python/test_stdlib.py --ignore=tests/python/test_asyncio_stdlib.py"
"""What is run on the other versions of CPython."""
PROCESSORS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
AT_ONCE = min(PROCESSORS, 2) + 1
"""How many parts run at a time."""
SAID = ROOT / "target" / "tests"
"""Where each part's output is while it runs, and the name of the test that runs."""
OTHER_CRATES = ["--manifest-path", "tests/crates/Cargo.toml", "--target-dir", "target/crates"]
"""Tests with crates that build on more than cargo brings: a workspace of their own."""
SIGN_OF_LIFE = 300
"""Seconds after which a part that runs is told of, again and again."""
PATIENCE = 3000
"""Seconds after which a part that has not ended is killed, and has failed; more on a crowded machine. It is for what
hangs where no test has a limit of its own: three times what the longest part takes alone."""
LISTING = 60
"""Seconds, more on a crowded machine, for a program of tests that has crashed to say which tests it has."""

# Where tests are filtered out, it is a test's own child process that speaks: the test counts, not the child.
CARGO_RESULT = re.compile(
    r"^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored; \d+ measured; 0 filtered out"
)
PYTEST_RESULT = re.compile(r"^=*\s*((?:\d+ \w+(?:, )?)+) in [\d.]+s")
# Tests that failed or hang: libtest's, those of the Rust tests' own watch, pytest's, those of the steps under Wine.
NAMED = [
    re.compile(r"^test (.+) \.\.\. FAILED"),
    re.compile(r"^(.+) --- FAILED"),
    re.compile(r"^test (\S+) has been running for over"),
    re.compile(r"^(\S+) hangs$"),
    re.compile(r"^(?:FAILED|ERROR) (\S+)"),
    re.compile(r"^it was in (\S+)"),
]
A_PROGRAM_BEGINS = re.compile(r"^running \d+ tests?$")
A_TEST_ENDS = re.compile(r"^test (.+?)(?: - should panic)? \.\.\. (ok|ignored|FAILED)")
# libtest itself ends with 101 where tests have failed; a program under Wine has no signal, but a status.
CRASHED = re.compile(r"^\s*process didn't exit successfully: `([^`]+)` \(((?!exit status: 101\))[^,)]+)")
COUNTED = {"passed": "passed", "failed": "failed", "error": "failed", "errors": "failed"}


@dataclass
class Part:
    """A command that runs tests, and what became of it."""

    name: str
    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    failure: str = ""
    tests: list[str] = field(default_factory=list)
    """The tests that failed or did not end."""

    ended: set[str] = field(default_factory=set)
    """The tests that have ended, of the program of Rust's that runs."""

    process: subprocess.Popen[str] | None = None
    """While it runs."""

    def __post_init__(self) -> None:
        stem = re.sub(r"\W+", "-", self.name.lower())
        self.said = SAID / f"{stem}.log"
        self.note = SAID / f"{stem}.running"

    def run(self) -> None:
        say(f"\n== {self.name} begins: {' '.join(self.command)}")
        begun = time.monotonic()
        SAID.mkdir(parents=True, exist_ok=True)
        self.note.write_text("")
        self.process = subprocess.Popen(
            self.command,
            cwd=ROOT,
            env=os.environ | {"OVERLAPPED_TEST_NOTE": str(self.note)} | self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        assert self.process.stdout is not None
        ended = threading.Event()
        threading.Thread(target=self.watch, args=(begun, ended), daemon=True).start()
        with self.said.open("w", buffering=1) as said:
            for line in self.process.stdout:
                self.count(line)
                # One line for each test that is well would be thousands.
                if not ((found := A_TEST_ENDS.match(line)) and found[2] != "FAILED"):
                    said.write(line)
        status = self.process.wait()
        self.process = None
        ended.set()
        self.seconds = time.monotonic() - begun
        if status != 0 and not self.failure:
            self.failure = f"exit status {status}"
        if self.failure and not self.counts["failed"]:
            self.counts["failed"] = 1
        if self.failure and (running := self.note.read_text()):
            self.tests.append(running)
        say(f"\n== {self.name}, {self.seconds:.0f} s{self.failure and ': '}{self.failure}\n{self.said.read_text()}")

    def watch(self, begun: float, ended: threading.Event) -> None:
        """Tells of the part from time to time, and kills it where its time is up: the limit is looked at again while
        others keep it waiting."""
        told = 1
        while not ended.wait(5):
            passed = time.monotonic() - begun
            if passed > PATIENCE * crowd():
                self.failure = f"killed: it had not ended after {passed:.0f} s"
                self.kill()
                return
            if passed > told * SIGN_OF_LIFE:
                told += 1
                say(f"\n-- {self.name} runs, since {passed:.0f} s {self.whereabouts()}")

    def kill(self) -> None:
        """Ends it, with all of its session: timeout(1) begins a process group of its own."""
        if process := self.process:
            for other in Path("/proc").glob("[0-9]*"):
                with contextlib.suppress(ProcessLookupError):
                    if os.getsid(int(other.name)) == process.pid != int(other.name):
                        os.kill(int(other.name), signal.SIGKILL)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)

    def whereabouts(self) -> str:
        """Where it is, as far as that is known."""
        return f"(its output: {self.said.relative_to(ROOT)}; its test: {self.note.read_text() or 'unknown'})"

    def name_what_ran(self, program: str, end: str) -> None:
        """Names the tests in one of which a program of Rust's ended: libtest does not tell, but begins them in order,
        as many at a time as there are processors."""
        listed = ""
        with contextlib.suppress(subprocess.TimeoutExpired):
            command = [*program.split(), "--list"]
            told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LISTING * crowd())
            listed = told.stdout
        tests = [test for test in re.findall(r"^(.+): test$", listed, re.MULTILINE) if test not in self.ended]
        where = " or ".join(tests[:PROCESSORS]) or "none of its tests"
        self.tests.append(f"{Path(program.split()[-1]).name} crashed ({end}) in: {where}")

    def count(self, line: str) -> None:
        """Adds the tests that a line of cargo's or pytest's tells of."""
        if found := CARGO_RESULT.match(line):
            for kind, number in zip(("passed", "failed", "skipped"), found.groups(), strict=True):
                self.counts[kind] += int(number)
        elif found := PYTEST_RESULT.match(line):
            for number, word in (item.split() for item in found[1].split(", ")):
                self.counts[COUNTED.get(word, word)] += int(number)
        elif A_PROGRAM_BEGINS.match(line):
            self.ended.clear()
        elif found := A_TEST_ENDS.match(line):
            self.ended.add(found[1])
        elif found := CRASHED.match(line):
            self.name_what_ran(found[1], found[2])
        for pattern in NAMED:
            if (found := pattern.match(line)) and found[1] not in self.tests:
                self.tests.append(found[1])


speaking = threading.Lock()


def say(text: str) -> None:
    """Prints something whole, whoever else is printing."""
    with speaking:
        print(text, flush=True)


def warn(*lines: str) -> None:
    """Says what must not be overlooked."""
    say("\n" + "\n".join(f"!! {line}" for line in lines))


def backends() -> list[str]:
    """Those that run here; a machine that denies io_uring is told so."""
    if chosen := os.environ.get("OVERLAPPED_BACKEND"):
        warn(f"OVERLAPPED_BACKEND is set: {chosen} alone is tested.")
        return [chosen]
    command = [sys.executable, "-c", "import overlapped; overlapped.backend()"]
    tried = subprocess.run(
        command, env=os.environ | {"OVERLAPPED_BACKEND": "uring"}, cwd=ROOT, capture_output=True, text=True
    )
    if tried.returncode == 0:
        return ["uring", "poll"]
    reason = tried.stderr.strip().splitlines()[-1:] or [f"exit status {tried.returncode}"]
    warn("THIS MACHINE HAS NO IO_URING: the tests run on the poll backend alone, which is not the whole test.", *reason)
    return ["poll"]


def rust(backends: list[str]) -> Iterable[Part]:
    """The conformance suite, which runs on every backend by itself; then the Rust face, on one by one and `sim`."""
    # One program of tests that fails does not hide what the next ones would have said.
    test = ["cargo", "test", "--no-fail-fast"]
    skip = {} if "uring" in backends else {"OVERLAPPED_SKIP": "uring"}
    yield Part("port", [*test, *PORT], skip)
    # What the contract allows a kernel to do, whether or not this one does it.
    for backend in [*backends, "sim"]:
        yield Part(f"Rust face, {backend}", [*test, *FACE], {"OVERLAPPED_BACKEND": backend})
    for backend in backends:
        yield Part(f"Other crates, {backend}", [*test, *OTHER_CRATES], {"OVERLAPPED_BACKEND": backend})


def python(backends: list[str]) -> Iterable[Part]:
    """The Python face, on one backend after another."""
    for backend in backends:
        yield Part(
            f"Python face, {backend}", [sys.executable, "-m", "pytest", "tests/python"], {"OVERLAPPED_BACKEND": backend}
        )


def pythons(backends: list[str]) -> Iterable[Part]:
    """`pip install .` into a fresh environment of this Python and of others that are found, and tests there; for those
    that are not, whether the package would compile."""
    ours = f"{sys.version_info.major}.{sys.version_info.minor}"
    for version in [ours, *(other for other in OTHER_PYTHONS if other != ours)]:
        interpreter = sys.executable if version == ours else find(version)
        if interpreter is None:
            warn(f"CPYTHON {version} IS NOT ON THIS MACHINE: the package is type-checked for it, and not tested.")
            yield type_check(version)
            continue
        environment = ROOT / f".venv-{version}"
        python = f"'{environment}/bin/python' -m"
        script = [
            f"'{interpreter}' -m venv --clear '{environment}'",
            # A build folder of its own: another interpreter in the same one builds everything anew, both ways.
            f"CARGO_TARGET_DIR='{ROOT}/target/cpython{version}' "
            f"{python} pip install --quiet --disable-pip-version-check --requirement requirements-dev.txt .",
            f"{python} pytest {INSTALLED if version == ours else ELSEWHERE}",
        ]
        yield Part(f"pip install, CPython {version}", ["sh", "-c", " && ".join(script)])


def type_check(version: str) -> Part:
    """Compiles the package as for a CPython that is not here, whose configuration pyo3 is told."""
    SAID.mkdir(parents=True, exist_ok=True)
    told = SAID / f"python{version}.txt"
    told.write_text(
        f"implementation=CPython\nversion={version}\nshared=true\nlib_name=python{version}\npointer_width=64\n"
    )
    check = ["cargo", "check", "--quiet", "--package", "overlapped-python", "--target-dir", f"target/cpython{version}"]
    return Part(f"types, CPython {version}", check, {"PYO3_CONFIG_FILE": str(told)})


def windows(backends: list[str]) -> Iterable[Part]:
    """What runs on Windows, under Wine; the script says how to leave it out."""
    yield Part("Windows, under Wine", ["bash", "scripts/test-windows.sh"], {"PYTHON": sys.executable})


def building() -> Part:
    """What several parts need of cargo: they would wait for each other, and a test's time would run out meanwhile."""
    build = "cargo test --quiet --no-run"
    built = " && ".join(f"{build} {' '.join(what)}" for what in (PORT, FACE, OTHER_CRATES))
    return Part("Rust's tests are built", ["sh", "-c", built])


# Those that take longest first: at the end nothing is left that takes long. Windows, which has builds of its own and
# takes longest, begins at once.
GROUPS = {"windows": windows, "pythons": pythons, "python": python, "rust": rust}


def run(first: list[Part], build: list[Part], rest: list[Part]) -> None:
    """Runs them, `AT_ONCE`; the rest begin when all is built. Who ends us hears what was running, and leaves nobody
    behind."""
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        try:
            begun = [pool.submit(part.run) for part in first]
            for built in [pool.submit(part.run) for part in build]:
                built.result()
            begun += [pool.submit(part.run) for part in rest]
            for ended in begun:
                ended.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for part in (*first, *build, *rest):
                if part.process:
                    warn(f"{part.name} was running {part.whereabouts()}")
                    part.kill()
            raise


def main() -> None:
    names = sys.argv[1:] or list(GROUPS)
    if unknown := set(names) - set(GROUPS):
        sys.exit(f"no such tests: {', '.join(sorted(unknown))}; there are {', '.join(GROUPS)}")
    begun = time.monotonic()
    found = backends()
    chosen = {name: list(group(found)) for name, group in GROUPS.items() if name in names}
    first, rest = chosen.pop("windows", []), [part for group in chosen.values() for part in group]
    build = [building()] if rest else []
    run(first, build, rest)
    parts = [*build, *first, *rest]

    total = sum((part.counts for part in parts), Counter())
    print(f"\n{'part':26} {'passed':>8} {'failed':>8} {'skipped':>8} {'seconds':>8}")
    for part in parts:
        figures = " ".join(f"{part.counts[kind]:8}" for kind in ("passed", "failed", "skipped"))
        print(f"{part.name:26} {figures} {part.seconds:8.0f}  {part.failure}".rstrip())
        for test in part.tests:
            print(f"    {test}")
    told = ", ".join(f"{number} {kind}" for kind, number in total.items() if number)
    print(f"\n===== {told} in {time.monotonic() - begun:.1f}s, {AT_ONCE} at a time =====")
    sys.exit(any(part.failure for part in parts))


if __name__ == "__main__":
    main()
