"""Functions of :mod:`signal` for a program whose threads are tasklets: handlers are the main tasklet's."""

from __future__ import annotations

import signal as _std
from typing import Any

from . import _engine

__all__ = ["getsignal", "pthread_kill", "signal"]

_signal, _getsignal = _std.signal, _std.getsignal


def _plain(handler: Any) -> Any:
    return handler.handler if isinstance(handler, _engine.MainHandler) else handler


def signal(signalnum: int, handler: Any, /) -> Any:
    """Set the handler of a signal; return the one before. What it raises is raised in the main tasklet."""
    if callable(handler) and not isinstance(handler, (_std.Handlers, _engine.MainHandler)):
        handler = _engine.MainHandler(handler)
    return _plain(_signal(signalnum, handler))


def getsignal(signalnum: int, /) -> Any:
    """The handler of a signal, as it was set."""
    return _plain(_getsignal(signalnum))


if hasattr(_std, "pthread_kill"):
    _pthread_kill = _std.pthread_kill

    def pthread_kill(thread_id: int, signalnum: int, /) -> None:
        """Send a signal to a thread; to that of the tasklet where it is a tasklet's identifier."""
        _pthread_kill(_engine.thread_of(thread_id), signalnum)
