"""The standard library's :mod:`_thread` with tasklets for threads, under the names of every supported version.

What a version of Python does not have there, :mod:`overlapped.monkey` does not put there. :mod:`threading` is left as
it is: over these names its threads, locks, events and locals are those of tasklets.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any, cast

from ._engine import (
    Lock,
    RLock,
    TaskletExit,
    call_at_end,
    current,
    get_ident,
    main_tasklet,
    release_at_end,
    start_thread,
)
from ._engine import _local as _local
from ._masks import begin, end, inherit, masks, started

__all__ = [
    "LockType",
    "RLock",
    "_ThreadHandle",
    "_count",
    "_get_main_thread_ident",
    "_get_name",
    "_local",
    "_make_thread_handle",
    "_set_sentinel",
    "_shutdown",
    "allocate",
    "allocate_lock",
    "get_ident",
    "lock",
    "set_name",
    "start_joinable_thread",
    "start_new",
    "start_new_thread",
]

import _thread as _real

LockType = lock = allocate_lock = allocate = Lock

_real_count = _real._count
# From Python 3.14 on.
_real_set_name: Any = getattr(_real, "set_name", None)
_real_get_name: Any = getattr(_real, "_get_name", None)
_longest_name: int | None = getattr(_real, "_NAME_MAXLEN", None)


def _count() -> int:
    """How many threads run that were started here; the main one is none of them."""
    return len(started) + _real_count()


def _forget_dummies(threading: Any) -> None:
    """Has :mod:`threading` forget what it makes for tasklets that are no threads, when they have ended.

    Of threads that :mod:`_thread` started it keeps that for ever, up to Python 3.12, and its own tests want it so.
    """
    make = threading._DummyThread.__init__

    def __init__(self: Any) -> None:
        make(self)
        if get_ident() not in started:
            call_at_end(lambda: forget(self))

    def forget(dummy: Any) -> None:
        with threading._active_limbo_lock:
            if threading._active.get(dummy._ident) is dummy:
                del threading._active[dummy._ident]

    threading._DummyThread.__init__ = __init__
    if hasattr(threading, "_thread_local_info"):
        # 3.13 has a way of its own, by a local that it made before this, which all tasklets have in common: what the
        # last of them left would stay to the end of the interpreter.
        threading._thread_local_info = _local()


def start_new_thread(function: Callable[..., object], args: tuple[Any, ...], kwargs: Any = None, /) -> int:
    """Start ``function(*args, **kwargs)`` in a tasklet; return its identifier.

    ``SystemExit`` ends it silently; any other exception goes to :func:`sys.unraisablehook`.
    """
    if not callable(function):
        raise TypeError("first arg must be callable")
    if not isinstance(args, tuple):
        raise TypeError("2nd arg must be a tuple")
    if kwargs is not None and not isinstance(kwargs, dict):
        raise TypeError("optional 3rd arg must be a dictionary")
    sys.audit("_thread.start_new_thread", function, args, kwargs)
    return _start(_run, function, args, kwargs or {})


def _start(run: Callable[..., None], *args: Any) -> int:
    ident = start_thread(run, args)
    if masks:
        inherit(ident)
    return ident


start_new = start_new_thread


def _run(function: Callable[..., object], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    me = get_ident()
    started.add(me)
    if masks:
        begin(me)
    try:
        function(*args, **kwargs)
    except (SystemExit, TaskletExit):
        pass
    except BaseException as error:
        _report(error, function)
    finally:
        started.discard(me)
        if masks:
            end(me)


_names: Any = _local()


def set_name(name: str) -> None:
    """Name the calling thread. To the system only the main tasklet has a name, that of the thread on which all are."""
    if current() is main_tasklet():
        _real_set_name(name)
    elif isinstance(name, str):
        _names.name = name
    else:
        raise TypeError(f"set_name() argument 'name' must be str, not {type(name).__name__}")


def _get_name() -> str:
    """The calling thread's name: what it was called last, cut as the system cuts it."""
    system: str = _real_get_name()
    if current() is main_tasklet():
        return system
    import threading

    thread = threading._active.get(get_ident())  # type: ignore[attr-defined]
    name = getattr(_names, "name", None) or getattr(thread, "_name", None) or system
    return os.fsdecode(name.encode(sys.getfilesystemencoding(), "replace").split(b"\0")[0][:_longest_name])


def run_named(name: str, function: Callable[[], Any]) -> Any:
    """Run a function on a thread of the system's that has this name meanwhile."""
    before = _real_get_name()
    _real_set_name(name)
    try:
        return function()
    finally:
        _real_set_name(before)


