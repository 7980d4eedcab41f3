"""The standard library's :mod:`select`, on the completion port: what waits, waits in the calling tasklet alone.

Each call first asks the system without waiting: its answer, or its error, is the result. Where nothing is ready, the
port watches the descriptors until one is, and the system is asked again. An ``epoll`` object is itself a descriptor,
readable when something in it is ready: the port watches that. ``devpoll`` and ``kqueue`` are the standard library's.

A call of ``select`` or ``poll`` that waits costs 1.6 µs of CPU time for each descriptor, of 250 as of 1,000, on either
backend of Linux. Each is an operation of the port, and is cancelled when the first is ready: a watch that outlived the
call would miss that its number is another file's by then. For many, use ``epoll``.
"""

from __future__ import annotations

import select as _std
import sys as _sys
from collections.abc import Callable
from operator import index as _index
from select import *  # noqa: F403
from typing import Any, Self, TypeVar

from . import _engine
from ._engine import clock as _clock

__all__ = [name for name in dir(_std) if not name.startswith("_")]

_READABLE, _WRITABLE, _URGENT = 1, 2, 4
_NOTHING: tuple[list[Any], list[Any], list[Any]] = ([], [], [])
_select = _std.select
_give_way = _engine.give_way

_Answer = TypeVar("_Answer", list[Any], tuple[list[Any], list[Any], list[Any]])


def _until_ready(
    ask: Callable[[], _Answer], descriptors: Callable[[], list[tuple[int, int]]], timeout: float | None
) -> _Answer:
    """What ``ask`` says once it says that something is ready, or after ``timeout`` seconds. It was asked before."""
    deadline = None if timeout is None else _clock() + timeout
    pause = 0.0
    while True:
        left = None if deadline is None else max(deadline - _clock(), 0.0)
        ready = _engine.wait_any(descriptors(), left)
        answer = ask()
        if any(answer) or not ready:
            return answer
        # Somebody else was faster, or the system was asked for what the port does not know (`POLLRDHUP` alone, the
        # hang-up of a descriptor to be written): then it is asked at growing intervals.
        _engine.sleep(pause if left is None else min(pause, left))
        pause = min(2 * pause + 0.0005, 0.05)


def _mind_asyncio() -> None:
    """Have each tasklet run a loop of its own, as each thread may: asyncio's loops come here before all else."""
    global _asyncio_minded
    if not _asyncio_minded and "asyncio.events" in _sys.modules:
        events: Any = _sys.modules["asyncio.events"]
        if hasattr(events, "_set_running_loop"):
            _asyncio_minded = True
            # Since Python 3.14 the task that runs is the thread's, not the loop's.
            tasks = _sys.modules.get("_asyncio") if _sys.version_info >= (3, 14) else None
            swap = getattr(tasks, "_swap_current_task", None)
            _engine.keep_loops_apart(events._get_running_loop, events._set_running_loop, swap)


_asyncio_minded = False


def _fileno(file: Any) -> int:
    return file if isinstance(file, int) else file.fileno()


def select(  # type: ignore[no-redef]
    rlist: Any, wlist: Any, xlist: Any, timeout: float | None = None, /
) -> tuple[list[Any], list[Any], list[Any]]:
    """Wait until one of the descriptors is ready for reading, writing, or has an exceptional condition.

    As :func:`select.select`: three lists of those that are. Any descriptor that can be polled may be given.
    """
    if timeout is not None:
        if not isinstance(timeout, (int, float)) and not hasattr(timeout, "__index__"):
            raise TypeError("timeout must be a float or None")
        if timeout < 0:
            raise ValueError("timeout must be non-negative")
    # Asked more than once: an iterator would be empty by then.
    if not isinstance(rlist, (list, tuple)):
        rlist = _sequence(rlist)
    if not isinstance(wlist, (list, tuple)):
        wlist = _sequence(wlist)
    if not isinstance(xlist, (list, tuple)):
        xlist = _sequence(xlist)
    _mind_asyncio()
    answer = _select(rlist, wlist, xlist, 0)
    if timeout == 0 or answer != _NOTHING:
        _give_way()
        return answer

    def ask() -> tuple[list[Any], list[Any], list[Any]]:
        return _select(rlist, wlist, xlist, 0)

    def descriptors() -> list[tuple[int, int]]:
        interests: dict[int, int] = {}
        for files, interest in ((rlist, _READABLE), (wlist, _WRITABLE), (xlist, _URGENT)):
            for file in files:
                descriptor = _fileno(file)
                interests[descriptor] = interests.get(descriptor, 0) | interest
        return list(interests.items())

    return _until_ready(ask, descriptors, timeout)


def _sequence(files: Any) -> list[Any]:
    try:
        return list(files)
    except TypeError:
        raise TypeError("arguments 1-3 must be sequences") from None


