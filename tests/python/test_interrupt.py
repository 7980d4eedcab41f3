"""Ctrl-C, and what ends a program: as under plain Python."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conftest import AWAIT_CONTROL_C, INTERRUPTED, WINDOWS, needs, press_control_c
from load import crowd
from overlapped import sleep, spawn

Result = tuple[int, str, str]


@pytest.fixture
def interrupted(tmp_path: Path) -> Callable[[str], Result]:
    """Runs a program, sends it SIGINT when it has printed a line, and returns its status, output and errors."""

    def run(program: str) -> Result:
        path = tmp_path / "program.py"
        path.write_text(AWAIT_CONTROL_C + textwrap.dedent(program))
        process = subprocess.Popen(
            [sys.executable, "-u", str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A shell starts what it runs in the background with SIGINT ignored, and so would this be.
            preexec_fn=None if WINDOWS else lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        try:
            assert process.stdout is not None
            first = process.stdout.readline()
            time.sleep(0.05)
            press_control_c(process)
            output, errors = process.communicate(timeout=20 * crowd())
        finally:
            process.kill()
        return process.returncode, first + output, errors

    return run


def as_plain_python(result: Result, where: str) -> None:
    status, _output, errors = result
    assert status == INTERRUPTED
    assert errors.startswith("Traceback (most recent call last):\n")
    assert errors.endswith("\nKeyboardInterrupt\n")
    assert where in errors
    assert errors.count("Traceback") == 1


@pytest.mark.parametrize(
    "wait",
    [
        "overlapped.sleep(60)",
        "overlapped.Event().wait(60)",
        "overlapped.Queue().get(timeout=60)",
        "socket.create_server(('127.0.0.1', 0)).accept()",
        "one.recv(10)",
        "io.open(os.pipe()[0], 'rb').read()",
        "overlapped.spawn(overlapped.sleep, 60).join()",
        "overlapped.run(60)",
        "overlapped.offload(time.sleep, 3)",
    ],
)
def test_main_waits(interrupted: Callable[[str], Result], wait: str) -> None:
    program = f"""
        import os, sys, time, warnings, overlapped
        from overlapped import io, socket
        warnings.simplefilter("ignore")
        one, other = socket.socketpair()
        overlapped.spawn(overlapped.sleep, 60)
        print("ready")
        {wait}
    """
    as_plain_python(interrupted(program), wait.partition("(")[0])


def test_main_computes(interrupted: Callable[[str], Result]) -> None:
    as_plain_python(interrupted("import overlapped\nprint('ready')\nwhile True: pass\n"), "while True")


def test_a_tasklet_computes(interrupted: Callable[[str], Result]) -> None:
    """Python notices Ctrl-C in whatever runs; the program ends all the same, as if main had been interrupted."""
    status, _output, errors = interrupted(
        """
        import overlapped

        def compute():
            print("ready")
            while True:
                pass

        overlapped.spawn(compute).join()
        """
    )
    assert status == INTERRUPTED
    assert errors.endswith("\nKeyboardInterrupt\n")


def test_all_tasklets_wait_and_main_joins(interrupted: Callable[[str], Result]) -> None:
    status, output, errors = interrupted(
        """
        import overlapped

        def work():
            try:
                overlapped.sleep(60)
            finally:
                print("ended")

        tasklets = [overlapped.spawn(work) for _ in range(100)]
        print("ready")
        for tasklet in tasklets:
            tasklet.join()
        """
    )
    assert (status, output) == (INTERRUPTED, "ready\n" + 100 * "ended\n")
    assert errors.endswith("\nKeyboardInterrupt\n")


def test_caught_and_gone_on(interrupted: Callable[[str], Result]) -> None:
    result = interrupted(
        """
        import overlapped
        print("ready")
        try:
            overlapped.sleep(60)
        except KeyboardInterrupt:
            print("caught")
        overlapped.sleep(0.01)
        print(overlapped.spawn(lambda: "works").result())
        """
    )
    assert result == (0, "ready\ncaught\nworks\n", "")


def test_finally_and_with_of_main_run(interrupted: Callable[[str], Result]) -> None:
    status, output, _errors = interrupted(
        """
        import overlapped
        from overlapped import socket
        one, other = socket.socketpair()
        with one, other:
            try:
                print("ready")
                one.recv(10)
            finally:
                other.sendall(b"x")
                print(one.recv(10))
        """
    )
    assert (status, output) == (INTERRUPTED, "ready\nb'x'\n")


SIGNAL = signal.SIGINT if WINDOWS else signal.SIGUSR1


def send_signal() -> None:
    if WINDOWS:
        signal.raise_signal(SIGNAL)
    else:
        os.kill(os.getpid(), SIGNAL)


def test_handlers_run_while_all_wait() -> None:
    seen: list[int] = []
    before = signal.signal(SIGNAL, lambda number, frame: seen.append(number))
    try:
        spawn(lambda: (sleep(0.005), send_signal()))
        started = time.perf_counter()
        sleep(0.05)
        assert time.perf_counter() - started >= 0.05
        assert seen == [SIGNAL]
    finally:
        signal.signal(SIGNAL, before)


def test_an_exception_of_a_handler_ends_the_wait_of_main() -> None:
    def raise_it(_number: int, _frame: Any) -> None:
        raise LookupError("from the handler")

    before = signal.signal(SIGNAL, raise_it)
    try:
        thread = threading.Timer(0.02, send_signal)
        thread.start()
        other = spawn(sleep, 0.05)
        with pytest.raises(LookupError, match="from the handler"):
            sleep(20)
        assert other.result() is None
        thread.join()
    finally:
        signal.signal(SIGNAL, before)


@needs("signal.setitimer")
def test_a_storm_of_signals_disturbs_no_operation(pair: Any) -> None:
    client, server = pair
    before = signal.signal(signal.SIGALRM, lambda number, frame: None)
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        data = os.urandom(8 << 20)
        sender = spawn(client.sendall, data)
        got = b""
        while len(got) < len(data):
            got += server.recv(1 << 16)
        sender.result()
        assert got == data
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_the_end_of_main_ends_the_program(run_python: Any) -> None:
    """Tasklets that are left end with it, and get their `finally`; see test_end_of_program.py."""
    done = run_python(
        """
