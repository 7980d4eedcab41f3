"""Children on pseudo-terminals: those of overlapped.subprocess, and the standard library's own when patched."""

from __future__ import annotations

import io
import os
import signal
import subprocess as std
import sys
from collections.abc import Iterator

import pytest

import overlapped
from conftest import unix_only
from overlapped import sleep, spawn, subprocess

pytestmark = unix_only("it has no pseudo-terminals of this kind")


@pytest.fixture
def pty() -> Iterator[subprocess.Pty]:
    with subprocess.Pty() as pty:
        yield pty


def shell(script: str) -> list[str]:
    return ["sh", "-c", script]


def read_until(pty: subprocess.Pty, wanted: bytes) -> bytes:
    shown = b""
    while wanted not in shown:
        piece = pty.read(1000)
        assert piece, f"the terminal has ended after {shown!r}, without {wanted!r}"
        shown += piece
    return shown


def test_a_child_on_a_terminal_believes_to_talk_with_a_person(pty):
    script = "test -t 0 && test -t 1 && test -t 2 && echo prompt && read line && echo got $line >/dev/tty"
    process = subprocess.Child(shell(script), pty=pty)
    read_until(pty, b"prompt\r\n")
    pty.write(b"words\n")
    assert pty.readall() == b"words\r\ngot words\r\n"
    assert pty.read(10) == b"", "and stays at its end"
    assert process.wait(60) == 0


def test_only_the_one_that_reads_a_terminal_waits_also_before_the_first_start(pty):
    reader = spawn(pty.read, 100)
    sleep(0)
    assert reader.alive
    with subprocess.Child(shell("echo said; read line"), pty=pty) as process:
        assert reader.result(60).startswith(b"said")
        pty.write(b"\n")
        pty.readall()
    assert process.returncode == 0


def test_a_read_of_a_terminal_is_left_in_time(pty):
    process = subprocess.Child(shell("read line; echo late"), pty=pty)
    with pytest.raises(TimeoutError), overlapped.timeout(0.02):
        pty.read(10)
    pty.write(b"\n")
    assert read_until(pty, b"late\r\n")
    assert process.wait(60) == 0


def test_a_size_is_told_to_the_child_and_a_new_one_too(pty):
    assert pty.size() == (0, 0)
    pty.resize(12, 34)
    assert pty.size() == (12, 34)
    script = "trap 'stty size; exit' WINCH; stty size; while :; do sleep 0.01; done"
    process = subprocess.Child(shell(script), pty=pty)
    read_until(pty, b"12 34\r\n")
    pty.resize(5, 6)
    read_until(pty, b"5 6\r\n")
    assert process.wait(60) == 0


def test_control_c_reaches_the_child_and_a_closed_terminal_hangs_up(pty):
    process = subprocess.Child(shell("echo ready; exec sleep 60"), pty=pty)
    read_until(pty, b"ready")
    pty.write(b"\x03")
    assert process.wait(60) == -signal.SIGINT
    # Whoever starts it may ignore that, as nohup(1) does.
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process = subprocess.Child(shell("echo ready; exec sleep 60"), pty=pty)
    finally:
        signal.signal(signal.SIGHUP, before)
    read_until(pty, b"ready")
    pty.close()
    assert process.wait(60) == -signal.SIGHUP


def test_streams_that_were_given_do_not_go_to_the_terminal(pty):
    script = "test -t 0 && echo in; test -t 2 && echo err; test -t 1 && echo out"
    process = subprocess.Child(shell(script), pty=pty, stdout=subprocess.PIPE, text=True)
    assert process.communicate(timeout=60)[0] == "in\nerr\n"


def test_a_terminal_is_a_raw_file_for_the_standard_librarys_layers(pty):
    process = subprocess.Child(shell("stty -echo; echo ready; read line; echo $line"), pty=pty)
    text = io.TextIOWrapper(io.BufferedRWPair(pty, pty), line_buffering=True)
    assert text.readline() == "ready\n"
    text.write("wörter\n")
    assert text.readline() == "wörter\n"
    assert process.wait(60) == 0
    assert pty.isatty() and os.isatty(pty.fileno())
    text.detach()


def test_what_else_was_to_be_done_before_the_program_is_done(pty):
    read, write = os.pipe()
    with open(write, "wb", buffering=0) as said:
        process = subprocess.Child(shell("exit 3"), pty=pty, preexec_fn=lambda: os.write(write, b"before"))
        assert process.wait(60) == 3
        said.write(b".")
    with open(read, "rb") as hears:
        assert hears.read() == b"before."


SPAWN = r"""
import os, pty, sys, threading, time
ticks = []
def tick():
    while True:
        time.sleep(0.01)
        ticks.append(1)
threading.Thread(target=tick, daemon=True).start()
shown = []
def read(fd):
    data = os.read(fd, 1024)
    shown.append(data)
    return data
reading, writing = os.pipe()
os.set_inheritable(reading, True)
def let_go(file, before):
    while len(ticks) < before + 4:
        time.sleep(0.001)
    os.write(file, b"late\n")
threading.Thread(target=let_go, args=(writing, len(ticks))).start()
status = pty.spawn(["sh", "-c", f"test -t 0 && echo $PPID; read line <&{reading}; exit 5"], read)
assert os.waitstatus_to_exitcode(status) == 5, status
assert str(os.getpid()).encode() in b"".join(shown), shown
pid, master = pty.fork()
if pid == 0:
    print("the child", os.isatty(0), os.getsid(0) == os.getpid(), flush=True)
    os._exit(4)
seen = b""
while True:
    try:
        data = os.read(master, 100)
    except OSError:
        break
    if not data:
        break
    seen += data
assert seen == b"the child True True\r\n", seen
assert os.waitpid(pid, 0) == (pid, 4 << 8)
a, b = os.openpty()
threading.Thread(target=let_go, args=(b, len(ticks))).start()
assert os.read(a, 10) == b"late\r\n", "others run while a terminal is read"
print("whole", flush=True)
"""


@pytest.mark.parametrize("how", [[], ["-m", "overlapped"]], ids=["plain", "patched"])
def test_the_standard_librarys_pty_lets_others_run(tmp_path, how):
    program = tmp_path / "program.py"
    program.write_text(SPAWN)
    done = std.run([sys.executable, *how, program], stdin=std.DEVNULL, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and done.stdout.splitlines()[-1] == "whole", done.stdout + done.stderr
