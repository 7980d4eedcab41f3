"""The standard library's :mod:`socket`, on the completion port: what blocks, blocks only the calling tasklet.

Everything of :mod:`socket` is here under its own name, :class:`socket` and whatever makes or waits for one in a version
of ours. :class:`socket` is a subclass of the standard library's, so its instances pass for those everywhere. Sockets in
non-blocking mode behave as they always did. Nothing is read ahead: each receive takes what its caller asked for.

The port does accept, connect, send, sendall and, of IPv4, IPv6 and Unix sockets, every receive. Sends with an address
or control data, and what else the rarer families receive, are the standard library's own, tried without blocking and
tried again when the port says that the socket is ready.

Make a listener that several processes accept from (children of a fork, most often) non-blocking before, by
:func:`os.set_blocking`, which leaves its time-out as it is. Where there is no io_uring, that mode alone keeps accept(2)
from blocking, and all of them share it: each would set it for its own calls, and now and then take it from another's,
whose whole thread waits then for the next client.

On Windows, too, a receive on a socket that was shut for it finds the end, a send is a broken pipe (with the number of
one, ``EPIPE``), and of a datagram that is longer than the buffer its beginning comes: there the standard library's
raises ``WSAESHUTDOWN`` and ``WSAEMSGSIZE``.
"""

from __future__ import annotations

import io as _std_io
import os as _os
import socket as _std
import struct as _struct
import sys as _sys
from _socket import socket as _Base
from collections.abc import Callable as _Callable
from contextlib import suppress as _suppress
from operator import index as _index
from socket import *
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any

from . import _engine
from . import io as _io
from ._engine import clock as _clock
from ._rebind import rebind as _rebind

__all__ = list(_std.__all__)

_AF_UNIX = getattr(_std, "AF_UNIX", None)
_INET = frozenset({_std.AF_INET, _std.AF_INET6})
_ON_PORT = _INET | {_AF_UNIX}
_DONTWAIT = getattr(_std, "MSG_DONTWAIT", 0)
_MOST_CONTROL = 1 << 31
_MOST_BUFFERS = 1024  # IOV_MAX
_EWOULDBLOCK = _std.EWOULDBLOCK
_UNIX_PATH = 108
_PIECE = 256 << 10

# The originals: once the program is patched, the module's own names lead back here.
_getaddrinfo = _std.getaddrinfo
_Giveup = _std._GiveupOnSendfile  # type: ignore[attr-defined]
_SocketIO = _std.SocketIO

# As plain numbers: to find the members of the enumerations takes longer than all else that an accept does in Python.
_family_of: _Callable[[Any], int] = _Base.family.__get__
_type_of: _Callable[[Any], int] = _Base.type.__get__


