"""What tools ask Python about its threads, for a program whose threads are tasklets.

Trace and profile functions need nothing here: each tasklet has its own (see ``thread/hooks.rs``).
"""

from __future__ import annotations

import struct
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

from ._engine import (
    _current_exceptions,
    _current_frames,
    _setprofileallthreads,
    _settraceallthreads,
    get_ident,
    thread_of,
)
from ._os import _write

__all__ = [
    "_current_exceptions",
    "_current_frames",
    "_setprofileallthreads",
    "_settraceallthreads",
    "dump_traceback",
    "pthread_getcpuclockid",
]

MOST_FRAMES = 100
MOST_CHARACTERS = 500
"""As in the standard library's."""


def dump_traceback(file: Any = None, all_threads: bool = True) -> None:
    """Write where each thread is to ``file``, a descriptor or a file that has one: standard error if it is None.

    What :mod:`faulthandler` writes by itself, after a time or at a fault, shows the tasklet that runs alone.
    """
    if file is None:
        file = sys.stderr
        if file is None:
            raise RuntimeError("sys.stderr is None")
    if not isinstance(file, int):
        file.flush()
        file = file.fileno()
    here, frames = get_ident(), _current_frames() if all_threads else {}
    for ident, frame in frames.items():
        if ident != here:
            _say(file, f"Thread {_name(ident)} (most recent call first):", frame, "\n")
    title = f"Current thread {_name(here)}" if all_threads else "Stack"
    _say(file, f"{title} (most recent call first):", sys._getframe(1), "")


# As many digits as a long of C's has.
_WIDTH = 2 + 2 * struct.calcsize("L")


def _name(ident: int) -> str:
    thread = threading._active.get(ident) if sys.version_info >= (3, 14) else None  # type: ignore[attr-defined]
    return f"{ident:#0{_WIDTH}x}" + (f" [{thread.name}]" if thread is not None else "")


def _say(descriptor: int, title: str, frame: FrameType | None, end: str) -> None:
    text = "\n".join([title, *_lines(frame)]) + f"\n{end}"
    # Past the port: it is to be written wherever the program stands.
    data = text.encode("ascii", "backslashreplace")
    while data:
        data = data[_write(descriptor, data) :]


def _lines(frame: FrameType | None) -> Iterator[str]:
    for _ in range(MOST_FRAMES):
        if frame is None:
            return
        code = frame.f_code
        file, name = (text[:MOST_CHARACTERS] for text in (code.co_filename, code.co_name))
        yield f'  File "{file}", line {frame.f_lineno if frame.f_lineno is not None else "???"} in {name}'
        frame = frame.f_back
    if frame is not None:
        yield "  ..."


if hasattr(time, "pthread_getcpuclockid"):
    _pthread_getcpuclockid = time.pthread_getcpuclockid

    def pthread_getcpuclockid(thread_id: int, /) -> int:
        """The clock of a thread's CPU time; of a tasklet's identifier that of the thread on which it runs."""
        return _pthread_getcpuclockid(thread_of(thread_id))
