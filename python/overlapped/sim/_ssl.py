"""TLS on a socket of the world: OpenSSL would ask the system for it."""

from __future__ import annotations

from typing import Any

from .. import _engine, monkey
from .. import socket as _ours


def install() -> None:
    """Have the world carry what OpenSSL would ask the system to."""

    def patch(ssl: Any) -> None:
        by_system, wrap = ssl.SSLContext._wrap_socket, ssl.SSLContext.wrap_socket

        def _wrap_socket(self: Any, sock: Any, *args: Any, **named: Any) -> Any:
            if not _engine.sim_has(sock.fileno()):
                return by_system(self, sock, *args, **named)
            from ._records import Carried

            return Carried(sock, self, *args, **named)

        def wrap_socket(self: Any, sock: Any, *args: Any, **named: Any) -> Any:
            if _engine.sim_has(sock.fileno()) and not issubclass(self.sslsocket_class, _ours.socket):
                raise OSError(
                    "in a simulated world TLS is overlapped.ssl's: import it for ssl, or call monkey.patch_all()"
                )
            return wrap(self, sock, *args, **named)

        ssl.SSLContext._wrap_socket = _wrap_socket
        ssl.SSLContext.wrap_socket = wrap_socket

    monkey._after_import("ssl", patch)
