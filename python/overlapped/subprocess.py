"""The standard library's :mod:`subprocess`, on the completion port: who waits for a process waits alone.

Everything of :mod:`subprocess` is here under its own name, with the same behaviour: it is the standard library's own
code, over functions that wait on the port, for processes and for what they write. What differs:

- the ends of pipes (``Popen.stdin``, ``stdout``, ``stderr``) are files of :mod:`overlapped.io`;
- ``wait`` with a time-out is told of the end at once, and does not look now and then (pidfd_open(2); where the system
  has no such descriptor, it does).

A process is started as the standard library starts it: without a copy of the parent's page tables where the system can
(vfork(2)). That holds the thread until the program has been found and read.

``Popen`` here is a subclass of the standard library's, and the exceptions are its own: ``isinstance`` and ``except``
find either's.
"""

from __future__ import annotations

import os as _std_os
import subprocess as _std
import sys as _sys
import threading as _std_threading
from collections.abc import Callable as _Callable
from subprocess import *  # noqa: F403
from types import FunctionType as _FunctionType
from types import SimpleNamespace as _SimpleNamespace
from typing import Any
from typing import AnyStr as _AnyStr

from . import _engine, _os
from . import io as _io
from . import select as _select
from ._rebind import rebind as _rebind

__all__ = list(_std.__all__)


class _Thread:
    """What Windows reads pipes with: a tasklet in the place of a thread."""

    def __init__(self, target: _Callable[..., Any], args: tuple[Any, ...] = ()) -> None:
        self._target, self._args = target, args
        self._tasklet: _engine.Tasklet[Any] | None = None
        self.daemon = False

    def start(self) -> None:
        self._tasklet = _engine.spawn(self._target, *self._args)

    def join(self, timeout: float | None = None) -> None:
        if self._tasklet is not None:
            self._tasklet.join(timeout)

    def is_alive(self) -> bool:
        return self._tasklet is not None and self._tasklet.alive


def _over(module: Any, **ours: Any) -> Any:
    """A module with some names of ours."""
    return _SimpleNamespace(**{**vars(module), **ours})


# The standard library's own functions, over these names.
_names = dict(vars(_std))
_names.update(
    os=_over(_std_os, **{name: getattr(_os, name) for name in _os.__all__ if hasattr(_os, name)}),
    io=_over(_io, open=_io.open, TextIOWrapper=_io.TextIOWrapper),
    threading=_over(_std_threading, Lock=_engine.Lock, Thread=_Thread),
    time=_SimpleNamespace(sleep=_engine.sleep),
)
if _sys.platform == "win32":
    import _winapi as _std_winapi

    from . import _winapi

    _names["_winapi"] = _over(_std_winapi, **{name: getattr(_winapi, name) for name in _winapi.__all__})
else:
    import selectors as _selectors

    if hasattr(_selectors, "PollSelector"):

        class _PollSelector(_selectors.PollSelector):
            _selector_cls = _select.poll

        _names["_PopenSelector"] = _PollSelector
    else:

        class _SelectSelector(_selectors.SelectSelector):
            _select = staticmethod(_select.select)

        _names["_PopenSelector"] = _SelectSelector


class Popen(_std.Popen[_AnyStr]):  # type: ignore[no-redef]
    __doc__ = _std.Popen.__doc__

    if _sys.platform != "win32":

        def _wait(self, timeout: float | None) -> int | None:
            """What ``wait`` does: return the status, or raise TimeoutExpired."""
            if timeout is not None and self.poll() is None:
                _os.await_end(self.pid, timeout)
                if self.poll() is None:
                    raise _std.TimeoutExpired(self.args, timeout)
            status: int | None = _wait(self, None)
            return status


_wait = _rebind(_std.Popen._wait, _names, __name__)  # type: ignore[attr-defined]
for _name, _value in list(vars(_std.Popen).items()):
    if isinstance(_value, _FunctionType) and _value.__globals__ is vars(_std) and _name not in vars(Popen):
        setattr(Popen, _name, _rebind(_value, _names, __name__))

_names["Popen"] = Popen
for _name in ("call", "check_call", "check_output", "run", "getstatusoutput", "getoutput"):
    _names[_name] = globals()[_name] = _rebind(getattr(_std, _name), _names, __name__)
