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
                               ``raise_exception``, ``kill``, ``bind_thread``, ``set_atomic``, ``set_ignore_nesting``,
                               ``set_context``, ``context_run``;
                               ``alive``, ``blocked``, ``scheduled``, ``paused``, ``restorable``, ``is_main``,
                               ``is_current``, ``thread_id``, ``next``, ``prev``, ``frame``, ``nesting_level``,
                               ``recursion_depth``, ``tempval``, ``atomic``, ``block_trap``, ``ignore_nesting``,
                               ``context_id``, ``trace_function``, ``profile_function``
``channel``                    ``send``, ``receive``, ``send_exception``, ``send_throw``, ``send_sequence``, iteration;
                               ``balance``, ``preference``, ``schedule_all``, ``queue``, ``open``, ``close``,
                               ``closing``, ``closed``. Works between threads
``schedule``                   lets the others run
``schedule_remove``            the same, and pauses the caller
``run``                        time-outs are seconds, looked at where a tasklet leaves its turn; may be nested
``getcurrent``, ``getmain``    tasklets that others have started (``overlapped.spawn``) have their ``tasklet`` too
``getcurrentid``               ``id(getcurrent())``
``getruncount``                those in the queue, and the one that runs
``getthreads``                 the threads that use tasklets, the one that calls first
``current`` ``main``           the same as attributes of the module; ``runcount`` and ``threads`` as well
``get_thread_info``            of another thread, its main tasklet alone
``set_schedule_callback``      called in the tasklet that goes on; also at switches that a socket or file makes
``set_channel_callback``       called before each action on a channel
``get_schedule_callback``      what was set, as ``get_channel_callback``
``set_error_handler``          gets what ends a tasklet uncaught, in the place of the main tasklet
``switch_trap``                guards actions of this module, not waits for the port
``atomic``                     a block in which no time-out of ``run`` pauses the tasklet
``enable_softswitch``          answers False: greenlets switch their C stacks
``getdebug``, ``debug``        False
``getuncollectables``          an empty list, as is ``uncollectables``
``pickle_flags``               kept, and nothing depends on them: as ``pickle_flags_default`` (with the flags
                               ``PICKLEFLAGS_PRESERVE_TRACING_STATE``, ``PICKLEFLAGS_PRESERVE_AG_FINALIZER``,
                               ``PICKLEFLAGS_RESET_AG_FINALIZER``, ``PICKLEFLAGS_PICKLE_CONTEXT``) and
                               ``pickle_with_tracing_state``
``stackless``                  the module itself
``pose``                       what ``--stackless`` calls; not Stackless's
``TaskletExit``                a ``SystemExit``, and an ``overlapped.TaskletExit``
=============================  =========================================================================================

**What greenlets cannot do** is refused, with what to do instead: pickling a tasklet that has started (one that has
not, and a channel on which nobody waits, can be), binding one that has started anew, stopping one after a number of
instructions, moving one that has started to another thread, and looking into its context. A tasklet runs in a copy of
the context in which it was set up, or of what ``set_context`` gives; Stackless 3.7.6 shares the context itself. Who
asks for ``cframe``, ``bomb`` and the other parts of Stackless's own inside, which are not here, is told what there is.

**What differs.** A tasklet that is blocked and that nobody refers to any more is not collected: it is ended at the end
of the program, as those of ``overlapped`` are. ``kill`` and ``throw`` into one that waits for the port return when it
has raised, which is when the port has let go of what it waited for: meanwhile the others run. A pending ``throw`` into
one that waits on a channel leaves it in the channel's line until its turn has come; a value that it is sent before is
lost. Callbacks and the error handler are the program's, not the thread's.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

from ._channel import channel
from ._hooks import (
    TaskletExit,
    get_channel_callback,
    set_channel_callback,
    set_error_handler,
    switch_trap,
)
from ._kept import (
    ABSENT,
    PICKLEFLAGS_PICKLE_CONTEXT,
    PICKLEFLAGS_PRESERVE_AG_FINALIZER,
    PICKLEFLAGS_PRESERVE_TRACING_STATE,
    PICKLEFLAGS_RESET_AG_FINALIZER,
    getdebug,
    getuncollectables,
    pickle_flags,
    pickle_flags_default,
    pickle_with_tracing_state,
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
from ._tasklet import get_thread_info, getcurrent, getcurrentid, getmain, getruncount, getthreads, tasklet

__all__ = [
    "PICKLEFLAGS_PICKLE_CONTEXT",
    "PICKLEFLAGS_PRESERVE_AG_FINALIZER",
    "PICKLEFLAGS_PRESERVE_TRACING_STATE",
    "PICKLEFLAGS_RESET_AG_FINALIZER",
    "TaskletExit",
    "atomic",
    "channel",
    "enable_softswitch",
    "get_channel_callback",
    "get_schedule_callback",
    "get_thread_info",
    "getcurrent",
    "getcurrentid",
    "getdebug",
    "getmain",
    "getruncount",
    "getthreads",
    "getuncollectables",
    "pickle_flags",
    "pickle_flags_default",
    "pickle_with_tracing_state",
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
debug: bool
"""What :func:`getdebug` returns."""
main: tasklet
"""The main tasklet of this thread."""
runcount: int
"""What :func:`getruncount` returns."""
stackless: ModuleType
"""This module."""
threads: list[int]
"""What :func:`getthreads` returns."""
uncollectables: list[Any]
"""What :func:`getuncollectables` returns."""


def pose() -> None:
    """Stand in for Stackless from now on: ``import stackless`` finds this, and what came with it is found too."""
    import builtins

    from . import stacklessfile, stacklesssocket

    sys.modules["stackless"] = sys.modules[__name__]
    sys.modules["stacklesssocket"] = stacklesssocket
    sys.modules["stacklessfile"] = stacklessfile
    builtins.TaskletExit = TaskletExit  # type: ignore[attr-defined]


_ATTRIBUTES = {
    "current": getcurrent,
    "debug": getdebug,
    "main": getmain,
    "runcount": getruncount,
    "stackless": lambda: sys.modules[__name__],
    "threads": getthreads,
    "uncollectables": getuncollectables,
}


def __getattr__(name: str) -> Any:
    if name in _ATTRIBUTES:
        return _ATTRIBUTES[name]()
    why = f": {ABSENT[name]}" if name in ABSENT else ""
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}{why}")
