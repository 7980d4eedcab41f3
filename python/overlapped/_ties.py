"""What a child of :class:`overlapped.subprocess.Child` is tied to: a terminal, a tree of its own, its parent.

The standard library's own code starts it. On Unix, what that has no option for the child does before its program, in
the place of ``preexec_fn``; on Windows it begins suspended, and is put into a job. Both find their way through that
code as one of its arguments: :class:`BeforeProgram`, :class:`Flags`.

The system's tie to a parent is to the *thread* that forks (``PR_SET_PDEATHSIG``). The main thread lasts as long as the
process; for any other, a thread forks that does.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

from . import _engine
from .monkey import original

__all__ = ["STARTS", "BeforeProgram", "Flags"]


class BeforeProgram:
    """What a child does before its program begins."""

    def __init__(self, then: Callable[[], Any] | None, terminal: int, with_parent: bool) -> None:
        self._then, self._terminal = then, terminal
        self.parent = os.getpid() if with_parent else 0

    def __call__(self) -> None:
        if sys.platform != "win32":
            if self.parent:
                _engine.end_with_parent(self.parent)
            if self._terminal >= 0:
                from ._pty import take

                take(self._terminal)
            if self._then is not None:
                self._then()


class Flags(int):
    """Flags of CreateProcess for a child with ties; afterwards, its tree."""

    own_tree = False
    with_parent = False
    tree: Any = None


if sys.platform == "win32":
    import _winapi

    _CREATE_SUSPENDED = 0x4

    def create_process(*args: Any) -> tuple[int, int, int, int]:
        """``_winapi.CreateProcess``, which minds the flags' ties."""
        flags = next((arg for arg in args if isinstance(arg, Flags)), None)
        if flags is None:
            return _winapi.CreateProcess(*args)
        args = tuple(int(arg) | _CREATE_SUSPENDED if arg is flags else arg for arg in args)
        process, thread, process_id, thread_id = _winapi.CreateProcess(*args)
        try:
            flags.tree = _engine.tie_and_resume(process, thread, flags.own_tree, flags.with_parent)
        except BaseException:
            _winapi.TerminateProcess(process, 1)
            _winapi.CloseHandle(thread)
            _winapi.CloseHandle(process)
            raise
        return process, thread, process_id, thread_id

    STARTS: dict[str, Any] = {"CreateProcess": create_process}
    """What starts a process, by the name in the module that the standard library has it of."""

else:
    import _posixsubprocess
    from _queue import SimpleQueue as _SimpleQueue

    _wanted: Any = None
    _of_process = 0

    def fork_exec(*args: Any) -> int:
        """``_posixsubprocess.fork_exec``, on a thread that lasts where a child is to end with its parent."""
        before = next((arg for arg in args if isinstance(arg, BeforeProgram)), None)
        # Linux, which alone has this tie, gives the main thread the process's number.
        if before is None or not before.parent or original("_thread", "get_native_id")() == os.getpid():
            return int(_posixsubprocess.fork_exec(*args))
        answer: Any = _SimpleQueue()
        _lasting().put((args, answer))
        pid, error = answer.get()
        if error is not None:
            raise error
        return int(pid)

    def _lasting() -> Any:
        """What the lasting thread of this process is asked by."""
        global _wanted, _of_process
        if _of_process != os.getpid():
            _wanted, _of_process = _SimpleQueue(), os.getpid()
            original("_thread", "start_new_thread")(_serve, (_wanted,))
        return _wanted

    def _serve(wanted: Any) -> None:
        while True:
            args, answer = wanted.get()
            try:
                answer.put((_posixsubprocess.fork_exec(*args), None))
            except BaseException as error:
                answer.put((-1, error))

    STARTS = {"_fork_exec": fork_exec}
