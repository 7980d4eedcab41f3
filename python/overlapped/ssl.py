"""The standard library's :mod:`ssl` over :mod:`overlapped.socket`: what blocks, blocks only the calling tasklet.

Everything of :mod:`ssl` is here under its own name. The protocol, the certificates and the record layer are the
standard library's (OpenSSL's); ours is only the waiting: a call that wants to read from or write to the network is
made again when the port says that the socket is ready.
"""

from __future__ import annotations

import os as _os
import ssl as _std
from abc import ABC as _ABC
from abc import abstractmethod as _abstractmethod
from collections.abc import Callable as _Callable
from ssl import *  # noqa: F403
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any

from . import _engine
from . import monkey as _monkey
from . import socket as _socket
from ._engine import clock as _clock
from ._rebind import rebind as _rebind

if _TYPE_CHECKING:
    from socket import socket as _std_socket

_READABLE, _WRITABLE = 1, 2


class _Connection(_ABC):
    """OpenSSL's object of a connection, of which what may have to wait goes through :meth:`_call`."""

    def __init__(self, socket: SSLSocket, connection: Any) -> None:
        self.__dict__.update(_socket=socket, _connection=connection)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def __setattr__(self, name: str, value: Any) -> None:
        # The session to go on with, the context that the name of the server chose.
        setattr(self._connection, name, value)

    @_abstractmethod
    def _call(self, method: _Callable[..., Any], *args: Any) -> Any: ...

    def do_handshake(self) -> Any:
        return self._call(self._connection.do_handshake)

    def read(self, *args: Any) -> Any:
        return self._call(self._connection.read, *args)

    def write(self, data: Any) -> Any:
        return self._call(self._connection.write, data)

    def shutdown(self) -> Any:
        return self._call(self._connection.shutdown)


class _Waiting(_Connection):
    """One whose calls wait in their tasklet."""

    def _call(self, method: _Callable[..., Any], *args: Any) -> Any:
        socket = self._socket
        timeout = socket.gettimeout()
        deadline = None if timeout is None else _clock() + timeout
        while True:
            try:
                return _engine.call_without_waiting(socket, method, *args)
            except _std.SSLWantReadError:
                interest = _READABLE
                if timeout == 0:
                    raise
            except _std.SSLWantWriteError:
                interest = _WRITABLE
                if timeout == 0:
                    raise
            left = None if deadline is None else max(0.0, deadline - _clock())
            _engine.wait(socket.fileno(), interest, left)


class SSLSocket(_std.SSLSocket, _socket.socket):  # type: ignore[no-redef]
    """A TLS socket that blocks only the calling tasklet. :meth:`SSLContext.wrap_socket` makes it."""

    _waiting: _Waiting | None = None

    # The standard library keeps OpenSSL's object under this name, and calls it from everywhere.
    @property
    def _sslobj(self) -> Any:
        return self._waiting

    @_sslobj.setter
    def _sslobj(self, connection: Any) -> None:
        self._waiting = None if connection is None else _Waiting(self, connection)
        self._never_block()

    def _never_block(self) -> None:
        """OpenSSL reads and writes the descriptor itself: whatever the time-out, that must not block.

        On Windows that is seen to around each call: a socket is no descriptor of :mod:`os` there.
        """
        if _os.name != "nt" and self._waiting is not None and self.fileno() >= 0:
            _os.set_blocking(self.fileno(), False)

    def settimeout(self, value: float | None, /) -> None:
        """Set the time-out of the socket's operations in seconds; ``None`` for none."""
        super().settimeout(value)
        self._never_block()

    def setblocking(self, flag: bool, /) -> None:
        """``True``: operations wait without end; ``False``: they do not wait."""
        super().setblocking(flag)
        self._never_block()


class SSLContext(_std.SSLContext):  # type: ignore[no-redef]
    """The standard library's context; its sockets block only the calling tasklet."""

    sslsocket_class = SSLSocket

    if _TYPE_CHECKING:

        def wrap_socket(  # type: ignore[empty-body]
            self,
            sock: _std_socket,
            server_side: bool = False,
            do_handshake_on_connect: bool = True,
            suppress_ragged_eofs: bool = True,
            server_hostname: str | bytes | None = None,
            session: _std.SSLSession | None = None,
        ) -> SSLSocket: ...


if _TYPE_CHECKING:

    def create_default_context(  # type: ignore[misc, empty-body]
        purpose: _std.Purpose = ...,
        *,
        cafile: _os.PathLike[str] | str | None = None,
        capath: _os.PathLike[str] | str | None = None,
        cadata: str | bytes | None = None,
    ) -> SSLContext: ...


# The standard library's own functions, over the names above.
_names = dict(vars(_std))
_names.update(SSLContext=SSLContext, SSLSocket=SSLSocket, create_connection=_socket.create_connection)
_REBOUND = ("create_default_context", "get_server_certificate")
for _name in ("_create_unverified_context", "_create_stdlib_context", *_REBOUND):
    if hasattr(_std, _name):
        _names[_name] = globals()[_name] = _rebind(getattr(_std, _name), _names, __name__)
_names["_create_default_https_context"] = _names["create_default_context"]

if _monkey.is_patched("ssl"):
    _std.SSLContext.sslsocket_class = SSLSocket
