"""Functions of :mod:`os` that block, in versions that block only the calling tasklet; and those that close.

A number that was closed may be given out again at once. Whoever closes it therefore ends first what other tasklets
have in flight on it, with ``EBADF``, as :class:`overlapped.socket.socket` and :class:`overlapped.io.FileIO` do. (In a
thread a read that has begun goes on with what was closed. No program can build on that: which comes first is chance.)

The ports' own descriptors are none of the program's: to a daemon that closes whatever is open they are not, ``EBADF``.
"""

from __future__ import annotations

import os as _std
import stat as _stat
import sys
from collections import Counter
from collections.abc import Sequence as _Sequence
from contextlib import suppress
from errno import EBADF as _EBADF
from errno import EBUSY as _EBUSY
from operator import index as _index
from typing import Any

from . import _engine
from ._engine import clock as _clock
from ._pool import on_pool as _on_pool

__all__ = [
    "close",
    "closerange",
    "dup2",
    "fdatasync",
    "fsync",
    "open",
    "pread",
    "preadv",
    "pwrite",
    "pwritev",
    "read",
    "readv",
    "sendfile",
    "system",
    "wait",
    "wait3",
    "wait4",
    "waitid",
    "waitpid",
    "write",
    "writev",
]

_read, _write, _system, _fsync = _std.read, _std.write, _std.system, _std.fsync
_close, _closerange, _dup2 = _std.close, _std.closerange, _std.dup2

if sys.platform == "win32":
    import msvcrt as _msvcrt

    # Descriptors in whose calls a thread is: the C runtime holds them meanwhile.
    _busy: Counter[int] = Counter()

    def _is_the_runtimes(fd: int) -> bool:
        """Whether the C runtime is to read or write it: in text mode, or a file, which may be open to append."""
        if _engine.program_ends():
            return False
        if _busy[fd]:
            return True
        try:
            if _stat.S_ISREG(_std.fstat(fd).st_mode):
                return True
            # There is no other way to ask than to set it.
            mode = _msvcrt.setmode(fd, _std.O_BINARY)
        except OSError:
            return False
        if mode == _std.O_BINARY:
            return False
        _msvcrt.setmode(fd, mode)
        return True

    def _on_a_thread(call: Any, fd: int, argument: Any) -> Any:
        _busy[fd] += 1
        try:
            return _engine.offload_endless(call, fd, argument)
        finally:
            _busy[fd] -= 1


def read(fd: int, length: int, /) -> bytes:
    """Read at most ``length`` bytes from a descriptor."""
    length = _index(length)
    if length > 0:
        if sys.platform == "win32" and _is_the_runtimes(fd):
            return bytes(_on_a_thread(_read, fd, length))
        data = _engine.read_descriptor(fd, length)
        if data is not None:
            return data
    return _read(fd, length)


def write(fd: int, data: Any, /) -> int:
    """Write ``data`` to a descriptor; return how many bytes were written."""
    if sys.platform == "win32" and _is_the_runtimes(fd):
        return int(_on_a_thread(_write, fd, data))
    written = _engine.write_descriptor(fd, data)
    return _write(fd, data) if written is None else written


def close(fd: int) -> None:
    """Close a descriptor. What other tasklets have in flight on it ends first."""
    if fd in _engine.own_descriptors():
        raise OSError(_EBADF, _std.strerror(_EBADF))
    _end_what_is_in_flight(fd)
    _close(fd)


def closerange(fd_low: int, fd_high: int, /) -> None:
    """Close the descriptors from ``fd_low`` up to, and without, ``fd_high``; errors are ignored."""
    fd_low, fd_high = max(_index(fd_low), 0), _index(fd_high)
    own = sorted(fd for fd in _engine.own_descriptors() if fd_low <= fd < fd_high)
    if _engine.in_flight():
        for fd in range(fd_low, fd_high):
            if fd not in own:
                _end_what_is_in_flight(fd)
    for fd in own:
        _closerange(fd_low, fd)
        fd_low = fd + 1
    _closerange(fd_low, fd_high)


