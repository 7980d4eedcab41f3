"""A program that ends runs its `finally`, flushes its buffers and is not aborted, whatever was in flight."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


def ends_well(done: Any, output: str) -> None:
    assert (done.returncode, done.stdout, done.stderr) == (0, output, "")


def test_tasklets_get_their_finally_and_may_wait_there(run_python: Any) -> None:
    done = run_python(
        """
import overlapped
def work(number):
    try:
        overlapped.sleep(60)
    finally:
        overlapped.sleep(0.001)
        print("closed", number)
for number in range(3):
    overlapped.spawn(work, number)
overlapped.sleep(0)
print("main ends")
"""
    )
    ends_well(done, "main ends\nclosed 0\nclosed 1\nclosed 2\n")


def test_buffers_are_flushed(run_python: Any, tmp_path: Path) -> None:
    done = run_python(
        """
import sys, overlapped
from overlapped import io
def work():
    with io.open(sys.argv[1], "w") as file:
        file.write("important" * 2000)
        is_written.set()
        overlapped.sleep(60)
is_written = overlapped.Event()
overlapped.spawn(work)
is_written.wait()
""",
        str(tmp_path / "file"),
    )
    ends_well(done, "")
    assert (tmp_path / "file").read_text() == "important" * 2000


def test_tasklets_that_others_start_at_the_end_are_ended_too(run_python: Any) -> None:
    done = run_python(
        """
import overlapped
def work(depth):
    try:
        overlapped.sleep(60)
    finally:
        print("ended", depth)
        if depth < 3:
            overlapped.spawn(work, depth + 1)
            overlapped.sleep(0)
overlapped.spawn(work, 0)
overlapped.sleep(0)
"""
    )
    ends_well(done, "ended 0\nended 1\nended 2\nended 3\n")


def test_one_that_does_not_obey_does_not_hold_the_end_up(run_python: Any) -> None:
    """Only for as long as was chosen."""
    done = run_python(
        """
import overlapped
overlapped.configure(cleanup=0.01)
def stubborn():
    while True:
        try:
            overlapped.sleep(60)
        except BaseException:
            pass
overlapped.spawn(stubborn)
overlapped.sleep(0)
"""
    )
    ends_well(done, "")


def test_one_that_has_ended_the_program_itself(run_python: Any) -> None:
    """`atexit`'s functions may be called in a tasklet."""
    done = run_python(
        """
import atexit, overlapped
def work():
    atexit._run_exitfuncs()
    print("goes on")
overlapped.spawn(work).join()
print("so does main")
"""
    )
    assert (done.returncode, done.stdout) == (0, "goes on\nso does main\n")


def test_daemons_stop_where_they_are(patched: Callable[..., str]) -> None:
    """As the standard library's do."""
    output = patched(
        """
        import threading, time
        def work():
            try:
                time.sleep(60)
            finally:
                print("never")
        threading.Thread(target=work, daemon=True).start()
        time.sleep(0.001)
        print("main has ended")
        """
    )
    assert output == "main has ended\n"


AT_THE_VERY_END = """
import os, sys, time, overlapped

class Last:
    # The interpreter's last breath, in which a thread comes back that has called Python.
    def __del__(self, write=os.write, sleep=time.sleep):
        write(there, b"x")
        sleep(0.3)

here, there = os.pipe()
"""


def test_an_offloaded_function_that_comes_back_while_the_interpreter_goes_down(run_python: Any) -> None:
    done = run_python(
        AT_THE_VERY_END
        + """
for _ in range(3):
    overlapped.spawn(overlapped.offload, os.read, here, 1)
overlapped.sleep(0.01)
sys.last = Last()
"""
    )
    ends_well(done, "")


def test_a_daemon_that_comes_back_while_the_interpreter_goes_down(run_python: Any) -> None:
    """A thread of the system's, with tasklets: it waits on its port, and in a call of Python's."""
    done = run_python(
        AT_THE_VERY_END
        + """
import threading
def work():
    overlapped.spawn(os.read, here, 1)
    overlapped.sleep(60)
threading.Thread(target=work, daemon=True).start()
overlapped.sleep(0.05)
sys.last = Last()
"""
    )
    ends_well(done, "")


@pytest.mark.parametrize("before", ["", "from overlapped import monkey\nmonkey.patch_all()\n"])
def test_where_nobody_was_told_of_the_end(run_python: Any, before: str, tmp_path: Path) -> None:
    done = run_python(
        before
        + """
import atexit, sys, overlapped
from overlapped import io
file = io.open(sys.argv[1], "w")
file.write("important" * 2000)
overlapped.sleep(0.001)
atexit._clear()
""",
        str(tmp_path / "file"),
    )
    ends_well(done, "")
    assert (tmp_path / "file").read_text() == "important" * 2000


SUB_INTERPRETER = """
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
def run(code):
    sub = interpreters.create()
    try:
        failed = interpreters.run_string(sub, code)
    except interpreters.RunFailedError as error:
        failed = error
    interpreters.destroy(sub)
    return str(failed)
"""


def test_a_sub_interpreter_is_refused_with_words(run_python: Any) -> None:
    done = run_python(
        SUB_INTERPRETER
        + """
assert "the main interpreter alone" in run("import overlapped")
import overlapped, threading
tasklet = overlapped.spawn(overlapped.sleep, 0.01)
overlapped.sleep(0)
assert "the main interpreter alone" in run("import overlapped")
tasklet.join()
print("main goes on")
"""
    )
    ends_well(done, "main goes on\n")


def test_a_patched_program_outlives_its_sub_interpreters(run_python: Any) -> None:
    done = run_python(
        "from overlapped import monkey\nmonkey.patch_all()\n"
        + SUB_INTERPRETER
        + """
import threading, time
run("import threading, time; time.sleep(0.001)")
thread = threading.Thread(target=time.sleep, args=(0.01,))
thread.start()
thread.join()
print("main goes on")
"""
    )
    ends_well(done, "main goes on\n")
