"""The standard library's own tests on a Windows Python under Wine: ``python -m overlapped``; asyncio's with our loop.

``test-python.sh`` runs this on this machine's Python, with the command that starts the other one in
``OVERLAPPED_WINDOWS_PYTHON``. What fails is run by plain ``python`` too: Wine fails some tests alone, and those are
none of ours. What then fails with us only, and does so again when it is run by itself, must be on a list. The list is
strict: a test that is on it and passes fails the run.
"""

import os
import re
import shlex
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from known_failures import IGNORED, KNOWN_FAILURES, KNOWN_FAILURES_OF_THE_LOOP_ON_WINDOWS, known_failures, to_take_off
from load import crowd

MODULES = [
    "test_subprocess",
    "test_socket",
    "test_threading",
    "test_ssl",
    "test_logging",
    "test_queue",
    "test_ftplib",
    "test_poplib",
    "test_socketserver",
    "test_selectors",
    "test_file",
    "test_fileio",
    "test_thread",
    "test_threading_local",
    "test_time",
    "test_asyncio.test_runners",
    "test_asyncio.test_server",
    "test_asyncio.test_sock_lowlevel",
    "test_asyncio.test_streams",
    "test_asyncio.test_subprocess",
    "test_asyncio.test_threads",
    "test_asyncio.test_windows_events",
]
"""Those that take long first: they run side by side. test_io passes too, and alone takes longer than all of them."""

LOOP_MODULES = [
    f"test_asyncio.test_{name}"
    for name in ("events", "sock_lowlevel", "subprocess", "streams", "server", "buffered_proto")
]
"""Those that run each kind of loop, with ours in the place of both of Windows's."""

FEWEST = {"test_socket": 200, "test_file": 30, "test_fileio": 80, "test_ssl": 150, "test_asyncio.test_events": 150}
"""How many tests begin at the least (from Python 3.12 on, not those that are skipped): fewer, and some were lost."""

PROGRAM = Path(__file__).with_name("unittests.py")
TESTS = Path(__file__).resolve().parents[2] / "tests" / "python"
SECONDS_A_TEST = 40
SECONDS_A_RUN = 240
ENDED = re.compile(r"^ended: ", re.MULTILINE)
"""What the program says at the end."""


class Run:
    """One run of tests on the Windows Python: which began, and which of them failed."""

    def __init__(self, options: list[str], names: list[str]) -> None:
        windows_python = shlex.split(os.environ["OVERLAPPED_WINDOWS_PYTHON"])
        longer = crowd()
        command = ["timeout", "--kill-after=10", str(SECONDS_A_RUN * longer), *windows_python]
        command += [*options, str(PROGRAM), *IGNORED, str(SECONDS_A_TEST * longer), *names]
        # Under Wine 8, a Python whose output is a regular file ends with an error: it must be a pipe. Nobody waits for
        # the pipe's end: a program that a test has left may hold it.
        through_a_pipe = ["bash", "-c", '"$@" > >(cat >output) 2>&1', "bash"]
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run([*through_a_pipe, *command], stdin=subprocess.DEVNULL, cwd=folder)
            output = Path(folder, "output")
            output.touch()
            for _ in range(20):
                self.output = output.read_text(errors="replace")
                if ENDED.search(self.output):
                    break
                time.sleep(0.1)
        self.begun = set(re.findall(r"^begun: (\S+)", self.output, re.MULTILINE))
        # What a class or a module needs and does not get: "setUpClass (test.test_ssl.SomeTests)".
        self.failed = set(re.findall(r"^failed: (?:\w+ \()?([\w.]+)", self.output, re.MULTILINE))
        self.ended = done.returncode == 0 and ENDED.search(self.output) is not None
        self.last = (re.findall(r"^begun: (\S+)", self.output, re.MULTILINE) or ["no test"])[-1]


OURS = ["-m", "overlapped"]
WITH_OUR_LOOP = [str(TESTS / "programs" / "with_loop.py"), "overlapped.asyncio:EventLoop"]
PLAIN: list[str] = []

WAYS = [*((OURS, module) for module in MODULES), *((WITH_OUR_LOOP, module) for module in LOOP_MODULES)]
NAMES = [("our loop: " if options is WITH_OUR_LOOP else "") + module for options, module in WAYS]


def fails_again(options: list[str], name: str) -> bool:
    """Whether a test fails with us when it is run by itself."""
    run = Run(options, [name])
    return bool(run.failed) or not run.ended


@pytest.fixture(scope="module")
def runs() -> Iterator[dict[str, Future[Run]]]:
    """The modules' runs, side by side: most of their time they wait."""
    with ThreadPoolExecutor(5) as pool:
        yield {
            name: pool.submit(Run, options, [f"test.{module}"])
            for name, (options, module) in zip(NAMES, WAYS, strict=True)
        }


@pytest.mark.parametrize("name", NAMES)
def test_standard_library(name: str, runs: dict[str, Future[Run]]) -> None:
    options, module = WAYS[NAMES.index(name)]
    known = KNOWN_FAILURES_OF_THE_LOOP_ON_WINDOWS if options is WITH_OUR_LOOP else KNOWN_FAILURES
    run = runs[name].result()
    assert run.ended, f"{module} did not come to its end, it was in {run.last}:\n{run.output[-8000:]}"
    assert len(run.begun) >= FEWEST.get(module, 1)

    unknown = run.failed - known_failures(module, known)
    wines = Run(PLAIN, sorted(unknown)).failed if unknown else set()
    new = sorted(test for test in unknown - wines if fails_again(options, test))
    mended = to_take_off(module, run.begun, run.failed, known)
    assert not new, f"fail, are not known to, and pass under plain python:\n{run.output[-8000:]}"
    assert not mended, "pass and are on the list of known failures: take them off"
