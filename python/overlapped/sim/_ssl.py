"""TLS on a socket of the world: OpenSSL would ask the system for it."""

from __future__ import annotations

from typing import Any

from .. import _engine, monkey


def install() -> None:
    """Refuse it, in words."""

    def patch(ssl: Any) -> None:
        wrap = ssl.SSLContext.wrap_socket

        def wrap_socket(self: Any, sock: Any, *args: Any, **named: Any) -> Any:
            if _engine.sim_has(sock.fileno()):
                raise OSError(
                    "a simulated world has no TLS on a socket yet: leave it out, or use asyncio or ssl.MemoryBIO"
                )
            return wrap(self, sock, *args, **named)

        ssl.SSLContext.wrap_socket = wrap_socket

    monkey._after_import("ssl", patch)
