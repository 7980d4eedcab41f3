"""The transports of streams (TCP, Unix, and TLS on them): asyncio's own, with a native receive and ``write``.

Where asyncio's transport has a reader in the selector, ours has a receive in flight on the port: what comes is told to
the protocol from there, without a system call to receive it and without a handle. ``write`` tries to send at once, as
asyncio's does. All else is the standard library's code: flow control, ends, errors and their texts, what is patched
and looked at.

A transport that is being closed still has its receive in flight, if for a moment: ``connection_lost`` is called, and
the socket closed, when that has ended. What comes after :meth:`pause_reading` is kept, and told after
:meth:`resume_reading`: who takes the socket of a paused transport elsewhere may miss some bytes.
"""

from __future__ import annotations

from asyncio import protocols as _protocols
from asyncio import selector_events as _selector_events
from asyncio.sslproto import SSLProtocol
from typing import TYPE_CHECKING, Any

from .. import _engine

__all__ = ["SSLProtocol", "StreamTransport"]


class StreamTransport(_selector_events._SelectorSocketTransport):  # type: ignore[misc,name-defined]
    """A connection of the loop's; see :class:`asyncio.Transport`."""

    def __init__(
        self, loop: Any, sock: Any, protocol: Any, waiter: Any = None, extra: Any = None, server: Any = None
    ) -> None:
        self._receiving = _engine.Receiving(self, sock.fileno())
        super().__init__(loop, sock, protocol, waiter, extra, server)

    def __repr__(self) -> str:
        text: str = super().__repr__()
        receives = (
            self._loop is not None and not self._loop.is_closed() and self._sock_fd in self._loop._selector.receives
        )
        return text.replace("read=idle", "read=polling") if receives else text

    def set_protocol(self, protocol: Any) -> None:
        super().set_protocol(protocol)
        self._receiving.buffered = isinstance(protocol, _protocols.BufferedProtocol)

    def _add_reader(self, fd: int, callback: Any, *args: Any) -> None:
        if self.is_reading():
            self._loop._selector.receive(self._receiving)

    def _call_connection_lost(self, exc: BaseException | None) -> None:
        if self._receiving.in_flight:
            self._loop.call_soon(self._call_connection_lost, exc)
            return
        self._receiving.forget()
        super()._call_connection_lost(exc)

    def _fail(self, exc: BaseException, message: str) -> None:
        """The engine calls it where something has failed, and nobody has caught it yet."""
        try:
            raise exc
        except BaseException:
            self._fatal_error(exc, message)

    def _end_soon(self) -> None:
        """The engine calls it when the end has come: connections end in handles, at the pace of asyncio's."""
        self._loop.call_soon(self._receiving.tell_end)

    if TYPE_CHECKING:

        def write(self, data: bytes | bytearray | memoryview) -> None:
            """The engine's: see :func:`overlapped._engine.install_transport`."""

    def _write(self, data: Any) -> None:
        """The engine calls it for what is not simply to be sent."""
        super().write(data)

    def _write_later(self, data: bytes, sent: int) -> None:
        """The engine calls it where the socket has taken only so much."""
        self._loop._add_writer(self._sock_fd, self._write_ready)
        rest = memoryview(data)[sent:]
        # Up to Python 3.11 what waits is in one piece.
        if isinstance(self._buffer, bytearray):
            self._buffer.extend(rest)
        else:
            self._buffer.append(rest)
        self._maybe_pause_protocol()


_engine.install_transport(StreamTransport)
