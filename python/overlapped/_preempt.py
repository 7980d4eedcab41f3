"""Preemption: which signal Python is made to believe in, and how long threads that are tasklets may compute."""

from __future__ import annotations

import os
import sys
import warnings

from . import _engine
from ._signal import _signal as set_handler

__all__ = ["setswitchinterval"]

_setswitchinterval = sys.setswitchinterval

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
    _engine.preempt(sys.getswitchinterval())


def setswitchinterval(interval: float, /) -> None:
    """Set how long a thread may compute, in seconds; one that is a tasklet does so by its CPU time."""
    _setswitchinterval(interval)
    _engine.preempt(interval)
