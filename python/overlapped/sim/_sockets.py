"""The sockets of a simulated world: what :mod:`overlapped.socket` asks the system for, asked of the world.

What waits is the port's there as here, and needs nothing. The rest, which the system answers at once, are methods over
those of :class:`overlapped.socket.socket`; for a socket that is not of the calling thread's world, they are the old
ones.
"""

from __future__ import annotations

import errno
import socket as _std
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from operator import index
from typing import Any

from .. import _engine
from .. import socket as _ours

ours: Any = _ours
_Base: Any = ours._Base
_ANY = {_std.AF_INET: "0.0.0.0", _std.AF_INET6: "::"}
_MODES = getattr(_std, "SOCK_NONBLOCK", 0) | getattr(_std, "SOCK_CLOEXEC", 0)
_DONTWAIT = _std.MSG_DONTWAIT
_TRUNC = _std.MSG_TRUNC


def install() -> None:
    """Put the methods over those of the class."""
    for method in _METHODS:
        _put_over(method.__name__, method)
    before = ours.socket.__init__

    @wraps(before)
    def __init__(self: Any, family: int = -1, type: int = -1, proto: int = -1, fileno: int | None = None) -> None:
        if fileno is not None:
            before(self, family, type, proto, fileno)
            return
        family = _std.AF_INET if family == -1 else family
        type = _std.SOCK_STREAM if type == -1 else type
        descriptor = _engine.sim_open(family, type & ~_MODES)
        if descriptor is None:
            before(self, family, type, proto)
            return
        try:
            before(self, family, type, max(proto, 0), descriptor)
        except BaseException:
            _std.close(descriptor)
            raise

    ours.socket.__init__ = __init__


def _put_over(name: str, method: Callable[..., Any]) -> None:
    before = getattr(ours.socket, name)

    @wraps(before)
    def either(self: Any, *args: Any, **named: Any) -> Any:
        chosen = method if _engine.sim_has(self.fileno()) else before
        return chosen(self, *args, **named)

    setattr(ours.socket, name, either)


def _raw(self: Any, address: Any) -> bytes:
    """The address as a ``sockaddr``, or the standard library's error."""
    address = self._numeric(address)
    if isinstance(address, tuple) and address:
        host = {"": _ANY[self.family], "<broadcast>": "255.255.255.255"}.get(address[0], address[0])
        raw: bytes | None = self._to_raw((host, *address[1:]))
        if raw is not None:
            return raw
    # One that is closed says what is wrong with the address before it says that.
    closed = _Base(self.family, self.type)
    closed.close()
    with suppress(OSError):
        closed.bind(address)
    raise OSError(errno.EAFNOSUPPORT, f"{address!r} is no address of this family")


def bind(self: Any, address: Any) -> None:
    _engine.sim_bind(self.fileno(), _raw(self, address))


def listen(self: Any, backlog: int = 128) -> None:
    _engine.sim_listen(self.fileno(), max(index(backlog), 0))


def getsockname(self: Any) -> Any:
    return _engine.sim_name(self.fileno())


def getpeername(self: Any) -> Any:
    return _engine.sim_peer(self.fileno())


def connect(self: Any, address: Any) -> None:
    raw = _raw(self, address)
    timeout = self.gettimeout()
    if timeout == 0:
        _engine.sim_connect(self.fileno(), raw)
    else:
        _engine.connect(self.fileno(), raw, timeout)


def connect_ex(self: Any, address: Any) -> int:
    return ours._number_of_error(connect, self, address)  # type: ignore[no-any-return]


def accept(self: Any) -> tuple[Any, Any]:
    timeout = self.gettimeout()
    wait = timeout != 0
    descriptor, address = _engine.accept(self.fileno(), timeout) if wait else _engine.sim_accept(self.fileno())
    return ours.socket(self.family, self.type, self.proto, fileno=descriptor), address


def shutdown(self: Any, how: int, /) -> None:
    _engine.sim_shutdown(self.fileno(), how)


def dup(self: Any) -> Any:
    made = self.__class__(self.family, self.type, self.proto, fileno=_engine.sim_duplicate(self.fileno()))
    made.settimeout(self.gettimeout())
    return made