class socket(_std.socket):  # type: ignore[no-redef]
    """A socket whose operations block only the calling tasklet. Made and used like the standard library's."""

    __slots__ = ()

    # recv, recv_into, send and sendall are native methods: see install_socket below.

    def accept(self) -> tuple[socket, Any]:
        """Wait for a connection; return a new socket for it, and the peer's address.

        Raises:
            TimeoutError: none came within the socket's time-out.
            OSError: the system's error; ``EBADF`` where another tasklet closed the socket meanwhile.
        """
        timeout, listener = self.gettimeout(), self.fileno()
        if timeout == 0 or listener < 0 or _engine.program_ends():
            descriptor, address = _engine.retry(_Base._accept, self, False, 0)  # type: ignore[attr-defined]
        else:
            descriptor, address = _engine.accept(listener, timeout)
        try:
            connection = socket(_family_of(self), _type_of(self), self.proto, fileno=descriptor)
        except BaseException:
            _std.close(descriptor)
            raise
        if address is None and self.family not in _ON_PORT:
            # Only the standard library knows how such an address is written. A peer that is gone has none any more.
            with _suppress(OSError):
                address = connection.getpeername()
        # As in the standard library: a connection does not inherit that its listener has a time-out.
        if _std.getdefaulttimeout() is None and timeout:
            connection.setblocking(True)
        return connection, address

    def bind(self, address: Any) -> None:
        """Bind the socket to an address; a name is looked up while only the calling tasklet waits."""
        super().bind(self._numeric(address))

    def connect(self, address: Any) -> None:
        """Connect to a remote address, waiting until it answers.

        Raises:
            TimeoutError: it did not answer within the socket's time-out.
            gaierror: the name cannot be resolved.
            OSError: the system's error.
        """
        timeout = self.gettimeout()
        if timeout == 0 or self.fileno() < 0 or _engine.program_ends():
            return super().connect(address)
        address = self._numeric(address)
        raw = self._to_raw(address)
        if raw is not None:
            _sys.audit("socket.connect", self, address)
            return _engine.connect(self.fileno(), raw, timeout)
        self.setblocking(False)
        try:
            super().connect(address)
        except BlockingIOError:
            _engine.wait(self.fileno(), 2, timeout)
            error = self.getsockopt(_std.SOL_SOCKET, _std.SO_ERROR)
            if error:
                raise OSError(error, _os.strerror(error)) from None
        finally:
            # Also of a socket that was closed meanwhile, whose mode nobody can set any more.
            with _suppress(OSError):
                self.settimeout(timeout)

    def connect_ex(self, address: Any) -> int:
        """Like :meth:`connect`, but return the error number, 0 for none."""
        if self.gettimeout() == 0:
            return super().connect_ex(address)
        return _number_of_error(socket.connect, self, address)

    def recvfrom(self, bufsize: int, flags: int = 0, /) -> tuple[bytes, Any]:
        """Receive up to ``bufsize`` bytes; return them and the sender's address."""
        bufsize = _index(bufsize)
        if bufsize >= 0 and _engine.port_receives(self, flags):
            data, _control, _flags, address = _engine.receive_message(self, bufsize, 0, flags)
            return data, address
        return _engine.retry(_Base.recvfrom, self, False, flags, bufsize, flags | _DONTWAIT)

    def recvfrom_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> tuple[int, Any]:
        """Receive into a writable buffer; return how many bytes, and the sender's address."""
        if nbytes >= 0 and _engine.port_receives(self, flags):
            view = memoryview(buffer).cast("B")
            if nbytes <= len(view):
                view = view[: nbytes or None]
                count, _control, _flags, address = _engine.receive_message_into(self, [view], 0, flags)
                return count, address
        return _engine.retry(_Base.recvfrom_into, self, False, flags, buffer, nbytes, flags | _DONTWAIT)

    def sendto(self, data: Any, *args: Any) -> int:
        """``sendto(data[, flags], address)``: send to an address; return how many bytes the system took."""
        if len(args) not in (1, 2):
            return super().sendto(data, *args)
        flags, address = args if len(args) == 2 else (0, args[0])
        if not isinstance(flags, int):
            return super().sendto(data, flags, address)
        address = self._numeric(address)
        return self._send_to(address, _Base.sendto, flags, data, flags | _DONTWAIT, address)

    if hasattr(_Base, "recvmsg"):

        def recvmsg(self, bufsize: int, ancbufsize: int = 0, flags: int = 0, /) -> tuple[bytes, list[Any], int, Any]:
            """Receive bytes and control data: ``(data, ancdata, msg_flags, address)``."""
            bufsize, ancbufsize = _index(bufsize), _index(ancbufsize)
            if bufsize >= 0 and 0 <= ancbufsize < _MOST_CONTROL and _engine.port_receives(self, flags):
                return _engine.receive_message(self, bufsize, ancbufsize, flags)
            return _engine.retry(_Base.recvmsg, self, False, flags, bufsize, ancbufsize, flags | _DONTWAIT)

        def recvmsg_into(self, buffers: Any, ancbufsize: int = 0, flags: int = 0, /) -> tuple[int, list[Any], int, Any]:
            """Receive into several buffers, with control data: ``(nbytes, ancdata, msg_flags, address)``."""
            buffers, ancbufsize = tuple(buffers), _index(ancbufsize)
            if len(buffers) <= _MOST_BUFFERS and 0 <= ancbufsize < _MOST_CONTROL and _engine.port_receives(self, flags):
                return _engine.receive_message_into(self, buffers, ancbufsize, flags)
            return _engine.retry(_Base.recvmsg_into, self, False, flags, buffers, ancbufsize, flags | _DONTWAIT)

        def sendmsg(self, buffers: Any, ancdata: Any = (), flags: int = 0, address: Any = None, /) -> int:
            """Send several buffers, with control data and to an address where they are given."""
            if address is not None:
                address = self._numeric(address)
            buffers, ancdata = tuple(buffers), tuple(ancdata)
            return self._send_to(address, _Base.sendmsg, flags, buffers, ancdata, flags | _DONTWAIT, address)

    if _sys.platform == "win32":

        def shutdown(self, how: int, /) -> None:
            """Shut one or both directions of the connection down; what waits for them ends."""
            if how not in (_std.SHUT_RD, _std.SHUT_WR, _std.SHUT_RDWR) or self.fileno() < 0 or _engine.program_ends():
                return super().shutdown(how)
            # The system ends no receive that is under way; the port does.
            _engine.shutdown(self.fileno(), how)

    def makefile(
        self,
        mode: str = "r",
        buffering: int | None = None,
        *,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
    ) -> Any:
        """A file object on the socket, as in the standard library; several tasklets may use it."""
        return _makefile(self, mode, buffering, encoding=encoding, errors=errors, newline=newline)

    def _sendfile_use_sendfile(self, file: Any, offset: int = 0, count: int | None = None) -> int:
        # The first of the two ways in which the standard library's sendfile tries to send; the other reads the file.
        self._check_sendfile_params(file, offset, count)  # type: ignore[attr-defined]
        try:
            descriptor = file.fileno()
            size = _os.fstat(descriptor).st_size
        except (AttributeError, _std_io.UnsupportedOperation, OSError) as error:
            raise _Giveup(error) from None
        if not size:
            return 0
        if self.gettimeout() == 0:
            raise ValueError("non-blocking sockets are not supported")
        sent = 0
        try:
            while count is None or sent < count:
                wanted = _PIECE if count is None else min(_PIECE, count - sent)
                try:
                    piece = _engine.read_at(descriptor, wanted, offset + sent)
                except OSError as error:
                    if sent:
                        raise
                    raise _Giveup(error) from None
                if piece is None:
                    raise _Giveup(OSError(_std.EBADF, "not open to be read"))
                if not piece:
                    break
                self.sendall(piece)
                sent += len(piece)
        finally:
            if sent and hasattr(file, "seek"):
                file.seek(offset + sent)
        return sent

    def _real_close(self, _ss: Any = _Base) -> None:
        # Nothing may be in flight on a descriptor whose number is given away.
        descriptor = self.fileno()
        if descriptor >= 0:
            _engine.cancel_socket(descriptor)
        _ss.close(self)

    def _send_to(self, address: Any, method: _Callable[..., int], flags: int, *args: Any) -> int:
        """Send, by a method of the standard library's, waiting for room here and at ``address``.

        A Unix datagram socket is ready to send whatever the state of the receiver's queue: only one that is connected
        to that receiver tells when there is room, so one is made for the wait (``unix_dgram_poll`` in Linux).
        """
        timeout = self.gettimeout()
        of_local_datagrams = address is not None and self.family == _AF_UNIX and self.type == _std.SOCK_DGRAM
        if not of_local_datagrams or timeout == 0 or flags & _DONTWAIT or _engine.program_ends():
            return _engine.retry(method, self, True, flags, *args)
        _engine.give_way()
        deadline = None if timeout is None else _clock() + timeout
        while True:
            with _suppress(BlockingIOError):
                return _engine.call_without_waiting(self, method, self, *args)
            with socket(self.family, self.type) as there:
                there.setblocking(False)
                there.connect(address)
                for sender in (self, there):
                    left = None if deadline is None else deadline - _clock()
                    if left is not None and left <= 0:
                        raise TimeoutError("timed out")
                    _engine.wait(sender.fileno(), 2, left)

    def _numeric(self, address: Any) -> Any:
        """The address with its host's name, if it is one, looked up on a thread."""
        if self.family not in _INET or not isinstance(address, tuple) or not address:
            return address
        host = address[0]
        if isinstance(host, (bytes, bytearray)):
            host = bytes(host).decode("ascii", "surrogateescape")
        if not isinstance(host, str) or host in ("", "<broadcast>"):
            return address
        if _engine.numeric_address(host, 0) is not None:
            return address
        found: Any = getaddrinfo(host, None, self.family, self.type)[0][4]
        scope = found[2:] if len(address) == 2 and self.family == _std.AF_INET6 and found[3] else address[2:]
        return (found[0].partition("%")[0], *address[1:2], *scope)

    def _to_raw(self, address: Any) -> bytes | None:
        """The address as a ``sockaddr``; ``None`` where the standard library is to read it, or to say what is wrong."""
        if self.family == _AF_UNIX:
            path = _os.fsencode(address) if isinstance(address, str) else address
            if not isinstance(path, (bytes, bytearray)) or not 0 < len(path) < _UNIX_PATH:
                return None
            return _struct.pack("=H", int(self.family)) + bytes(path) + (b"" if path[0] == 0 else b"\0")
        if self.family not in _INET or not isinstance(address, tuple):
            return None
        if not 2 <= len(address) <= (4 if self.family == _std.AF_INET6 else 2):
            return None
        host, port, *more = address
        if not isinstance(host, str) or not isinstance(port, int) or not 0 <= port <= 0xFFFF:
            return None
        if not all(isinstance(number, int) and 0 <= number <= 0xFFFFFFFF for number in more):
            return None
        raw: bytes | None = _engine.numeric_address(host, port, *more)
        family = None if raw is None else _struct.unpack_from("=H", raw)[0]
        return raw if family == self.family else None


