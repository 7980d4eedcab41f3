"""Queues between tasklets, with the interface of the standard library's :mod:`queue`.

A semaphore counts the items, another one the room; who has one of those has the item, or the room, whatever runs
meanwhile. A queue that is closed has one item more than there are, and one more in room: whoever finds it passes it on
and is told that the queue is closed, so that all that wait are told, one after the other. (Rejected: an event beside
each semaphore, for which every wait would have to be a wait for the first of two.)

A ``maxsize`` of 0 is any number, as the standard library has it, for which programs are written. The crate's queue of
capacity 0 stores nothing and hands over; here, a :class:`Channel` does.
"""

from __future__ import annotations

import heapq
import queue
from collections import deque
from collections.abc import Iterator
from queue import Empty, Full
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ._engine import Event, Lock, Semaphore

__all__ = ["Empty", "Full", "LifoQueue", "PriorityQueue", "Queue", "ShutDown"]

T = TypeVar("T")

if TYPE_CHECKING or not hasattr(queue, "ShutDown"):

    class ShutDown(Exception):
        """Raised by a queue that is closed: where something is put in, and where nothing is left to take out."""
else:
    ShutDown = queue.ShutDown


class Queue(Generic[T]):
    """A first-in, first-out queue; ``put`` and ``get`` block only the calling tasklet.

    ``maxsize`` items fit in (0: any number). Between threads it works as well. Iterating takes items out, until the
    queue is closed and nothing is left::

        def work(jobs: overlapped.Queue[str]) -> None:
            for job in jobs:
                print(job)

        jobs = overlapped.Queue(100)
        worker = overlapped.spawn(work, jobs)
        for line in lines:
            jobs.put(line)
        jobs.close()
        worker.join()
    """

    def __init__(self, maxsize: int = 0) -> None:
        self.maxsize = maxsize
        self._items = Semaphore(0)
        self._room = Semaphore(maxsize) if maxsize > 0 else None
        self._closed = False
        self._unfinished = 0
        self._all_done = Event()
        self._all_done.set()
        self._make()

    # What the other kinds of queue do otherwise.

    def _make(self) -> None:
        self._held: Any = deque()

    def _put(self, item: T) -> None:
        self._held.append(item)

    def _get(self) -> T:
        item: T = self._held.popleft()
        return item

    def qsize(self) -> int:
        """How many items are in the queue."""
        return len(self._held)

    def empty(self) -> bool:
        """Whether no item is in the queue."""
        return not self._held

    def full(self) -> bool:
        """Whether no further item fits."""
        return 0 < self.maxsize <= len(self._held)

    def put(self, item: T, block: bool = True, timeout: float | None = None) -> None:
        """Put an item in, waiting for room at most ``timeout`` seconds.

        Raises:
            Full: no room was to be had in time, or at once where ``block`` is false.
            ShutDown: the queue is closed.
            ValueError: ``timeout`` is negative.
        """
        if self._closed:
            raise ShutDown
        if self._room is not None and not _take(self._room, "queue put", block, timeout):
            raise Full
        self._give(item)

    def _room_or_any(self) -> Semaphore:
        """What there is room by; where any number fits, one that is always there."""
        return self._room if self._room is not None else Semaphore(1)

    def _give(self, item: T) -> None:
        """Puts an item in for which there is room."""
        try:
            if self._closed:
                raise ShutDown
            self._put(item)
        except BaseException:
            # It cannot be compared with the others, say.
            if self._room is not None:
                self._room.release()
            raise
        self._unfinished += 1
        self._all_done.clear()
        self._items.release()

    def get(self, block: bool = True, timeout: float | None = None) -> T:
        """Take an item out, waiting for one at most ``timeout`` seconds.

        Raises:
            Empty: none came in time, or none was there where ``block`` is false.
            ShutDown: the queue is closed, and none is left.
            ValueError: ``timeout`` is negative.
        """
        if not _take(self._items, "queue get", block, timeout):
            raise Empty
        return self._taken()

    def _taken(self) -> T:
        """Takes an item out that is the caller's."""
        try:
            if not self._held:
                raise ShutDown
            item = self._get()
        except BaseException:
            # It is still in: a comparison failed, or was cancelled while it waited.
            self._items.release()
            raise
        if self._room is not None:
            self._room.release()
        return item

    def put_nowait(self, item: T) -> None:
        """Put an item in, or raise :class:`Full`."""
        self.put(item, block=False)

    def get_nowait(self) -> T:
        """Take an item out, or raise :class:`Empty`."""
        return self.get(block=False)

    def close(self) -> None:
        """Take nothing more in. Who takes items out is given what is left, and then told that it is closed.

        All that wait to put something in, or for an item where none is left, are told with :class:`ShutDown`.
        """
        if not self._closed:
            self._closed = True
            self._items.release()
            if self._room is not None:
                self._room.release()

    @property
    def closed(self) -> bool:
        """Whether it was closed; items may be left."""
        return self._closed

    def shutdown(self, immediate: bool = False) -> None:
        """As :meth:`close`; with ``immediate`` what is left is thrown away, as if it had been dealt with.

        The standard library's name for it, from Python 3.13 on.
        """
        self.close()
        while immediate:
            try:
                self.get_nowait()
            except (Empty, ShutDown):
                return
            self.task_done()

    def __iter__(self) -> Iterator[T]:
        while True:
            try:
                item = self.get()
            except ShutDown:
                return
            yield item

    def task_done(self) -> None:
        """Say that an item taken out has been dealt with.

        Raises:
            ValueError: called more often than items were put in.
        """
        if self._unfinished <= 0:
            raise ValueError("task_done() called too many times")
        self._unfinished -= 1
        if not self._unfinished:
            self._all_done.set()

    def join(self) -> None:
        """Wait until every item that was put in has been dealt with."""
        self._all_done._wait_as("queue join")


class PriorityQueue(Queue[T]):
    """A queue that gives out the least item first.

    An item's comparison may be any code, and wait: meanwhile the heap is in the middle of a change, and others that
    come for it wait too. A comparison that fails leaves the queue with the items that it had, and the next call puts
    them in order again.
    """

    def _make(self) -> None:
        self._held = []
        self._changing = Lock()
        self._is_heap = True

    def _put(self, item: T) -> None:
        with self._changing:
            self._order()
            self._is_heap = False
            try:
                heapq.heappush(self._held, item)
            except BaseException:
                # It was appended before it was compared, and may have moved.
                place = next(at for at, held in enumerate(self._held) if held is item)
                del self._held[place]
                raise
            self._is_heap = True

    def _get(self) -> T:
        with self._changing:
            if not self._held:
                # It was closed, and others were before.
                raise ShutDown
            self._order()
            item: T = self._held[0]
            self._is_heap = False
            try:
                heapq.heappop(self._held)
            except BaseException:
                # Whoever fails to close the gap loses the item.
                self._held.append(item)
                raise
            self._is_heap = True
        return item

    def _order(self) -> None:
        if not self._is_heap:
            heapq.heapify(self._held)
            self._is_heap = True


class LifoQueue(Queue[T]):
    """A queue that gives out the latest item first."""

    def _make(self) -> None:
        self._held = []

    def _get(self) -> T:
        item: T = self._held.pop()
        return item


def _take(semaphore: Semaphore, waits_for: str, block: bool, timeout: float | None) -> bool:
    if not block:
        return semaphore.acquire(False)
    if timeout is not None and timeout < 0:
        raise ValueError("'timeout' must be a non-negative number")
    return semaphore._acquire_as(waits_for, True, timeout)
