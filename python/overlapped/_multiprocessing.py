"""The semaphore of :mod:`multiprocessing`, which waits in C, in a version that blocks only the calling tasklet."""

from __future__ import annotations

import _multiprocessing as _std  # type: ignore[import-not-found]
from typing import Any

from . import _engine
from ._engine import clock as _clock

__all__ = ["SemLock"]

_RECURSIVE = 0


class SemLock(_std.SemLock):  # type: ignore[misc]
    """A semaphore that processes share. The system wakes no tasklet for it: it is tried at growing intervals."""

    # The tasklet that took it last; the original knows threads alone.
    _holder = 0

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
        """Take it, waiting at most ``timeout`` seconds; return whether it was taken."""
        deadline = None if timeout is None else _clock() + timeout
        pause = 0.0002
        while not self._try():
            left = pause if deadline is None else min(deadline - _clock(), pause)
            if not block or left <= 0:
                _engine.give_way()
                return False
            _engine.sleep(left)
            pause = min(2 * pause, 0.01)
        return True

    def _try(self) -> bool:
        me = _engine.get_ident()
        if self.kind == _RECURSIVE and super()._is_mine() and self._holder != me:
            return False
        if not super().acquire(False):
            return False
        self._holder = me
        return True

    def release(self) -> None:
        """Release it once."""
        if not self._is_mine() and self.kind == _RECURSIVE:
            raise AssertionError("attempt to release recursive lock not owned by thread")
        super().release()

    def _is_mine(self) -> bool:
        return bool(super()._is_mine()) and self._holder == _engine.get_ident()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: Any) -> None:
        self.release()
