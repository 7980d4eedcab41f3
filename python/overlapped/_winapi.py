"""Waits of Windows that the standard library makes in C, in versions that block only the calling tasklet.

:mod:`subprocess` and :mod:`multiprocessing` wait for processes, pipes and semaphores with ``_winapi``, and asyncio's
loop for its own completion port with ``_overlapped``.
"""

from __future__ import annotations

import _overlapped  # type: ignore[import-not-found]
import _winapi
from collections import defaultdict, deque
from collections.abc import Callable
from typing import Any

from . import _engine
from ._engine import clock as _clock
from .select import _mind_asyncio

__all__ = ["WaitForMultipleObjects", "WaitForSingleObject"]

_INFINITE = 0xFFFFFFFF
_LONGEST_PAUSE = 0.02
_LONGEST_TURN = 50
"""Milliseconds for which a loop of asyncio's holds a thread of the pool, for which others may wait."""

_std: Any = _winapi
_single, _multiple = _std.WaitForSingleObject, _std.WaitForMultipleObjects
_dequeue = _overlapped.GetQueuedCompletionStatus


def _until_signalled(ask: Callable[[], int], milliseconds: int) -> int:
    """Ask at growing intervals until it is not the answer that the time is up."""
    deadline = None if milliseconds == _INFINITE else _clock() + milliseconds / 1000
    pause = 0.0005
    while True:
        answer = ask()
        left = pause if deadline is None else deadline - _clock()
        if answer != _std.WAIT_TIMEOUT or left <= 0:
            if milliseconds == 0:
                _engine.give_way()
            return answer
        _engine.sleep(min(left, pause))
        pause = min(2 * pause, _LONGEST_PAUSE)


def WaitForSingleObject(handle: int, milliseconds: int, /) -> int:
    """Wait for a process, a semaphore, or what else can be waited for; ``WAIT_TIMEOUT`` where the time is up."""
    return _until_signalled(lambda: _single(handle, 0), milliseconds)


def WaitForMultipleObjects(handle_seq: Any, wait_flag: bool, milliseconds: int = _INFINITE, /) -> int:
    """Wait for one of several, or for all where ``wait_flag`` is true."""
    return _until_signalled(lambda: _multiple(handle_seq, wait_flag, 0), milliseconds)


# What was dequeued for a loop whose tasklet was interrupted meanwhile: its next call gets it.
_dequeued: defaultdict[int, deque[Any]] = defaultdict(deque)


def GetQueuedCompletionStatus(port: int, milliseconds: int, /) -> Any:
    """Take a packet off a completion port that is not ours; ``None`` where the time is up."""
    _mind_asyncio()
    arrived = _dequeued[port]

    def turn(patience: int) -> None:
        if (packet := _dequeue(port, patience)) is not None:
            arrived.append(packet)

    deadline = None if milliseconds == _INFINITE else _clock() + milliseconds / 1000
    if not arrived:
        turn(0)
        if not arrived:
            _engine.give_way()
    while not arrived:
        left = _LONGEST_TURN if deadline is None else int(1000 * (deadline - _clock()))
        if left <= 0:
            return None
        _engine.offload_endless(turn, min(left, _LONGEST_TURN))
    return arrived.popleft()
