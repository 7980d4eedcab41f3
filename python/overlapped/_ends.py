"""Waiting for tasklets to end: for all of a crowd, for some, for each as it comes; and for one that is not to be
cancelled.

Each tasklet tells a queue of its end, and is asked no more: to wait for one of a thousand costs as much as to look at
each once, and what is left when a wait ends takes back its place in O(1). (Rejected: to join one after the other, which
says nothing of who is first; and a tasklet for each, which costs a stack.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from queue import Empty
from typing import Any, Generic, NamedTuple, TypeVar, TypeVarTuple

from ._engine import Lock, SimpleQueue, Tasklet, TaskletExit, clock, spawn_member

__all__ = ["Waited", "as_completed", "first_completed", "shield", "wait"]

R = TypeVar("R")
Ts = TypeVarTuple("Ts")


class Waited(NamedTuple, Generic[R]):
    """What :func:`wait` returns."""

    done: list[Tasklet[R]]
    """Those that have ended, in that order."""
    pending: list[Tasklet[R]]
    """The others, in the order in which they were given."""


class _Ends(Generic[R]):
    """The ends of some tasklets as they come."""

    def __init__(self, tasklets: Iterable[Tasklet[R]], timeout: float | None) -> None:
        self._until = None if timeout is None else clock() + timeout
        self._ended: SimpleQueue[Tasklet[R]] = SimpleQueue()
        self.pending = {tasklet: 0 for tasklet in tasklets}
        for tasklet in self.pending:
            self.pending[tasklet] = tasklet._watch(self._ended.put)

    def next(self) -> Tasklet[R]:
        """Waits for the next one; raises `Empty` where the time is up."""
        if self._until is None:
            tasklet = self._ended.get()
        else:
            left = self._until - clock()
            tasklet = self._ended.get(left > 0, max(left, 0))
        del self.pending[tasklet]
        return tasklet

    def leave(self) -> None:
        """Asks the others no more."""
        for tasklet, number in self.pending.items():
            tasklet._unwatch(number)


def wait(tasklets: Iterable[Tasklet[R]], timeout: float | None = None, *, count: int | None = None) -> Waited[R]:
    """Wait until ``count`` of these tasklets have ended (all unless given), at most ``timeout`` seconds.

    Returns which have, and which have not. What they returned or raised is theirs: see :meth:`Tasklet.result`. ::

        done, pending = overlapped.wait(tasklets, timeout=5)
        for tasklet in pending:
            tasklet.cancel()
    """
    ends = _Ends(tasklets, timeout)
    done: list[Tasklet[R]] = []
    wanted = len(ends.pending) if count is None else min(count, len(ends.pending))
    try:
        while len(done) < wanted:
            done.append(ends.next())
    except Empty:
        pass
    finally:
        ends.leave()
    return Waited(done, list(ends.pending))


def as_completed(tasklets: Iterable[Tasklet[R]], timeout: float | None = None) -> Iterator[Tasklet[R]]:
    """Return an iterator over these tasklets, each as it ends. ::

        for tasklet in overlapped.as_completed(tasklets):
            print(tasklet.result())

    Raises:
        TimeoutError: by the iterator, where not all have ended ``timeout`` seconds after the call.
    """
    return _each(_Ends(tasklets, timeout), timeout)


def _each(ends: _Ends[R], timeout: float | None) -> Iterator[Tasklet[R]]:
    try:
        while ends.pending:
            yield ends.next()
    except Empty:
        raise TimeoutError(f"{len(ends.pending)} tasklets have not ended after {timeout} s") from None
    finally:
        ends.leave()


def first_completed(tasklets: Iterable[Tasklet[R]], timeout: float | None = None) -> Tasklet[R]:
    """Wait for the first of these tasklets to end, and return it; the others run on. ::

        quickest = overlapped.first_completed([spawn(ask, server) for server in servers])
        print(quickest.result())

    Raises:
        TimeoutError: none has ended after ``timeout`` seconds.
        ValueError: there are none.
    """
    ends = _Ends(tasklets, timeout)
    if not ends.pending:
        raise ValueError("there is no first of no tasklets")
    try:
        return ends.next()
    except Empty:
        raise TimeoutError(f"none of {len(ends.pending)} tasklets has ended after {timeout} s") from None
    finally:
        ends.leave()


def shield(function: Callable[[*Ts], R], /, *args: *Ts, name: str | None = None) -> R:
    """Return ``function(*args)``, which runs to its end though the one that calls is told to leave meanwhile.

    It runs in a tasklet of its own, with a copy of the context; the caller waits for its end whatever it is told, and
    leaves then: what it cannot be held back from is :meth:`Tasklet.cancel` of that tasklet, and the end of the program.
    ::

        try:
            work(order)
        finally:
            overlapped.shield(save, order)

    (Rejected: to let the caller leave at once, as :func:`asyncio.shield` does. Nobody would be there for its failure,
    and what it works on would be closed under it.)

    Raises:
        BaseException: what ``function`` raised; else what the caller was told meanwhile.
    """
    tasklet = spawn_member(function, args, name)
    try:
        return tasklet.result()
    except BaseException as error:
        outlast(tasklet)
        failure = tasklet.exception()
        if failure is not None and failure is not error and not isinstance(failure, TaskletExit):
            raise failure from None
        raise


def outlast(tasklet: Tasklet[Any]) -> None:
    """Wait until it has ended, whatever the caller is told meanwhile, and for however long."""
    ended = Lock()
    ended.acquire()
    tasklet._watch(lambda _: ended.release())
    # What is thrown meanwhile is raised when the lock is there.
    with suppress(BaseException):
        ended._acquire_restore()
