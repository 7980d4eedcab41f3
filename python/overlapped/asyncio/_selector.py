"""What the loop waits with: a selector whose ``select`` blocks the tasklet that calls it.

What is registered is watched by the system's own selector, which is asked without waiting, and that is watched by the
port: an epoll descriptor is itself readable when it has something. So an event wakes the loop's tasklet, be it set by
the port, by another tasklet or by another thread: there is no pipe that wakes the loop, no system call where a tasklet
does, and the system's selector is asked only when it has something to say. Where there is none that has a descriptor
(Windows, a simulated world), a tasklet of its own, the *watch*, waits on the port for each of those registered.

Waiting on the port for descriptors and event at once was rejected: each wake by the event would cancel an operation
and begin it anew, while the watch goes on, however often the loop is woken for something else.

Our transports are not registered: what they receive, the port brings itself (see `_transport.py`). A turn of the loop
does not even come here where no descriptor is ready: how it waits is native, and shared with it (`LoopWait`).

A selector in which nothing is registered has no descriptor: a loop that rests costs the system nothing.
"""

from __future__ import annotations

import selectors as _selectors
from collections.abc import Mapping
from typing import Any

from .. import _engine
from .. import select as _select

_READABLE, _WRITABLE = 1, 2


class _System(_selectors.SelectSelector):
    @staticmethod
    def _select(r: Any, w: Any, _: Any, timeout: float | None = None) -> tuple[list[int], list[int], list[int]]:
        # As the standard library's: a connection that failed is exceptional on Windows, and counts as writable.
        readable, writable, exceptional = _select._select(list(r), list(w), list(w), timeout)
        return readable, writable + exceptional, []


_One: Any = None
"""A selector of the system's of which one descriptor stands for all, where there is such."""

if hasattr(_selectors, "EpollSelector"):

    class _One(_selectors.EpollSelector):  # type: ignore[no-redef]
        # The system's own, whatever was patched.
        _selector_cls: Any = _select._epoll


class Selector(_selectors.BaseSelector):
    """Waits on the port of the thread. Only the tasklet that runs the loop calls :meth:`select`."""

    def __init__(self) -> None:
        # A simulated world's sockets are in none of the system's.
        self._stands_for_all = _One is not None and not _engine.is_simulated()
        self.waiting = _engine.LoopWait(self._stands_for_all)
        """How it waits; a turn of the loop uses it without coming here, where no descriptor is ready."""
        self.receives: dict[int, _engine.Receiving] = {}
        """The transports that read, by descriptor."""
        self._system: Any = None
        self._watch: _engine.Tasklet[None] | None = None
        self._asked = _engine.Event()

    def register(self, fileobj: Any, events: int, data: Any = None) -> _selectors.SelectorKey:
        """Watch a descriptor; as every method here but ``select``, as the standard library's selectors."""
        if self._system is None:
            self._system = _One() if self._stands_for_all else _System()
        key: _selectors.SelectorKey = self._system.register(fileobj, events, data)
        self._changed()
        return key

    def unregister(self, fileobj: Any) -> _selectors.SelectorKey:
        key: _selectors.SelectorKey = self._must().unregister(fileobj)
        self._changed()
        return key

    def modify(self, fileobj: Any, events: int, data: Any = None) -> _selectors.SelectorKey:
        key: _selectors.SelectorKey = self._must().modify(fileobj, events, data)
        self._changed()
        return key

    def get_map(self) -> Mapping[Any, _selectors.SelectorKey]:
        return {} if self._system is None else self._system.get_map()

    def has_something(self) -> bool:
        """Whether a descriptor is registered, or a transport reads."""
        return bool(self.receives or self.get_map())

    def begin(self) -> None:
        """The loop runs, on this thread: transports that have read in a former run do so again."""
        reactor = self.waiting.reactor = _engine.Reactor(self.waiting)
        for receiving in self.receives.values():
            reactor.start(receiving)

    def receive(self, receiving: _engine.Receiving) -> None:
        """Have a transport receive, now or when the loop runs."""
        receiving.begin()
        self.receives[receiving.descriptor] = receiving
        if self.waiting.reactor is not None:
            self.waiting.reactor.start(receiving)
            self.wake_sleeper()

    def receive_no_more(self, fd: int) -> bool:
        """Have the transport of a descriptor receive no more; return whether one did."""
        receiving = self.receives.pop(fd, None)
        if receiving is None:
            return False
        receiving.end()
        if self.waiting.reactor is not None:
            self.waiting.reactor.stop(receiving)
        return True

    def end(self, receiving: _engine.Receiving) -> None:
        """Have nothing in flight for a transport that receives no more, when this returns."""
        if self.waiting.reactor is not None:
            self.waiting.reactor.end(receiving)

    def select(self, timeout: float | None = None) -> list[tuple[_selectors.SelectorKey, int]]:
        """Wait at most ``timeout`` seconds; return what is ready, nothing where the loop was woken."""
        if not self._stands_for_all and self._watch is None and self.get_map():
            self._watch = _engine.spawn(self._wait_on_port)
            self._watch.name = "asyncio: watch"
        self.waiting.wait(timeout)
        reactor = self.waiting.reactor if self._stands_for_all else None
        return self._ask() if reactor is None or reactor.take_readable() else []

    def wake(self) -> None:
        """End the wait, or the next one. From any tasklet, thread or signal handler."""
        self.waiting.wake()

    def wake_sleeper(self) -> None:
        """End the wait, if the loop's tasklet waits: who gives it something to do then says so."""
        if self.waiting.asleep:
            self.waiting.wake()

    def rest(self) -> None:
        """The loop has stopped: leave nothing in flight, and no descriptor where nothing is registered."""
        reactor, self.waiting.reactor = self.waiting.reactor, None
        if reactor is not None:
            with _engine.uncancellable():
                reactor.rest()
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.cancel()
            watch.join()
        if self._system is not None and not self._system.get_map():
            self._system.close()
            self._system = None

    def close(self) -> None:
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.cancel()
            watch.join()
        if self._system is not None:
            self._system.close()
            self._system = None

    def _must(self) -> Any:
        return _NOTHING if self._system is None else self._system

    def _ask(self) -> list[tuple[_selectors.SelectorKey, int]]:
        """What is ready of what is registered."""
        ready = [] if self._system is None or not self._system.get_map() else self._system.select(0)
        self._asked.set()
        return ready

    def _wait_on_port(self) -> None:
        """What the watch does: tell the loop that something is ready, and go on when it has asked what."""
        while self._system is not None:
            _engine.wait_any([(key.fd, key.events) for key in self.get_map().values()])
            self._asked.clear()
            self.waiting.wake()
            self._asked.wait()

    def _changed(self) -> None:
        """Where one descriptor stands for all, the port watches that; else the watch begins anew with what there is."""
        if self._stands_for_all:
            self.waiting.watched = self._system.fileno() if self._system is not None and self.get_map() else None
        elif self._watch is not None:
            self._watch.cancel()
            self._watch = None
            self.waiting.wake()


class _Nothing:
    """A selector in which nothing is registered, for the errors that it raises."""

    def unregister(self, fileobj: Any) -> Any:
        raise KeyError(f"{fileobj!r} is not registered")

    def modify(self, fileobj: Any, events: int, data: Any) -> Any:
        raise KeyError(f"{fileobj!r} is not registered")


_NOTHING = _Nothing()
