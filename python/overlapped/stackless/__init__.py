"""Stackless Python's own interface, on the completion port.

What was written for Stackless runs here: tasklets and channels with Stackless's order of who runs when, uncaught
errors that reach the main tasklet, ``stackless.run()``. And whatever of :mod:`overlapped` a tasklet waits for, be it
a socket, a file, a child or a sleep, blocks it alone::

    from overlapped import stackless
    from overlapped.io import open

    def copy(source, target):
        with open(source, "rb") as reading, open(target, "wb") as writing:
            writing.write(reading.read())

    for number in range(30):
        stackless.tasklet(copy)("book.txt", f"copy-{number}.txt")
    stackless.run()

``run()`` ends when nobody is ready and nobody waits for the port.

``python -m overlapped --stackless program.py`` runs a program as it is: ``import stackless`` finds this, and what came
with Stackless is there too, :mod:`.stacklesssocket` and :mod:`.stacklessfile`. Files, ``time.sleep``, ``select`` and
child processes block only the tasklet that waits for them; threads stay threads, each with tasklets of its own.

=============================  =========================================================================================
name                           what is to be known of it here
=============================  =========================================================================================
``tasklet``                    ``bind``, ``setup``, ``insert``, ``remove``, ``run``, ``switch``, ``throw``,
                               ``raise_exception``, ``kill``, ``bind_thread``, ``set_atomic``, ``set_ignore_nesting``;
                               ``alive``, ``blocked``, ``scheduled``, ``paused``, ``restorable``, ``is_main``,
                               ``is_current``, ``thread_id``, ``next``, ``prev``, ``frame``, ``nesting_level``,
                               ``recursion_depth``, ``tempval``, ``atomic``, ``block_trap``, ``ignore_nesting``
``channel``                    ``send``, ``receive``, ``send_exception``, ``send_throw``, ``send_sequence``, iteration;
                               ``balance``, ``preference``, ``schedule_all``, ``queue``, ``open``, ``close``,
                               ``closing``, ``closed``. Works between threads
``schedule``                   lets the others run
``schedule_remove``            the same, and pauses the caller
``run``                        time-outs are seconds, looked at where a tasklet leaves its turn; may be nested
``getcurrent``, ``getmain``    tasklets that others have started (``overlapped.spawn``) have their ``tasklet`` too
``getcurrentid``               ``id(getcurrent())``
``getruncount``                those in the queue, and the one that runs
``current`` ``main``           the same as attributes of the module; ``runcount`` and ``threads`` as well
``get_thread_info``            of another thread, its main tasklet alone
``set_schedule_callback``      called in the tasklet that goes on; also at switches that a socket or file makes
``set_channel_callback``       called before each action on a channel
``get_schedule_callback``      what was set, as ``get_channel_callback``
``set_error_handler``          gets what ends a tasklet uncaught, in the place of the main tasklet
``switch_trap``                guards actions of this module, not waits for the port
``atomic``                     a block in which no time-out of ``run`` pauses the tasklet
``enable_softswitch``          answers False: greenlets switch their C stacks
``pose``                       what ``--stackless`` calls; not Stackless's
``TaskletExit``                a ``SystemExit``, and an ``overlapped.TaskletExit``
=============================  =========================================================================================

**What greenlets cannot do** is refused, with what to do instead: pickling a tasklet that has started (one that has
not, and a channel on which nobody waits, can be), stopping one after a number of instructions, moving one that has
started to another thread. Not here are ``cframe``, ``bomb`` and the other parts of Stackless's own inside,
``pickle_with_tracing_state``, and ``set_context``: a tasklet runs in a copy of the context in which it was set up.

**What differs.** A tasklet that is blocked and that nobody refers to any more is not collected: it is ended at the
end of the program, as those of ``overlapped`` are. ``kill`` and ``throw`` into one that waits for the port return
when the port was told: it raises when that has let go of what it waited for. A pending ``throw`` into one that waits
on a channel leaves it in the channel's line until its turn has come; a value that it is sent before is lost.
Callbacks and the error handler are the program's, not the thread's.
"""

from __future__ import annotations

from typing import Any

from ._channel import channel
from ._hooks import (
    TaskletExit,
    get_channel_callback,
    set_channel_callback,
    set_error_handler,
    switch_trap,
)
from ._schedule import (
    atomic,
    enable_softswitch,
    get_schedule_callback,
    run,
    schedule,
    schedule_remove,
    set_schedule_callback,
)
from ._tasklet import get_thread_info, getcurrent, getcurrentid, getmain, getruncount, tasklet, threads_in_use

__all__ = [
    "TaskletExit",
    "atomic",
    "channel",
    "enable_softswitch",
    "get_channel_callback",
    "get_schedule_callback",
    "get_thread_info",
    "getcurrent",
    "getcurrentid",
    "getmain",
    "getruncount",
    "pose",
    "run",
    "schedule",
    "schedule_remove",
    "set_channel_callback",
    "set_error_handler",
    "set_schedule_callback",
    "switch_trap",
    "tasklet",
]

current: tasklet
"""The tasklet that runs."""
main: tasklet
"""The main tasklet of this thread."""
runcount: int
"""What :func:`getruncount` returns."""
threads: list[int]
"""The identifiers of the threads that use tasklets, the one that asks first."""


def pose() -> None:
    """Stand in for Stackless from now on: ``import stackless`` finds this, and what came with it is found too."""
    import builtins
    import sys

    from . import stacklessfile, stacklesssocket

    sys.modules["stackless"] = sys.modules[__name__]
    sys.modules["stacklesssocket"] = stacklesssocket
    sys.modules["stacklessfile"] = stacklessfile
    builtins.TaskletExit = TaskletExit  # type: ignore[attr-defined]


_ATTRIBUTES = {"current": getcurrent, "main": getmain, "runcount": getruncount, "threads": threads_in_use}


def __getattr__(name: str) -> Any:
    if name in _ATTRIBUTES:
        return _ATTRIBUTES[name]()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
