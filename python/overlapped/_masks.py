"""The signals that each thread blocks, where threads are tasklets.

The system keeps one mask, of the thread that they all are. So a thread's own is kept here where it differs from what
the program began with, and the system's thread blocks what *all* of them block: a signal to the process comes as long
as one thread takes it, as with threads of the system's. It blocks besides what somebody waits for (``sigwait``), so
that no handler is called for that. What is sent to one thread that blocks it is kept for that thread. A program that a
thread starts blocks what that thread does.

As long as nobody blocks or awaits a signal, none of this runs. A tasklet of :func:`overlapped.spawn` is no thread: it
has the main thread's mask. On other threads of the system's the mask is the system's.

(Rejected: to set the system's mask at each switch. A signal to the process would wait until one who takes it runs.)
"""

from __future__ import annotations

import os
import signal as _std
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

from . import _engine

__all__ = ["MAIN", "Wait", "masks", "pending", "started", "waits"]

MAIN = 0
"""In the place of the main thread's identifier."""

started: set[int] = set()
"""The identifiers of the threads that run and are tasklets; the main one is not among them."""

masks: dict[int, frozenset[int]] = {}
"""What threads block that block something else than the program did when it began."""

pending: dict[int, set[int]] = {}
"""The signals that were sent to a thread alone, which blocks them."""


class Wait:
    """A thread that waits for one of some signals."""

    def __init__(self, thread: int, signals: frozenset[int]) -> None:
        self.thread, self.signals = thread, signals
        self.given: int | None = None
        self.descriptor = _engine.signal_descriptor(list(signals))
        self._given_to, self._give = os.pipe()

    def give(self, number: int) -> None:
        """Hand it a signal that was sent to its thread."""
        self.given = number
        os.close(self._give)
        self._give = -1

    def wait(self, seconds: float | None) -> None:
        """Wait until one may have come."""
        _engine.wait_any([(self.descriptor, 1), (self._given_to, 1)], seconds)

    def close(self) -> None:
        """Give up its descriptors."""
        for descriptor in (self.descriptor, self._given_to, self._give):
            if descriptor >= 0:
                os.close(descriptor)


waits: list[Wait] = []
"""Those who wait."""

if sys.platform != "win32":
    _sigmask, _BLOCK, _SET = _std.pthread_sigmask, _std.SIG_BLOCK, _std.SIG_SETMASK

    def of_system() -> frozenset[int]:
        """What the system's thread blocks that calls."""
        return frozenset(_sigmask(_BLOCK, ()))

    def set_of_system(mask: Iterable[int]) -> None:
        """Have the system's thread that calls block these."""
        _sigmask(_SET, mask)

    _initial = of_system()

    def of(thread: int) -> frozenset[int]:
        """What a thread blocks."""
        return masks.get(thread, _initial)

    def note(thread: int, mask: frozenset[int]) -> None:
        """Have a thread block these from now on."""
        if mask == _initial:
            masks.pop(thread, None)
        else:
            masks[thread] = mask

    def renew() -> None:
        """Have the system's thread block what all threads do, and what is waited for.

        One who waits for what the main thread does not block gets it where it is the main thread, which the system
        would choose.
        """
        others = masks.values()
        everybody = MAIN in masks and started <= masks.keys()
        mask = frozenset.intersection(*others) if everybody else _initial.intersection(*others)
        of_main = of(MAIN)
        for wait in waits:
            mask |= wait.signals if wait.thread == MAIN else wait.signals & of_main
        set_of_system(mask)

    @contextmanager
    def in_system(thread: int) -> Iterator[None]:
        """A block in which the system's thread blocks what ``thread`` does."""
        if not (masks or waits) or not _engine.on_main_thread():
            yield
            return
        try:
            set_of_system(of(thread))
            yield
        finally:
            renew()

    def _starts(start: Callable[..., Any]) -> Callable[..., Any]:
        """A function that starts a program, which blocks what the calling thread does."""

        @wraps(start)
        def starts(*args: Any, **kwargs: Any) -> Any:
            if not (masks or waits):
                return start(*args, **kwargs)
            with in_system(me()):
                return start(*args, **kwargs)

        return starts

    def starts_of(module: Any) -> dict[str, Callable[..., Any]]:
        """Those functions of a module that start programs, in versions that mind the mask."""
        names = ("execv", "execve", "posix_spawn", "posix_spawnp", "fork_exec")
        return {name: _starts(getattr(module, name)) for name in names if hasattr(module, name)}

    def mind_forks() -> None:
        """Have the child of a fork block what the thread does that forks."""
        os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork)

    def _before_fork() -> None:
        if (masks or waits) and _engine.on_main_thread():
            set_of_system(of(me()))

    def _after_fork_in_parent() -> None:
        if (masks or waits) and _engine.on_main_thread():
            renew()

    def _after_fork() -> None:
        global _initial
        if masks or waits:
            for wait in waits:
                wait.close()
            for table in (masks, pending, waits):
                table.clear()
            _initial = of_system()


def me() -> int:
    """The thread that calls."""
    ident = _engine.get_ident()
    return ident if ident in started else MAIN


def inherit(thread: int) -> None:
    """To be called where any mask differs: a thread that the calling one has started blocks what that does."""
    mask = masks.get(me())
    if mask is not None:
        masks[thread] = mask


def begin(thread: int) -> None:
    """To be called where any mask differs, and a thread begins."""
    if thread not in masks:
        renew()


def end(thread: int) -> None:
    """To be called where any mask differs, and a thread has ended."""
    masks.pop(thread, None)
    pending.pop(thread, None)
    renew()
