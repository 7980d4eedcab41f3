"""``select``, ``poll`` and ``epoll`` in a simulated world: what they ask without waiting is asked of the world.

For what is not of it (pipes, Unix sockets), the system is asked. The waits are the port's.
"""

from __future__ import annotations

import select as _std
from typing import Any

from .. import _engine
from .. import select as _ours

ours: Any = _ours
_IN, _OUT, _ERR, _HUP = _std.POLLIN, _std.POLLOUT, _std.POLLERR, _std.POLLHUP
_READABLE, _WRITABLE = ours._READABLE, ours._WRITABLE
_EPOLLET, _EPOLLONESHOT = getattr(_std, "EPOLLET", 0), getattr(_std, "EPOLLONESHOT", 0)


def install() -> None:
    """Have :mod:`overlapped.select` ask here."""
    select, poll = ours._select, ours._Poll._ask

    def either_select(rlist: Any, wlist: Any, xlist: Any, timeout: float) -> Any:
        return _select(select, rlist, wlist, xlist) if _engine.is_simulated() else select(rlist, wlist, xlist, timeout)

    ours._select = either_select

    def either_poll(self: Any) -> list[tuple[int, int]]:
        return _poll(self._system, self._masks) if _engine.is_simulated() else poll(self)

    ours._Poll._ask = either_poll
    if hasattr(ours, "_epoll"):
        epoll, descriptors = ours._epoll, ours.epoll._descriptors

        def either_epoll(*args: Any) -> Any:
            return _Epoll(epoll(*args)) if _engine.is_simulated() else epoll(*args)

        either_epoll.fromfd = epoll.fromfd  # type: ignore[attr-defined]
        ours._epoll = either_epoll

        def either_descriptors(self: Any) -> list[tuple[int, int]]:
            system = self._system
            return system.descriptors() if isinstance(system, _Epoll) else descriptors(self)

        ours.epoll._descriptors = either_descriptors


def _select(system: Any, rlist: Any, wlist: Any, xlist: Any) -> tuple[list[Any], list[Any], list[Any]]:
    found: tuple[list[Any], list[Any], list[Any]] = ([], [], [])
    real: tuple[list[Any], list[Any], list[Any]] = ([], [], [])
    # What select(2) takes for readable and for writable (poll(2)): an error or an end is both.
    bits = (_IN | _ERR | _HUP, _OUT | _ERR, 0)
    for files, ready, others, mask in zip((rlist, wlist, xlist), found, real, bits, strict=True):
        for file in files:
            events = _engine.sim_poll(ours._fileno(file), mask & (_IN | _OUT))
            if events is None:
                others.append(file)
            elif events & mask:
                ready.append(file)
    if any(real):
        for ready, more in zip(found, system(*real, 0), strict=True):
            ready.extend(more)
    return found


def _poll(system: Any, masks: dict[int, int]) -> list[tuple[int, int]]:
    found = []
    strangers = False
    for fd, mask in masks.items():
        events = _engine.sim_poll(fd, mask & (_IN | _OUT))
        strangers |= events is None
        if events:
            found.append((fd, events))
    if strangers:
        found += [(fd, events) for fd, events in system.poll(0) if not _engine.sim_has(fd)]
    return found


class _Epoll:
    """An epoll(7) object of which the world answers for its sockets."""

    def __init__(self, system: Any) -> None:
        self._system = system
        self._masks: dict[int, int] = {}
        self._seen: dict[int, int] = {}

    @property
    def closed(self) -> bool:
        return self._system.closed  # type: ignore[no-any-return]

    def __enter__(self) -> _Epoll:
        return self

    def close(self) -> None:
        self._system.close()

    def fileno(self) -> int:
        return self._system.fileno()  # type: ignore[no-any-return]

    def register(self, fd: Any, eventmask: int) -> None:
        number = ours._fileno(fd)
        if _engine.sim_has(number):
            if number in self._masks:
                raise FileExistsError(17, "File exists")
            self._masks[number] = eventmask
        else:
            self._masks.pop(number, None)
            self._system.register(fd, eventmask)

    def modify(self, fd: Any, eventmask: int) -> None:
        number = ours._fileno(fd)
        if number in self._masks:
            self._masks[number] = eventmask
            self._seen.pop(number, None)
        else:
            self._system.modify(fd, eventmask)

    def unregister(self, fd: Any) -> None:
        number = ours._fileno(fd)
        if self._masks.pop(number, None) is None:
            self._system.unregister(fd)
        self._seen.pop(number, None)

    def poll(self, _timeout: float, maxevents: int) -> list[tuple[int, int]]:
        found: list[tuple[int, int]] = []
        for fd, mask in list(self._masks.items()):
            events = _engine.sim_poll(fd, mask & (_IN | _OUT)) if mask else 0
            if events is None:
                # It was closed, and with it what was registered.
                del self._masks[fd]
                continue
            # Told of each change, as far as it can be seen from here: of what was not there the last time.
            new = events & ~self._seen.get(fd, 0) if mask & _EPOLLET else events
            self._seen[fd] = events
            if new and (maxevents < 0 or len(found) < maxevents):
                found.append((fd, new))
                if mask & _EPOLLONESHOT:
                    self._masks[fd] = 0
        room = maxevents if maxevents < 0 else maxevents - len(found)
        return found + (self._system.poll(0, room) if room else [])

    def descriptors(self) -> list[tuple[int, int]]:
        """What is to be waited for."""
        own = [(self._system.fileno(), _READABLE)]
        return own + [
            (fd, (_READABLE if mask & _IN else 0) | (_WRITABLE if mask & _OUT else 0))
            for fd, mask in self._masks.items()
            if mask & (_IN | _OUT)
        ]
