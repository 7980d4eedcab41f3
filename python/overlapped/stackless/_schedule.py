"""Giving turns: ``schedule``, ``schedule_remove``, ``run``; and who is told of it.

**How long run() runs.** Until nobody is ready and nobody waits for the port: a tasklet that waits for a socket, a
file, a sleep or an offloaded function keeps it going, as the tasklet that polled the sockets did under Stackless.
Tasklets that wait on channels do not, for nobody is left who could meet them; they stay as they are.

**Time-outs** are seconds: CPython does not count instructions, so ``run(100000)`` is refused, and ``run(0.05)`` is what
to write. A tasklet that computes is stopped in the middle of its Python code, as there, when it has used that much of
the CPU; ``soft`` runs wait until it leaves its turn by itself. It is stopped where Python looks for signals, so not in
the middle of a C function; not in this package, the import system, a ``__del__``, an ``atomic`` block or a
``no_preempt``; and on Python's main thread alone, which is the one that looks for signals. Elsewhere time is looked at
where a tasklet leaves its turn, and one that never does is not stopped (``overlapped.watch`` tells of it).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from .. import _engine
from ._hooks import ScheduleCallback, may_switch, must_be_callable
from ._tasklet import getcurrent, getmain, of, tasklet

_CURRENT: Any = object()

_LOOK = 0.05
"""So often, in seconds, a run that waits for other threads looks whether there are any: the end of one tells nobody."""


def schedule(retval: Any = _CURRENT) -> Any:
    """Let the others that are ready run, and return ``retval``, without which it is the tasklet itself.

    What another has put into its ``tempval`` meanwhile is returned instead.
    """
    return _give_turn(retval, _engine.give_turn)


def schedule_remove(retval: Any = _CURRENT) -> Any:
    """As :func:`schedule`, and the tasklet is paused until another inserts or runs it."""
    return _give_turn(retval, _engine.pause_current)


def _give_turn(retval: Any, give: Callable[[], None]) -> Any:
    me = getcurrent()
    may_switch()
    me.tempval = me if retval is _CURRENT else retval
    give()
    value, me.tempval = me.tempval, None
    return value


def run(
    timeout: float = 0,
    threadblock: bool = False,
    soft: bool = False,
    ignore_nesting: bool = False,
    totaltimeout: bool = False,
) -> tasklet | None:
    """Let the others run until nobody is ready and nobody waits for the port. Runs nest; the innermost ends first.

    The tasklet is paused meanwhile: who inserts or runs it ends its run.

    Args:
        timeout: seconds, as a float, after which a tasklet that has not left its turn is paused, in the middle of what
            it computes, and returned: ``insert`` it to go on. 0 is for ever.
        threadblock: go on while there are other threads, whose tasklets may still meet those of this one.
        soft: stop and pause nobody when the time is up: return None when whoever runs leaves its turn.
        ignore_nesting: nothing depends on it here.
        totaltimeout: count ``timeout`` from now, and not for each turn. Where all wait for the port then, return None.

    Raises:
        ValueError: ``timeout`` is a count of instructions, which nobody counts.
        BaseException: what a tasklet has raised uncaught; nested, in the innermost run.
    """
    if timeout and isinstance(timeout, int):
        raise ValueError(
            f"run({timeout}): tasklets cannot be stopped after a number of instructions; give seconds as a float, as "
            "in run(0.05)"
        )
    me = getcurrent()
    may_switch()
    limit = float(timeout) or None
    if limit and not soft:
        _have_who_computes_stopped()
    while True:
        paused = _engine.run_until_idle(limit, bool(totaltimeout or soft), bool(soft))
        if paused is not None:
            victim = of(paused)
            if not victim.atomic:
                return victim
            # It does not want this: it goes on where it was about to leave its turn.
            victim.insert()
            continue
        if not threadblock or limit or len(sys._current_frames()) == 1 or me is not getmain():
            return None
        _engine.sleep(_LOOK)


_stops = False


def _have_who_computes_stopped() -> None:
    global _stops
    if not _stops and _engine.on_main_thread():
        from .._preempt import prepare

        prepare()
        _stops = True


_callback: ScheduleCallback | None = None


def set_schedule_callback(callback: ScheduleCallback | None) -> ScheduleCallback | None:
    """Have ``callback(prev, next)`` called at each switch, on whatever thread; return the former callback.

    ``prev`` is None where it has ended. The callback runs in ``next``, before that goes on; what it raises is shown
    and goes no further. None takes it away.
    """
    global _callback
    must_be_callable(callback, "the schedule callback")
    before, _callback = _callback, callback
    if callback is None:
        _engine.on_switch(None)
        return before

    def switched(before: _engine.Tasklet[Any] | None, after: _engine.Tasklet[Any]) -> None:
        callback(None if before is None else of(before), of(after))

    getmain()
    _engine.on_switch(switched)
    return before


def get_schedule_callback() -> ScheduleCallback | None:
    """What :func:`set_schedule_callback` has set."""
    return _callback


class atomic:
    """A block in which the time-out of :func:`run` leaves the tasklet alone: see :meth:`tasklet.set_atomic`."""

    def __enter__(self) -> None:
        self._before = getcurrent().set_atomic(True)

    def __exit__(self, *error: object) -> None:
        getcurrent().set_atomic(self._before)


def enable_softswitch(flag: bool) -> bool:
    """Always False: greenlets switch their C stacks, whatever ``flag`` is. Kept for programs that call it."""
    return False
