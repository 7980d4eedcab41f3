"""Runs all tests, part after part, and ends with a table and a line that counts them.

`test.py [rust] [python] [pythons] [windows]` runs some. It is run by the Python of the virtual environment in which the
package is built: see the Makefile. Every part runs, also after one that failed. `OVERLAPPED_BACKEND` limits them to one
backend.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "python"))

from load import crowd  # noqa: E402

OTHER_PYTHONS = ["3.12", "3.13"]
INSTALLED = "tests/python/test_readme.py tests/python/test_main.py"
"""What is run again with the package that pip installed."""
ELSEWHERE = "tests/python --ignore=tests/python/test_stdlib.py --ignore=tests/python/test_asyncio_stdlib.py"
"""What is run on the other versions of CPython."""
PATIENCE = 900
"""Seconds after which a part that has not ended is killed, and has failed; more on a crowded machine."""
A_TEST_ALONE = 120
"""Seconds for a program of tests that is run again, one test after the other, to see which one ends it."""

# Where tests are filtered out, it is a test's own child process that speaks: the test counts, not the child.
CARGO_RESULT = re.compile(
    r"^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored; \d+ measured; 0 filtered out"
)
PYTEST_RESULT = re.compile(r"^=*\s*((?:\d+ \w+(?:, )?)+) in [\d.]+s")
# Tests that failed or hang: libtest's, those of the Rust tests' own watch, pytest's, those of the steps under Wine.
NAMED = [
    re.compile(r"^test (\S+) \.\.\. FAILED"),
    re.compile(r"^(\S+) --- FAILED"),
    re.compile(r"^test (\S+) has been running for over"),
    re.compile(r"^(\S+) hangs$"),
    re.compile(r"^(?:FAILED|ERROR) (\S+)"),
    re.compile(r"^it was in (\S+)"),
]
ENDED_BY_A_SIGNAL = re.compile(r"process didn't exit successfully: `(\S+)[^`]*` \(signal")
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

    def run(self) -> None:
        print(f"\n== {self.name}: {' '.join(self.command)}", flush=True)
        begun = time.monotonic()
        note = ROOT / "target" / "running-test"
        note.parent.mkdir(exist_ok=True)
        note.write_text("")
        process = subprocess.Popen(
            self.command,
            cwd=ROOT,
            env=os.environ | {"OVERLAPPED_TEST_NOTE": str(note)} | self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        assert process.stdout is not None
        ended = threading.Event()
        threading.Thread(target=self.kill_late, args=(process, ended), daemon=True).start()
        for line in process.stdout:
            print(line, end="", flush=True)
            self.count(line)
        status = process.wait()
        ended.set()
        self.seconds = time.monotonic() - begun
        if status != 0 and not self.failure:
            self.failure = f"exit status {status}"
        if self.failure and not self.counts["failed"]:
            self.counts["failed"] = 1
        if self.failure and (running := note.read_text()):
            self.tests.append(running)

    def kill_late(self, process: subprocess.Popen[str], ended: threading.Event) -> None:
        """Kills the part where its time is up: the limit is looked at again while others keep it waiting."""
        begun = time.monotonic()
        while not ended.wait(5):
            passed = time.monotonic() - begun
            if passed > PATIENCE * crowd():
                self.failure = f"killed: it had not ended after {passed:.0f} s"
                os.killpg(process.pid, signal.SIGKILL)
                return

    def look_alone(self, program: str) -> None:
        """Finds out in which test a program of Rust's ends by a signal, which libtest does not tell."""
        command = [program, "--test-threads=1"]
        environment = os.environ | self.environment
        try:
            done = subprocess.run(
                command, cwd=ROOT, env=environment, capture_output=True, timeout=A_TEST_ALONE * crowd()
            )
            output, ends = done.stdout, done.returncode < 0
        except subprocess.TimeoutExpired as late:
            output, ends = late.stdout or b"", True
        begun = re.findall(r"^test (\S+)", output.decode(errors="replace"), re.MULTILINE)
        self.tests.append(begun[-1] if ends and begun else f"{Path(program).name}: not when its tests run one by one")

    def count(self, line: str) -> None:
        """Adds the tests that a line of cargo's or pytest's tells of."""
        if found := CARGO_RESULT.match(line):
            for kind, number in zip(("passed", "failed", "skipped"), found.groups(), strict=True):
                self.counts[kind] += int(number)
        elif found := PYTEST_RESULT.match(line):
            for number, word in (item.split() for item in found[1].split(", ")):
                self.counts[COUNTED.get(word, word)] += int(number)
        elif found := ENDED_BY_A_SIGNAL.search(line):
            self.look_alone(found[1])
        for pattern in NAMED:
            if (found := pattern.match(line)) and found[1] not in self.tests:
                self.tests.append(found[1])


