"""What the loop waits with: a selector whose ``select`` blocks the tasklet that calls it.

What is registered is watched by the system's own selector, which is asked without waiting, and that is watched by the
port: an epoll descriptor is itself readable when it has something. So an event wakes the loop's tasklet, be it set by
the port, by another tasklet or by another thread: there is no pipe that wakes the loop, no system call where a tasklet
does, and the system's selector is asked only when it has something to say. Where there is none that has a descriptor
(Windows), a tasklet of its own, the *watch*, waits on the port for each of those that are registered.

Waiting on the port for descriptors and event at once was rejected: each wake by the event would cancel an operation
and begin it anew, while the watch goes on, however often the loop is woken for something else.

The transports of streams are not registered: what they receive, the port brings itself (see `_transport.py`).

A selector in which nothing is registered has no descriptor: a loop that rests costs the system nothing.
"""

from __future__ import annotations

import selectors as _selectors
from collections.abc import Mapping
from typing import Any

from .. import _engine
from .. import select as _select

_READABLE, _WRITABLE = 1, 2

if hasattr(_selectors, "EpollSelector"):

    class _System(_selectors.EpollSelector):
        # The system's own, whatever was patched.
        _selector_cls: Any = _select._epoll

        def watched(self) -> list[tuple[int, int]]:
            """What to wait for on the port: the one descriptor that stands for all."""
            return [(self.fileno(), _READABLE)]

    _STANDS_FOR_ALL = True

else:

    class _System(_selectors.SelectSelector):  # type: ignore[no-redef]
        @staticmethod
        def _select(r: Any, w: Any, _: Any, timeout: float | None = None) -> tuple[list[int], list[int], list[int]]:
            # As the standard library's: a connection that failed is exceptional on Windows, and counts as writable.
            readable, writable, exceptional = _select._select(list(r), list(w), list(w), timeout)
            return readable, writable + exceptional, []

        def watched(self) -> list[tuple[int, int]]:
            return [(key.fd, key.events) for key in self.get_map().values()]

    _STANDS_FOR_ALL = False


class Selector(_selectors.BaseSelector):
    """Waits on the port of the thread. Only the tasklet that runs the loop calls :meth:`select`."""

    def __init__(self) -> None:
        self.asleep = False
        """Whether the loop's tasklet waits: who gives it something to do then says so by :meth:`wake`."""
        self.receives: dict[int, _engine.Receiving] = {}
        """The transports that read, by descriptor."""
        self.reactor: _engine.Reactor | None = None
        """What has come for them, while the loop runs."""
        self._woken = _engine.Event()
        self._system: _System | None = None
        self._watch: _engine.Tasklet[None] | None = None
        self._asked = _engine.Event()

    def register(self, fileobj: Any, events: int, data: Any = None) -> _selectors.SelectorKey:
        """Watch a descriptor; as every method here but ``select``, as the standard library's selectors."""
        if self._system is None:
            self._system = _System()
        key = self._system.register(fileobj, events, data)
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
        if hasattr(_engine, "Reactor"):
            self.reactor = _engine.Reactor(self._woken)
            for receiving in self.receives.values():
                self.reactor.start(receiving)

    def receive(self, receiving: _engine.Receiving) -> None:
        """Have a transport receive, now or when the loop runs."""
        receiving.begin()
        self.receives[receiving.descriptor] = receiving
        if self.reactor is not None:
            self.reactor.start(receiving)
            if self.asleep:
                self.wake()

    def receive_no_more(self, fd: int) -> bool:
        """Have the transport of a descriptor receive no more; return whether one did."""
        receiving = self.receives.pop(fd, None)
        if receiving is None:
            return False
        receiving.end()
        if self.reactor is not None:
            self.reactor.stop(receiving)
        return True

    def select(self, timeout: float | None = None) -> list[tuple[_selectors.SelectorKey, int]]:
        """Wait at most ``timeout`` seconds; return what is ready, nothing where the loop was woken."""
        self._look_out()
        if timeout is not None and timeout <= 0:
            # The loop goes on with other things: now and then the other tasklets shall, too.
            _engine.give_way()
            if self.reactor is not None:
                self.reactor.poll()
        else:
            self.asleep = True
            try:
                self._woken.wait(timeout)
            finally:
                self.asleep = False
        self._woken.clear()
        return self._ask()

    def _look_out(self) -> None:
        """Have the port tell when the system's selector has something."""
        if self._system is None or not self._system.get_map():
            return
        if _STANDS_FOR_ALL and self.reactor is not None:
            self.reactor.watch(self._system.fileno())
        elif self._watch is None:
            self._watch = _engine.spawn(self._wait_on_port)
            self._watch.name = "asyncio: watch"

    def wake(self) -> None:
        """End the wait, or the next one. From any tasklet, thread or signal handler."""
        self._woken.set()

    def rest(self) -> None:
        """The loop has stopped: leave nothing in flight, and no descriptor where nothing is registered."""
        reactor, self.reactor = self.reactor, None
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
        if self._system is None or not self._system.get_map():
            ready = []
        elif self._watch is not None or self.reactor is None or self.reactor.take_readable():
            ready = self._system.select(0)
        else:
            return []
        self._asked.set()
        return ready

    def _wait_on_port(self) -> None:
        """What the watch does: tell the loop that something is ready, and go on when it has asked what."""
        while self._system is not None:
            _engine.wait_any(self._system.watched())
            self._asked.clear()
            self._woken.set()
            self._asked.wait()

    def _changed(self) -> None:
        """Where each descriptor is waited for by itself, the watch begins anew with what there is now."""
        if not _STANDS_FOR_ALL and self._watch is not None:
            self._watch.cancel()
            self._watch = None
            self._woken.set()


class _Nothing:
    """A selector in which nothing is registered, for the errors that it raises."""

    def unregister(self, fileobj: Any) -> Any:
        raise KeyError(f"{fileobj!r} is not registered")

    def modify(self, fileobj: Any, events: int, data: Any) -> Any:
        raise KeyError(f"{fileobj!r} is not registered")


_NOTHING = _Nothing()
