"""Tasklets that end before their block does: :class:`Group`, and :class:`Pool`, of which so many run at a time.

A member's end is told by its tasklet (`Tasklet._watch`), once it can be seen by everybody. The block is left through an
exception of the group's own: a level, as that of a :class:`timeout`, which every wait of the block raises until it has
been left.

Rejected:

- To have members cancelled by the block's tasklet alone, when it comes to wait for them: a body that waits for
  something else would hold everybody until then.
- To raise a member's failure alone where there is one, and a group of exceptions where there are several, as anyio once
  did: whoever writes ``except`` cannot know how many members fail at once. It is always an exception group, as it is
  asyncio's.
- To leave a block that is cancelled while members still clean up: what it encloses would outlive it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar, TypeVarTuple

from ._ends import outlast
from ._engine import Alarm, Semaphore, SimpleQueue, Tasklet, TaskletExit, current, spawn_member

__all__ = ["Group", "Pool"]

R = TypeVar("R")
Ts = TypeVarTuple("Ts")


class _Stop(BaseException):
    """Thrown into the block of a group that is cancelled; the group takes it."""


class Group:
    """Tasklets that end before the block does.

    ::

        with overlapped.Group() as group:
            for address in addresses:
                group.spawn(fetch, address)
        # All have ended here.

    The end of the block waits for its members, and for those that members spawn. When one fails, by any exception other
    than :class:`TaskletExit`, the others are cancelled and so is the block, wherever it waits; all are waited for, and
    then their failures are raised. An exception of the block itself does the same. When the tasklet whose block it is
    is told to leave (it is cancelled, its :class:`timeout` is up) the members are cancelled, and waited for, before it
    leaves. Who does not obey a cancel is waited for without end.

    Members of other threads may be spawned as well, on those threads.

    Raises:
        BaseExceptionGroup: at the end of the block, those of members and of the block that failed; an
            :class:`ExceptionGroup` where all are of type :class:`Exception`. A member's :class:`SystemExit` or
            :class:`KeyboardInterrupt` is raised as it is. Where the block was told to leave too, a failure goes first.
    """

    def __init__(self) -> None:
        self._members: set[Tasklet[Any]] = set()
        self._failures: list[BaseException] = []
        self._owner: Tasklet[Any] | None = None
        self._stop: _Stop | None = None
        self._alarm: Alarm | None = None
        """By which the block is told, while it runs."""
        self._is_cancelled = False
        self._has_ended = False
        self._all_ended = Semaphore(0)

    def spawn(self, function: Callable[[*Ts], R], /, *args: *Ts, name: str | None = None) -> Tasklet[R]:
        """Start ``function(*args)`` in a tasklet of the group. In a group that was cancelled it ends before it begins.

        Its failure is raised by the group, and not shown as that of other tasklets is. ``name`` is the tasklet's, for
        listings; keywords for the function come by :func:`functools.partial`.

        Raises:
            RuntimeError: the block was not entered, or has ended.
        """
        if self._owner is None or self._has_ended:
            raise RuntimeError("a group has members while its block runs")
        member = spawn_member(function, args, name)
        self._members.add(member)
        member._watch(self._ended)
        if self._is_cancelled:
            member.cancel()
        return member

    def cancel(self) -> None:
        """Cancel the members, and the block. That is no failure: the program goes on behind the block.

        Called in the block, or by a member, it leaves there at once.
        """
        self._end_all()
        me = current()
        if me in self._members:
            me.cancel()
        if me is self._owner and self._alarm is not None and self._stop is not None:
            raise self._stop

    @property
    def cancelled(self) -> bool:
        """Whether it was cancelled: by :meth:`cancel`, or since one has failed, or since the block is told to leave."""
        return self._is_cancelled

    def __len__(self) -> int:
        """How many members have not ended."""
        return len(self._members)

    def __bool__(self) -> bool:
        return True

    def __enter__(self) -> Self:
        if self._owner is not None:
            raise RuntimeError("a group is entered once")
        self._owner = current()
        self._stop = _Stop("a group was cancelled, outside of its block: a generator was suspended in it")
        self._alarm = Alarm(None, self._stop)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if self._alarm is not None:
            self._alarm.clear()
        stop, self._alarm, self._stop = self._stop, None, None
        told: BaseException | None = None
        if value is not None:
            if isinstance(value, Exception | BaseExceptionGroup):
                self._add(value)
            elif value is not stop:
                told = value
            self._end_all()
        try:
            self._wait()
        except BaseException as error:
            told = error
        self._has_ended = True
        self._raise_failures()
        if told is not None and told is not value:
            raise told
        return value is not None and value is stop

    def _raise_failures(self) -> None:
        failures, self._failures = self._failures, []
        for failure in failures:
            if isinstance(failure, SystemExit | KeyboardInterrupt):
                raise failure
        if failures:
            how_many = f"{len(failures)} failure" + "s" * (len(failures) > 1)
            raise BaseExceptionGroup(f"{how_many} in a group of tasklets", failures) from None

    def _wait(self) -> None:
        """Waits for the members. Who is told to leave meanwhile waits all the same, and leaves when they have ended."""
        try:
            while self._members:
                self._all_ended._acquire_as("group")
        except BaseException:
            self._end_all()
            while self._members:
                outlast(next(iter(self._members)))
            raise

    def _ended(self, member: Tasklet[Any]) -> None:
        self._members.discard(member)
        failure = member.exception()
        if failure is not None and not isinstance(failure, TaskletExit):
            self._add(failure)
            self._end_all()
        if not self._members:
            self._all_ended.release()

    def _add(self, failure: BaseException) -> None:
        # That of a member whose result the block has asked for comes twice.
        if not any(known is failure for known in self._failures):
            self._failures.append(failure)

    def _end_all(self) -> None:
        """Cancels the members and the block, but for whoever calls."""
        if self._is_cancelled:
            return
        self._is_cancelled, me = True, current()
        for member in list(self._members):
            if member is not me:
                member.cancel()
        if self._alarm is not None:
            self._alarm.ring()


class Pool(Group):
    """A group of which at most ``limit`` members run at a time: :meth:`spawn` waits for a place.

    ::

        with overlapped.Pool(20) as pool:
            for page in pool.map_unordered(fetch, addresses):
                print(page)

    Whoever makes work is held back by those that do it, and what waits for its turn is not piled up. A member that
    spawns waits for a place as well: where all places are taken by members that do so, and each waits for it, nobody
    goes on.

    Raises:
        ValueError: ``limit`` is less than 1.
    """

    def __init__(self, limit: int) -> None:
        if limit < 1:
            raise ValueError("a pool has one place or more")
        super().__init__()
        self.limit = limit
        self._places = Semaphore(limit)

    def spawn(self, function: Callable[[*Ts], R], /, *args: *Ts, name: str | None = None) -> Tasklet[R]:
        """Start ``function(*args)`` in a tasklet of the pool, when there is a place. Else as :meth:`Group.spawn`."""
        self._places._acquire_as("group")
        try:
            return super().spawn(function, *args, name=name)
        except BaseException:
            self._places.release()
            raise

    def _ended(self, member: Tasklet[Any]) -> None:
        self._places.release()
        super()._ended(member)

    def map(self, function: Callable[..., R], /, *iterables: Iterable[Any]) -> Iterator[R]:
        """Return an iterator over what ``function`` returns for each item, or for each of several side by side, in
        order.

        It is called beside the loop, for at most ``limit`` items ahead of it: the input may be endless. Nothing begins
        before the first result is asked for, and an iterator that is closed cancels what it has begun.
        """
        line: deque[Tasklet[R]] = deque()
        try:
            for args in zip(*iterables, strict=False):
                while len(line) >= self.limit:
                    yield self._outcome(line.popleft())
                line.append(self.spawn(function, *args))
            while line:
                yield self._outcome(line.popleft())
        finally:
            for tasklet in line:
                tasklet.cancel()

    def map_unordered(self, function: Callable[..., R], /, *iterables: Iterable[Any]) -> Iterator[R]:
        """As :meth:`map`, each result as it comes."""
        begun: set[Tasklet[R]] = set()
        ended: SimpleQueue[Tasklet[R]] = SimpleQueue()
        try:
            for args in zip(*iterables, strict=False):
                while len(begun) >= self.limit:
                    begun.discard(tasklet := ended.get())
                    yield self._outcome(tasklet)
                begun.add(tasklet := self.spawn(function, *args))
                tasklet._watch(ended.put)
            while begun:
                begun.discard(tasklet := ended.get())
                yield self._outcome(tasklet)
        finally:
            for tasklet in begun:
                tasklet.cancel()

    def _outcome(self, member: Tasklet[R]) -> R:
        try:
            return member.result()
        except TaskletExit:
            if self._is_cancelled and self._stop is not None and self._owner is current():
                # The member's exit, which is not to pass for the block's.
                raise self._stop from None
            raise