def dup2(fd: int, fd2: int, inheritable: bool = True) -> int:
    """Duplicate ``fd`` to ``fd2``, which is closed before. What other tasklets have in flight on that ends first."""
    if fd != fd2:
        if fd2 in _engine.own_descriptors():
            raise OSError(_EBUSY, f"{_std.strerror(_EBUSY)}: descriptor {fd2} is a completion port's")
        _end_what_is_in_flight(fd2)
    return _dup2(fd, fd2, inheritable)


def _end_what_is_in_flight(fd: Any) -> None:
    # What is wrong with the number, the system's call says.
    if isinstance(fd, int):
        with suppress(OSError, OverflowError):
            _engine.cancel_file(fd)


def fsync(fd: Any) -> None:
    """Wait until the file's data has reached the device."""
    _engine.offload_short(_fsync, fd)


if hasattr(_std, "fdatasync"):
    _fdatasync = _std.fdatasync

    def fdatasync(fd: Any) -> None:
        """Wait until the file's data, without what is not needed to read it back, has reached the device."""
        _engine.offload_short(_fdatasync, fd)


if sys.platform != "win32":
    _open, _readv, _writev = _std.open, _std.readv, _std.writev

    def open(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        """Open a file; return its descriptor. Where it is a FIFO, that waits for who opens the other end."""
        if dir_fd is None and not flags & _std.O_NONBLOCK and not _engine.program_ends() and _is_fifo(path):
            sys.audit("open", path, None, flags)
            return _engine.open(_std.fsencode(path), flags, _std.fspath(path))
        return _open(path, flags, mode, dir_fd=dir_fd)

    def _is_fifo(path: Any) -> bool:
        try:
            return _stat.S_ISFIFO(_std.stat(path).st_mode)
        except (OSError, ValueError, TypeError):
            # It is the open that tells.
            return False

    def readv(fd: int, buffers: Any, /) -> int:
        """Read into several buffers, one after the other; return how many bytes were read."""
        views = _views(buffers)
        size = sum(map(len, views))
        data = _engine.read_descriptor(fd, size) if size and not any(view.readonly for view in views) else None
        return _readv(fd, buffers) if data is None else _scatter(data, views)

    def writev(fd: int, buffers: Any, /) -> int:
        """Write several buffers, one after the other; return how many bytes were written."""
        views = _views(buffers)
        written = _engine.write_descriptor(fd, b"".join(views)) if views else None
        return _writev(fd, buffers) if written is None else written

    def _views(buffers: Any) -> list[memoryview]:
        """The buffers' bytes; none where the system's own call is to say what is wrong with them."""
        try:
            views = [memoryview(buffer).cast("B") for buffer in buffers]
        except TypeError:
            return []
        return views if len(views) <= _MOST_BUFFERS and isinstance(buffers, _Sequence) else []

    _MOST_BUFFERS = _std.sysconf("SC_IOV_MAX")

    def _scatter(data: bytes, views: list[memoryview]) -> int:
        at = 0
        for view in views:
            part = data[at : at + len(view)]
            view[: len(part)] = part
            at += len(part)
        return at

    def pread(fd: int, length: int, offset: int, /) -> bytes:
        """Read at most ``length`` bytes from a file at ``offset``."""
        if length <= 0 or offset < 0 or _engine.program_ends():
            return _pread(fd, length, offset)
        data = _engine.read_at(fd, length, offset)
        return _pread(fd, length, offset) if data is None else data

    _pread = _std.pread

    # These end by themselves: a file has them, and nothing that waits for others.
    pwrite = _on_pool(_std.pwrite, _engine.offload_short)
    if hasattr(_std, "preadv"):
        preadv, pwritev = (_on_pool(call, _engine.offload_short) for call in (_std.preadv, _std.pwritev))

    if hasattr(_std, "sendfile"):
        _sendfile = _std.sendfile

        def sendfile(out_fd: int, in_fd: int, *args: Any, **kwargs: Any) -> int:
            """Copy from one descriptor to another within the system; return how many bytes were copied."""
            if not _engine.is_alone() and isinstance(out_fd, int) and _std.get_blocking(out_fd):
                while True:
                    try:
                        return int(_engine.offload_endless(lambda: _sendfile(out_fd, in_fd, *args, **kwargs)))
                    except BlockingIOError:
                        # For a moment the port has had it in non-blocking mode, or somebody has for good.
                        if not _std.get_blocking(out_fd):
                            raise
                        _engine.wait(out_fd, 2)
            return _sendfile(out_fd, in_fd, *args, **kwargs)


def system(command: Any) -> int:
    """Run a command in a shell, and wait for its end."""
    status: int = _engine.offload_endless(_system, command)
    return status


if sys.platform == "win32":
    _cwait = _std.waitpid

    def waitpid(pid: int, options: int, /) -> tuple[int, int]:
        """Wait for a process, given by its handle: ``(pid, status << 8)``."""
        return _engine.offload_endless(_cwait, pid, options)

elif hasattr(_std, "waitpid") and hasattr(_std, "WNOHANG"):
    _waitpid, _wait3, _wait4, _waitid = _std.waitpid, _std.wait3, _std.wait4, _std.waitid

    def _until_ended(ask: Any, pid: int, options: int) -> Any:
        """Call ``ask(options)`` without waiting until it tells of a child process.

        Where it is one process whose end is waited for, and the system has descriptors of processes, the port watches
        that; else the system is asked at growing intervals.
        """
        if options & _std.WNOHANG:
            _engine.give_way()
            return ask(options)
        options |= _std.WNOHANG
        watched = _pidfd(pid) if not options & ~(_std.WNOHANG | getattr(_std, "WEXITED", 0)) else -1
        try:
            pause = 0.0005
            while True:
                answer = ask(options)
                if answer is not None and (not isinstance(answer, tuple) or answer[0]):
                    return answer
                if watched >= 0:
                    _engine.wait(watched, 1)
                else:
                    _engine.sleep(pause)
                    pause = min(2 * pause, 0.05)
        finally:
            if watched >= 0:
                _std.close(watched)

    def _pidfd(pid: int) -> int:
        if pid > 0 and hasattr(_std, "pidfd_open"):
            try:
                return _std.pidfd_open(pid)
            except OSError:
                # No such process, which the wait itself tells; an older kernel; no descriptor to be had.
                pass
        return -1

    def await_end(pid: int, timeout: float) -> None:
        """Wait until a child process has ended, for at most ``timeout`` seconds; its status stays to be asked for."""
        deadline = _clock() + timeout
        watched = _pidfd(pid)
        try:
            pause = 0.0005
            while True:
                left = deadline - _clock()
                if watched >= 0:
                    _engine.wait_any([(watched, 1)], max(left, 0.0))
                    return
                if left <= 0 or _has_ended(pid):
                    return
                _engine.sleep(min(pause, left))
                pause = min(2 * pause, 0.05)
        finally:
            if watched >= 0:
                _std.close(watched)

    def _has_ended(pid: int) -> bool:
        try:
            return _waitid(_std.P_PID, pid, _std.WEXITED | _std.WNOHANG | _std.WNOWAIT) is not None
        except ChildProcessError:
            # Somebody else has asked for its status: then it has.
            return True

    def waitpid(pid: int, options: int, /) -> tuple[int, int]:
        """Wait for a child process: ``(pid, status)``."""
        answer: tuple[int, int] = _until_ended(lambda options: _waitpid(pid, options), pid, options)
        return answer

    def wait() -> tuple[int, int]:
        """Wait for any child process: ``(pid, status)``."""
        return waitpid(-1, 0)

    def wait3(options: int) -> tuple[int, int, Any]:
        """Wait for any child process: ``(pid, status, rusage)``."""
        answer: tuple[int, int, Any] = _until_ended(_wait3, -1, options)
        return answer

    def wait4(pid: int, options: int) -> tuple[int, int, Any]:
        """Wait for a child process: ``(pid, status, rusage)``."""
        answer: tuple[int, int, Any] = _until_ended(lambda options: _wait4(pid, options), pid, options)
        return answer

    def waitid(idtype: int, id: int, options: int, /) -> Any:
        """Wait for a child process to change its state; return a ``waitid_result``, or None."""
        pid = id if idtype == _std.P_PID else -1
        return _until_ended(lambda options: _waitid(idtype, id, options), pid, options)
