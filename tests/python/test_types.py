"""The stub of the native part says what is there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mypy", reason="mypy, which checks the types, is not installed here")


def refused_by_mypy(program: Path) -> tuple[list[str], str]:
    """The numbers of the lines that mypy complains of, and all that it says."""
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--config-file=", str(program)],
        capture_output=True,
        text=True,
        cwd=program.parent,
        timeout=100,
    )
    return [line.split(":")[1] for line in done.stdout.splitlines()], done.stdout + done.stderr


def test_the_stub_agrees_with_the_native_module(tmp_path: Path) -> None:
    allowed = tmp_path / "allowed"
    # PyO3 makes this list of all names; the package does not look at it.
    allowed.write_text("overlapped._engine.__all__\n")
    done = subprocess.run(
        [sys.executable, "-m", "mypy.stubtest", "overlapped._engine", "--allowlist", str(allowed)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "MYPY_CACHE_DIR": str(tmp_path)},
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_programs_that_use_the_package_are_checked(tmp_path: Path) -> None:
    """What a tasklet returns, a channel carries, a queue holds: the types go through."""
    program = tmp_path / "program.py"
    program.write_text(
        """
import overlapped
from overlapped import io, socket

def work(number: int, *, name: str) -> float:
    return number + len(name)

def total(channel: overlapped.Channel[int]) -> int:
    return sum(channel)

result: float = overlapped.spawn(work, 1, name="x").result()
wrong: str = overlapped.spawn(work, 1, name="x").result()
overlapped.spawn(work, "1", name="x")
overlapped.Queue[str]().put(3)
data: bytes = socket.create_connection(("host", 80)).recv(10)
text: str = io.open("name").read()
family: int = socket.AF_INET
with overlapped.timeout(2.5) as limit:
    expired: bool = limit.expired
def double(number: int) -> float:
    return 2.0 * number
with overlapped.Group() as group:
    member: overlapped.Tasklet[float] = group.spawn(double, 2, name="x")
    group.spawn(double, "2")
with overlapped.Pool(3) as pool:
    results: list[float] = list(pool.map(double, [1, 2]))
done: list[overlapped.Tasklet[float]] = overlapped.wait([member], timeout=1).done
soonest: float = overlapped.first_completed([member]).result()
saved: float = overlapped.shield(double, 2)
wrong = overlapped.shield(double, 2)
for tick in overlapped.every(1):
    missed: int = tick
first: tuple[int, object] = overlapped.first_of(overlapped.Queue[str](), overlapped.after(1), member, timeout=2)
overlapped.first_of("this")
for item in overlapped.Queue[str]():
    wrong = item
"""
    )
    lines, told = refused_by_mypy(program)
    assert lines == ["12", "13", "14", "24", "30", "34"], told


def test_programs_for_stackless_are_checked(tmp_path: Path) -> None:
    """Each public name, as a typed program uses it."""
    program = tmp_path / "program.py"
    program.write_text(
        """
from overlapped import stackless
from overlapped.stackless import stacklesssocket

class Named(stackless.tasklet):
    pass

def told(before: stackless.tasklet | None, after: stackless.tasklet | None) -> None: ...
def acted(where: stackless.channel[int], who: stackless.tasklet, sending: bool, willblock: bool) -> None: ...

numbers: stackless.channel[int] = stackless.channel()
named: Named = Named(numbers.send)(1)
first: int = numbers.receive()
wrong: str = numbers.receive()
numbers.send("1")
waits: stackless.tasklet | None = numbers.queue
total: int = sum(numbers) + numbers.send_sequence([1, 2])
stackless.set_schedule_callback(told)
stackless.set_channel_callback(acted)
stackless.set_error_handler(lambda kind, value, traceback: None)
me: stackless.tasklet = stackless.schedule() or stackless.schedule_remove() or stackless.current or stackless.main
victim: stackless.tasklet | None = stackless.run(0.5, totaltimeout=True)
count: int = stackless.runcount + stackless.getruncount() + stackless.getcurrentid() + stackless.switch_trap()
threads: list[int] = stackless.threads
main, running, ready = stackless.get_thread_info()
with stackless.atomic():
    stackless.getmain().next.kill()
try:
    stackless.getcurrent().throw(stackless.TaskletExit, pending=True)
except SystemExit:
    stacklesssocket.install()
"""
    )
    lines, told = refused_by_mypy(program)
    assert lines == ["14", "15", "27"], told
