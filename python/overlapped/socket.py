"""The standard library's :mod:`socket`, on the completion port: what blocks, blocks only the calling tasklet.

Everything of :mod:`socket` is here under its own name. :class:`socket` is a subclass of the standard library's, so its
instances pass for those everywhere. Sockets in non-blocking mode behave as they always did.
"""

from __future__ import annotations

import os as _os
import socket as _socket
from socket import *  # noqa: F403
from typing import Any

from . import _engine

__all__ = [*_socket.__all__, "has_dualstack_ipv6", "wait_read", "wait_write"]

_base = _socket.socket.__mro__[1]
_READABLE, _WRITABLE = 1, 2
_DONTWAIT = getattr(_socket, "MSG_DONTWAIT", 0)
_INET = {_socket.AF_INET, _socket.AF_INET6}
_PORTABLE = _INET | {getattr(_socket, "AF_UNIX", None)}


class socket(_socket.socket):
    """A socket whose operations block only the calling tasklet. Made and used like the standard library's."""

    __slots__ = ()

    # recv, recv_into, send and sendall are native methods, put here by the engine below.

    def accept(self) -> tuple[socket, Any]:
        """Wait for a connection; return a new socket for it, and the peer's address."""
        timeout = self.gettimeout()
        if timeout == 0 or self.family not in _PORTABLE:
            descriptor, address = _engine.retry(_base._accept, self, False)
        else:
            descriptor, raw = _engine.accept(self.fileno(), timeout)
            address = _to_address(self.family, raw)
        connection = type(self)(self.family, self.type, self.proto, fileno=descriptor)
        # As the standard library: the default time-out decides, except that a listener in non-blocking mode, or with a
        # time-out, must not hand its mode on.
        if _socket.getdefaulttimeout() is None and timeout:
            connection.setblocking(True)
        return connection, address
