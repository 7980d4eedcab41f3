"""Preemption: which signal Python is made to believe in, and how long threads that are tasklets may compute."""

from __future__ import annotations

import os
import sys
import warnings

from . import _engine
from ._signal import _signal as set_handler

__all__ = ["getswitchinterval", "setswitchinterval"]

_getswitchinterval, _setswitchinterval = sys.getswitchinterval, sys.setswitchinterval

SIGNAL = {"linux": 16, "win32": 4}.get(sys.platform, 7)
"""A signal that nobody sends, by its number: none comes, and its handler is called all the same.

SIGSTKFLT on Linux, where nothing makes it (signal(7)); SIGEMT elsewhere on Unix; SIGILL on Windows, whose processor's
errors Python never hears of. A program that sets a handler for it is not preempted any more.
"""


def prepare() -> None:
    """Set the handler by which whoever computes gives way. To be called on Python's main thread."""
    ours, standard = (os.path.join(os.path.dirname(file), "") for file in (__file__, os.__file__))
    set_handler(SIGNAL, _engine.Preemption(ours, standard))
    # From Python 3.12 on. The one thread of the system's is the one that watches, which a child does without.
    warnings.filterwarnings("ignore", r"This process \(pid=\d+\) is multi-threaded, use of fork", DeprecationWarning)
    _engine.preempt_by(SIGNAL)


def start() -> None:
    """Have threads that are tasklets give way after :func:`sys.getswitchinterval` from now on."""
    prepare()
    setswitchinterval(_getswitchinterval())


def setswitchinterval(interval: float, /) -> None:
    """Set how long a thread may compute, in seconds; one that is a tasklet does so by its CPU time."""
    global _interval
    _setswitchinterval(interval)
    _interval = _getswitchinterval()
    if _interval > _LONGEST:
        _setswitchinterval(_LONGEST)
    _engine.preempt(_interval)


def getswitchinterval() -> float:
    """How long a thread may compute, in seconds."""
    return _interval


_interval = _getswitchinterval()
_LONGEST = 0.0005 if sys.version_info < (3, 13) and sys.platform != "win32" else float("inf")
"""How long, in seconds, Python itself is to let a thread of the system's wait for the GIL at the most.

Where the one that watches has to have the GIL to ask, whoever computes would else go on for another interval.
"""
