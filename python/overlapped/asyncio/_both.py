"""Where the two styles meet: a coroutine awaits a tasklet, a tasklet waits for a coroutine.

A coroutine that awaits a tasklet that is ready switches to it at once. Else nothing here switches by itself: a tasklet
that ends tells the loop by a callback, and a task that ends sets the event that a tasklet waits for. An exception keeps
its type on the way; only being cancelled is said in the other's word: :class:`overlapped.TaskletExit` for a tasklet,
:class:`asyncio.CancelledError` for a coroutine.

A tasklet needs a loop to wait for a coroutine. Where one of ours runs on the thread, it is that one, the first where
several do: what the coroutine uses (a pool of connections, a lock) most likely belongs to it. Else it is the thread's
own, which runs in a tasklet of its own while it has tasks, timers, descriptors or child processes, and is there for the
next call: a session that one call has opened is good for the next. Running a fresh loop for each call was rejected for
that.
"""

from __future__ import annotations

import asyncio as _asyncio
from collections.abc import Awaitable, Generator
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from .. import _engine
from ._loop import EventLoop, running_loops

_T = TypeVar("_T")


class _End(_asyncio.Future[None]):
    """A tasklet's end, for a task that awaits it. Its cancel is the tasklet's; it is done when that has ended."""

    def __init__(self, tasklet: _engine.Tasklet[Any], loop: _asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self._tasklet = tasklet
        self._message: Any = None
        tasklet._watch(self._tell)

    def cancel(self, msg: Any = None) -> bool:
        """Cancel the tasklet, as cancelling a task that awaits a task cancels that."""
        if self.done():
            return False
        self._message = msg
        self._tasklet.cancel()
        return True

    def _tell(self, _ended: _engine.Tasklet[Any]) -> None:
        # Called as the tasklet ends, on its thread, this one or another. Nobody waits for it in a loop that was closed.
        loop = self.get_loop()
        if not loop.is_closed():
            loop.call_soon_threadsafe(self._settle)

    def _settle(self) -> None:
        if isinstance(self._tasklet.exception(), _engine.TaskletExit):
            super().cancel(self._message)
        elif not self.done():
            self.set_result(None)


def await_tasklet(tasklet: _engine.Tasklet[_T]) -> Generator[Any, None, _T]:
    """What ``await tasklet`` does where it has not just returned: the engine has let it run, if it was ready."""
    if tasklet.alive:
        if tasklet is _engine.current():
            raise RuntimeError("a tasklet cannot wait for itself: this one runs the loop")
        yield from _End(tasklet, _asyncio.get_running_loop())
    try:
        return tasklet.result()
    except _engine.TaskletExit as ended:
        raise _asyncio.CancelledError from ended


def result_of(awaitable: Awaitable[_T]) -> _T:
    """Wait in a tasklet for a coroutine, a task or a future; return its result or raise its exception.

    It runs in a loop of this thread: see the top of :mod:`overlapped.asyncio`. Whatever ends the wait early, a cancel
    of the tasklet or a time limit (:func:`overlapped.timeout`), cancels the coroutine and waits for its end.

    Raises:
        asyncio.CancelledError: the coroutine was cancelled.
        RuntimeError: called from a coroutine or a callback: the loop itself would wait. Await it there.
    """
    running = _asyncio._get_running_loop()
    if running is not None:
        if _asyncio.iscoroutine(awaitable):
            awaitable.close()
        raise RuntimeError("result_of() waits in a tasklet, and this one runs an event loop: await it instead")
    loop: EventLoop
    if _asyncio.isfuture(awaitable) and isinstance(its := awaitable.get_loop(), EventLoop):
        loop = its
    else:
        loop = next(iter(running_loops()), None) or _own_loop()
    task: _asyncio.Future[_T] = _asyncio.ensure_future(awaitable, loop=loop)
    ended = _engine.Event()
    task.add_done_callback(lambda _: ended.set())
    if isinstance(loop, _OwnLoop):
        loop.go_on()
    try:
        ended.wait()
    except BaseException:
        if not (isinstance(loop, _OwnLoop) and loop.ending):
            task.cancel()
        ended.wait()
        raise
    return task.result()


class _OwnLoop(EventLoop):
    """A thread's own loop: it runs in a tasklet of its own while it has something to do."""

    def go_on(self) -> None:
        """Have it run, if it does not."""
        if self._runner is None:
            self._runner = _engine.spawn(self._run)
            self._runner.name = "asyncio"

    _runner: _engine.Tasklet[None] | None = None
    ending = False
    """Whether it was told to leave, and has told its tasks."""

    def _run(self) -> None:
        try:
            while self._has_something_to_do():
                self.run_forever()
        except BaseException:
            self._end_tasks()
            raise
        finally:
            self._runner, self.ending = None, False

    def _end_tasks(self) -> None:
        """Told to leave, have the tasks do so, each told once: also those whose waiting tasklet is told as well."""
        self.ending = True
        tasks = _asyncio.all_tasks(self)
        for task in tasks:
            if not task.cancelling():
                task.cancel()
        if tasks:
            self.run_until_complete(_asyncio.wait(tasks))

    def _run_once(self) -> None:
        super()._run_once()
        if not self._has_something_to_do():
            self.stop()

    def _has_something_to_do(self) -> bool:
        this: Any = self
        return bool(
            this._ready or this._watches or this._selector.has_something() or this._scheduled
            or _asyncio.all_tasks(self)
        )  # fmt: skip

    def __del__(self) -> None:
        # Its thread has ended. Where it rests it has no descriptor: there is nothing to warn of.
        if not self.is_closed() and not self.is_running():
            self.close()


_own: WeakKeyDictionary[_engine.Tasklet[Any], _OwnLoop] = WeakKeyDictionary()
"""Each thread's own loop, by its main tasklet."""


def _own_loop() -> _OwnLoop:
    main = _engine.main_tasklet()
    loop = _own.get(main)
    if loop is None or loop.is_closed():
        loop = _own[main] = _OwnLoop()
    return loop
