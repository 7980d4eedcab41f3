"""The standard library's :mod:`subprocess`, on the completion port: who waits for a process waits alone.

Everything of :mod:`subprocess` is here under its own name, with the same behaviour: it is the standard library's own
code, over functions that wait on the port, for processes and for what they write. What differs:

- the ends of pipes (``Popen.stdin``, ``stdout``, ``stderr``) are files of :mod:`overlapped.io`;
- ``wait`` with a time-out is told of the end at once, and does not look now and then (pidfd_open(2); where the system
  has no such descriptor, it does).

Beyond that, a :class:`Child` may be tied to more than itself: have a tree of its own, end with this process, and, on
Unix, run on a terminal of its own, a :class:`Pty`.

A process is started as the standard library starts it: without a copy of the parent's page tables where the system can
(vfork(2)), and nothing is set that wants fork(2), as ``preexec_fn`` does, and ``kill_on_parent_exit`` and ``pty``. That
holds the thread until the program has been found and read.

``Popen`` here is a subclass of the standard library's, and the exceptions are its own: ``isinstance`` and ``except``
find either's.
"""

from __future__ import annotations

import os as _std_os
import signal as _signal
import subprocess as _std
import sys as _sys
import threading as _std_threading
from collections.abc import Callable as _Callable
from contextlib import suppress as _suppress
from subprocess import *  # noqa: F403
from types import FunctionType as _FunctionType
from types import SimpleNamespace as _SimpleNamespace
from typing import Any
from typing import AnyStr as _AnyStr

from . import _engine, _os, _ties
from . import io as _io
from . import select as _select
from ._rebind import rebind as _rebind

__all__ = [*_std.__all__, "Child"]
if _sys.platform != "win32":
    from ._pty import Pty

    __all__ += ["Pty"]


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

    _waits = {name: getattr(_winapi, name) for name in _winapi.__all__}
    _names["_winapi"] = _over(_std_winapi, **_ties.STARTS, **_waits)
else:
    _names.update(_ties.STARTS)
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

_POSITIONAL = _std.Popen.__init__.__code__.co_varnames[2 : _std.Popen.__init__.__code__.co_argcount]


class Child(Popen[Any]):
    """A :class:`Popen`, with all its options, that is tied to more than itself, by options that are named:

    - ``own_tree``: the child is the root of a tree, which :meth:`kill_tree` ends: on Windows a job, which nothing
      leaves that was not allowed to; on Unix a group of processes (``process_group=0``, unless it leads a session),
      which a descendant leaves that begins a group or a session of its own.
    - ``kill_on_parent_exit``: the child is ended by force when this process has ended, however that did: on Windows
      with all that it has started (a job); on Linux it alone (``PR_SET_PDEATHSIG``, :manpage:`prctl(2)`), and not where
      its program is given other rights than this process has (set-user-id). Elsewhere: NotImplementedError.
    - ``pty`` (Unix): the :class:`Pty` on whose other end the child runs.
    """

    # Whether there is something to end, and what: for Windows the job, for Unix the group with the child's number.
    _tree: Any = None

    def __init__(
        self,
        args: Any,
        *rest: Any,
        own_tree: bool = False,
        kill_on_parent_exit: bool = False,
        pty: Any = None,
        **options: Any,
    ) -> None:
        if not (own_tree or kill_on_parent_exit or pty is not None):
            super().__init__(args, *rest, **options)
            return
        options.update(zip(_POSITIONAL, rest, strict=False))
        if _sys.platform == "win32":
            if pty is not None:
                raise NotImplementedError("overlapped.subprocess: pty: Windows has no pseudo-terminals of this kind")
            flags = _ties.Flags(options.get("creationflags", 0))
            flags.own_tree, flags.with_parent = own_tree, kill_on_parent_exit
            options["creationflags"] = flags
            super().__init__(args, **options)
            self._tree = flags.tree if own_tree else None
            return
        if kill_on_parent_exit and _sys.platform != "linux":
            raise NotImplementedError("overlapped.subprocess: kill_on_parent_exit: this system has no such thing")
        terminal = -1
        try:
            if pty is not None:
                terminal = pty.terminal()
                options["start_new_session"] = True
                for stream in ("stdin", "stdout", "stderr"):
                    if options.get(stream) is None:
                        options[stream] = terminal
            elif own_tree and not options.get("start_new_session") and options.get("process_group") is None:
                options["process_group"] = 0
            if kill_on_parent_exit or pty is not None:
                then = options.get("preexec_fn")
                options["preexec_fn"] = _ties.BeforeProgram(then, terminal, kill_on_parent_exit)
            super().__init__(args, **options)
        finally:
            if terminal >= 0:
                _std_os.close(terminal)
        self._tree = own_tree or pty is not None
        if pty is not None:
            pty._let_go()

    def kill_tree(self) -> None:
        """End the child at once with all that it has started and they have; it needs a tree (``own_tree``, ``pty``).

        To be called before it was said how the child ended (``returncode``), also where it has: from then on it does
        nothing on Unix, for the system may have given the tree's number to another. ValueError where there is no tree.
        """
        if not self._tree:
            raise ValueError(f"the process {self.pid} was not started with a tree of its own (own_tree=True)")
        if _sys.platform == "win32":
            self._tree.kill()
        elif self.returncode is None:
            # Where there is none, all have ended, or have left.
            with _suppress(ProcessLookupError):
                _std_os.killpg(self.pid, _signal.SIGKILL)
