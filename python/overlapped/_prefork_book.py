"""Which connection is on its way to which worker: the decisions of :mod:`overlapped.prefork`, without I/O.

A connection that a worker gave away *waits*, is *sent* to another one, and leaves the book when that says that it has
taken it over. As the Rust crate's ``prefork/book.rs``.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

_DEATHS = 8
"""How many workers may die with a connection on its way to them before it is given up: they may have died of it."""


class NotYours(Exception):
    """What a worker cannot have meant."""


@dataclass
class _Entry(Generic[T]):
    moved: T
    last: int
    """Who had it last."""
    deaths: int = 0
    """How many workers have died with it."""


class Book(Generic[T]):
    def __init__(self, limit: int) -> None:
        self._entries: dict[int, _Entry[T]] = {}
        self._waiting: deque[int] = deque()
        self._sent: dict[int, list[int]] = {}
        self._given: Counter[int] = Counter()
        """How many each worker was sent and has not given back."""
        self._next = 0
        self._limit = limit

    def __len__(self) -> int:
        """How many are on their way."""
        return len(self._entries)

    def add(self, moved: T, giver: int) -> None:
        """Write a connection down, with the worker that gave it."""
        self._entries[self._next] = _Entry(moved, giver)
        self._waiting.append(self._next)
        self._next += 1

    def unconfirmed(self, worker: int) -> int:
        """How many a worker has not confirmed."""
        return len(self._sent.get(worker, ()))

    def send(self, takers: Mapping[int, int]) -> tuple[int, int, T] | None:
        """Choose who gets the first of those that wait, of ``takers``, who have their generations.

        Of the newest ones with room it is the one that has been given fewest; not the one that had it last, where there
        is another. Return the worker, the number, and what is to be sent.
        """
        if not self._waiting:
            return None
        entry = self._entries[self._waiting[0]]
        with_room = [worker for worker in takers if self.unconfirmed(worker) < self._limit]
        if not with_room:
            return None
        worker = max(with_room, key=lambda one: (one != entry.last, takers[one], -self._given[one], -one))
        number = self._waiting.popleft()
        self._sent.setdefault(worker, []).append(number)
        self._given[worker] += 1
        entry.last = worker
        return worker, number, entry.moved

    def taken(self, worker: int, number: int) -> T:
        """A worker has taken a connection over: it leaves the book."""
        self._leaves(worker, number)
        return self._entries.pop(number).moved

    def back(self, worker: int, number: int) -> None:
        """A worker does not take a connection: it waits again, however often."""
        self._leaves(worker, number)
        self._given[worker] -= 1
        # It has waited longest.
        self._waiting.appendleft(number)

    def ended(self, worker: int) -> list[T]:
        """A worker is no more: what it has not confirmed waits again. Return what too many have died with."""
        self._given.pop(worker, None)
        out: list[T] = []
        for number in reversed(self._sent.pop(worker, [])):
            entry = self._entries[number]
            entry.deaths += 1
            if entry.deaths < _DEATHS:
                self._waiting.appendleft(number)
            else:
                out.append(self._entries.pop(number).moved)
        return out

    def clear(self) -> list[T]:
        """Take everything out."""
        out = [entry.moved for entry in self._entries.values()]
        self._entries.clear()
        self._waiting.clear()
        self._sent.clear()
        return out

    def _leaves(self, worker: int, number: int) -> None:
        sent = self._sent.get(worker, [])
        if number not in sent:
            raise NotYours(number)
        sent.remove(number)