_engine.install_socket(socket)


def _number_of_error(connect: _Callable[..., None], *args: Any) -> int:
    """Call what connects; return the number of its error, 0 for none."""
    try:
        connect(*args)
    except _std.gaierror:
        raise
    except TimeoutError as error:
        return error.errno or _EWOULDBLOCK
    except OSError as error:
        # The system's own number, on Windows Winsock's, where `errno` may be the C runtime's for it.
        number: int | None = getattr(error, "winerror", None) or error.errno
        if number is None:
            raise
        return number
    return 0


def _look_up(function: _Callable[..., Any], *args: Any) -> Any:
    """Call one of the standard library's, which asks for names, while only the calling tasklet waits."""
    return _engine.offload_short(function, *args)


if not _TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        # What the original does not export, programs use all the same: EBADF, SocketIO, _GLOBAL_DEFAULT_TIMEOUT.
        return getattr(_std, name)


def getaddrinfo(  # type: ignore[no-redef]
    host: bytes | str | None,
    port: bytes | str | int | None,
    family: int = 0,
    type: int = 0,
    proto: int = 0,
    flags: int = 0,
) -> list[tuple[Any, ...]]:
    """Resolve host and port into addresses, as the standard library does; only the calling tasklet waits."""
    numeric = host is None or (isinstance(host, str) and _engine.numeric_address(host, 0) is not None)
    if numeric and (port is None or isinstance(port, int)):
        return _getaddrinfo(host, port, family, type, proto, flags)
    return _look_up(_getaddrinfo, host, port, family, type, proto, flags)  # type: ignore[no-any-return]


