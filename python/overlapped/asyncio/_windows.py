"""Windows: the ends of pipes, and child processes.

asyncio has transports of them in its proactor's loop alone. They ask the proactor for operations on handles, and are
used here as they are: :class:`Handles` is what they ask, and each operation is a tasklet's that waits on the port.

A handle is closed only when nothing is in flight on it: who has cancelled an operation has not ended it yet.
"""

from __future__ import annotations

import asyncio as _asyncio
from asyncio import proactor_events as _proactor_events
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from .. import _engine

_theirs: Any = _proactor_events
_native: Any = _engine
_proactor_loop: Any = _asyncio.ProactorEventLoop  # type: ignore[attr-defined,unused-ignore]

make_subprocess_transport = _proactor_loop._make_subprocess_transport
"""asyncio's, of a loop that has :class:`Handles` for a proactor."""


class _Operation(_asyncio.Future[Any]):
    """What an operation returns. Its cancel is the tasklet's."""

    tasklet: _engine.Tasklet[None]

    def cancel(self, msg: Any = None) -> bool:
        cancelled = super().cancel(msg)
        if cancelled:
            self.tasklet.cancel()
        return cancelled


class Handles:
    """Operations on handles, as asyncio's transports ask its proactor for them."""

    def __init__(self, loop: Any) -> None:
        self._loop = loop
        self._of: defaultdict[int, set[_engine.Tasklet[None]]] = defaultdict(set)

    def recv(self, pipe: Any, nbytes: int, flags: int = 0) -> _asyncio.Future[bytes]:
        """Read at most so many bytes; none at the end."""
        buffer = bytearray(nbytes)
        return self._begin(pipe.fileno(), lambda handle: bytes(buffer[: _native.read_handle(handle, buffer)]))

    def recv_into(self, pipe: Any, buf: Any, flags: int = 0) -> _asyncio.Future[int]:
        """Read into a buffer; 0 at the end."""
        return self._begin(pipe.fileno(), lambda handle: _native.read_handle(handle, buf))

    def send(self, pipe: Any, buf: Any, flags: int = 0) -> _asyncio.Future[int]:
        """Write all of a buffer."""

        def write(handle: int) -> int:
            left = memoryview(buf)
            while left:
                left = left[_native.write_handle(handle, left) :]
            return len(buf)

        return self._begin(pipe.fileno(), write)

    def wait_for_handle(self, handle: int, timeout: None = None) -> _asyncio.Future[None]:
        """Wait until a handle is signalled."""
        return self._begin(handle, _native.await_handle)

    def settle(self, handle: int) -> None:
        """Wait until what is in flight on a handle, all of it cancelled, has ended."""
        with _engine.uncancellable():
            for tasklet in list(self._of.pop(handle, ())):
                tasklet.join()

    def _begin(self, handle: int, operate: Callable[[int], Any]) -> _Operation:
        operation = _Operation(loop=self._loop)
        operation.tasklet = _engine.spawn(self._run, operation, handle, operate)
        operation.tasklet.name = f"asyncio: handle {handle}"
        for tasklets in (self._of[handle], self._loop._watches):
            tasklets.add(operation.tasklet)
            operation.tasklet._watch(tasklets.discard)
        return operation

    def _run(self, operation: _Operation, handle: int, operate: Callable[[int], Any]) -> None:
        try:
            result = operate(handle)
        except OSError as error:
            if not operation.done():
                operation.set_exception(error)
        else:
            if not operation.done():
                operation.set_result(result)


class _OnHandle:
    """A transport of a handle. It comes before asyncio's class of it."""

    _loop: Any
    _sock: Any

    def _call_connection_lost(self, exc: BaseException | None) -> None:
        if self._sock is not None:
            self._loop._proactor.settle(self._sock.fileno())
        super()._call_connection_lost(exc)  # type: ignore[misc]


class ReadPipeTransport(_OnHandle, _theirs._ProactorReadPipeTransport):  # type: ignore[misc]
    """The end of a pipe that is read; see :class:`asyncio.ReadTransport`."""


class WritePipeTransport(_OnHandle, _theirs._ProactorWritePipeTransport):  # type: ignore[misc]
    """The end of a pipe that is written to; see :class:`asyncio.WriteTransport`."""
