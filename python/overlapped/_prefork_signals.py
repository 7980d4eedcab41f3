"""The signals that a server of :mod:`overlapped.prefork` obeys, as administrators know them from others of its kind."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any

if sys.platform == "win32":
    STOP = {signal.SIGINT, signal.SIGBREAK}
    RESTART, MORE, FEWER = None, None, None
else:
    STOP = {signal.SIGINT, signal.SIGTERM}
    RESTART, MORE, FEWER = signal.SIGHUP, signal.SIGTTIN, signal.SIGTTOU


@contextlib.contextmanager
def handled(hear: Callable[[int], object]) -> Iterator[None]:
    """Have each of them heard within it; what was done with them before is done again afterwards."""
    numbers = [*STOP, *(number for number in (RESTART, MORE, FEWER) if number is not None)]
    before: dict[int, Any] = {}
    try:
        for number in numbers:
            before[number] = signal.signal(number, lambda number, _: hear(number))
        yield
    finally:
        for one, handler in before.items():
            # None is one that was not made in Python.
            signal.signal(one, signal.SIG_DFL if handler is None else handler)
