"""Locks of files that processes share (:mod:`fcntl`), in versions for which only the calling tasklet waits.

The system tells nobody that one is free: it is tried at growing intervals, as :class:`_multiprocessing.SemLock` is.
(Rejected: a thread of the pool that waits. Where its caller has left, it would take the lock for nobody.) Where no
other tasklet is alive the system's own call waits; it alone finds a deadlock between processes (``EDEADLK``).
"""

from __future__ import annotations

import errno
import fcntl as _std
import os as _os
from collections.abc import Callable
from typing import Any

from . import _engine

__all__ = ["fcntl", "flock", "lockf"]

_flock, _lockf, _fcntl = _std.flock, _std.lockf, _std.fcntl

_WITHOUT_WAIT = {
    getattr(_std, waits): getattr(_std, tries)
    for waits, tries in (("F_SETLKW", "F_SETLK"), ("F_OFD_SETLKW", "F_OFD_SETLK"))
    if hasattr(_std, waits)
}
_TAKES = _std.LOCK_SH | _std.LOCK_EX


def until_free(attempt: Callable[[], Any]) -> Any:
    """Call ``attempt()`` until it takes its lock."""
    pause = 0.0005
    while True:
        try:
            return attempt()
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise
        _engine.sleep(pause)
        pause = min(2 * pause, 0.01)


def _waits(operation: Any) -> bool:
    return isinstance(operation, int) and bool(operation & _TAKES) and not operation & _std.LOCK_NB


def flock(fd: Any, operation: int, /) -> None:
    """Lock a whole file, or unlock it."""
    if _waits(operation) and not _engine.is_alone():
        until_free(lambda: _flock(fd, operation | _std.LOCK_NB))
    else:
        _flock(fd, operation)


def lockf(fd: Any, cmd: int, len: int = 0, start: int = 0, whence: int = 0, /) -> None:
    """Lock a part of a file for this process, or unlock it."""
    if _waits(cmd) and not _engine.is_alone():
        until_free(lambda: _lockf(fd, cmd | _std.LOCK_NB, len, start, whence))
    else:
        _lockf(fd, cmd, len, start, whence)


def fcntl(fd: Any, cmd: int, arg: Any = 0, /) -> Any:
    """What fcntl(2) does; a lock that is waited for with ``F_SETLKW`` is waited for here."""
    tries = _WITHOUT_WAIT.get(cmd)
    if tries is None or _engine.is_alone():
        return _fcntl(fd, cmd, arg)
    return until_free(lambda: _fcntl(fd, tries, arg))


if hasattr(_os, "lockf"):
    _os_lockf = _os.lockf

    def of_os(fd: int, command: int, length: int, /) -> None:
        """``os.lockf``: lock a part of a file from its position."""
        if command == _os.F_LOCK and not _engine.is_alone():
            until_free(lambda: _os_lockf(fd, _os.F_TLOCK, length))
        else:
            _os_lockf(fd, command, length)

    of_os.__name__ = of_os.__qualname__ = "lockf"
