"""Functions of :mod:`signal` for a program whose threads are tasklets.

Handlers run in the main tasklet, whichever runs when a signal comes, and what they raise is raised there. No thread but
that one sets them, as in the standard library.
"""

from __future__ import annotations

import signal as _std
from typing import Any

from . import _engine, _thread

__all__ = ["getsignal", "pthread_kill", "set_wakeup_fd", "signal"]

_signal, _getsignal, _set_wakeup_fd = _std.signal, _std.getsignal, _std.set_wakeup_fd


def _plain(handler: Any) -> Any:
    if isinstance(handler, _engine.Preemption):
        return _std.SIG_DFL
    return handler.handler if isinstance(handler, _engine.MainHandler) else handler


def _main_thread_only(function: str) -> None:
    if _engine.get_ident() in _thread._started:
        raise ValueError(f"{function} only works in main thread of the main interpreter")


def signal(signalnum: int, handler: Any, /) -> Any:
    """Set the handler of a signal; return the one before. It runs in the main tasklet."""
    _main_thread_only("signal")
    if callable(handler) and not isinstance(handler, (_std.Handlers, _engine.MainHandler)):
        handler = _engine.MainHandler(handler)
    return _plain(_signal(signalnum, handler))


def getsignal(signalnum: int, /) -> Any:
    """The handler of a signal, as it was set."""
    return _plain(_getsignal(signalnum))


def set_wakeup_fd(fd: int, /, *, warn_on_full_buffer: bool = True) -> int:
    """Set the descriptor that gets a byte for each signal that comes; return the one before."""
    _main_thread_only("set_wakeup_fd")
    return _set_wakeup_fd(fd, warn_on_full_buffer=warn_on_full_buffer)


if hasattr(_std, "pthread_kill"):
    _pthread_kill = _std.pthread_kill

    def pthread_kill(thread_id: int, signalnum: int, /) -> None:
        """Send a signal to a thread; to that of the tasklet where it is a tasklet's identifier."""
        _pthread_kill(_engine.thread_of(thread_id), signalnum)
