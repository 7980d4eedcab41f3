"""The TLS of a socket of the world: OpenSSL makes the records, and the world carries them.

What OpenSSL would ask the system for, it asks here: each call does what can be done without waiting, and says that it
wants to read or to write, as over a socket in non-blocking mode. What waits for that is :mod:`overlapped.ssl`'s, as in
the real world.

Records are taken from the socket one by one, as OpenSSL does: what it did not ask for stays where ``select`` sees it.
"""

from __future__ import annotations

import ssl as _std
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from .. import _engine
from .._engine import get_ident
from ..ssl import SSLSocket, _Connection

_HEADER = 5
"""Bytes before those of a record, of which the last two say how many follow (RFC 8446, section 5.1)."""


class Carried(_Connection):
    """OpenSSL's object of a connection whose socket is one of the world."""

    def __init__(self, socket: SSLSocket, context: _std.SSLContext, *args: Any, **named: Any) -> None:
        incoming, outgoing = _std.MemoryBIO(), _std.MemoryBIO()
        wrap: Callable[..., Any] = context._wrap_bio  # type: ignore[attr-defined]
        super().__init__(socket, wrap(incoming, outgoing, *args, **named))
        self.__dict__.update(_incoming=incoming, _outgoing=outgoing, _header=b"", _left=0, _unsent=b"", _done={})

    def read(self, *args: Any) -> Any:
        # It waits for no room: the other side may make some only once it has sent what is read here.
        return self._try(self._send_what_fits, self._connection.read, *args)

    def shutdown(self) -> Any:
        super().shutdown()
        return self._socket

    def _call(self, method: Callable[..., Any], *args: Any) -> Any:
        me, call = get_ident(), (method.__name__, args)
        # What found no room for its bytes is called again.
        done, result = self._done.pop(me, (None, None))
        if done != call:
            result = self._try(self._send, method, *args)
        self._done[me] = call, result
        self._send()
        del self._done[me]
        return result

    def _try(self, send: Callable[[], None], method: Callable[..., Any], *args: Any) -> Any:
        send()
        while True:
            try:
                return method(*args)
            except _std.SSLWantReadError:
                send()
                self._receive()
            except _std.SSLError:
                # The other is to hear of it, if it still listens.
                with suppress(OSError):
                    self._send()
                raise

    def _send_what_fits(self) -> None:
        with suppress(_std.SSLWantWriteError):
            self._send()

    def _send(self) -> None:
        own = self.__dict__
        while own["_unsent"] or self._outgoing.pending:
            own["_unsent"] = own["_unsent"] or self._outgoing.read()
            try:
                sent = _engine.sim_send(self._socket.fileno(), [own["_unsent"]], None)
            except BlockingIOError:
                raise _std.SSLWantWriteError(_std.SSL_ERROR_WANT_WRITE, "there is no room") from None
            own["_unsent"] = own["_unsent"][sent:]

    def _receive(self) -> None:
        own = self.__dict__
        size = own["_left"] or _HEADER - len(own["_header"])
        try:
            data, *_ = _engine.sim_recv(self._socket.fileno(), size, 0)
        except BlockingIOError:
            raise _std.SSLWantReadError(_std.SSL_ERROR_WANT_READ, "nothing has come yet") from None
        if not data:
            self._incoming.write_eof()
            return
        self._incoming.write(data)
        if own["_left"]:
            own["_left"] -= len(data)
            return
        own["_header"] += data
        if len(own["_header"]) == _HEADER:
            own["_left"], own["_header"] = int.from_bytes(own["_header"][-2:], "big"), b""
