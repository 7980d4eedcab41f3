"""Descriptors of a patched program: numbers that are closed while others wait on them, and then given out again."""

from __future__ import annotations

import pytest

from conftest import unix_only

pytestmark = unix_only("a number is no handle, and `select` takes sockets alone")

HEAD = """
import errno, os, select, socket, sys, threading, time

def begin(function, *arguments):
    \"""A thread that has come to its wait, and where its result or error will be.\"""
    place = []
    def body():
        try:
            place.append(function(*arguments))
        except OSError as error:
            place.append(error.errno)
    thread = threading.Thread(target=body)
    thread.start()
    time.sleep(0)
    assert thread.is_alive(), place
    return thread, place

def result(begun):
    thread, place = begun
    thread.join(20)
    assert place, "nobody woke it"
    return place[0]

def poll(number):
    polled = select.poll()
    polled.register(number, select.POLLIN)
    return polled.poll()

waits = {
    "read": lambda number: os.read(number, 100),
    "file": lambda number: open(number, "rb", 0, closefd=False).read(100),
    "select": lambda number: select.select([number], [], [])[0],
    "poll": poll,
}
"""

CLOSERS = {
    "close": "os.close(reader)",
    "closerange": "os.closerange(reader, reader + 1)",
    "dup2": "other = os.open(os.devnull, os.O_RDONLY); os.dup2(other, reader); os.close(other); os.close(reader)",
    "file": "os.fdopen(reader, 'rb', 0).close()",
    "detached": "pair = socket.socketpair(); os.dup2(pair[0].fileno(), reader); os.close(reader)",
}


@pytest.mark.parametrize("closer", CLOSERS)
@pytest.mark.parametrize("before", ["read", "file", "select", "poll"])
def test_a_number_that_was_closed_is_its_next_owners(patched, before, closer):
    patched(
        HEAD
        + f"""
for after in waits:
    reader, writer = os.pipe()
    stale = begin(waits[{before!r}], reader)
    {CLOSERS[closer]}
    assert result(stale) in (errno.EBADF, [(reader, select.POLLNVAL)])
    new, feed = os.pipe()
    assert new == reader, (new, reader)
    waiting = begin(waits[after], new)
    os.write(feed, b"for the owner")
    assert result(waiting) in (b"for the owner", [new], [(new, select.POLLIN)])
    for descriptor in (writer, new, feed):
        os.close(descriptor)
"""
    )


def test_no_byte_goes_to_who_waited_before(patched):
    patched(
        HEAD
        + """
reader, writer = os.pipe()
stale = begin(os.read, reader, 100)
os.close(reader)
one, other = socket.socketpair()
assert one.fileno() == reader

def use():
    one.sendall(bytes(3_000_000))
    return one.recv(100)

using = begin(use)
other.sendall(b"for the owner")
left = 3_000_000
while left:
    left -= len(other.recv(1 << 16))
assert result(using) == b"for the owner"
assert result(stale) == errno.EBADF
"""
    )


def test_wrong_numbers_are_the_systems_errors(patched):
    patched(
        HEAD
        + """
for call in (
    lambda: os.close(-1),
    lambda: os.close(1 << 20),
    lambda: os.dup2(-1, 5),
    lambda: os.dup2(1 << 20, 5),
    lambda: os.dup2(0, -1),
):
    try:
        call()
    except OSError as error:
        assert error.errno == errno.EBADF
    else:
        raise AssertionError
for call in (lambda: os.close("x"), lambda: os.close(), lambda: os.dup2(0, "x"), lambda: os.closerange(0)):
    try:
        call()
    except TypeError:
        pass
    else:
        raise AssertionError
try:
    os.close(1 << 70)
except OverflowError:
    pass
begun = begin(os.read, os.pipe()[0], 1)
os.closerange(900, 1000)
copy = os.dup2(fd=1, fd2=999, inheritable=False)
assert copy == 999 and not os.get_inheritable(999)
os.close(fd=999)
os._exit(0)
"""
    )
