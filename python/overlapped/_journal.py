"""Which worker has which socket, and who gets the next: decisions without I/O.

The same as ``crates/overlapped/src/handoff/journal.rs``, which says it in more words. A socket that was given *waits*,
is *assigned* to a worker, is *sent* to it, and leaves the journal when that says it has taken it over. Workers have
*places*, which stay when the process in one is replaced.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Generic, Literal, TypeVar

T = TypeVar("T")

Choice = Literal["least busy", "round robin"]


class NotYours(Exception):
    """A worker took or gave back what it does not have."""


@dataclass
class _Place:
    ready: bool = False
    assigned: deque[int] = field(default_factory=deque)
    sent: list[int] = field(default_factory=list)
    taken: int = 0

    @property
    def unconfirmed(self) -> int:
        return len(self.assigned) + len(self.sent)


@dataclass
class _Entry(Generic[T]):
    given: T
    key: int | None
    attempts: int = 0
    last: int | None = None
    """The worker that it was sent to last."""


class Journal(Generic[T]):
    def __init__(self, places: int, choice: Choice, limit: int, attempts: int) -> None:
        self.places = [_Place() for _ in range(places)]
        self._entries: dict[int, _Entry[T]] = {}
        self._waiting: deque[int] = deque()
        self._next = 0
        self._turn = 0
        self._choice, self._limit, self._attempts = choice, limit, attempts

    def __len__(self) -> int:
        """How many sockets are unconfirmed."""
        return len(self._entries)

    def add(self, given: T, key: int | None) -> None:
        """Write a socket down. One with a key goes to that key's place only."""
        self._entries[self._next] = _Entry(given, key)
        self._waiting.append(self._next)
        self._next += 1

    def assign(self) -> int | None:
        """Assign the next socket that can be; return the place."""
        for number in self._waiting:
            if (place := self._choose(self._entries[number])) is not None:
                self._waiting.remove(number)
                self.places[place].assigned.append(number)
                self._turn = (place + 1) % len(self.places)
                return place
        return None

    def _choose(self, entry: _Entry[T]) -> int | None:
        count = len(self.places)
        if entry.key is not None:
            places: Iterable[int] = [entry.key % count]
        else:
            places = ((self._turn + step) % count for step in range(count))
        free = [n for n in places if self.places[n].ready and self.places[n].unconfirmed < self._limit]
        # One who did not take it is asked again only where there is nobody else.
        free = [n for n in free if n != entry.last] or free
        if self._choice == "least busy":
            free.sort(key=lambda n: (self.places[n].unconfirmed, self.places[n].taken))
        return free[0] if free else None

    def send(self, place: int) -> tuple[int, T] | None:
        """The next socket for a worker, and its number. It counts as sent."""
        if not self.places[place].assigned:
            return None
        number = self.places[place].assigned.popleft()
        self.places[place].sent.append(number)
        entry = self._entries[number]
        entry.attempts += 1
        entry.last = place
        return number, entry.given

    def taken(self, place: int, number: int) -> T:
        """A worker has taken a socket over: it leaves the journal."""
        self._leaves(place, number)
        self.places[place].taken += 1
        return self._entries.pop(number).given

    def back(self, place: int, number: int) -> list[T]:
        """A worker does not want a socket. It is returned where it has been to as many as may be asked."""
        self._leaves(place, number)
        return self._again([number])

    def _leaves(self, place: int, number: int) -> None:
        if number not in self.places[place].sent:
            raise NotYours(number)
        self.places[place].sent.remove(number)

    def _again(self, numbers: Iterable[int]) -> list[T]:
        out = []
        for number in numbers:
            if self._entries[number].attempts < self._attempts:
                # It has waited longest.
                self._waiting.appendleft(number)
            else:
                out.append(self._entries.pop(number).given)
        return out

    def ended(self, place: int) -> list[T]:
        """The worker in a place is no more: what it has not confirmed goes to others, or is returned."""
        theirs = self.places[place]
        theirs.ready = False
        self._waiting.extendleft(reversed(theirs.assigned))
        out = self._again(reversed(theirs.sent))
        theirs.assigned.clear()
        theirs.sent.clear()
        return out

    def clear(self) -> list[T]:
        """Take everything out."""
        for place in self.places:
            place.assigned.clear()
            place.sent.clear()
        self._waiting.clear()
        given = [entry.given for entry in self._entries.values()]
        self._entries.clear()
        return given
