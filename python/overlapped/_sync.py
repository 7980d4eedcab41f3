"""Conditions and barriers, of the locks and semaphores that the engine has.

Those of :mod:`threading` would do, over our locks: so they do in a patched program. They are written anew because a
waiter there is a lock in a list, which is searched by each one that leaves early, and because a notification that comes
while its waiter is cancelled is lost there. Here it goes to the next.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from threading import BrokenBarrierError
from types import TracebackType
from typing import TypeVar

from ._engine import Event, Lock, RLock, Semaphore, clock

__all__ = ["Barrier", "BrokenBarrierError", "Condition"]

T = TypeVar("T")


class Condition:
    """A lock, and a line of those that wait, with the lock released, to be notified. As :class:`threading.Condition`.

    ::

        with condition:
            condition.wait_for(lambda: items)
            item = items.pop()

    Those that wait are notified in order. Who was notified and is then told to leave has the next notified in its
    place.
    ``lock`` is a :class:`Lock` or an :class:`RLock`; unless given, an RLock of its own.
    """

    def __init__(self, lock: Lock | RLock | None = None) -> None:
        self._lock = RLock() if lock is None else lock
        self._waiting: OrderedDict[Semaphore, None] = OrderedDict()

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Take the lock, waiting at most ``timeout`` seconds (-1: without end); return whether it was taken."""
        return self._lock.acquire(blocking, timeout)

    def release(self) -> None:
        """Release the lock.

        Raises:
            RuntimeError: the caller does not hold it.
        """
        self._lock.release()

    def __enter__(self) -> bool:
        return self._lock.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._lock.release()

    def _check(self) -> None:
        held = self._lock._is_owned() if isinstance(self._lock, RLock) else self._lock.locked()
        if not held:
            raise RuntimeError("a condition is waited for and notified by whoever holds its lock")

    def wait(self, timeout: float | None = None) -> bool:
        """Release the lock until notified, at most ``timeout`` seconds, then take it again; return whether notified.

        It never returns, or raises, without the lock.

        Raises:
            RuntimeError: the caller does not hold the lock.
        """
        self._check()
        turn = Semaphore(0)
        self._waiting[turn] = None
        held = self._lock._release_save()
        try:
            try:
                turn._acquire_as("condition", timeout=timeout)
            finally:
                notified = turn not in self._waiting
                if not notified:
                    del self._waiting[turn]
                self._lock._acquire_restore(held)  # type: ignore[arg-type]
        except BaseException:
            if notified:
                self._notify(1)
            raise
        return notified

    def wait_for(self, predicate: Callable[[], T], timeout: float | None = None) -> T:
        """Wait until ``predicate()`` is true, at most ``timeout`` seconds; return what it returned last."""
        until = None if timeout is None else clock() + timeout
        while not (result := predicate()):
            left = None if until is None else until - clock()
            if left is not None and left <= 0:
                break
            self.wait(left)
        return result

    def notify(self, n: int = 1) -> None:
        """Have the ``n`` that have waited longest go on, as soon as each can have the lock.

        Raises:
            RuntimeError: the caller does not hold the lock.
        """
        self._check()
        self._notify(n)

    def notify_all(self) -> None:
        """Have all that wait go on, one after the other.

        Raises:
            RuntimeError: the caller does not hold the lock.
        """
        self.notify(len(self._waiting))

    def _notify(self, n: int) -> None:
        for _ in range(min(n, len(self._waiting))):
            turn, _nothing = self._waiting.popitem(last=False)
            turn.release()

    def __repr__(self) -> str:
        return f"<Condition waiting={len(self._waiting)}>"


class _Round:
    """One time that all meet at a barrier."""

    def __init__(self) -> None:
        self.waiting: dict[object, int] = {}
        """Those that have come, each with its number once all have."""
        self.broken = False
        self.over = Event()

    def end(self, broken: bool = False) -> None:
        self.broken = broken
        self.over.set()


class Barrier:
    """Where ``parties`` tasklets wait for one another; it can be used again and again. As :class:`threading.Barrier`.

    The last to come calls ``action``, and then all go on. Who is cancelled while it waits takes its place back, and the
    others wait for one more; a wait whose time is up breaks the barrier.

    Raises:
        ValueError: ``parties`` is less than 1.
    """

    def __init__(self, parties: int, action: Callable[[], object] | None = None, timeout: float | None = None) -> None:
        if parties < 1:
            raise ValueError("parties must be > 0")
        self.parties = parties
        self._action = action
        self._timeout = timeout
        self._round = _Round()

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the others, at most ``timeout`` seconds (that of the barrier unless given); return who one is.

        That is a number from 0, in the order in which they came.

        Raises:
            BrokenBarrierError: the time was up, here or for another; ``action`` has failed; the barrier was aborted, or
                reset while this one waited.
        """
        this = self._round
        if this.broken:
            raise BrokenBarrierError
        me = object()
        this.waiting[me] = -1
        if len(this.waiting) == self.parties:
            self._complete(this)
            return this.waiting[me]
        try:
            in_time = this.over._wait_as("barrier", self._timeout if timeout is None else timeout)
        except BaseException:
            if not this.over.is_set():
                del this.waiting[me]
            raise
        if not in_time:
            this.end(broken=True)
        if this.broken:
            raise BrokenBarrierError
        return this.waiting[me]

    def _complete(self, this: _Round) -> None:
        # Who comes while the action runs is of the next round.
        self._round = following = _Round()
        this.waiting = {who: number for number, who in enumerate(this.waiting)}
        try:
            if self._action is not None:
                self._action()
        except BaseException:
            this.end(broken=True)
            following.end(broken=True)
            raise
        this.end()

    def reset(self) -> None:
        """Make it new. Those that wait are told that it is broken."""
        this, self._round = self._round, _Round()
        this.end(broken=True)

    def abort(self) -> None:
        """Break it: all that wait, and all that come until it is reset, are told so."""
        self._round.end(broken=True)

    @property
    def n_waiting(self) -> int:
        """How many wait."""
        return 0 if self._round.over.is_set() else len(self._round.waiting)

    @property
    def broken(self) -> bool:
        """Whether it is broken."""
        return self._round.broken