import overlapped
from overlapped import socket
def work():
    try:
        overlapped.sleep(60)
    finally:
        print("so has this")
listener = socket.create_server(("127.0.0.1", 0))
overlapped.spawn(work)
overlapped.spawn(listener.accept)
overlapped.sleep(0.001)
print("main has ended")
"""
    )
    assert (done.returncode, done.stdout) == (0, "main has ended\nso has this\n")
    assert "Error" not in done.stderr


@pytest.mark.parametrize(("ending", "status"), [("sys.exit(3)", 3), ("raise SystemExit('why')", 1), ("1 / 0", 1)])
def test_exit_statuses(run_python: Any, ending: str, status: int) -> None:
    done = run_python(f"import sys, overlapped\noverlapped.spawn(overlapped.sleep, 60)\noverlapped.sleep(0)\n{ending}")
    assert done.returncode == status


def test_system_exit_in_a_tasklet_ends_that_alone(run_python: Any) -> None:
    """As in a thread."""
    done = run_python("import sys, overlapped\noverlapped.spawn(sys.exit, 3).join()\nprint('main goes on')")
    assert (done.returncode, done.stdout, done.stderr) == (0, "main goes on\n", "")


def test_deadlock_ends_a_program_with_its_traceback(run_python: Any) -> None:
    done = run_python("import overlapped\noverlapped.Channel().receive()")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("RuntimeError: Deadlock")


@needs("signal.SIGUSR1")
def test_an_event_that_a_handler_sets_is_no_deadlock(run_python: Any) -> None:
    """Nor is what waits for somebody who waits for it."""
    done = run_python(
        """
