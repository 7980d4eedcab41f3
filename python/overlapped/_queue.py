"""Queues between tasklets, with the interface of the standard library's :mod:`queue`."""

from __future__ import annotations

import heapq
from collections import deque
from queue import Empty, Full
from typing import Any, Generic, TypeVar

from ._engine import Event, Lock, Semaphore

__all__ = ["Empty", "Full", "LifoQueue", "PriorityQueue", "Queue"]

T = TypeVar("T")


class Queue(Generic[T]):
    """A first-in, first-out queue; ``put`` and ``get`` block only the calling tasklet.

    ``maxsize`` items fit in (0: any number). Between threads it works as well.
    """

    def __init__(self, maxsize: int = 0) -> None:
        self.maxsize = maxsize
        self._items = Semaphore(0)
        self._room = Semaphore(maxsize) if maxsize > 0 else None
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
            ValueError: ``timeout`` is negative.
        """
        if self._room is not None and not _take(self._room, block, timeout):
            raise Full
        try:
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
            ValueError: ``timeout`` is negative.
        """
        if not _take(self._items, block, timeout):
            raise Empty
        try:
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
        self._all_done.wait()


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


def _take(semaphore: Semaphore, block: bool, timeout: float | None) -> bool:
    if not block:
        return semaphore.acquire(False)
    if timeout is not None and timeout < 0:
        raise ValueError("'timeout' must be a non-negative number")
    return semaphore.acquire(True, timeout)
