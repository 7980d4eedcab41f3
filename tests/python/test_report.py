"""It explains itself: what runs, why not something better, what waits and for how long."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import overlapped
from conftest import WINDOWS, needs, unix_only
from load import crowd
from overlapped import Channel, sleep, spawn


def test_names_the_backend(backend):
    assert backend in (("iocp",) if WINDOWS else ("uring", "poll", "sim"))
    assert backend in overlapped.report()


def test_shows_what_is_in_flight(pair):
    client, _server = pair
    waiting = spawn(client.recv, 10)
    sleep(0.01)
    report = overlapped.report()
    assert "in flight: 1;" in report
    assert "recv" in report
    waiting.cancel()
    waiting.join()
    assert "in flight: 0;" in overlapped.report()


def test_listing_tells_what_each_waits_for(pair, listener):
    client, _server = pair
    channel = Channel()
    waits = {
        "sleep": (sleep, 60),
        "recv": (client.recv, 10),
        "accept": (listener.accept,),
        "channel receive": (channel.receive,),
        "event": (overlapped.Event().wait,),
        "semaphore": (overlapped.Semaphore(0).acquire,),
        "lock": (held_lock().acquire,),
        "join": (overlapped.current().join,),
    }
    tasklets = {}
    for name, (function, *arguments) in waits.items():
        tasklets[name] = spawn(function, *arguments)
        tasklets[name].name = name
    sleep(0.01)
    listed = {entry["name"]: entry for entry in overlapped.tasklets()}
    assert listed["main"]["waits_for"] == "running"
    for name in waits:
        assert name in listed[name]["waits_for"], listed[name]
        assert 0.005 < listed[name]["since"] < 20
        assert isinstance(listed[name]["number"], int)
    for tasklet in tasklets.values():
        tasklet.cancel()
        tasklet.join()


def held_lock():
    from overlapped._engine import Lock

    lock = Lock()
    lock.acquire()
    return lock


def run(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60 * crowd(),
        env={**os.environ, **environment},
    )


def test_a_backend_is_chosen_by_the_environment():
    backend = "iocp" if WINDOWS else "poll"
    done = run("import overlapped; print(overlapped.backend())", OVERLAPPED_BACKEND=backend)
    assert (done.stdout, done.stderr) == (f"{backend}\n", "")


def test_a_backend_that_does_not_exist_is_an_error():
    done = run("import overlapped; overlapped.backend()", OVERLAPPED_BACKEND="wishful")
    assert done.returncode == 1
    assert "wishful" in done.stderr.splitlines()[-1]
    assert "OSError" in done.stderr


@unix_only("it does not list a process's own descriptors")
def test_import_alone_makes_no_port():
    code = "import os; before = os.listdir('/proc/self/fd'); import overlapped, overlapped.socket, overlapped.io; "
    done = run(code + "assert os.listdir('/proc/self/fd') == before")
    assert (done.returncode, done.stderr) == (0, "")


@unix_only("it has no io_uring")
def test_it_runs_where_io_uring_is_denied():
    """In a container whose seccomp filter denies io_uring the other backend serves, and the report says why."""
    code = """
import ctypes, struct, overlapped
libc = ctypes.CDLL(None, use_errno=True)
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
BPF_LD_W_ABS, BPF_JEQ, BPF_RET = 0x20, 0x15, 0x06
EPERM, ALLOW, ERRNO, IO_URING_SETUP = 1, 0x7FFF0000, 0x00050000, 425
filters = [
    (BPF_LD_W_ABS, 0, 0, 0),
    (BPF_JEQ, 0, 1, IO_URING_SETUP),
    (BPF_RET, 0, 0, ERRNO | EPERM),
    (BPF_RET, 0, 0, ALLOW),
]
code = b"".join(struct.pack("HBBI", *one) for one in filters)
buffer = ctypes.create_string_buffer(code)
program = struct.pack("HxxxxxxP", len(filters), ctypes.addressof(buffer))
assert libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
assert libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, program, 0, 0) == 0, ctypes.get_errno()
from overlapped import socket
one, other = socket.socketpair()
one.sendall(b"works")
print(overlapped.backend(), other.recv(10))
print(overlapped.report())
"""
    environment = {name: value for name, value in os.environ.items() if name != "OVERLAPPED_BACKEND"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60 * crowd(), env=environment
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("poll b'works'\n")
    assert "uring" in done.stdout
    assert "EPERM" in done.stdout or "Operation not permitted" in done.stdout


@pytest.mark.parametrize("name", ["Channel", "Tasklet"])
def test_generic_types_are_subscripted(name):
    assert str(getattr(overlapped, name)[int]).endswith(f"{name}[int]")


@needs("resource.RLIMIT_NOFILE")
def test_a_thread_that_gets_no_port_is_told_why(run_python):
    program = """
import errno, os, resource, threading
import overlapped

def use():
    try:
        overlapped.sleep(0.001)
    except OSError as error:
        told.append((error.errno == errno.EMFILE, "no completion port" in str(error)))

told = []
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
try:
    while True:
        os.dup(0)
except OSError:
    pass
thread = threading.Thread(target=use)
thread.start()
thread.join()
print(told)
"""
    done = run_python(program)
    assert (done.returncode, done.stdout) == (0, "[(True, True)]\n"), done.stderr
