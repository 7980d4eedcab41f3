"""Children that end with all that they have started, or with who has started them."""

from __future__ import annotations

import os
import subprocess as std
import sys

import pytest

from conftest import needs
from overlapped import spawn, subprocess

# Says that it is there, has one of its kind, and lingers: only by force does either end.
ROOT = """
import subprocess, sys, time
print("lingers", flush=True)
if len(sys.argv) > 1:
    subprocess.Popen([sys.executable, "-S", "-c", sys.argv[1]]).wait()
time.sleep(600)
"""
LEAF = ROOT

PARENT = """
import sys, threading
from overlapped import monkey, subprocess
started = lambda: subprocess.Child([sys.executable, "-S", "-c", sys.argv[2]], kill_on_parent_exit=True)
if sys.argv[1] == "thread":
    # A real one, which ends at once: it is the process's end that counts.
    thread = threading.Thread(target=started)
    thread.start()
    thread.join()
else:
    started()
print("lingers", flush=True)
sys.stdin.read()
"""


def python(script: str, *arguments: str) -> list[str]:
    return [sys.executable, "-S", "-c", script, *arguments]


def await_lines(output, count):
    lines = []
    while len(lines) < count:
        line = output.readline()
        assert line, f"the output has ended after {lines}"
        if line.strip() == b"lingers":
            lines.append(line)


def test_a_tree_ends_with_all_that_its_root_has_started():
    with subprocess.Child(python(ROOT, LEAF), stdout=subprocess.PIPE, own_tree=True) as process:
        await_lines(process.stdout, 2)
        process.kill_tree()
        # The leaf had the pipe too.
        assert spawn(process.stdout.read).result(60) == b""
        assert process.wait(60) != 0
        process.kill_tree()


def test_a_child_without_a_tree_can_only_be_ended_itself():
    with subprocess.Child(python(LEAF), stdout=subprocess.DEVNULL) as process:
        with pytest.raises(ValueError, match="own_tree=True"):
            process.kill_tree()
        process.kill()


@pytest.mark.skipif(sys.platform not in ("linux", "win32"), reason="the system has no such tie")
@pytest.mark.parametrize("of", ["main", "thread"])
def test_a_child_that_ends_with_its_parent_does_not_outlive_it(of):
    parent = std.Popen([sys.executable, "-c", PARENT, of, LEAF], stdin=std.PIPE, stdout=std.PIPE)
    await_lines(parent.stdout, 2)
    parent.kill()
    # The child had the pipe too; that it has ended is a read's end.
    assert parent.stdout.read() == b""
    parent.stdin.close()
    parent.stdout.close()
    assert parent.wait(60) != 0


@pytest.mark.skipif(sys.platform not in ("linux", "win32"), reason="the system has no such tie")
def test_both_ties_and_all_options_can_be_had_together():
    script = "import os, sys; print(os.environ['NAME'], sys.argv); raise SystemExit(3)"
    environment = {**os.environ, "NAME": "value"}
    process = subprocess.Child(
        python(script, "word"),
        -1,
        None,
        None,
        subprocess.PIPE,
        env=environment,
        text=True,
        own_tree=True,
        kill_on_parent_exit=True,
    )
    assert process.communicate(timeout=60)[0] == "value ['-c', 'word']\n"
    assert process.returncode == 3


@needs("os.fork")
def test_a_program_that_is_not_there_is_the_standard_librarys_error_with_ties_too():
    with pytest.raises(FileNotFoundError, match="overlapped-no-such-program"):
        subprocess.Child(["overlapped-no-such-program"], own_tree=True, kill_on_parent_exit=sys.platform == "linux")
