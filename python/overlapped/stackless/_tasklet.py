"""The tasklet: Stackless's class over one of the engine's.

The engine's tasklet is made when this one is first put into the queue, not when it is set up: one that is dropped
before has then left nothing behind, and can still be given to another thread. From then on the queue of those that
are ready is the engine's, so that tasklets that come back from a socket and those that call :func:`schedule` take
their turns in one ring, and what Stackless says of that ring holds: ``run`` moves its pointer, and whoever was in
between comes last.

A tasklet of another thread is told what to do by a small tasklet that is started there, through that thread's port.
"""

from __future__ import annotations

import contextvars
import sys
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, Self, TypeVar

from .. import _engine
from ._hooks import TaskletExit, exception, hooks, may_switch, this_thread

if TYPE_CHECKING:
    from ._channel import channel

_R = TypeVar("_R")

_Engine = _engine.Tasklet[Any]

_OURS = "stackless"
"""The attribute by which one of the engine's leads to the one over it."""


class _Job(NamedTuple):
    """What a tasklet that has not begun is to do."""

    function: Callable[..., object]
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]
    context: contextvars.Context


class tasklet:
    """A function that runs beside others on one thread.

    ``tasklet(function)(*args, **kwargs)`` makes one and puts it at the end of the queue. With ``args`` or ``kwargs``
    it is set up at once, and :meth:`insert` or :meth:`run` starts it.

    What it raises uncaught reaches the main tasklet; :class:`TaskletExit` ends it silently. Afterwards it can be bound
    again. May be subclassed.
    """

    __slots__ = (
        "__weakref__",
        "_atomic",
        "_handle",
        "_ignores",
        "_job",
        "_thread",
        "_waits_on",
        "block_trap",
        "tempval",
    )

    tempval: Any
    """What :func:`schedule` returns when the tasklet next runs; before :meth:`setup`, the function that is bound."""
    block_trap: bool
    """While true, an action on a channel that would have to wait raises RuntimeError."""
    _handle: _Engine | None
    _job: _Job | None
    _thread: int
    _waits_on: channel[Any] | None
    _atomic: bool
    _ignores: bool

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        self = super().__new__(cls)
        self._handle = None
        self._job = None
        self._thread = this_thread()
        self._waits_on = None
        self._atomic = self._ignores = self.block_trap = False
        self.tempval = None
        return self

    def __init__(
        self,
        func: Callable[..., object] | None = None,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        if func is not None or args is not None or kwargs is not None:
            self.bind(func, args, kwargs)

    # Its making.

    def bind(
        self,
        func: Callable[..., object] | None = None,
        args: Sequence[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
    ) -> Self:
        """Give it its function; None takes that away. With ``args`` or ``kwargs`` it is also set up, and paused.

        One that is paused and has not begun is bound anew; bound to None, it is alive no more.

        Raises:
            RuntimeError: it is in the queue, or has begun.
            TypeError: ``func`` cannot be called.
        """
        if func is not None and not callable(func):
            raise TypeError("tasklet function must be a callable")
        if self.alive:
            self._unbind()
        if func is not None:
            self.tempval = func
        elif args is None and kwargs is None:
            self.tempval = None
        if args is not None or kwargs is not None:
            self._set_up(tuple(args or ()), dict(kwargs or {}))
        return self

    def _unbind(self) -> None:
        if self._job is None:
            raise RuntimeError(
                "the tasklet is already bound to a frame, and that is on a C stack: kill() it before it is bound again"
            )
        if self.scheduled:
            raise RuntimeError("the tasklet is already bound to a frame and scheduled: remove() it before it is bound")
        handle, self.tempval, self._job, self._handle = self._handle, self._job.function, None, None
        if handle is not None:
            # It was in the queue, and removed: the engine's ends before it begins.
            del handle.__dict__[_OURS]
            handle.cancel()

    def setup(self, *args: Any, **kwargs: Any) -> Self:
        """Give it its arguments, and put it at the end of the queue. ``tasklet(...)`` itself does the same.

        Raises:
            RuntimeError: it is alive, or bound to no function.
        """
        self._set_up(args, kwargs)
        self.insert()
        return self

    __call__ = setup

    def _set_up(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self.alive:
            raise RuntimeError("tasklet is alive: it can be set up again when it has ended")
        function = self.tempval
        if function is None:
            raise RuntimeError("the tasklet was not bound to a function")
        if not callable(function):
            raise TypeError("tasklet function must be a callable")
        self.tempval = self._handle = None
        self._job = _Job(function, args, kwargs, contextvars.copy_context())

    def bind_thread(self, thread_id: int | None = None) -> None:
        """Move it to another thread, which has used this module before; without an argument, to the one that calls.

        Raises:
            RuntimeError: it was in the queue: its stack is the thread's.
            ValueError: no such thread uses tasklets.
        """
        thread = this_thread() if thread_id is None else thread_id
        if thread == self._thread:
            return
        if self._handle is not None:
            raise RuntimeError(
                "a tasklet that was in the queue cannot change its thread, for its stack is there: bind it to the "
                "thread before that"
            )
        if thread != this_thread() and thread not in _mains:
            raise ValueError(f"no tasklets on thread {thread}: it is to call stackless.getmain() first")
        self._thread = thread

    # Its turns.

    def insert(self) -> Self:
        """Put it at the end of the queue, unless it is in it.

        Raises:
            RuntimeError: it waits on a channel or for the port, or is not alive.
        """
        if not self.alive:
            raise RuntimeError("You cannot run an unbound(dead) tasklet")
        if self._thread != this_thread():
            self._tell(self.insert)
        elif self._handle is None:
            self._start()
        elif self._state() == "waiting":
            raise RuntimeError("You cannot run a blocked tasklet")
        else:
            _engine.resume(self._handle)
        return self

    def remove(self) -> Self:
        """Take it out of the queue: it is paused until :meth:`insert` or :meth:`run`.

        Raises:
            RuntimeError: it waits on a channel or for the port; it is the one that runs (see
                :func:`schedule_remove`); or it
                is another thread's.
        """
        state = self._state()
        if state == "waiting":
            raise RuntimeError("You cannot remove a blocked tasklet.")
        if state == "running":
            raise RuntimeError("The current tasklet cannot be removed: it can call schedule_remove()")
        if state == "elsewhere":
            raise RuntimeError("a tasklet of another thread cannot be removed from here")
        if self._handle is not None:
            _engine.pause(self._handle)
        return self

    def run(self) -> None:
        """Go to it at once. Those that were in the queue before it run after all others, the calling one before them.

        One that is paused runs alone: the calling one is next. A tasklet of another thread is put into the queue there.

        Raises:
            RuntimeError: it waits on a channel or for the port, or is not alive.
        """
        self._go(pausing=False)

    def switch(self) -> None:
        """As :meth:`run`, and the calling tasklet is paused: somebody is to run it again.

        Raises:
            RuntimeError: as for :meth:`run`; or it is another thread's.
        """
        if self._thread != this_thread() and self.alive:
            raise RuntimeError("a tasklet of another thread cannot be switched to: run() puts it into the queue there")
        self._go(pausing=True)

    def _go(self, pausing: bool) -> None:
        if self.is_current:
            return
        may_switch()
        self.insert()
        if self._handle is not None and self._thread == this_thread():
            _engine.go_to(self._handle, pausing)

    # Its end.

    def throw(self, exc: Any = None, val: Any = None, tb: Any = None, pending: bool = False) -> None:
        """Raise an exception in it, at once; where ``pending``, when its turn has come. A wait of its ends with it.

        Where it waits for the port, the caller waits until it has raised, which is when the port has let go. In a
        tasklet of another thread it is always pending.

        Raises:
            RuntimeError: it has ended; but :class:`TaskletExit` is nothing to one that has.
            TypeError: this is no exception.
        """
        self._throw(exception(exc, val, tb), pending)

    def raise_exception(self, exc_class: type[BaseException], *args: Any) -> None:
        """Raise ``exc_class(*args)`` in it, at once."""
        self._throw(exception(exc_class, args), pending=False)

    def kill(self, pending: bool = False) -> None:
        """Raise :class:`TaskletExit` in it, at once; where ``pending``, when its turn has come. See :meth:`throw`."""
        self._throw(TaskletExit(), pending)

    def _throw(self, error: BaseException, pending: bool) -> None:
        if not self.alive:
            if isinstance(error, _engine.TaskletExit):
                return
            raise RuntimeError("You cannot throw to a dead tasklet")
        if self.is_current:
            raise error
        if self._thread != this_thread():
            self._tell(self._throw, error, True)
            return
        if not pending:
            may_switch()
        if self._job is not None:
            # It has not begun: this is what it does.
            self._job = self._job._replace(function=_raise, arguments=(error,), keywords={})
            self.insert()
            if not pending and self._handle is not None:
                _engine.go_to(self._handle)
        elif self._handle is not None:
            if pending:
                self._handle.throw(error)
            else:
                _engine.throw_to(self._handle, error)

    # Its context, and who traces it.

    def set_context(self, context: contextvars.Context) -> Self:
        """Have it run in a copy of ``context``, and not in one of the context in which it was set up.

        Raises:
            RuntimeError: it is not set up, or has begun: what it sets from then on is its own.
        """
        if not isinstance(context, contextvars.Context):
            raise TypeError(f"a contextvars.Context is needed, not {type(context).__name__}")
        self._job = self._not_begun()._replace(context=context.copy())
        return self

    def context_run(self, function: Callable[..., _R], /, *args: Any, **kwargs: Any) -> _R:
        """Return ``function(*args, **kwargs)``, called in the context of one that has not begun, or that runs.

        Raises:
            RuntimeError: it is another one that has begun, or it is not set up.
        """
        if self.is_current:
            return function(*args, **kwargs)
        return self._not_begun().context.run(function, *args, **kwargs)

    @property
    def context_id(self) -> int:
        """The ``id()`` of its context.

        Raises:
            RuntimeError: it has begun, or is not set up.
        """
        return id(self._not_begun().context)

    def _not_begun(self) -> _Job:
        if self._job is None or self._handle is not None:
            raise RuntimeError(
                "the context of a tasklet can be had between bind() with arguments and insert(), and not when it is in "
                "the queue or has begun: have it call contextvars.copy_context() itself, and send what that returns"
            )
        return self._job

    @property
    def trace_function(self) -> Any:
        """What :func:`sys.settrace` has set in it; may be set. Of the one that runs alone.

        Raises:
            RuntimeError: it does not run.
        """
        self._must_run("trace_function")
        return sys.gettrace()

    @trace_function.setter
    def trace_function(self, function: Any) -> None:
        self._must_run("trace_function")
        sys.settrace(function)

    @property
    def profile_function(self) -> Any:
        """What :func:`sys.setprofile` has set in it; may be set. Of the one that runs alone.

        Raises:
            RuntimeError: it does not run.
        """
        self._must_run("profile_function")
        return sys.getprofile()

    @profile_function.setter
    def profile_function(self, function: Any) -> None:
        self._must_run("profile_function")
        sys.setprofile(function)

    def _must_run(self, what: str) -> None:
        if not self.is_current:
            raise RuntimeError(
                f"{what} is the thread's, and so that of the tasklet that runs: set it in the tasklet, or in what "
                "stackless.set_schedule_callback() has called at each switch"
            )

    # What it is.

    @property
    def alive(self) -> bool:
        """Whether it is set up and has not ended."""
        return self._job is not None if self._handle is None else self._handle.alive

    @property
    def blocked(self) -> bool:
        """Whether it waits: on a channel, or for the port."""
        return self._waits_on is not None if self._elsewhere() else self._state() == "waiting"

    @property
    def scheduled(self) -> bool:
        """Whether it is the one that runs, in the queue, or waits."""
        return self._state() in ("running", "ready", "waiting", "elsewhere")

    @property
    def paused(self) -> bool:
        """Whether it is alive, and neither in the queue nor waits: nobody will run it by themselves."""
        return self.alive and self._state() == "paused"

    @property
    def is_current(self) -> bool:
        """Whether it is the one that runs."""
        return self._handle is not None and self._handle is _engine.current()

    @property
    def is_main(self) -> bool:
        """Whether it is the main tasklet of its thread."""
        return _mains.get(self._thread) is self

    @property
    def thread_id(self) -> int:
        """The identifier of its thread, as :func:`threading.get_ident` has it there; -1 where that has ended."""
        return self._thread if not self._elsewhere() or self._thread in sys._current_frames() else -1

    @property
    def next(self) -> tasklet | None:
        """Who runs after it; who waits after it, where it waits on a channel (found by a search); else None."""
        return self._beside(1)

    @property
    def prev(self) -> tasklet | None:
        """Who runs before it; who waits before it, where it waits on a channel (found by a search); else None."""
        return self._beside(-1)

    def _beside(self, step: int) -> tasklet | None:
        where = self._waits_on
        if where is not None and self in where._waiting:
            line = list(where._waiting)
            place = line.index(self) + step
            return line[place] if 0 <= place < len(line) else None
        beside = None if self._handle is None else _engine.neighbours(self._handle)
        return None if beside is None else of(beside[1 if step > 0 else 0])

    @property
    def frame(self) -> FrameType | None:
        """The frame it is in, without those of this package; None where it has not started or has ended."""
        if self.is_current:
            frame: FrameType | None = sys._getframe()
        else:
            frame = None if self._handle is None else _engine.frame_of(self._handle)
        while frame is not None and frame.f_globals.get("__name__", "").startswith(__package__):
            frame = frame.f_back
        return frame

    @property
    def recursion_depth(self) -> int:
        """How many frames it has."""
        frame, depth = self.frame, 0
        while frame is not None:
            depth += not frame.f_globals.get("__name__", "").startswith(__package__)
            frame = frame.f_back
        return depth

    @property
    def nesting_level(self) -> int:
        """1 where it has started, else 0: a greenlet always has a C stack."""
        return int(self.alive and self._job is None)

    @property
    def restorable(self) -> bool:
        """Whether it can be pickled and run elsewhere: only where it has not started."""
        return not self.nesting_level

    @property
    def atomic(self) -> bool:
        """What :meth:`set_atomic` has set."""
        return self._atomic

    def set_atomic(self, flag: bool) -> bool:
        """While true, the time-out of :func:`run` leaves it alone. Return what it was."""
        before, self._atomic = self._atomic, bool(flag)
        if self._handle is not None:
            self._handle._preemptible = not flag
        return before

    @property
    def ignore_nesting(self) -> bool:
        """What :meth:`set_ignore_nesting` has set."""
        return self._ignores

    def set_ignore_nesting(self, flag: bool) -> bool:
        """Kept, and nothing here depends on it: a tasklet is stopped on whatever stack. Return what it was."""
        before, self._ignores = self._ignores, bool(flag)
        return before

    def __reduce__(self) -> tuple[Any, ...]:
        if self.nesting_level:
            raise TypeError(
                "a tasklet that has started cannot be pickled, for its stack is a C stack: pickle what it works on, "
                "and start another one with that"
            )
        job = None if self._job is None else self._job[:3]
        return _restore, (type(self), self.tempval, job, getattr(self, "__dict__", None))

    def __repr__(self) -> str:
        state = self._state() if self.alive else "dead" if self._handle else "unbound"
        return f"<{type(self).__module__}.{type(self).__qualname__} {state} at {id(self):#x}>"

    # Within.

    def _elsewhere(self) -> bool:
        return self._thread != this_thread()

    def _state(self) -> str:
        if self._handle is None:
            return "ended" if self._job is None else "paused"
        return _engine.state(self._handle)

    def _start(self) -> None:
        """Make the engine's tasklet, at the end of the queue."""
        assert self._job is not None
        self._handle = self._job.context.run(_engine.spawn, self._live)
        self._handle._preemptible = not self._atomic
        self._handle.__dict__[_OURS] = self

    def _tell(self, function: Callable[..., object], *args: Any) -> None:
        """Have a function called in a tasklet of this one's thread."""
        main = _mains.get(self._thread)
        if main is None or main._handle is None or not _engine.spawn_there(main._handle, function, *args):
            raise RuntimeError(f"thread {self._thread}, whose tasklet this is, has ended")

    def _live(self) -> None:
        assert self._job is not None
        function, arguments, keywords, _ = self._job
        self._job = None
        try:
            function(*arguments, **keywords)
        except _engine.TaskletExit:
            pass
        except BaseException as error:
            _uncaught(error)
        finally:
            if self._handle is not None:
                del self._handle.__dict__[_OURS]


def _raise(error: BaseException) -> NoReturn:
    raise error


def _restore(
    kind: type[tasklet], tempval: Any, job: tuple[Any, Any, Any] | None, attributes: dict[str, Any] | None
) -> tasklet:
    made = kind.__new__(kind)
    made.tempval = tempval
    if job is not None:
        made._job = _Job(*job, contextvars.copy_context())
    if attributes:
        made.__dict__.update(attributes)
    return made


def _uncaught(error: BaseException) -> None:
    """Hand an error to the error handler, or raise it in the innermost :func:`run` or the main tasklet, next."""
    if hooks.error_handler is not None:
        try:
            hooks.error_handler(type(error), error, error.__traceback__)
        except BaseException as another:
            error = another
        else:
            return
    whose = _engine.innermost_run() or _engine.main_tasklet()
    whose.throw(error)
    _engine.turn_to(whose)


_mains: dict[int, tasklet] = {}
"""The main tasklet of each thread that has asked for it."""


def of(handle: _Engine) -> tasklet:
    """The tasklet over one of the engine's of this thread; it is made for those that others have started."""
    try:
        found: tasklet = handle.__dict__[_OURS]
    except KeyError:
        found = tasklet.__new__(tasklet)
        found._handle = handle
        handle.__dict__[_OURS] = found
        if handle is _engine.main_tasklet():
            _mains[found._thread] = found
    return found


def getcurrent() -> tasklet:
    """The tasklet that runs."""
    return of(_engine.current())


def getcurrentid() -> int:
    """A number that names the tasklet that runs: its ``id()``."""
    return id(getcurrent())


def getmain() -> tasklet:
    """The main tasklet of this thread: the one that was there first."""
    return of(_engine.main_tasklet())


def getruncount() -> int:
    """How many tasklets are ready, with the one that runs."""
    return _engine.ready_count() + 1


def getthreads() -> list[int]:
    """The identifiers of the threads that use tasklets, the one that calls first."""
    getmain()
    here = this_thread()
    return [here, *(thread for thread in sys._current_frames() if thread in _mains and thread != here)]


def get_thread_info(thread_id: int = -1) -> tuple[tasklet, tasklet | None, int]:
    """The main tasklet of a thread, the one that runs there, and how many are ready there; -1 is the thread that calls.

    Of another thread only its main tasklet is known: None and 0 stand for the rest.

    Raises:
        RuntimeError: no such thread uses tasklets.
    """
    if thread_id in (-1, this_thread()):
        return getmain(), getcurrent(), getruncount()
    if thread_id not in getthreads():
        raise RuntimeError("Thread id not found")
    return _mains[thread_id], None, 0
