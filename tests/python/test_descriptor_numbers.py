"""A descriptor is closed while a tasklet waits on it, and its number is given out again."""

from __future__ import annotations

import pytest

from conftest import RunPython, unix_only

pytestmark = unix_only("a number there is one of the runtime's table, and not what the port waits on")

PRELUDE = """
    import os, select, socket, threading, time

    def in_a_thread(function, *args):
        def run():
            try: result.append(function(*args))
            except OSError as error: result.append(error)
        result = []
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        time.sleep(0.02)
        return thread, result

    def poll(number):
        poll = select.poll()
        poll.register(number, select.POLLIN)
        return poll.poll()

    read = lambda number: os.read(number, 100)
    watch = lambda number: select.select([number], [], [])[0]
    through_a_file = lambda number: open(number, "rb", 0, closefd=False).read(100)
"""


@pytest.mark.parametrize("new", ["read", "watch", "poll", "through_a_file"])
@pytest.mark.parametrize("stale", ["read", "watch", "poll", "through_a_file"])
def test_the_next_owner_of_a_number_is_woken(patched: RunPython, stale: str, new: str) -> None:
    patched(f"""{PRELUDE}
    r, w = os.pipe()
    in_a_thread({stale}, r)
    os.close(r)
    next_r, next_w = os.pipe()
    assert next_r == r, "the lowest number that is free"
    thread, result = in_a_thread({new}, next_r)
    os.write(next_w, b"x")
    thread.join()
    assert result in ([b"x"], [[r]], [[(r, select.POLLIN)]]), result
    os._exit(0)
    """)


def test_a_read_that_was_left_behind_takes_nothing_from_the_next_owner(patched: RunPython) -> None:
    patched(f"""{PRELUDE}
    r, w = os.pipe()
    _, stale = in_a_thread(read, r)
    os.close(r)
    a, b = socket.socketpair()
    assert a.fileno() == r, "the lowest number that is free"
    thread, _ = in_a_thread(a.sendall, b"x" * 3_000_000)
    b.sendall(b"for the owner of the number")
    left = 3_000_000
    while left: left -= len(b.recv(1 << 16))
    thread.join()
    assert a.recv(100) == b"for the owner of the number"
    assert not stale or isinstance(stale[0], OSError), stale
    os._exit(0)
    """)
