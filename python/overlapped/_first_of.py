"""Waiting for the first of several things of different kinds: a value, an event, a place, the end of a tasklet, a time.

Each is a branch; all have one ticket in common, for which those compete that could serve it (see the crate's
`overlapped::first_of`, which is under this). So one is served, and from the others nothing is taken: no value of a
channel, no item of a queue, no permit is lost or held in between. A queue takes part by the semaphores that count its
items and its room: who has one of those has the item, or the room, for itself.

Rejected: a tasklet for each branch, of which the others are cancelled when one has come. Two may have taken something
by then. (And the name: `select` is the module that stands in for the standard library's.)
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Generic, TypeVar

from ._engine import Channel, Event, Semaphore, Tasklet
from ._engine import first_of as _first_of
from ._queue import Queue

__all__ = ["after", "first_of", "putting"]

T = TypeVar("T")


class after:
    """A branch of :func:`first_of` that is the first when ``seconds`` have passed and nothing else has come."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds


class putting(Generic[T]):
    """A branch of :func:`first_of` that puts ``item`` into ``queue``, when there is room."""

    def __init__(self, queue: Queue[T], item: T) -> None:
        self.queue = queue
        self.item = item


def _tell(ended: Event, _tasklet: Tasklet[Any]) -> None:
    ended.set()


Branch = Channel[Any] | Queue[Any] | Event | Semaphore | Tasklet[Any] | after | putting[Any]


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
    a :class:`Queue`                     gets; brings the item
    :class:`putting(queue, item)`        puts the item in; brings None
    an :class:`Event`                    is waited for; brings None
    a :class:`Semaphore`                 acquires one, which is the caller's to release; brings None
    a :class:`Tasklet`                   is waited for; brings what it returned, or raises what it raised
    :class:`after(seconds) <after>`      brings None
    ===================================  =================================================================

    Of several that are ready the first in the list is taken. Nothing is taken from the others, nor from any where the
    caller is told to leave.

    Raises:
        TimeoutError: none has come after ``timeout`` seconds.
        ValueError: the channel that is first is closed, or there are no branches.
        ShutDown: the queue that is first is closed.
        TypeError: something that cannot be waited for so.
    """
    if not branches:
        raise ValueError("there is no first of no branches")
    watched: list[tuple[Tasklet[Any], int]] = []
    things: list[Channel[Any] | Event | Semaphore | float] = []
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
            elif isinstance(branch, after):
                thing = branch.seconds
            elif not isinstance(branch, Channel | Event | Semaphore):
                raise TypeError(f"first_of() cannot wait for {branch!r}")
            things.append(thing)
            finish.append(then)
        if timeout is not None:
            things.append(timeout)
        place, value = _first_of(things)
    finally:
        for tasklet, number in watched:
            tasklet._unwatch(number)
    if place == len(branches):
        raise TimeoutError(f"none of {len(branches)} has come after {timeout} s")
    then = finish[place]
    return place, value if then is None else then()
