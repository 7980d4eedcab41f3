"""What the package keeps for the whole program: its exception, and the functions and switches that a program sets.

The ground floor: nothing here knows of tasklets or channels but by their types.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeAlias

from .. import _engine

if TYPE_CHECKING:
    from ._channel import channel
    from ._tasklet import tasklet

ScheduleCallback: TypeAlias = "Callable[[tasklet | None, tasklet | None], object]"
ChannelCallback: TypeAlias = "Callable[[channel[Any], tasklet, bool, bool], object]"
ErrorHandler: TypeAlias = Callable[[type[BaseException], BaseException, TracebackType | None], object]


class TaskletExit(_engine.TaskletExit, SystemExit):
    """Ends a tasklet silently: raised in it by :meth:`tasklet.kill`.

    A kind of :class:`SystemExit`, as in Stackless, and of :class:`overlapped.TaskletExit`, which the end of the program
    raises in the tasklets that are left.
    """


class _Hooks:
    """What is set. One object, so that whoever looks sees what others have set meanwhile."""

    __slots__ = ("channel_callback", "error_handler", "switch_traps")

    def __init__(self) -> None:
        self.channel_callback: ChannelCallback | None = None
        self.error_handler: ErrorHandler | None = None
        self.switch_traps: dict[int, int] = {}
        """By thread, unless it is 0."""


hooks = _Hooks()


def must_be_callable(function: object, what: str) -> None:
    """Refuse what is neither None nor a function."""
    if function is not None and not callable(function):
        raise TypeError(f"{what} must be callable or None, not {type(function).__name__}")


def this_thread() -> int:
    """The identifier of the thread that runs, also where threads are tasklets."""
    return _engine.thread_of(_engine.get_ident())


def may_switch() -> None:
    """Refuse to leave the tasklet that runs while the switch trap is set."""
    if hooks.switch_traps and this_thread() in hooks.switch_traps:
        raise RuntimeError("switch_trap: this would switch to another tasklet, and stackless.switch_trap forbids it")


def switch_trap(change: int = 0) -> int:
    """Add ``change`` to a counter, and return what it was. Unless it is 0, what would switch raises RuntimeError.

    For the time in which others must not run::

        stackless.switch_trap(1)
        try:
            ...
        finally:
            stackless.switch_trap(-1)

    It is this thread's. Waits for the port (sockets, files, sleeps) do not look at it.
    """
    here = this_thread()
    before = hooks.switch_traps.pop(here, 0)
    if before + change:
        hooks.switch_traps[here] = before + change
    return before


def set_channel_callback(callback: ChannelCallback | None) -> ChannelCallback | None:
    """Have ``callback(channel, tasklet, sending, willblock)`` called before each action on a channel.

    ``sending`` is a bool, as is ``willblock``: whether ``tasklet``, which runs, will wait. What the callback raises,
    the action does. None takes it away. Return the former callback.
    """
    must_be_callable(callback, "the channel callback")
    before = hooks.channel_callback
    hooks.channel_callback = callback
    return before


def get_channel_callback() -> ChannelCallback | None:
    """What :func:`set_channel_callback` has set."""
    return hooks.channel_callback


def set_error_handler(handler: ErrorHandler | None) -> ErrorHandler | None:
    """Have ``handler(type, value, traceback)`` called for what ends a tasklet uncaught; return the former.

    Without one, the error is raised in the main tasklet, as is what the handler raises. None takes it away.
    """
    must_be_callable(handler, "the error handler")
    before = hooks.error_handler
    hooks.error_handler = handler
    return before


def exception(exc: Any, val: Any = None, tb: TracebackType | None = None) -> BaseException:
    """The exception that ``raise exc, val, tb`` raised in Python 2; ``throw`` and ``send_throw`` take these."""
    if isinstance(exc, BaseException):
        if val is not None:
            raise TypeError("instance exceptions may not have a separate value")
        error = exc
    elif isinstance(exc, type) and issubclass(exc, BaseException):
        if isinstance(val, exc):
            error = val
        elif val is None:
            error = exc()
        else:
            error = exc(*val) if isinstance(val, tuple) else exc(val)
    else:
        raise TypeError(
            f"exceptions must be classes or instances deriving from BaseException, not {type(exc).__name__}"
        )
    return error if tb is None else error.with_traceback(tb)
