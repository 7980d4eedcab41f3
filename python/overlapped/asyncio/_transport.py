"""The transports: asyncio's own, reading by the port, with native methods to write.

Where asyncio's transport of a stream (TCP, Unix, and TLS on them) has a reader in the selector, ours has a receive in
flight on the port: what comes is told to the protocol from there, without a system call to receive it and without a
handle. So has one of a pipe, with a read. Those of datagrams have a poll on the port, and take what is there natively
when that has come.
``write`` and ``sendto`` try at once, as asyncio's do. All else is the standard library's code: flow control, ends,
errors and their texts, what is patched and looked at.

A transport that is closed still has its receive or poll in flight: that is ended before ``connection_lost`` is called,
in the turn in which asyncio calls it. Programs count the turns until then, and a peer sees the end at once, also where
the loop's thread then waits for something else. What comes by a stream or pipe after :meth:`pause_reading` is kept, and
told after :meth:`resume_reading`: who takes the socket or pipe of a paused transport elsewhere may miss some bytes.
"""

from __future__ import annotations

import asyncio as _asyncio
import socket as _socket
import weakref
from asyncio import protocols as _protocols
from asyncio import selector_events as _selector_events
from asyncio import streams as _streams
from asyncio.sslproto import SSLProtocol
from typing import TYPE_CHECKING, Any

from .. import _engine

__all__ = ["DatagramTransport", "OnPort", "SSLProtocol", "StreamTransport"]


class OnPort:
    """A transport that reads by the port. It comes before asyncio's class of it."""

    _loop: Any
    _receiving: _engine.Receiving
    _IDLE, _POLLING = "read=idle", "read=polling"

    def __repr__(self) -> str:
        text = super().__repr__()
        loop, descriptor = self._loop, self._receiving.descriptor
        receives = loop is not None and not loop.is_closed() and descriptor in loop._selector.receives
        return text.replace(self._IDLE, self._POLLING) if receives else text

    def _call_connection_lost(self, exc: BaseException | None) -> None:
        self._receiving.forget()
        if self._receiving.in_flight:
            self._loop._selector.end(self._receiving)
        super()._call_connection_lost(exc)  # type: ignore[misc]

    def _end_soon(self) -> None:
        """The engine calls it when the end has come: connections end in handles, at the pace of asyncio's."""
        self._loop.call_soon(self._receiving.tell_end)

    def _fail(self, exc: BaseException, message: str) -> None:
        """The engine calls it where something has failed, and nobody has caught it yet."""
        try:
            raise exc
        except BaseException:
            self._fatal_error(exc, message)  # type: ignore[attr-defined]

    def _reader_failed(self, exc: BaseException) -> None:
        """The engine calls it where a callback has raised what asyncio's transport would not have caught either."""
        loop: Any = _asyncio.get_running_loop()
        loop._callback_failed(_asyncio.Handle(self._read_ready, (), loop), exc)  # type: ignore[attr-defined]


_DATA_RECEIVED, _FEED_DATA = _streams.StreamReaderProtocol.data_received, _streams.StreamReader.feed_data


def _reader(protocol: Any) -> tuple[weakref.ref[Any], int] | None:
    """What the engine feeds where that is all that the protocol does: one of asyncio's own streams."""
    kind = type(protocol)
    if kind is not _streams.StreamReaderProtocol or kind.data_received is not _DATA_RECEIVED:
        return None
    reference: Any = protocol._stream_reader_wr
    reader = reference and reference()
    if type(reader) is not _streams.StreamReader or type(reader).feed_data is not _FEED_DATA:
        return None
    return reference, 2 * reader._limit  # type: ignore[attr-defined]


class StreamTransport(OnPort, _selector_events._SelectorSocketTransport):  # type: ignore[misc,name-defined]
    """A connection of the loop's; see :class:`asyncio.Transport`."""

    _sock: Any

    # What each receive and each write looks at, in places that they know.
    __slots__ = ("_buffer", "_conn_lost", "_empty_waiter", "_eof", "_protocol", "_sock_fd")

    def __init__(
        self, loop: Any, sock: Any, protocol: Any, waiter: Any = None, extra: Any = None, server: Any = None
    ) -> None:
        self._receiving = _engine.Receiving(self, sock.fileno(), "stream")
        super().__init__(loop, sock, protocol, waiter, extra, server)

    def set_protocol(self, protocol: Any) -> None:
        super().set_protocol(protocol)
        self._receiving.buffered = isinstance(protocol, _protocols.BufferedProtocol)
        self._receiving.reader = _reader(protocol)

    def _add_reader(self, fd: int, callback: Any, *args: Any) -> None:
        if self.is_reading():
            self._loop._selector.receive(self._receiving)

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


class DatagramTransport(OnPort, _selector_events._SelectorDatagramTransport, _asyncio.DatagramTransport):  # type: ignore[misc,name-defined]
    """A socket of datagrams; see :class:`asyncio.DatagramTransport`."""

    __slots__ = ("_address", "_buffer", "_conn_lost", "_protocol", "_receiving")

    def __init__(
        self, loop: Any, sock: Any, protocol: Any, address: Any = None, waiter: Any = None, extra: Any = None
    ) -> None:
        is_known = sock.family in (_socket.AF_INET, _socket.AF_INET6, getattr(_socket, "AF_UNIX", None))
        self._receiving = _engine.Receiving(self, sock.fileno(), "datagrams" if is_known else "other")
        super().__init__(loop, sock, protocol, address, waiter, extra)  # type: ignore[call-arg]

    if TYPE_CHECKING:

        def sendto(self, data: bytes | bytearray | memoryview, addr: Any = None) -> None:
            """The engine's: see :func:`overlapped._engine.install_datagram_transport`."""

    def _sendto(self, data: Any, addr: Any = None) -> None:
        """The engine calls it for what is not simply to be sent."""
        super().sendto(data, addr)


_engine.install_transport(StreamTransport)
_engine.install_datagram_transport(DatagramTransport)
