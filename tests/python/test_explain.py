"""At any time, also while a tasklet holds its thread: who waits for what and where, and a warning of who holds it."""

from __future__ import annotations

import os
import sys
import threading
import time

import pytest

import overlapped
from overlapped import Channel, sleep, spawn

HOLDS = """
import time, overlapped

def outer():
    holds()

def holds():
    {hold}

waiting = overlapped.spawn(overlapped.Channel().receive)
greedy = overlapped.spawn(outer)
greedy.name = "greedy"
greedy.join()
waiting.cancel()
waiting.join()
overlapped.sleep(0.2)
"""
SPIN = "end = time.monotonic() + 0.4\n    while time.monotonic() < end: pass"


@pytest.mark.parametrize("hold", [SPIN, "time.sleep(0.4)"], ids=["spin", "blocking call"])
@pytest.mark.parametrize("how", ["environment", "call"])
def test_a_tasklet_that_holds_the_thread_is_warned_of(run_python, hold, how):
    code = HOLDS.format(hold=hold)
    if how == "call":
        code = "import overlapped; overlapped.watch(0.1)" + code
    done = run_python(code, env={**os.environ, "OVERLAPPED_WATCH": "0.1" if how == "environment" else ""})
    warning, outer, holds = done.stderr.splitlines()
    assert 'tasklet "greedy" has held thread main for 0.' in warning
    assert "none of the other 2 tasklets runs (0 could)" in warning
    assert "offload" in warning
    assert outer.endswith(", in outer")
    assert holds.endswith(", in holds")
    assert (done.returncode, done.stdout) == (0, "")


def test_a_long_hold_is_warned_of_again(run_python):
    done = run_python(HOLDS.format(hold=SPIN), env={**os.environ, "OVERLAPPED_WATCH": "0.02"})
    assert done.stderr.count("has held") == 2, done.stderr


def test_nobody_is_warned_of_who_waits_or_yields(run_python):
    code = """
import time, overlapped
overlapped.watch(0.1)

def works():
    for _ in range(60):
        end = time.monotonic() + 0.005
        while time.monotonic() < end: pass
        overlapped.sleep(0)

overlapped.spawn(works).join()
overlapped.sleep(0.3)
overlapped.watch(None)
end = time.monotonic() + 0.3
while time.monotonic() < end: pass
"""
    done = run_python(code)
    assert (done.returncode, done.stderr) == (0, "")


def test_nobody_is_watched_unless_asked_for(run_python):
    done = run_python(HOLDS.format(hold=SPIN), env={**os.environ, "OVERLAPPED_WATCH": ""})
    assert (done.returncode, done.stderr) == (0, "")


def test_a_limit_that_makes_no_sense_is_refused(run_python):
    for limit in (-1.0, float("nan"), 1e300):
        with pytest.raises(ValueError, match="watch"):
            overlapped.watch(limit)
    done = run_python("import overlapped; overlapped.sleep(0)", env={**os.environ, "OVERLAPPED_WATCH": "soon"})
    assert "OVERLAPPED_WATCH=soon" in done.stderr


def test_a_program_that_is_watched_ends(run_python):
    """Also while the watching thread is about to show a stack."""
    code = """
import overlapped, time
overlapped.watch(0.001)
end = time.monotonic() + 0.0{}
while time.monotonic() < end: pass
"""
    for hold in range(10):
        done = run_python(code.format(hold))
        assert done.returncode == 0, done.stderr
        assert "Fatal" not in done.stderr


def blocks_for_good(asked: threading.Event, told: threading.Event) -> None:
    """Holds the thread until another one, asked, has told."""
    time.sleep(0.02)
    asked.set()
    assert told.wait(20)


def test_another_thread_sees_the_tasklets_while_one_holds_the_thread():
    asked, told = threading.Event(), threading.Event()
    seen = []

    def look() -> None:
        assert asked.wait(20)
        seen.append(overlapped.explain())
        told.set()

    channel = Channel[int]()

    def waits_here() -> None:
        channel.receive()

    looking = threading.Thread(target=look)
    looking.start()
    waiting = spawn(waits_here)
    sleep(0)
    holding = spawn(blocks_for_good, asked, told)
    holding.name = "holding"
    holding.join()
    looking.join()
    waiting.cancel()
    waiting.join()
    lines = seen[0].splitlines()
    assert lines[0] == "thread main:"
    holds = next(at for at, line in enumerate(lines) if 'tasklet "holding": running for 0.' in line)
    assert "in blocks_for_good" in lines[holds + 1]
    waits = next(at for at, line in enumerate(lines) if ": channel receive for " in line)
    assert lines[waits + 1].endswith("in " + waits_here.__qualname__)
    assert any('tasklet "main": join for' in line for line in lines)
    assert "operations: " in seen[0] and "polls: " in seen[0]


def test_all_threads_are_explained_while_they_live():
    started, end = threading.Event(), threading.Event()
    explained = []

    def work() -> None:
        spawn(sleep, 0)
        sleep(0.001)
        started.set()
        assert end.wait(20)

    thread = threading.Thread(target=work)
    thread.start()
    assert started.wait(20)
    explained.append(overlapped.explain())
    end.set()
    thread.join()
    explained.append(overlapped.explain())
    name = f"thread {thread.ident:#018x}:"
    assert name in explained[0]
    assert ".work\n" in explained[0]
    assert name not in explained[1]
    assert "thread main:" in explained[1]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
def test_a_signal_has_it_explained_while_a_tasklet_spins(run_python):
    code = """
import os, signal, sys, time, overlapped
signal.signal(signal.SIGUSR1, lambda *_: print(overlapped.explain(), file=sys.stderr))

def spins():
    os.kill(os.getpid(), signal.SIGUSR1)
    end = time.monotonic() + 0.1
    while time.monotonic() < end: pass

overlapped.spawn(spins).join()
"""
    done = run_python(code)
    assert ": running for " in done.stderr
    assert "in spins" in done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_forked_child_explains_itself_alone():
    waiting = spawn(Channel().receive)
    sleep(0)
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(write, overlapped.explain().encode() + b"|")
        sleep(0)
        os.write(write, overlapped.explain().encode())
        os._exit(0)
    os.close(write)
    assert os.waitpid(child, 0)[1] == 0
    before, after = os.read(read, 1 << 16).decode().split("|")
    os.close(read)
    assert before == ""
    assert after.startswith("thread main:")
    assert "channel receive" not in after
    assert "channel receive" in overlapped.explain()
    waiting.cancel()
    waiting.join()