if hasattr(_std, "poll"):
    _poll = _std.poll
    # Of the events of poll(2), those that the port can wait for.
    _EVENTS = (
        (_std.POLLIN | getattr(_std, "POLLRDNORM", 0) | getattr(_std, "POLLRDHUP", 0), _READABLE),
        (_std.POLLOUT | getattr(_std, "POLLWRNORM", 0), _WRITABLE),
        (_std.POLLPRI | getattr(_std, "POLLRDBAND", 0), _URGENT),
    )
    _MOST_MILLISECONDS = 2**31 - 1

    class _Poll:
        """Waits for many descriptors, as the object that :func:`select.poll` makes."""

        __slots__ = ("_masks", "_polling", "_system")

        _masks: dict[int, int]
        _polling: bool
        _system: Any

        def __new__(cls) -> _Poll:
            raise TypeError(f"cannot create '{cls.__module__}.poll' instances")

        def register(self, fd: Any, eventmask: int = _std.POLLIN | _std.POLLPRI | _std.POLLOUT, /) -> None:
            """Watch a descriptor for the events of ``eventmask``."""
            self._system.register(fd, eventmask)
            self._masks[_fileno(fd)] = eventmask

        def modify(self, fd: Any, eventmask: int, /) -> None:
            """Watch a descriptor that is registered for other events."""
            self._system.modify(fd, eventmask)
            self._masks[_fileno(fd)] = eventmask

        def unregister(self, fd: Any, /) -> None:
            """Watch a descriptor no more."""
            self._system.unregister(fd)
            del self._masks[_fileno(fd)]

        def poll(self, timeout: float | None = None, /) -> list[tuple[int, int]]:
            """Wait at most ``timeout`` milliseconds; return the descriptors that are ready, each with its events."""
            seconds = None
            if timeout is not None:
                if not isinstance(timeout, float):
                    try:
                        timeout = _index(timeout)
                    except TypeError:
                        raise TypeError("timeout must be an integer or None") from None
                if timeout > _MOST_MILLISECONDS:
                    raise OverflowError("timeout is too large")
                if timeout >= 0:
                    seconds = timeout / 1000
            if self._polling:
                raise RuntimeError("concurrent poll() invocation")
            _mind_asyncio()
            if (answer := self._ask()) or seconds == 0:
                _give_way()
                return answer
            self._polling = True
            try:
                return _until_ready(self._ask, self._descriptors, seconds)
            finally:
                self._polling = False

        def _ask(self) -> list[tuple[int, int]]:
            return self._system.poll(0)  # type: ignore[no-any-return]

        def _descriptors(self) -> list[tuple[int, int]]:
            # poll(2) does not look at a negative descriptor.
            return [
                (fd, sum(interest for events, interest in _EVENTS if mask & events))
                for fd, mask in self._masks.items()
                if fd >= 0
            ]

    _Poll.__module__, _Poll.__name__, _Poll.__qualname__ = "select", "poll", "poll"

    def _make_poll() -> _Poll:
        """Make an object that waits for many descriptors."""
        made: _Poll = object.__new__(_Poll)
        made._system, made._masks, made._polling = _poll(), {}, False
        return made

    _make_poll.__name__ = _make_poll.__qualname__ = "poll"
    poll: Any = _engine.as_builtin(_make_poll, _poll)  # type: ignore[no-redef]


if hasattr(_std, "epoll"):
    _epoll = _std.epoll

    class epoll:  # type: ignore[no-redef]
        """Waits for many descriptors, as :class:`select.epoll`."""

        __slots__ = ("__weakref__", "_system")

        def __init__(self, sizehint: int = -1, flags: int = 0) -> None:
            self._system = _epoll(sizehint, flags)

        @classmethod
        def fromfd(cls, fd: int, /) -> Self:
            """An object for an epoll descriptor that exists."""
            made = cls.__new__(cls)
            made._system = _epoll.fromfd(fd)
            return made

        @property
        def closed(self) -> bool:
            """Whether it was closed."""
            return self._system.closed

        def close(self) -> None:
            """Close the descriptor. Whoever waits on it is told."""
            if not self._system.closed:
                _engine.cancel_socket(self._system.fileno())
            self._system.close()

        def fileno(self) -> int:
            """The descriptor."""
            return self._system.fileno()

        def register(self, fd: Any, eventmask: int = _std.EPOLLIN | _std.EPOLLPRI | _std.EPOLLOUT) -> None:
            """Watch a descriptor for the events of ``eventmask``."""
            self._system.register(fd, eventmask)

        def modify(self, fd: Any, eventmask: int) -> None:
            """Watch a descriptor that is registered for other events."""
            self._system.modify(fd, eventmask)

        def unregister(self, fd: Any) -> None:
            """Watch a descriptor no more."""
            self._system.unregister(fd)

        def poll(self, timeout: float | None = None, maxevents: int = -1) -> list[tuple[int, int]]:
            """Wait at most ``timeout`` seconds; return the descriptors that are ready, each with its events."""
            if timeout is not None:
                if not isinstance(timeout, float):
                    try:
                        timeout = _index(timeout)
                    except TypeError:
                        raise TypeError("timeout must be an integer or None") from None
                if timeout < 0:
                    timeout = None
            _mind_asyncio()
            if (answer := self._system.poll(0, maxevents)) or timeout == 0:
                _give_way()
                return answer
            return _until_ready(lambda: self._system.poll(0, maxevents), self._descriptors, timeout)

        def _descriptors(self) -> list[tuple[int, int]]:
            return [(self._system.fileno(), _READABLE)]

        def __enter__(self) -> Self:
            self._system.__enter__()
            return self

        def __exit__(self, *_: object) -> None:
            self.close()
