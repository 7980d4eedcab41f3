"""Functions of :mod:`signal` for a program whose threads are tasklets.

Handlers run in the main tasklet, whichever runs when a signal comes, and what they raise is raised there. No thread but
that one sets them, as in the standard library. Which signals a thread blocks is its own affair (see :mod:`_masks`); who
waits for a signal lets the others run.

``pause`` in the main thread ends when any handler has been called. In another one it ends for a signal that was sent to
that thread, and for one that the main thread blocks and it does not: the system would have chosen it.

``sigwait`` and its kin wait on Linux alone; elsewhere, without signalfd(2), they block the thread of the system's. What
``sigwaitinfo`` tells of a signal that another thread has sent by ``pthread_kill`` is as of any such (``SI_TKILL``).
"""

from __future__ import annotations

import os as _os
import signal as _std
import sys
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from . import _engine, _masks
from ._engine import clock as _clock

__all__ = [
    "getsignal",
    "pause",
    "pthread_kill",
    "pthread_sigmask",
    "raise_signal",
    "set_wakeup_fd",
    "signal",
    "sigpending",
    "sigtimedwait",
    "sigwait",
    "sigwaitinfo",
]

_signal, _getsignal, _set_wakeup_fd = _std.signal, _std.getsignal, _std.set_wakeup_fd


def _plain(handler: Any) -> Any:
    if isinstance(handler, _engine.Preemption):
        return _std.SIG_DFL
    return handler.handler if isinstance(handler, _engine.MainHandler) else handler


def _main_thread_only(function: str) -> None:
    if _engine.get_ident() in _masks.started:
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
    set_it = partial(_set_wakeup_fd, fd, warn_on_full_buffer=warn_on_full_buffer)
    before: int = _engine.while_nobody_asks(set_it)
    return before


if sys.platform != "win32":
    _pthread_kill, _raise_signal, _pause = _std.pthread_kill, _std.raise_signal, _std.pause
    _sigmask, _sigpending = _std.pthread_sigmask, _std.sigpending

    # The threads that pause, and which signals were sent to them.
    _pausing: dict[int, set[int]] = {}

    def pthread_sigmask(how: int, mask: Iterable[int], /) -> set[Any]:
        """Change which signals the calling thread blocks; return those that it has blocked."""
        if not _engine.on_main_thread():
            return _sigmask(how, mask)
        me = _masks.me()
        try:
            _masks.set_of_system(_masks.of(me))
            try:
                return _sigmask(how, mask)
            finally:
                now = _masks.of_system()
                _masks.note(me, now)
                sent = _masks.pending.get(me, set())
                for number in sorted(sent - now):
                    sent.discard(number)
                    _send(me, number, _raise_signal, number)
        finally:
            _masks.renew()

    def sigpending() -> set[Any]:
        """The signals that wait, of those that the calling thread blocks."""
        me = _masks.me()
        blocked, sent = _masks.of(me), _masks.pending.get(me, ())
        return {number for number in _sigpending() if number in blocked} | {_named(number) for number in sent}

    def pthread_kill(thread_id: int, signalnum: int, /) -> None:
        """Send a signal to a thread, which may be a tasklet."""
        of_system = _engine.thread_of(thread_id)
        if not _engine.on_main_thread() or of_system != _engine.thread_of(_engine.get_ident()):
            _pthread_kill(of_system, signalnum)
            return
        thread = thread_id if thread_id in _masks.started else _masks.MAIN
        if not _send(thread, signalnum, _pthread_kill, of_system, signalnum):
            sys.audit("signal.pthread_kill", thread_id, signalnum)

    def raise_signal(signalnum: int, /) -> None:
        """Send a signal to the calling thread."""
        if _engine.on_main_thread():
            _send(_masks.me(), signalnum, _raise_signal, signalnum)
        else:
            _raise_signal(signalnum)

    def _send(thread: int, number: int, send: Callable[..., object], *args: int) -> bool:
        """Have a signal reach a thread by ``send(*args)``; False where it did without."""
        for wait in _masks.waits:
            if wait.thread == thread and wait.given is None and number in wait.signals:
                wait.give(number)
                return False
        if number in _masks.of(thread):
            _masks.pending.setdefault(thread, set()).add(number)
            return False
        if thread in _pausing:
            _pausing[thread].add(number)
        with _masks.in_system(thread):
            send(*args)
        return True

    def pause() -> None:
        """Wait until a signal's handler has been called."""
        if not _engine.on_main_thread():
            return _pause()
        me = _masks.me()
        sent = _pausing[me] = set()
        try:
            while not _ends_pause(me, _engine.await_handler(), sent):
                pass
        finally:
            _pausing.pop(me, None)

    def _ends_pause(thread: int, came: int, sent: set[int]) -> bool:
        if thread == _masks.MAIN:
            return True
        numbers = {number for number in range(came.bit_length()) if came >> number & 1}
        return bool(numbers & sent or numbers & _masks.of(_masks.MAIN) - _masks.of(thread))

    def _named(number: int) -> Any:
        try:
            return _std.Signals(number)
        except ValueError:
            return number


if sys.platform == "linux":
    _sigtimedwait, _sigwait = _std.sigtimedwait, _std.sigwait
    _sigwaitinfo = _std.sigwaitinfo
    _SI_TKILL = -6

    def sigwait(sigset: Iterable[int], /) -> Any:
        """Wait for one of some signals, which are to be blocked; return it, and take it."""
        if not _engine.on_main_thread():
            return _sigwait(sigset)
        return _named(_take(tuple(sigset), None).si_signo)

    def sigwaitinfo(sigset: Iterable[int], /) -> Any:
        """Wait for one of some signals, which are to be blocked; take it, and return what is known of it."""
        return _take(tuple(sigset), None) if _engine.on_main_thread() else _sigwaitinfo(sigset)

    def sigtimedwait(sigset: Iterable[int], timeout: float, /) -> Any:
        """The same for at most ``timeout`` seconds; None where none has come."""
        if not _engine.on_main_thread():
            return _sigtimedwait(sigset, timeout)
        if timeout < 0:
            raise ValueError("timeout must be non-negative")
        return _take(tuple(sigset), timeout)

    def _take(signals: tuple[int, ...], timeout: float | None) -> Any:
        # What is wrong with the arguments, the system's call says.
        found = _sigtimedwait(signals, 0)
        if found is not None:
            return found
        me = _masks.me()
        sent = _masks.pending.get(me, set())
        if ready := sent.intersection(signals):
            number = min(ready)
            sent.discard(number)
            return _info(number)
        until = None if timeout is None else _clock() + timeout
        wait = _masks.Wait(me, frozenset(map(int, signals)))
        _masks.waits.append(wait)
        try:
            _masks.renew()
            while wait.given is None and (found := _sigtimedwait(signals, 0)) is None:
                left = None if until is None else until - _clock()
                if left is not None and left <= 0:
                    return None
                wait.wait(left)
            return found if wait.given is None else _info(wait.given)
        except BaseException:
            if wait.given is not None:
                _masks.pending.setdefault(me, set()).add(wait.given)
            raise
        finally:
            _masks.waits.remove(wait)
            wait.close()
            _masks.renew()

    def _info(number: int) -> Any:
        """What is known of a signal that a thread of this process has sent to one thread."""
        return _std.struct_siginfo((number, _SI_TKILL, 0, _os.getpid(), _os.getuid(), 0, 0))