import os, signal, subprocess, sys, overlapped
stop = overlapped.Event()
signal.signal(signal.SIGUSR1, lambda *_: stop.set())
tasklet = overlapped.spawn(stop.wait)
code = f"import os, signal; os.read(0, 1); os.kill({os.getpid()}, signal.SIGUSR1)"
child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
child.stdin.write(b"!")
child.stdin.flush()
tasklet.join()
print(stop.wait())
child.wait()
"""
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")


@pytest.mark.skipif(
    sys.platform != "linux", reason="the timer that calls back on a thread is described as Linux has it"
)
def test_an_event_that_a_thread_of_a_library_sets_is_no_deadlock(run_python: Any) -> None:
    """Python does not know of the thread until it calls back."""
    done = run_python(
        """
import ctypes, sys, overlapped
libc = ctypes.CDLL(None)
stop = overlapped.Event()

class sigevent(ctypes.Structure):
    _fields_ = [("value", ctypes.c_void_p), ("number", ctypes.c_int), ("notify", ctypes.c_int),
                ("function", ctypes.c_void_p), ("attributes", ctypes.c_void_p), ("rest", ctypes.c_char * 64)]

@ctypes.CFUNCTYPE(None, ctypes.c_void_p)
def fired(_):
    stop.set()

class itimerspec(ctypes.Structure):
    _fields_ = [("interval", ctypes.c_long * 2), ("value", ctypes.c_long * 2)]

event = sigevent(None, 0, 2, ctypes.cast(fired, ctypes.c_void_p), None)
timer = ctypes.c_void_p()
assert libc.timer_create(1, ctypes.byref(event), ctypes.byref(timer)) == 0
setting = itimerspec()
setting.value[1] = 50_000_000
assert libc.timer_settime(timer, 0, ctypes.byref(setting), None) == 0
print(stop.wait())
"""
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")


def test_an_exception_in_a_tasklet_does_not_end_the_program(run_python: Any) -> None:
    done = run_python(
        "import overlapped\nt = overlapped.spawn(lambda: 1 / 0)\nt.name = 'divider'\nt.join()\nprint('goes on')"
    )
    assert (done.returncode, done.stdout) == (0, "goes on\n")
    assert done.stderr.startswith("Exception in tasklet divider:\nTraceback (most recent call last):\n")
    assert done.stderr.endswith("ZeroDivisionError: division by zero\n")


READS = """
import hashlib, os, signal
digest, count = hashlib.sha256(), 0
while data := os.read(0, 1 << 16):
    digest.update(data)
    before, count = count, count + len(data)
    if before < 2 << 20 <= count:
        os.kill(os.getppid(), signal.SIGUSR1)
print(count, digest.hexdigest())
"""


@needs("signal.SIGUSR1")
@pytest.mark.parametrize("how", ["sendall", "raw file", "buffered file", "os.write"])
def test_a_handler_runs_between_the_parts_of_a_big_write(how: str) -> None:
    """PEP 475: what it raises ends the call, and what was written is what has come."""
    from overlapped import _os, io, socket

    def raise_it(_number: int, _frame: Any) -> None:
        raise LookupError("from the handler")

    data = os.urandom(1 << 20) * 128
    before = signal.signal(signal.SIGUSR1, raise_it)
    try:
        for _ in range(3):
            if how == "sendall":
                ours, theirs = (end.detach() for end in socket.socketpair())
            else:
                theirs, ours = os.pipe()
            reader = subprocess.Popen([sys.executable, "-S", "-c", READS], stdin=theirs, stdout=subprocess.PIPE)
            os.close(theirs)

            def write(ours: int = ours) -> None:
                if how == "sendall":
                    socket.socket(fileno=ours).sendall(data)
                elif how == "os.write":
                    _os.write(ours, data)
                else:
                    file = io.open(ours, "wb", buffering=0 if how == "raw file" else -1, closefd=False)
                    file.write(data)
                sys.exit("never reached: the handler's exception comes right after the call")

            with pytest.raises(LookupError, match="from the handler"):
                write()
            if how != "sendall":
                os.close(ours)
            output, _ = reader.communicate(timeout=20 * crowd())
            count, digest = output.split()
            assert 0 < int(count) < len(data)
            assert hashlib.sha256(data[: int(count)]).hexdigest() == digest.decode()
    finally:
        signal.signal(signal.SIGUSR1, before)
