"""What every test runs under: a time limit, and a look afterwards at what it left behind; and marks for systems.

The backend is the process's own: run the tests once for each, with ``OVERLAPPED_BACKEND=uring`` and ``poll``. On
Windows it is ``iocp``; scripts/windows/test-python.sh runs the tests there, under Wine.
"""

from __future__ import annotations

import contextlib
import errno
import faulthandler
import gc
import importlib.metadata
import os
import pkgutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import overlapped
from load import crowd
from overlapped import _engine, socket

WINDOWS = sys.platform == "win32"
ROOT = Path(__file__).resolve().parents[2]

TIME_LIMIT = 60
"""Seconds after which a test fails, where Python code still runs; ``pytest.mark.time_limit`` gives another number. On a
crowded machine it is more, as `load.crowd` says.

After ten times that, the whole run ends with the stacks of all threads, and scripts/test.py says which test it was."""


def needs(name: str) -> pytest.MarkDecorator:
    """For a test of what not every system has: ``@needs("os.fork")``."""
    try:
        pkgutil.resolve_name(name)
    except (ImportError, AttributeError):
        return pytest.mark.skip(f"this system has no {name}")
    return pytest.mark.skipif(False, reason="")


def needs_library(*names: str) -> pytest.MarkDecorator:
    """For a test of libraries, named as pip has them, that are not to be had everywhere."""
    missing = []
    for name in names:
        try:
            importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
    return pytest.mark.skipif(bool(missing), reason=f"not installed here: pip install {' '.join(missing)}")


def unix_only(reason: str) -> pytest.MarkDecorator:
    """For a test of what is otherwise on Windows, and why it cannot be there."""
    return pytest.mark.skipif(WINDOWS, reason=f"Windows: {reason}")


def runs_under_wine() -> bool:
    """Whether this is Wine's Windows."""
    if not WINDOWS:
        return False
    import ctypes

    return hasattr(ctypes.windll.ntdll, "wine_get_version")


def patience_with_the_killed() -> float | None:
    """How many seconds a client waits for the answer of a process that may have been killed; None: until its connection
    is closed.

    Under Wine 8 a process that is killed in the middle of a send leaves that connection open for ever: its server keeps
    the send, which nobody will end, and the send keeps the socket.
    """
    return 10 * crowd() if runs_under_wine() else None


def wine_fails(reason: str) -> pytest.MarkDecorator:
    """For a test that Wine cannot show, and why. The mark is strict: a Wine that has learned it fails the test."""
    return pytest.mark.xfail(runs_under_wine(), reason=f"Wine: {reason}", strict=True)


def wine_hangs(reason: str) -> pytest.MarkDecorator:
    """As `wine_fails`, for a test that must not even be tried there."""
    return pytest.mark.skipif(runs_under_wine(), reason=f"Wine: {reason}")


NO_SOCKET = {errno.EBADF, getattr(errno, "WSAENOTSOCK", errno.EBADF)}
"""What a call on a closed socket fails with: a wait that the close ended, and a call that comes later."""

INTERRUPTED = 0xC000013A if WINDOWS else -signal.SIGINT
"""The status of a program that Ctrl-C has ended; on Windows STATUS_CONTROL_C_EXIT."""

AWAIT_CONTROL_C = (
    """\
import signal
from overlapped import monkey

def interrupt():
    monkey.original("os", "read")(0, 1)
    signal.raise_signal(signal.SIGINT)

monkey.original("_thread", "start_new_thread")(interrupt, ())
"""
    if WINDOWS
    else ""
)
"""With this a program begins that `press_control_c` is for."""


def press_control_c(process: subprocess.Popen[str]) -> None:
    """Has a program notice Ctrl-C. On Windows that needs a console: it is as if there were one, on a thread."""
    if WINDOWS:
        assert process.stdin is not None
        process.stdin.write("!")
        process.stdin.flush()
    else:
        process.send_signal(signal.SIGINT)


stderr = 2


def pytest_configure(config: pytest.Config) -> None:
    """Keeps the standard error stream for the stacks of a test that hangs: meanwhile pytest has it."""
    global stderr
    with config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        stderr = os.dup(2)


def pytest_runtest_logstart(nodeid: str) -> None:
    """Notes which test runs, in the file that ``OVERLAPPED_TEST_NOTE`` names: who is killed cannot tell any more."""
    if note := os.environ.get("OVERLAPPED_TEST_NOTE"):
        with open(note, "w") as file:
            file.write(nodeid)


def pytest_sessionfinish() -> None:
    """The run has come to its end: no test is to blame for what comes now."""
    if note := os.environ.get("OVERLAPPED_TEST_NOTE"):
        with open(note, "w"):
            pass


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # As of what a shell starts in the background: the programs that tests start would inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header() -> str:
    return "overlapped: " + overlapped.report().partition("\n")[0]


@pytest.fixture(scope="session", autouse=True)
def backend() -> str:
    """The backend that runs; it is the one that was asked for."""
    running = overlapped.backend()
    assert running == os.environ.get("OVERLAPPED_BACKEND", running), overlapped.report()
    return running