def getsockopt(self: Any, level: int, name: int, *size: int) -> Any:
    if level == _std.SOL_SOCKET and not size:
        if name == _std.SO_ERROR:
            return _engine.sim_take_error(self.fileno())
        if name == _std.SO_ACCEPTCONN:
            return int(_engine.sim_listens(self.fileno()))
    return _Base.getsockopt(self, level, name, *size)


def _received(self: Any, size: int, flags: int) -> tuple[bytes, int, int, Any]:
    """What there is: the bytes, how many, the flags that are returned, and the sender."""
    if not _engine.port_receives(self, flags):
        data, cut, length, source = _engine.sim_recv(self.fileno(), size, flags)
        return data, length, _TRUNC if cut else 0, source
    data, _control, flags, source = _engine.receive_message(self, size, 0, flags)
    return data, len(data), flags, source


def recvfrom(self: Any, bufsize: int, flags: int = 0, /) -> tuple[bytes, Any]:
    data, _length, _flags, source = _received(self, _size(bufsize), flags)
    return data, source


def recvfrom_into(self: Any, buffer: Any, nbytes: int = 0, flags: int = 0) -> tuple[int, Any]:
    view = memoryview(buffer).cast("B")
    if nbytes > len(view):
        raise ValueError("nbytes is greater than the length of the buffer")
    data, length, _flags, source = _received(self, _size(nbytes) or len(view), flags)
    view[: len(data)] = data
    return length, source


def recvmsg(self: Any, bufsize: int, ancbufsize: int = 0, flags: int = 0, /) -> tuple[bytes, list[Any], int, Any]:
    data, _length, flags, source = _received(self, _size(bufsize), flags)
    return data, [], flags, source


def recvmsg_into(self: Any, buffers: Any, ancbufsize: int = 0, flags: int = 0, /) -> tuple[int, list[Any], int, Any]:
    views = [memoryview(buffer).cast("B") for buffer in buffers]
    data, length, flags, source = _received(self, sum(map(len, views)), flags)
    left = data
    for view in views:
        part, left = left[: len(view)], left[len(view) :]
        view[: len(part)] = part
    return length, [], flags, source


def _size(size: int) -> int:
    size = index(size)
    if size < 0:
        raise ValueError("negative buffersize")
    return size


def _sent(self: Any, buffers: list[Any], flags: int, address: Any) -> int:
    """Send, to an address where one is given, waiting for room."""
    raw = None if address is None else _raw(self, address)
    timeout = self.gettimeout()
    deadline = None if timeout is None else _engine.clock() + timeout
    while True:
        try:
            return _engine.sim_send(self.fileno(), buffers, raw)
        except BlockingIOError:
            if timeout == 0 or flags & _DONTWAIT:
                raise
        left = None if deadline is None else max(deadline - _engine.clock(), 0.0)
        _engine.wait(self.fileno(), 2, left)


def sendto(self: Any, data: Any, *args: Any) -> int:
    if len(args) not in (1, 2) or not isinstance(args[0] if len(args) == 2 else 0, int):
        return _Base.sendto(self, data, *args)  # type: ignore[no-any-return]
    flags, address = args if len(args) == 2 else (0, args[0])
    return _sent(self, [data], flags, address)


def sendmsg(self: Any, buffers: Any, ancdata: Any = (), flags: int = 0, address: Any = None, /) -> int:
    if tuple(ancdata):
        raise OSError(errno.EOPNOTSUPP, "a simulated world has no control data")
    return _sent(self, list(buffers), flags, address)


def _real_close(self: Any, _ss: Any = _Base) -> None:
    descriptor = self.fileno()
    _engine.cancel_socket(descriptor)
    _engine.sim_close(descriptor)
    _ss.close(self)


_METHODS: tuple[Callable[..., Any], ...] = (
    bind,
    listen,
    getsockname,
    getpeername,
    connect,
    connect_ex,
    accept,
    shutdown,
    dup,
    getsockopt,
    recvfrom,
    recvfrom_into,
    recvmsg,
    recvmsg_into,
    sendto,
    sendmsg,
    _real_close,
)
