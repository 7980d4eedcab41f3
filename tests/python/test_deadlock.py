"""Who waits for what only tasklets give, and no tasklet is left to give it, is told, and everybody is named."""

from __future__ import annotations

import os
import signal
import time

import pytest

from overlapped import (
    Barrier,
    Channel,
    Condition,
    Event,
    Group,
    Lock,
    Pool,
    Queue,
    RLock,
    Semaphore,
    after,
    first_of,
    sending,
    sleep,
    spawn,
)


def in_condition():
    condition = Condition()
    with condition:
        condition.wait()


def in_full_queue():
    items = Queue(1)
    items.put(1)
    items.put(2)


def in_group():
    with Group() as group:
        group.spawn(Channel().receive, name="member")


def in_pool():
    try:
        with Pool(1) as pool:
            pool.spawn(Channel().receive, name="member")
            pool.spawn(Channel().receive)
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None


def in_join():
    reader = spawn(Queue().get)
    reader.name = "reader"
    try:
        reader.join()
    finally:
        reader.cancel()


def in_queue_join():
    items = Queue()
    items.put(1)
    items.join()


def in_lock(lock):
    def hold():
        with lock:
            Channel().receive()

    holder = spawn(hold)
    holder.name = "holder"
    sleep(0)
    try:
        lock.acquire()
    finally:
        holder.cancel()


def in_first_of():
    ends = spawn(Queue().get)
    ends.name = "ends"
    try:
        first_of(Channel(), sending(Channel(), 1), Queue(), ends)
    finally:
        ends.cancel()


@pytest.mark.parametrize(
    ("wait", "waits_for"),
    [
        (lambda: Channel().receive(), "main: channel receive"),
        (lambda: Channel().send(1), "main: channel send"),
        (lambda: Queue().get(), "main: queue get"),
        (in_full_queue, "main: queue put"),
        (in_condition, "main: condition"),
        (in_group, "main: group, member: channel receive"),
        (in_pool, "main: group, member: channel receive"),
        (in_join, "main: join, reader: queue get"),
        (lambda: Barrier(2).wait(), "main: barrier"),
        (in_queue_join, "main: queue join"),
        (lambda: in_lock(Lock()), "main: lock, holder: channel receive"),
        (lambda: in_lock(RLock()), "main: lock, holder: channel receive"),
        (in_first_of, "main: the first of several, ends: queue get"),
    ],
)
def test_a_wait_for_what_nobody_gives_is_told_and_everybody_is_named(wait, waits_for):
    with pytest.raises(RuntimeError, match="Deadlock") as told:
        wait()
    assert f"({waits_for}" in str(told.value)


class EventOfLocks:
    """As `threading.Event` is made: whoever waits has taken a lock of its own, and waits for it."""

    def __init__(self):
        self.is_set = False
        self.lock = Lock()

    def wait(self):
        self.lock.acquire()
        if not self.is_set:
            self.lock.acquire()

    def set(self):
        self.is_set = True
        if self.lock.locked():
            self.lock.release()


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="signals of one's own are Unix's")
@pytest.mark.parametrize("kind", [Event, lambda: Semaphore(0), EventOfLocks])
@pytest.mark.parametrize("how", ["main", "tasklet", "first of"])
def test_what_a_signal_handler_gives_is_no_deadlock(kind, how):
    given = kind()
    give, wait = (given.set, given.wait) if hasattr(given, "set") else (given.release, given.acquire)
    before = signal.signal(signal.SIGUSR1, lambda *_: give())
    # A thread of Python's would itself be somebody who may come: a child sends the signal.
    child = os.fork()
    if child == 0:
        try:
            time.sleep(0.05)
            os.kill(os.getppid(), signal.SIGUSR1)
        finally:
            os._exit(0)
    try:
        if how == "main":
            wait()
        elif how == "tasklet":
            spawn(wait).join()
        else:
            first = spawn(first_of, Channel(), given) if kind is not EventOfLocks else spawn(wait)
            assert first.result() in [(1, None), None]
    finally:
        signal.signal(signal.SIGUSR1, before)
        os.waitpid(child, 0)


def test_a_time_that_is_set_is_no_deadlock():
    assert first_of(Channel(), Queue(), after(0.005)) == (2, None)
    sleep(0.001)