@pytest.fixture(autouse=True)
def time_limit(backend: str, request: pytest.FixtureRequest) -> Iterator[None]:
    """Ends a test that hangs: by an exception in the main tasklet, else with the process."""
    mark = request.node.get_closest_marker("time_limit")
    seconds = mark.args[0] if mark else TIME_LIMIT
    begun = time.monotonic()

    def expired(_number: int, _frame: FrameType | None) -> None:
        if time.monotonic() - begun < seconds * crowd():
            signal.alarm(5)
            return
        waiting = [f"{tasklet['name']}: {tasklet['waits_for']}" for tasklet in overlapped.tasklets()]
        raise AssertionError(f"the test took more than {seconds} s; tasklets: {waiting[:20]}")

    if WINDOWS:
        # There are no alarms: a hard limit has to do, which cannot be put off any more.
        faulthandler.dump_traceback_later(2 * seconds * crowd(), exit=True, file=stderr)
        yield
        faulthandler.cancel_dump_traceback_later()
        return
    before = signal.signal(signal.SIGALRM, expired)
    signal.alarm(seconds)
    faulthandler.dump_traceback_later(10 * seconds, exit=True, file=stderr)
    yield
    faulthandler.cancel_dump_traceback_later()
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def open_descriptors() -> dict[int, str]:
    """Every open descriptor, with what it is; none where the system does not list them."""
    if WINDOWS:
        return {}
    found = {}
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
    return {number: target for number, target in found.items() if target != f"/proc/{os.getpid()}/fd"}


@pytest.fixture(autouse=True)
def nothing_left(time_limit: None) -> Iterator[None]:
    """After a test, no tasklet, operation or descriptor of its is left."""
    tasklets_before = {tasklet["number"] for tasklet in overlapped.tasklets()}
    descriptors_before = open_descriptors()
    yield
    deadline = time.perf_counter() + 5 * crowd()
    while True:
        gc.collect()
        overlapped.sleep(0.001)
        tasklets = [tasklet for tasklet in overlapped.tasklets() if tasklet["number"] not in tasklets_before]
        now = open_descriptors()
        descriptors = {number: now[number] for number in now.keys() - descriptors_before.keys()}
        operations = _engine.in_flight()
        if not (tasklets or descriptors or operations) or time.perf_counter() > deadline:
            break
    assert not tasklets, f"{len(tasklets)} tasklets have not ended: {tasklets[:10]}"
    assert not operations, overlapped.report()
    assert not descriptors


class Ticker:
    """A tasklet that ticks every millisecond while the body of the ``with`` statement runs."""

    ticks = 0

    def __enter__(self) -> Ticker:
        self._tasklet = overlapped.spawn(self._tick)
        overlapped.sleep(0)
        return self

    def __exit__(self, *_: object) -> None:
        self._tasklet.cancel()
        self._tasklet.join()

    def _tick(self) -> None:
        while True:
            overlapped.sleep(0.001)
            self.ticks += 1

    def wait(self, times: int) -> None:
        """Waits, as a tasklet, until it has ticked so often more."""
        until = self.ticks + times
        while self.ticks < until:
            overlapped.sleep(0.001)

    def let_tick(self, times: int) -> None:
        """Blocks its thread, which must be another, until it has ticked so often: whom that holds up fails."""
        deadline = time.monotonic() + TIME_LIMIT / 2 * crowd()
        while self.ticks < times:
            assert time.monotonic() < deadline, f"{self.ticks} ticks, and no more"
            time.sleep(0.001)


@pytest.fixture
def ticker() -> Ticker:
    """Shows that other tasklets run: use it as a context manager, then look at ``ticks``."""
    return Ticker()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A listening TCP socket on the loopback."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        yield listener


@pytest.fixture
def pair(listener: socket.socket) -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two ends of a TCP connection."""
    with socket.create_connection(listener.getsockname()) as client, listener.accept()[0] as server:
        yield client, server


RunPython = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run_python() -> RunPython:
    """Runs a program in a Python of its own, with a time limit: ``run_python(code)``."""

    def run(code: str, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", code, *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=TIME_LIMIT * crowd(), **options)

    return run


PATCHED = "from overlapped import monkey\nmonkey.patch_all()\n"


@pytest.fixture
def patched(run_python: RunPython) -> RunPython:
    """Runs a program after ``patch_all()``; what it asserts holds, and it says nothing on standard error."""

    def run(code: str, *arguments: str, before: str = PATCHED, errors: str = "") -> str:  # type: ignore[misc]
        done = run_python(before + textwrap.dedent(code), *arguments)
        assert errors in done.stderr if errors else not done.stderr, done.stderr
        assert done.returncode == 0
        return done.stdout

    return run  # type: ignore[return-value]


def rust_example(name: str) -> str:
    """A program of the Rust crate's examples, built. On Windows a variable says where it is, for there is no cargo."""
    if WINDOWS:
        if (program := os.environ.get(f"OVERLAPPED_TEST_RUST_{name.upper()}")) is None:
            pytest.skip(f"OVERLAPPED_TEST_RUST_{name.upper()} does not say where the Rust program is")
        return program
    # With the features that scripts/test.py builds with: another program would take this one's place meanwhile.
    features = "rustls,tower,futures-io,tracing"
    build = ["cargo", "build", "--quiet", "--package", "overlapped", "--features", features, "--example", name]
    subprocess.run(build, cwd=ROOT, check=True)
    return str(ROOT / "target" / "debug" / "examples" / name)
