"""Waiting for the first of several things of different kinds: a value, an event, a place, the end of a tasklet, a time.

Each is a branch; all have one ticket in common, for which those compete that could serve it (see the crate's
`overlapped::first_of`, which is under this). So one is served, and from the others nothing is taken: no value of a
channel, no item of a queue, no permit is lost or held in between. A queue takes part by the semaphores that count its
items and its room: who has one of those has the item, or the room, for itself.

A socket is waited for until it is ready, and nothing is taken: what has come stays in it until the winner receives or
accepts. (Rejected: to receive, or accept, as a branch. What came to one that was cancelled too late would be nobody's.)

Rejected: a tasklet for each branch, of which the others are cancelled when one has come. Two may have taken something
by then. (And the name: `select` is the module that stands in for the standard library's.)
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

from ._engine import Channel, Event, Semaphore, Tasklet
from ._engine import first_of as _first_of
from ._queue import Queue

__all__ = ["after", "first_of", "putting", "readable", "sending", "writable"]

T = TypeVar("T")


class after:
    """A branch of :func:`first_of` that is the first when ``seconds`` have passed and nothing else has come."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


class sending(Generic[T]):
    """A branch of :func:`first_of` that sends ``value`` into ``channel``, when somebody receives."""

    def __init__(self, channel: Channel[T], value: T) -> None:
        self.channel = channel
        self.value = value


class putting(Generic[T]):
    """A branch of :func:`first_of` that puts ``item`` into ``queue``, when there is room."""

    def __init__(self, queue: Queue[T], item: T) -> None:
        self.queue = queue
        self.item = item


class _HasFileno(Protocol):
    def fileno(self) -> int:
        """Its descriptor."""


class readable:
    """A branch of :func:`first_of` that is the first when a receive or an accept on ``socket`` would find something.

    That may be the end of the stream, or an error. Nothing is taken: where several tasklets receive from one socket,
    another may be faster, and the receive waits again. Anything with a ``fileno()`` may be given, or a descriptor; on
    Windows a socket's. Of an SSL socket it may be bytes that do not make a whole record, for which a receive waits.
    """

    _interest = 1

    def __init__(self, socket: _HasFileno | int) -> None:
        self.socket = socket

    def _thing(self) -> tuple[int, int] | float:
        if self._interest == 1 and getattr(self.socket, "pending", int)():
            # Decrypted, and in no descriptor any more.
            return 0.0
        return self.socket if isinstance(self.socket, int) else self.socket.fileno(), self._interest


class writable(readable):
    """A branch of :func:`first_of` that is the first when a send on ``socket`` would find room, or an error."""

    _interest = 2


def _tell(ended: Event, _tasklet: Tasklet[Any]) -> None:
    ended.set()


Branch = Channel[Any] | sending[Any] | Queue[Any] | putting[Any] | Event | Semaphore | Tasklet[Any] | readable | after


def first_of(*branches: Branch, timeout: float | None = None) -> tuple[int, Any]:
    """Wait for the first of ``branches``; return its place among them, and what it brought.

    ::

        which, value = overlapped.first_of(orders, stop, overlapped.after(30))
        match which:
            case 0: serve(value)
            case 1: return
            case 2: print("nothing for half a minute")

    ===================================  =================================================================
    a :class:`Channel`                   receives; brings the value
    :class:`sending(channel, value)`     sends the value; brings None
    a :class:`Queue`                     gets; brings the item
    :class:`putting(queue, item)`        puts the item in; brings None
    an :class:`Event`                    is waited for; brings None
    a :class:`Semaphore`                 acquires one, which is the caller's to release; brings None
    a :class:`Tasklet`                   is waited for; brings what it returned, or raises what it raised
    :class:`readable(socket)`            a receive would find something, or an accept; brings None
    :class:`writable(socket)`            a send would find room; brings None
    :class:`after(seconds) <after>`      brings None
    ===================================  =================================================================

    Of several that are ready the first in the list is taken. Nothing is taken from the others, and nothing that
    they offered was sent or put; nor from any, where the caller is told to leave.

    Raises:
        TimeoutError: none has come after ``timeout`` seconds.
        ValueError: the channel that is first is closed, or there are no branches.
        OSError: the socket that is first is closed, also meanwhile.
        ShutDown: the queue that is first is closed.
        TypeError: something that cannot be waited for so.
    """
    if not branches:
        raise ValueError("there is no first of no branches")
    watched: list[tuple[Tasklet[Any], int]] = []
    things: list[Channel[Any] | tuple[Channel[Any], Any] | tuple[int, int] | Event | Semaphore | float] = []
    finish: list[Callable[[], Any] | None] = []
    try:
        for branch in branches:
            then: Callable[[], Any] | None = None
            thing: Any = branch
            if isinstance(branch, Queue):
                thing, then = branch._items, branch._taken
            elif isinstance(branch, putting):
                thing, then = branch.queue._room_or_any(), partial(branch.queue._give, branch.item)
            elif isinstance(branch, Tasklet):
                thing, then = Event(), branch.result
                watched.append((branch, branch._watch(partial(_tell, thing))))
            elif isinstance(branch, sending):
                thing = branch.channel, branch.value
            elif isinstance(branch, readable):
                thing = branch._thing()
            elif isinstance(branch, after):
                thing = branch.seconds
            elif not isinstance(branch, Channel | Event | Semaphore):
                raise TypeError(f"first_of() cannot wait for {branch!r}")
            things.append(thing)
            finish.append(then)
        if timeout is not None:
            things.append(timeout)
        # A deadlock is told where only tasklets could bring what is waited for.
        of_anybody = any(isinstance(branch, Event | Semaphore) for branch in branches)
        place, value = _first_of(things, of_anybody)
    finally:
        for tasklet, number in watched:
            tasklet._unwatch(number)
    if place == len(branches):
        raise TimeoutError(f"none of {len(branches)} has come after {timeout} s")
    then = finish[place]
    return place, value if then is None else then()
