"""How a :class:`threading.Thread` is made, begins and ends where it is a tasklet.

The standard library's thread is left as it is in all that shows: its attributes, what its methods return and raise,
what a subclass may override. But its ``start`` waits until the new thread has begun, by an event that is a condition
over a lock with a list of further locks; with what goes on when it begins and ends that took two thirds as long again
as a connection that is accepted, served once and closed. A tasklet has its identifier before it runs. So here
``start`` itself enters the thread among those that are active, and the event is made if anybody asks for it.

What ``start`` keeps is that the new thread runs, up to its first wait, before ``start`` returns. A thread of the
system's does so in practice, and programs that start one and notify it rely on it.

(Rejected: native events and conditions under the standard library's ``start``. Most of the time goes into its code.)

A thread that is given a context, or inherits one (``sys.flags.thread_inherit_context``; both from Python 3.14 on), is
the standard library's whole: it asks for that context as it begins, and may be refused it.
"""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from contextvars import Context
from functools import partial
from operator import attrgetter
from typing import Any

from . import _thread
from ._engine import Lock, begin_thread, current, sleep
from ._masks import begin, end, inherit, masks, started
from ._rebind import rebind

__all__ = ["patch"]


class _Dangling(weakref.WeakSet[Any]):
    """The threads that exist: each goes out of it without a call of Python's, and whoever iterates has a list."""

    data: set[weakref.ref[Any]]

    def add(self, item: Any) -> None:
        self.data.add(weakref.ref(item, self.data.discard))

    def __iter__(self) -> Iterator[Any]:
        return iter([item for reference in list(self.data) if (item := reference()) is not None])


class _Started:
    """``Thread._started``, until somebody asks for it."""

    def __init__(self, threading: Any) -> None:
        self._threading = threading

    def __get__(self, thread: Any, owner: type) -> Any:
        if thread is None:
            return self
        event = self._threading.Event()
        if thread._ident is not None:
            event.set()
        # From now on the thread has it itself.
        event = vars(thread).setdefault("_started", event)
        thread._has_event = True
        return event


def patch(threading: Any) -> None:
    """Have the threads of :mod:`threading`, whose :mod:`_thread` is ours, made and started as tasklets are."""
    thread = threading.Thread
    for existing in threading._dangling:
        existing._has_event = True
    threading._dangling = _Dangling(threading._dangling)
    thread._has_event = False
    thread._ident = thread._native_id = thread._tstate_lock = thread._context = None
    thread._is_stopped = False
    thread._started = _Started(threading)
    has_handle = hasattr(threading, "_start_joinable_thread")
    handle = "_os_thread_handle" if sys.version_info >= (3, 14) else "_handle" if has_handle else None
    start = _joinable_starter(threading, handle) if handle else _starter(threading)
    for name, method in (("__init__", _initializer(threading, handle)), ("start", start)):
        standard = getattr(thread, name)
        method.__doc__ = standard.__doc__
        method.__name__, method.__qualname__, method.__module__ = name, standard.__qualname__, standard.__module__
        setattr(thread, name, method)


def _initializer(threading: Any, handle: str | None) -> Callable[..., None]:
    allowed = getattr(threading, "_daemon_threads_allowed", lambda: True)
    # As its `add` does.
    add, discard, reference = threading._dangling.data.add, threading._dangling.data.discard, weakref.ref
    # What invokes the hook keeps the two that there are when it is made: threads have it in common while these stay.
    of_hook: Any = None
    of_system_hook: Any = None
    invoke: Any = None

    def __init__(
        self: Any,
        group: Any = None,
        target: Any = None,
        name: Any = None,
        args: Any = (),
        kwargs: Any = None,
        *,
        daemon: Any = None,
    ) -> None:
        nonlocal of_hook, of_system_hook, invoke
        assert group is None, "group argument must be None for now"
        if name:
            self._name = str(name)
        else:
            number = threading._counter()
            try:
                self._name = f"Thread-{number}" if target is None else f"Thread-{number} ({target.__name__})"
            except AttributeError:
                self._name = f"Thread-{number}"
        self._target = target
        self._args = args
        self._kwargs = {} if kwargs is None else kwargs
        if daemon is None:
            self._daemonic = threading.current_thread().daemon
        else:
            if daemon and not allowed():
                raise RuntimeError("daemon threads are disabled in this (sub)interpreter")
            self._daemonic = daemon
        if handle:
            setattr(self, handle, _thread._ThreadHandle())
        self._initialized = True
        self._stderr = sys.stderr
        if of_hook is not threading.excepthook or of_system_hook is not sys.excepthook:
            invoke = threading._make_invoke_excepthook()
            of_hook, of_system_hook = threading.excepthook, sys.excepthook
        self._invoke_excepthook = invoke
        add(reference(self, discard))

    if sys.version_info < (3, 14):
        return __init__

    def with_context(self: Any, *args: Any, context: Any = None, **kwargs: Any) -> None:
        __init__(self, *args, **kwargs)
        self._context = context

    return with_context


