"""Libraries that wait in C: what is known of them, and what is set for them where that tells no lie.

:data:`KNOWN` is what ``python -m overlapped --doctor`` says of those that a program has imported, and
``docs/libraries.md`` has the same as a table.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, NamedTuple

from . import _engine
from ._pool import on_pool

__all__ = ["KNOWN", "prepare_psycopg", "prepare_psycopg2", "prepare_pyopenssl", "prepare_trio", "put_on_pool"]


class Known(NamedTuple):
    """A module that waits by itself."""

    does: str
    advice: str


KNOWN = {
    "sqlite3": Known("waits for locks of the database in C", "nothing: its calls run on the pool beside other threads"),
    "psycopg": Known(
        "waits for the server in C", "nothing: PSYCOPG_WAIT_FUNC is wait_poll here, unless you set it to something else"
    ),
    "psycopg2": Known(
        "waits for the server in C",
        "nothing for queries: a wait callback is set. COPY and large objects are refused with one;"
        " psycopg2.extensions.set_wait_callback(None) before them",
    ),
    "OpenSSL": Known(
        "a Connection reads and writes the descriptor in C",
        "nothing: on a blocking socket its calls wait in Python, and else they do not wait",
    ),
    "zmq": Known(
        "send, recv and poll wait in C",
        "--offload zmq:Socket.send,Socket.recv,Socket.poll; a socket is then used on several threads in turn",
    ),
    "grpc": Known("calls wait for threads of the core's own, in C", "overlapped.offload for the calls, or grpc.aio"),
    "uvloop": Known("its loop waits in libuv", "the loop of overlapped.asyncio, which is asyncio's default here"),
    "MySQLdb": Known("waits for the server in C", "PyMySQL, or overlapped.offload for the calls"),
    "pymssql": Known("waits for the server in C", "overlapped.offload for the calls"),
    "pycurl": Known("Curl.perform waits in C", "overlapped.offload(curl.perform), or CurlMulti with select()"),
}
"""By the name of the module that a program imports."""


def put_on_pool(module: ModuleType, names: tuple[str, ...], note: Callable[[str, Any], None]) -> None:
    """Give functions and methods of a module, by their dotted names, versions that run on the pool."""
    # Not at the top: it takes longer to import than all else here, and few programs come by.
    from inspect import getattr_static

    for dotted in names:
        owner: Any = module
        *outer, name = dotted.split(".")
        for step in outer:
            owner = getattr(owner, step)
        plain = getattr_static(owner, name)
        kind = type(plain) if isinstance(plain, (staticmethod, classmethod)) else None
        new = on_pool(plain.__func__ if kind else plain)
        try:
            setattr(owner, name, kind(new) if kind else new)
        except TypeError:
            raise TypeError(f"{module.__name__}.{dotted}: {owner!r} is made in C and takes no other method") from None
        note(dotted, plain)


def prepare_psycopg(waiting: Any) -> None:
    """Have psycopg 3 wait in Python, by :mod:`select`, and not in C (its environment variable does the same)."""
    if "PSYCOPG_WAIT_FUNC" not in os.environ:
        waiting.wait = getattr(waiting, "wait_poll", waiting.wait_selector)


def prepare_psycopg2(psycopg2: Any) -> None:
    """Have psycopg2 ask for the waits that it needs, and not make them in C."""
    extensions = sys.modules["psycopg2.extensions"]

    def wait(connection: Any, timeout: float | None = None) -> None:
        while (state := connection.poll()) != extensions.POLL_OK:
            _engine.wait(connection.fileno(), 1 if state == extensions.POLL_READ else 2)

    extensions.set_wait_callback(wait)


def prepare_pyopenssl(ssl: Any) -> None:
    """Have the calls of pyOpenSSL's connections on blocking sockets not block, and wait in Python until the socket is
    ready. The descriptor is non-blocking during the call alone: nobody else of this thread runs meanwhile."""

    def wait_in_python(plain: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(plain)
        def call(self: Any, *args: Any, **kwargs: Any) -> Any:
            if self._socket is None or self._socket.gettimeout() is not None:
                return plain(self, *args, **kwargs)
            number = self._socket.fileno()
            while True:
                os.set_blocking(number, False)
                try:
                    return plain(self, *args, **kwargs)
                except ssl.WantReadError:
                    interest = 1
                except ssl.WantWriteError:
                    interest = 2
                finally:
                    os.set_blocking(number, True)
                _engine.wait(number, interest)

        return call

    kind = ssl.Connection
    for name in ("recv", "recv_into", "send", "do_handshake", "shutdown"):
        setattr(kind, name, wait_in_python(getattr(kind, name)))
    kind.read, kind.write, plain_sendall = kind.recv, kind.send, kind.sendall

    @functools.wraps(plain_sendall)
    def sendall(self: Any, buf: Any, flags: int = 0) -> int:
        if self._socket is None or self._socket.gettimeout() is not None or isinstance(buf, str):
            return plain_sendall(self, buf, flags)  # type: ignore[no-any-return]
        # Tried again, the plain one would begin at its beginning.
        sent = 0
        with memoryview(buf).cast("B") as left:
            while sent < len(left):
                sent += self.send(left[sent:], flags)
        return sent

    kind.sendall = sendall


def prepare_trio(cache: Any) -> None:
    """Have trio name none of the system's threads, as where the system has no names for them: it hands libc the
    identifier of a thread, and that of a tasklet is none of libc's."""
    cache.set_os_thread_name = None