def _set_sentinel() -> Lock:
    """Return a lock that is released when the calling tasklet has ended, if it is then held."""
    sentinel = Lock()
    release_at_end(sentinel)
    return sentinel


def _report(error: BaseException, function: Callable[..., object]) -> None:
    # The frame of `_run` is none of the program's.
    traceback = error.__traceback__ and error.__traceback__.tb_next
    error.__traceback__ = traceback
    text = "Exception ignored in thread started by"
    what = (f"{text} {function!r}", None) if sys.version_info >= (3, 13) else (text, function)
    sys.unraisablehook(_unraisable_type()((type(error), error, traceback, *what)))


def _unraisable_type() -> Any:
    """The type of what :func:`sys.unraisablehook` is given. It has no name: one is caught."""
    if not _unraisable:

        class Unraisable:
            def __del__(self) -> None:
                raise RuntimeError

        hook, sys.unraisablehook = sys.unraisablehook, lambda argument: _unraisable.append(type(argument))
        try:
            Unraisable()
        finally:
            sys.unraisablehook = hook
    return _unraisable[0]


_unraisable: list[Any] = []


class _ThreadHandle:
    """What :class:`threading.Thread` joins by, from Python 3.13 on."""

    __slots__ = ("__weakref__", "_daemon", "_ended", "_state", "ident")

    def __init__(self) -> None:
        self.ident: int | None = None
        self._state = "new"
        self._daemon = True
        self._ended: Lock | None = None

    def _begin(self, ident: int | None, ended: Lock, daemon: bool) -> None:
        self.ident, self._ended, self._daemon, self._state = ident, ended, daemon, "running"
        if not daemon:
            _handles.add(self)

    def _note_end(self) -> None:
        self._state = "done"
        _handles.discard(self)

    def is_done(self) -> bool:
        """Whether the thread has ended."""
        return self._state == "done"

    def _set_done(self) -> None:
        if self._state == "new":
            raise RuntimeError("thread not started")
        if self._ended is not None and self._state == "running":
            self._ended.release()
        self._note_end()

    def join(self, timeout: float | None = None, /) -> None:
        """Wait until the thread has ended, at most ``timeout`` seconds."""
        if self._state == "new":
            raise RuntimeError("thread not started")
        if self._state == "running" and self.ident == get_ident():
            raise RuntimeError("Cannot join current thread")
        # Released once, by the one that ends; each that waited passes it on.
        if self._ended is not None and self._ended.acquire(True, -1 if timeout is None or timeout < 0 else timeout):
            self._ended.release()
            # One that was cancelled before it began has not noted it.
            self._note_end()

    def __repr__(self) -> str:
        return f"<_ThreadHandle object: ident={self.ident}>"


# Those that are to be joined at exit.
_handles: set[_ThreadHandle] = set()


def start_joinable_thread(
    function: Callable[[], object], handle: _ThreadHandle | None = None, daemon: bool = True
) -> _ThreadHandle:
    """Start ``function()`` in a tasklet that can be joined by its handle."""
    if not callable(function):
        raise TypeError("thread function must be callable")
    if handle is None:
        handle = _ThreadHandle()
    elif not isinstance(handle, _ThreadHandle):
        raise TypeError("'handle' must be a _ThreadHandle")
    if handle._state != "new":
        raise RuntimeError("thread already started")
    sys.audit("_thread.start_joinable_thread", function, int(daemon), handle)
    handle._begin(None, _held(), daemon)
    try:
        handle.ident = _start(_run_joinable, function, handle)
    except BaseException:
        handle._state = "new"
        _handles.discard(handle)
        raise
    return handle


def _run_joinable(function: Callable[[], object], handle: _ThreadHandle) -> None:
    handle.ident = get_ident()
    release_at_end(cast(Lock, handle._ended))
    try:
        _run(function, (), {})
    finally:
        handle._note_end()


def _make_thread_handle(ident: int, /) -> _ThreadHandle:
    handle = _ThreadHandle()
    handle._begin(ident, _held(), daemon=True)
    return handle


def _held() -> Lock:
    lock = Lock()
    lock.acquire()
    return lock


def _shutdown() -> None:
    """Wait for the end of all threads that are no daemons."""
    while others := [handle for handle in _handles if handle.ident != get_ident()]:
        others[0].join()


def _get_main_thread_ident() -> int:
    import threading

    return cast(int, threading.main_thread().ident)


def _after_fork_in_child() -> None:
    """Of all tasklets only the one that forked has come along."""
    me = get_ident()
    for handle in list(_handles):
        if handle.ident != me:
            handle._set_done()
    # That one is the child's main one.
    started.clear()