def warn(*lines: str) -> None:
    """Says what must not be overlooked."""
    print("\n" + "\n".join(f"!! {line}" for line in lines), flush=True)


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
    """The conformance suite, which runs on every backend by itself; then the Rust face, on one after another."""
    # One program of tests that fails does not hide what the next ones would have said.
    test = ["cargo", "test", "--quiet", "--no-fail-fast", "--package"]
    skip = {} if "uring" in backends else {"OVERLAPPED_SKIP": "uring"}
    yield Part("port", [*test, "overlapped-port"], skip)
    for backend in backends:
        yield Part(
            f"Rust face, {backend}", [*test, "overlapped", "--features", "rustls"], {"OVERLAPPED_BACKEND": backend}
        )


def python(backends: list[str]) -> Iterable[Part]:
    """The Python face, on one backend after another."""
    for backend in backends:
        yield Part(
            f"Python face, {backend}", [sys.executable, "-m", "pytest", "tests/python"], {"OVERLAPPED_BACKEND": backend}
        )


def pythons(backends: list[str]) -> Iterable[Part]:
    """`pip install .` into a fresh environment of this Python and of others that are found, and tests there."""
    ours = f"{sys.version_info.major}.{sys.version_info.minor}"
    for version in [ours, *(other for other in OTHER_PYTHONS if other != ours)]:
        interpreter = sys.executable if version == ours else find(version)
        if interpreter is None:
            warn(f"CPYTHON {version} IS NOT ON THIS MACHINE: nothing is tested on it.")
            continue
        environment = ROOT / f".venv-{version}"
        python = f"'{environment}/bin/python' -m"
        script = [
            f"'{interpreter}' -m venv --clear '{environment}'",
            f"{python} pip install --quiet --disable-pip-version-check --requirement requirements-dev.txt .",
            f"{python} pytest {INSTALLED if version == ours else ELSEWHERE}",
        ]
        yield Part(
            f"pip install, CPython {version}",
            ["sh", "-c", " && ".join(script)],
            # A build folder of its own: another interpreter in the same one builds everything anew, both ways.
            {"CARGO_TARGET_DIR": str(ROOT / "target" / f"python{version}")},
        )


def windows(backends: list[str]) -> Iterable[Part]:
    """What runs on Windows, under Wine; the script says how to leave it out."""
    yield Part("Windows, under Wine", ["bash", "scripts/test-windows.sh"], {"PYTHON": sys.executable})


def find(version: str) -> str | None:
    """A CPython of that version that starts: on the path, or one of pyenv's or uv's."""
    home = Path.home()
    folders = [
        Path(os.environ.get("PYENV_ROOT", home / ".pyenv"), "versions").glob(f"{version}.*"),
        (home / ".local" / "share" / "uv" / "python").glob(f"cpython-{version}.*"),
    ]
    candidates = [shutil.which(f"python{version}")]
    candidates += [str(folder / "bin" / "python3") for some in folders for folder in sorted(some)]
    question = "import sys, ensurepip; print(sys.implementation.name, '%d.%d' % sys.version_info[:2])"
    for candidate in filter(None, candidates):
        try:
            answer = subprocess.run([candidate, "-c", question], capture_output=True, text=True, timeout=30)
        except OSError:
            continue
        if answer.stdout.split() == ["cpython", version]:
            return candidate
    return None


GROUPS = {"rust": rust, "python": python, "pythons": pythons, "windows": windows}


def main() -> None:
    names = sys.argv[1:] or list(GROUPS)
    if unknown := set(names) - set(GROUPS):
        sys.exit(f"no such tests: {', '.join(sorted(unknown))}; there are {', '.join(GROUPS)}")
    found = backends()
    parts = []
    for name in names:
        for part in GROUPS[name](found):
            part.run()
            parts.append(part)

    total = sum((part.counts for part in parts), Counter())
    seconds = sum(part.seconds for part in parts)
    print(f"\n{'part':26} {'passed':>8} {'failed':>8} {'skipped':>8} {'seconds':>8}")
    for part in parts:
        figures = " ".join(f"{part.counts[kind]:8}" for kind in ("passed", "failed", "skipped"))
        print(f"{part.name:26} {figures} {part.seconds:8.0f}  {part.failure}".rstrip())
        for test in part.tests:
            print(f"    {test}")
    told = ", ".join(f"{number} {kind}" for kind, number in total.items() if number)
    print(f"\n===== {told} in {seconds:.1f}s =====")
    sys.exit(any(part.failure for part in parts))


if __name__ == "__main__":
    main()