def _offloaded(name: str) -> Any:
    function = getattr(_std, name)

    def offloaded(*args: Any) -> Any:
        return _look_up(function, *args)

    offloaded.__name__ = offloaded.__qualname__ = name
    offloaded.__doc__ = f"{function.__doc__}\n\nOnly the calling tasklet waits."
    return offloaded


gethostbyname = _offloaded("gethostbyname")
gethostbyname_ex = _offloaded("gethostbyname_ex")
gethostbyaddr = _offloaded("gethostbyaddr")
getnameinfo = _offloaded("getnameinfo")

# The standard library's own functions, over the names above.
_names = dict(vars(_std))
_names.update(
    socket=socket,
    getaddrinfo=getaddrinfo,
    gethostbyname=gethostbyname,
    gethostbyaddr=gethostbyaddr,
    getnameinfo=getnameinfo,
    io=_io,
)
_REBOUND = (
    "create_connection",
    "create_server",
    "fromfd",
    "fromshare",
    "getfqdn",
    "has_dualstack_ipv6",
    "socketpair",
)
for _name in _REBOUND:
    if hasattr(_std, _name):
        _names[_name] = globals()[_name] = _rebind(getattr(_std, _name), _names, __name__)

if _TYPE_CHECKING:
    # As the standard library has them, and of the class above.
    _Host = tuple[str | None, int]

    def create_connection(  # type: ignore[misc, empty-body]
        address: _Host, timeout: float | None = ..., source_address: _Host | None = None, *, all_errors: bool = False
    ) -> socket: ...
    def create_server(  # type: ignore[misc, empty-body]
        address: Any,
        *,
        family: int = ...,
        backlog: int | None = None,
        reuse_port: bool = False,
        dualstack_ipv6: bool = False,
    ) -> socket: ...
    def fromfd(fd: int, family: int, type: int, proto: int = 0) -> socket: ...  # type: ignore[misc, empty-body]
    def socketpair(  # type: ignore[empty-body]
        family: int | None = None, type: int = ..., proto: int = 0
    ) -> tuple[socket, socket]: ...


_makefile = _rebind(_std.socket.makefile, _names, __name__)
