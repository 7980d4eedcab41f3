"""Blocking-style code that does overlapped I/O.

Write ``recv``, ``send``, ``read``, ``write``, ``wait`` one after the other, in as many tasklets as you like: each
blocks alone, and one thread with one completion port does it all::

    import overlapped
    from overlapped import socket

    def serve(connection):
        while data := connection.recv(4096):
            connection.sendall(data)

    listener = socket.create_server(("127.0.0.1", 8000))
    while True:
        overlapped.spawn(serve, listener.accept()[0])

The main program is itself a tasklet: whatever it waits for lets the others run. :mod:`overlapped.socket` stands in for
:mod:`socket`, :func:`overlapped.io.open` for :func:`open`; :func:`overlapped.monkey.patch_all`, or
``python -m overlapped script.py``, puts them under a program that knows nothing of them. :mod:`overlapped.stackless`
is the interface of Stackless Python. What the Rust crate has too goes by the same name: its documentation has both in
one table.

PYTEST_DONT_REWRITE: the plugin for pytest comes with it, and pytest would warn where this was imported before.
"""

from __future__ import annotations

import atexit
import os

from . import _interpreter as _interpreter  # before the engine: it refuses where that must not be
from ._ends import Waited, as_completed, first_completed, shield, wait
from ._engine import (
    Channel,
    Event,
    Lock,
    RLock,
    Semaphore,
    Tasklet,
    TaskletExit,
    backend,
    configure,
    current,
    explain,
    no_preempt,
    offload,
    report,
    run,
    sleep,
    spawn,
    tasklets,
    uncancellable,
    watch,
)
from ._engine import _local as local
from ._engine import after_fork_in_child as _after_fork_in_child
from ._engine import end_program as _end_program
from ._every import every
from ._first_of import after, first_of, putting, readable, sending, writable
from ._group import Group, Pool
from ._queue import Empty, Full, LifoQueue, PriorityQueue, Queue, ShutDown
from ._sync import Barrier, BrokenBarrierError, Condition
from ._timeout import timeout

__all__ = [
    "Barrier",
    "BrokenBarrierError",
    "Channel",
    "Condition",
    "Empty",
    "Event",
    "Full",
    "Group",
    "LifoQueue",
    "Lock",
    "Pool",
    "PriorityQueue",
    "Queue",
    "RLock",
    "Semaphore",
    "ShutDown",
    "Tasklet",
    "TaskletExit",
    "Waited",
    "after",
    "as_completed",
    "backend",
    "configure",
    "current",
    "every",
    "explain",
    "first_completed",
    "first_of",
    "local",
    "no_preempt",
    "offload",
    "putting",
    "readable",
    "report",
    "run",
    "sending",
    "shield",
    "sleep",
    "spawn",
    "tasklets",
    "timeout",
    "uncancellable",
    "wait",
    "watch",
    "writable",
]

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
atexit.register(_end_program)
