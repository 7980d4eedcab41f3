"""The channel: the engine's, which has Stackless's balance and preference, with what Stackless adds.

That is the line of those that wait, as tasklets: the engine's line holds tokens. It is kept beside, in the same
order, and whoever meets the first takes it off. Between threads it may be behind for a moment, as may be what
``block_trap`` and the callback are told: only the engine knows who came first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from .. import _engine
from ._hooks import exception, hooks, may_switch
from ._tasklet import getcurrent, tasklet

_T = TypeVar("_T")
_R = TypeVar("_R")


class channel(_engine.Channel[_T]):
    """A rendezvous between tasklets, of one thread or of several: a send waits for a receive, and a receive for a send.

    ``balance`` is how many wait, senders as a positive number; ``preference`` who runs on when two have met: -1 the
    receiver, 1 the sender, 0 whoever came second. May be subclassed.
    """

    _waiting: dict[tasklet, None]
    schedule_all: bool
    """While true, whoever finds somebody waiting runs on after all others, whatever the preference."""

    def __new__(cls, *args: Any, **kwargs: Any) -> channel[_T]:
        self = super().__new__(cls, as_stackless=True)
        self._waiting = {}
        self.schedule_all = False
        return self

    def send(self, value: _T) -> None:  # type: ignore[override]
        """Give ``value`` to a receiver, waiting for one.

        Raises:
            ValueError: the channel is closed.
            RuntimeError: it would have to wait, and ``block_trap`` is set; or nobody is left to receive.
        """
        self._act(True, super().send, value)

    def receive(self) -> _T:  # type: ignore[override]
        """Take a value from a sender, waiting for one; raise what it sent as an exception.

        Raises:
            ValueError: the channel is closed.
            RuntimeError: it would have to wait, and ``block_trap`` is set; or nobody is left to send.
        """
        return self._act(False, super().receive)

    def send_exception(self, exc: type[BaseException], *args: Any) -> None:  # type: ignore[override]
        """Raise ``exc(*args)`` in a receiver, waiting for one."""
        self._act(True, super().send_exception, exc, *args)

    def send_throw(self, exc: Any = None, val: Any = None, tb: Any = None) -> None:
        """Raise an exception, with its traceback, in a receiver, waiting for one. Arguments are as for ``throw``."""
        self._act(True, super().throw, exception(exc, val, tb))

    def send_sequence(self, sequence: Iterable[_T]) -> int:
        """Send one value after the other; return how many."""
        count = 0
        for value in sequence:
            self.send(value)
            count += 1
        return count

    def __iter__(self) -> Iterator[_T]:
        return self

    def __next__(self) -> _T:
        """Receive, until the channel is closed and nobody waits."""
        if self.closed:
            raise StopIteration
        return self.receive()

    @property
    def queue(self) -> tasklet | None:
        """The one that has waited longest, or None. The others follow by ``next``."""
        return next(iter(self._waiting), None)

    def _act(self, sending: bool, operation: Callable[..., _R], *arguments: Any) -> _R:
        me = getcurrent()
        balance = self.balance
        blocks = balance >= 0 if sending else balance <= 0
        if hooks.channel_callback is not None:
            hooks.channel_callback(self, me, sending, blocks)
        may_switch()
        if blocks:
            return self._wait(me, operation, *arguments)
        first = self.queue
        if first is not None:
            del self._waiting[first]
        if not self.schedule_all:
            return operation(*arguments)
        preference, self.preference = self.preference, 0
        try:
            result = operation(*arguments)
        finally:
            self.preference = preference
        _engine.give_turn()
        return result

    def _wait(self, me: tasklet, operation: Callable[..., _R], *arguments: Any) -> _R:
        if me.block_trap and not self.closing:
            raise RuntimeError("this tasklet does not like to be blocked.")
        self._waiting[me] = None
        me._waits_on = self
        try:
            return operation(*arguments)
        finally:
            me._waits_on = None
            self._waiting.pop(me, None)

    def __reduce__(self) -> tuple[Any, ...]:
        if self._waiting:
            raise TypeError(
                "a channel on which tasklets wait cannot be pickled, for they cannot: pickle it when nobody waits"
            )
        return _restore, (type(self), self.preference, self.schedule_all, self.closing, self._attributes())

    def _attributes(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_waiting", "schedule_all")}


def _restore(
    kind: type[channel[Any]], preference: int, schedule_all: bool, closing: bool, attributes: dict[str, Any]
) -> channel[Any]:
    made = kind.__new__(kind)
    made.preference, made.schedule_all = preference, schedule_all
    made.__dict__.update(attributes)
    if closing:
        made.close()
    return made