def _starter(threading: Any) -> Callable[[Any], Any]:
    """``Thread.start``, up to Python 3.12."""

    def note(self: Any, ident: int, native_id: int, lock: Lock) -> None:
        self._ident, self._native_id, self._tstate_lock = ident, native_id, lock
        if not self._daemonic:
            with threading._shutdown_locks_lock:
                threading._maintain_shutdown_locks()
                threading._shutdown_locks.add(lock)
        if self._has_event:
            self._started.set()

    def audited(self: Any) -> tuple[Any, ...]:
        return self._bootstrap, (), None

    return _start(threading, "start_new_thread", _live(threading, None), note, audited)


def _joinable_starter(threading: Any, handle: str) -> Callable[[Any], Any]:
    """``Thread.start`` from Python 3.13 on."""
    handle_of = attrgetter(handle)

    def note(self: Any, ident: int, native_id: int, lock: Lock) -> None:
        self._ident, self._native_id = ident, native_id
        handle_of(self)._begin(ident, lock, self._daemonic)
        if self._has_event:
            self._started.set()

    def audited(self: Any) -> tuple[Any, ...]:
        return self._bootstrap, int(self._daemonic), handle_of(self)

    def note_end(self: Any) -> None:
        handle_of(self)._note_end()

    return _start(threading, "start_joinable_thread", _live(threading, note_end), note, audited)


def _start(
    threading: Any,
    function: str,
    live: Callable[[Any], None],
    note: Callable[[Any, int, int, Lock], None],
    audited: Callable[[Any], tuple[Any, ...]],
) -> Callable[[Any], Any]:
    """``Thread.start`` in the place of that which calls ``function`` of :mod:`_thread`; ``note`` enters the thread."""
    standard, taken_as, active, audit = threading.Thread.start, f"_{function}", threading._active, sys.audit
    ours = getattr(threading, taken_as)
    bootstrap, inner = threading.Thread._bootstrap, threading.Thread._bootstrap_inner
    inherits = getattr(sys.flags, "thread_inherit_context", False)

    def start(self: Any) -> Any:
        kind = type(self)
        if (
            self._ident is not None
            or not self._initialized
            or getattr(threading, taken_as) is not ours
            or kind._bootstrap is not bootstrap
            or kind._bootstrap_inner is not inner
            or self._context is not None
            or inherits
        ):
            # It was started before, or somebody has another way to start it, or it has a context.
            return standard(self)
        audit(f"_thread.{function}", *audited(self))
        begin_thread(live, self, active, note)
        if masks:
            inherit(self.ident)
        # Lets it run.
        sleep()

    return start


def _live(threading: Any, note_end: Callable[[Any], None] | None) -> Callable[[Any], None]:
    """What the tasklet of a thread runs; it is taken from the active ones when it has ended."""
    failed = _teller(threading)

    def live(self: Any) -> None:
        ident = self._ident
        started.add(ident)
        if masks:
            begin(ident)
        try:
            if threading._trace_hook:
                sys.settrace(threading._trace_hook)
            if threading._profile_hook:
                sys.setprofile(threading._profile_hook)
            try:
                self.run()
            except BaseException as error:
                failed(self, error)
        except SystemExit:
            pass
        except BaseException as error:
            # The hook's own.
            _thread._report(error, self._bootstrap)
        finally:
            started.discard(ident)
            if masks:
                end(ident)
            if note_end is not None:
                note_end(self)

    return live


def _teller(threading: Any) -> Callable[[Any, BaseException], None]:
    """What has the hook told of what a thread's ``run`` has raised, with the frames that lead there in plain Python.

    These are the standard library's ``_bootstrap_inner``, once more, of something that does nothing but fail.
    """
    names = dict(vars(threading))
    names.update(
        _active={}, _limbo=_NothingToDelete(), _active_limbo_lock=nullcontext(), _trace_hook=None, _profile_hook=None
    )
    fail: Callable[[Any], None] = rebind(threading.Thread._bootstrap_inner, names, threading.__name__)

    def failed(thread: Any, error: BaseException) -> None:
        # The frame of `live` is none of the program's.
        error.__traceback__ = error.__traceback__ and error.__traceback__.tb_next
        failing = _Failing(thread, error)
        try:
            fail(failing)
        finally:
            # The error's traceback has a frame that has the one, and that has this frame: no circle is left.
            vars(failing).clear()
            del thread, error

    return failed


class _NothingToDelete(dict[Any, Any]):
    def __delitem__(self, key: Any) -> None:
        pass


class _Failing:
    """In the place of a thread that fails when it is run, and has nothing else to do."""

    _ident = None

    def __init__(self, thread: Any, error: BaseException) -> None:
        # Raises it without a frame.
        self.run = partial(current().throw, error)
        self._context = Context()
        self._invoke_excepthook = lambda _self: thread._invoke_excepthook(thread)

    def __getattr__(self, name: str) -> Any:
        return self

    def __call__(self) -> None:
        pass
