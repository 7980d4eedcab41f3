"""One run in a world: a thread of the system's, which is in it, and one that waits for it."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from .. import _engine, monkey
from . import _chance, _time

_LONGER = 5.0
"""How many seconds more it has to leave, once it was told that the limit is over."""


@dataclass
class Outcome:
    """What has become of a run."""

    result: Any = None
    error: BaseException | None = None
    hash: int = 0
    decisions: str = ""
    elapsed: float = 0.0
    other_ways: list[str] = field(default_factory=list)
    """How else it could have gone, where that was asked for."""
    is_late: bool = False
    """It was ended by the limit."""
    ident: int = field(default=0, repr=False)


class _Late(BaseException):
    """Raised in the run where its limit is over."""

    def __str__(self) -> str:
        return "the run has not ended within the limit of its real time"


def on_a_thread(
    origin: str, rules: _engine.Rules, function: Callable[[], Any], limit: float, look_for_others: bool = False
) -> Outcome:
    """Run a function in a world, on a thread of its own, and wait for it with all that this thread has."""
    if _engine.is_simulated():
        raise RuntimeError("this thread is in a simulated world already: they are not nested")
    outcome = Outcome()
    ended = monkey.original("_thread", "allocate_lock")()
    ended.acquire()

    def body() -> None:
        outcome.ident = monkey.original("_thread", "get_ident")()
        try:
            _within(origin, rules, function, outcome, look_for_others)
        except BaseException as error:
            # What the function itself has raised is the cause.
            outcome.error = outcome.error or error
        finally:
            ended.release()

    # What is there before is looked at no more: so the collector is done with what a run leaves in no time.
    gc.freeze()
    collects = gc.isenabled()
    gc.disable()
    try:
        monkey.original("_thread", "start_new_thread")(body, ())
        _await(ended, outcome, origin, limit)
        gc.collect()
    finally:
        gc.unfreeze()
        if collects:
            gc.enable()
    if outcome.is_late:
        outcome.error = TimeoutError(f"the run has not ended after {limit:g} seconds of real time")
    return outcome


def _within(
    origin: str, rules: _engine.Rules, function: Callable[[], Any], outcome: Outcome, look_for_others: bool
) -> None:
    _engine.enter_world(origin, rules)
    try:
        _time.begin()
        if look_for_others:
            _engine.world_keeps_bounds()
        with _chance.begun(), _quietly():
            try:
                outcome.result = function()
            except BaseException as error:
                outcome.error = error
            outcome.elapsed = _time.elapsed()
            outcome.hash, outcome.decisions = _engine.world_seen()
            if look_for_others:
                outcome.other_ways = _engine.world_other_ways(_engine.count_decisions(origin))
            _engine.end_tasklets()
    finally:
        _engine.leave_world()


@contextmanager
def _quietly() -> Iterator[None]:
    """While this lasts, nothing is said of threads that are cancelled."""
    before = threading.excepthook

    def unless_cancelled(args: Any) -> None:
        if args.exc_type is not _engine.TaskletExit:
            before(args)

    threading.excepthook = unless_cancelled
    try:
        yield
    finally:
        threading.excepthook = before


def _await(ended: Any, outcome: Outcome, origin: str, limit: float) -> None:
    """Wait for the end of a run. One that takes too long is told so, where it next comes by in Python's code."""

    def end() -> None:
        # It is raised in whatever tasklet runs: the run may end as if nothing had been.
        outcome.is_late = True
        late = ctypes.py_object(_Late)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(outcome.ident), late)

    try:
        if ended.acquire(True, limit):
            return
    except BaseException:
        # Ctrl-C.
        end()
        ended.acquire(True, _LONGER)
        raise
    end()
    if not ended.acquire(True, _LONGER):
        print(
            f"overlapped.sim: {origin} does not end after {limit + _LONGER:g} seconds, and cannot be", file=sys.stderr
        )
        sys.stderr.flush()
        os._exit(70)
