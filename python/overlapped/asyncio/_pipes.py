"""Unix: the transports of pipes. See the top of `_transport.py`."""

from __future__ import annotations

import os as _std_os
import stat as _stat
from asyncio import unix_events as _unix_events
from asyncio.log import logger as _logger
from typing import TYPE_CHECKING, Any

from .. import _engine
from ._transport import OnPort

__all__ = ["ReadPipeTransport", "WritePipeTransport"]


class ReadPipeTransport(OnPort, _unix_events._UnixReadPipeTransport):  # type: ignore[misc,name-defined]
    """The end of a pipe that is read; see :class:`asyncio.ReadTransport`."""

    __slots__ = ("_protocol",)
    _IDLE, _POLLING = " idle", " polling"

    def __init__(self, loop: Any, pipe: Any, protocol: Any, waiter: Any = None, extra: Any = None) -> None:
        # Some devices are always ready, and some have no read that waits: those are asyncio's own to read.
        is_device = _stat.S_ISCHR(_std_os.fstat(pipe.fileno()).st_mode)
        self._receiving = _engine.Receiving(self, pipe.fileno(), "other" if is_device else "pipe")
        super().__init__(loop, pipe, protocol, waiter, extra)

    def _read_ready__on_eof(self) -> None:
        """The engine calls it where a read has brought nothing: as in ``_read_ready``."""
        if self._loop.get_debug():
            _logger.info("%r was closed by peer", self)
        self._closing = True
        self._loop._remove_reader(self._fileno)
        self._loop.call_soon(self._protocol.eof_received)
        self._loop.call_soon(self._call_connection_lost, None)


class WritePipeTransport(OnPort, _unix_events._UnixWritePipeTransport):  # type: ignore[misc,name-defined]
    """The end of a pipe that is written to; see :class:`asyncio.WriteTransport`. It polls for the other's end."""

    __slots__ = ("_buffer", "_closing", "_conn_lost", "_fileno")
    _IDLE = _POLLING = "idle"

    def __init__(self, loop: Any, pipe: Any, protocol: Any, waiter: Any = None, extra: Any = None) -> None:
        self._receiving = _engine.Receiving(self, pipe.fileno(), "other")
        super().__init__(loop, pipe, protocol, waiter, extra)

    if TYPE_CHECKING:

        def write(self, data: bytes | bytearray | memoryview) -> None:
            """The engine's: see :func:`overlapped._engine.install_pipe_transport`."""

    def _write(self, data: Any) -> None:
        """The engine calls it for what is not simply to be written."""
        super().write(data)

    def _write_later(self, data: bytes, sent: int) -> None:
        """The engine calls it where the pipe has taken only so much."""
        self._loop._add_writer(self._fileno, self._write_ready)
        self._buffer += memoryview(data)[sent:]
        self._maybe_pause_protocol()


_engine.install_pipe_transport(WritePipeTransport)
