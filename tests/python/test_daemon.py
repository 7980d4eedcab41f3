"""The port's own descriptors, and programs that close whatever is open: daemons do, after their fork."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable
from typing import Any

import pytest

import overlapped
from conftest import needs
from overlapped import _engine, _os

DAEMON = """
import os, socket, subprocess, sys, threading, time

def work():
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=lambda: listener.accept()[0].sendall(b"ok"))
    thread.start()
    with socket.create_connection(("localhost", listener.getsockname()[1])) as connection:
        got = connection.recv(5)
    thread.join()
    time.sleep(0.001)
    return got + subprocess.run([sys.executable, "-S", "-c", "print(1)"], capture_output=True).stdout

def close_range(kept):
    os.closerange(3, kept)
    os.closerange(kept + 1, 4096)

def close_each(kept):
    for number in range(3, 1024):
        if number != kept:
            try: os.close(number)
            except OSError: pass

def close_listed(kept):
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2 and int(name) != kept:
            try: os.close(int(name))
            except OSError: pass

close, uses = globals()[sys.argv[1]], int(sys.argv[2])
thread = threading.Thread(target=time.sleep, args=(0.001,))
thread.start()
thread.join()
here, there = os.pipe()
if not os.fork():
    os.setsid()
    if uses: time.sleep(0.001)
    if os.fork(): os._exit(0)
    if uses > 1: time.sleep(0.001)
    close(there)
    os.dup2(os.open(os.devnull, os.O_RDWR), 0)
    try:
        result = work()
    except BaseException as error:
        result = repr(error).encode()
    os.write(there, result)
    os._exit(0)
os.close(there)
result = b""
while part := os.read(here, 1000): result += part
assert result == b"ok1\\n", result
"""


@needs("os.fork")
@pytest.mark.parametrize("uses_before", range(3))
@pytest.mark.parametrize("how", ["close_range", "close_each", "close_listed"])
def test_a_daemon_closes_whatever_is_open_and_goes_on(patched: Callable[..., str], how: str, uses_before: int) -> None:
    if how == "close_listed" and not os.path.isdir("/proc/self/fd"):
        pytest.skip("this system does not list descriptors")
    patched(DAEMON, how, str(uses_before))


@needs("os.fork")
def test_the_ports_own_descriptors_are_none_of_the_programs() -> None:
    overlapped.sleep(0.001)
    own = _engine.own_descriptors()
    assert own
    assert min(own) > 2
    for number in own:
        with pytest.raises(OSError) as failed:
            _os.close(number)
        assert failed.value.errno == errno.EBADF
        with pytest.raises(OSError, match="completion port") as failed:
            _os.dup2(1, number)
        assert failed.value.errno == errno.EBUSY
        _os.closerange(number, number + 1)
    overlapped.sleep(0.001)


WITHOUT_STREAMS = """
import os, sys, overlapped
from overlapped import io
overlapped.sleep(0.001)
os.dup2(os.open(os.devnull, os.O_RDWR), 0)
overlapped.sleep(0.001)
with io.open(int(sys.argv[1]), "w") as file:
    file.write("goes on")
"""


@needs("os.fork")
@pytest.mark.parametrize("closed", [(0,), (0, 1, 2)])
def test_a_program_that_was_started_without_standard_streams(run_python: Any, closed: tuple[int, ...]) -> None:
    """What it opens there later is not in the port's place."""
    done = run_python(
        """
import os, sys
here, there = os.pipe()
os.set_inheritable(there, True)
for number in sys.argv[2:]:
    os.close(int(number))
status = os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-c", sys.argv[1], str(there)])
os.close(there)
os._exit(os.read(here, 100) != b"goes on" or status)
""",
        WITHOUT_STREAMS,
        *map(str, closed),
    )
    assert (done.returncode, done.stderr) == (0, "")


@needs("os.fork")
def test_who_closes_the_ports_descriptors_all_the_same_is_told_so(run_python: Any) -> None:
    """Past the functions that know them. The kernel may own memory of what is in flight: no tasklet can go on."""
    done = run_python(
        """
import os, overlapped
from overlapped import _engine
overlapped.sleep(0.001)
for number in _engine.own_descriptors():
    os.close(number)
overlapped.sleep(0.001)
"""
    )
    assert done.returncode == 1
    assert "the completion port of this thread has failed" in done.stderr
    assert "leave its descriptors open" in done.stderr


@needs("os.fork")
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists descriptors with what they are")
def test_generations_of_forks_keep_no_descriptor_of_their_parents(run_python: Any) -> None:
    done = run_python(
        """
import os, overlapped
def generation(number):
    overlapped.sleep(0.001)
    here = "/proc/self/fd/"
    links = [os.readlink(here + name) for name in os.listdir(here) if os.path.islink(here + name)]
    print(sum("anon" in link for link in links), flush=True)
    if number < 5:
        child = os.fork()
        if not child:
            generation(number + 1)
            os._exit(0)
        os.waitpid(child, 0)
generation(0)
"""
    )
    assert len(set(done.stdout.split())) == 1, done.stdout
