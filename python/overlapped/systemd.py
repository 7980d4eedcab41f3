"""A service of systemd's: sockets that the manager passes, what it is told, and descriptors that it keeps.

:func:`listen_fds` takes the sockets that the manager has opened for this process (sd_listen_fds(3)): ``LISTEN_PID``
names the process, ``LISTEN_FDS`` tells how many there are, from descriptor 3 on, and ``LISTEN_FDNAMES`` their names.
:func:`ready`, :func:`reloading`, :func:`stopping`, :func:`status`, :func:`main_process` and :func:`watchdog` tell the
manager how the service is (sd_notify(3)): datagrams to the socket that ``NOTIFY_SOCKET`` names, for which only the
calling tasklet waits. Where nobody wants to be told, as on Windows, they do nothing and return False. :func:`store` has
the manager keep descriptors, which the next process of the service gets from :func:`listen_fds`
(``FileDescriptorStoreMax=``).

A server of :mod:`overlapped.prefork` is one in two lines::

    listeners = systemd.listeners() or {"http": socket.create_server(("127.0.0.1", 8000))}
    supervisor = prefork.Supervisor(4, [sys.executable, "worker.py"], listeners, tell_systemd=True)

**Whose the descriptors are.** They are taken once, and all or none. A number is believed only where its descriptor is
open and is inherited by children: so is what the manager passes, and nothing that Python opens (PEP 446). Taken, they
are not inherited any more, and the variables are gone from :data:`os.environ`, so that children do not take them for
theirs. The Rust crate's ``overlapped::systemd`` has the same functions, and says what was rejected.
"""

from __future__ import annotations

import array
import errno
import os
import stat
import time
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from . import socket

__all__ = [
    "Passed",
    "listen_fds",
    "listeners",
    "main_process",
    "notify",
    "ready",
    "reloading",
    "status",
    "stopping",
    "store",
    "store_limit",
    "unstore",
    "watchdog",
    "watchdog_interval",
]

_FIRST = 3  # SD_LISTEN_FDS_START
# The last, which newer managers set, is the process's identity beyond its number.
_VARIABLES = ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID")
_LONGEST_NAME = 255
_MOST_AT_ONCE = 253  # SCM_MAX_FD in Linux


class _HasFileno(Protocol):
    def fileno(self) -> int: ...


class Passed(NamedTuple):
    """A descriptor that the manager has passed."""

    name: str
    """``FileDescriptorName=`` of the socket's unit, where that does not say otherwise the unit's name; the name under
    which it was stored; ``unknown`` where the manager tells no names. Several may have the same."""
    socket: socket.socket | int
    """The socket; of something else, a named pipe or a file, the descriptor, which is the caller's to close."""


def listen_fds() -> list[Passed]:
    """Take the descriptors that the manager has passed to this process, in its order. None where it has passed none,
    where the variables are meant for another process, and on every call but the first.

    Call it early. Children do not inherit them from then on, and the variables are removed from the environment.

    Raises:
        OSError: ``EINVAL`` where ``LISTEN_PID``, ``LISTEN_FDS`` or ``LISTEN_FDNAMES`` cannot be what a manager has set,
        or
            where a descriptor that they tell of is not open, or not one that was inherited: then none is taken.
    """
    if _number("LISTEN_PID") != os.getpid():
        return []
    numbers = range(_FIRST, _FIRST + (_number("LISTEN_FDS") or 0))
    told = os.environ.get("LISTEN_FDNAMES")
    names = ["unknown"] * len(numbers) if told is None else told.split(":")
    if numbers and len(names) != len(numbers):
        raise _wrong(f"LISTEN_FDNAMES has {len(names)} names for {len(numbers)} descriptors")
    for number in numbers:
        try:
            inherited = os.get_inheritable(number)
        except OSError as error:
            raise _wrong(f"descriptor {number} is passed: {error.strerror}") from None
        if not inherited:
            raise _wrong(f"descriptor {number} is passed, and was opened by this process")
    for variable in _VARIABLES:
        os.environ.pop(variable, None)
    for number in numbers:
        os.set_inheritable(number, False)
    return [Passed(name, _what(number)) for number, name in zip(numbers, names, strict=False)]


def listeners() -> list[tuple[str, socket.socket]]:
    """As :func:`listen_fds`, for a server that wants listeners, TCP or Unix, and nothing else: their names, and
    themselves.

    Raises:
        OSError: as :func:`listen_fds`; ``EINVAL`` where something else was passed: all are closed then.
    """
    passed = listen_fds()
    for name, one in passed:
        if not _listens(one):
            for _, other in passed:
                os.close(other) if isinstance(other, int) else other.close()
            raise _wrong(f"{name!r} is passed, which is no listener: {one}")
    return [(name, one) for name, one in passed if not isinstance(one, int)]


def notify(assignments: str) -> bool:
    """Tell the manager something: assignments as sd_notify(3) has them, a line each, in one message; for what has no
    function of its own here, and for several at once.

    Returns whether there is somebody to tell: False where ``NOTIFY_SOCKET`` is not set. Waits, as other sends do, where
    the manager is slow to read.

    Raises:
        ValueError: a line that is no ``NAME=value``.
        OSError: ``EINVAL`` where ``NOTIFY_SOCKET`` is neither an absolute path nor, with an ``@`` in front, an abstract
            name, ``EAFNOSUPPORT`` where it is another kind of address; what the system says: :exc:`FileNotFoundError`
            or :exc:`ConnectionRefusedError` where nobody is there.
    """
    return _tell(assignments, [])


def ready() -> bool:
    """Tell the manager that the service has started (``READY=1``), or, after :func:`reloading`, that it has done so.

    As :func:`notify`; the same holds for the functions that follow.
    """
    return notify("READY=1")


def reloading() -> bool:
    """Tell the manager that the service loads its configuration anew, or replaces its processes (``RELOADING=1``, with
    ``MONOTONIC_USEC``, as ``Type=notify-reload`` wants it). :func:`ready` ends that."""
    return notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")


def stopping() -> bool:
    """Tell the manager that the service ends (``STOPPING=1``)."""
    return notify("STOPPING=1")


def status(text: str) -> bool:
    """Tell the manager in one line, for people, how the service is (``STATUS=``).

    Raises:
        ValueError: more than one line.
        OSError: as :func:`notify`.
    """
    if "\n" in text:
        raise ValueError(f"systemd: a status of several lines: {text!r}")
    return notify(f"STATUS={text}")


def main_process(process: int) -> bool:
    """Tell the manager which process is the service's main one (``MAINPID=``), where that is not the one that it has
    started."""
    return notify(f"MAINPID={process}")


def watchdog() -> bool:
    """Tell the manager that the service is alive (``WATCHDOG=1``): to be said within each :func:`watchdog_interval`."""
    return notify("WATCHDOG=1")


def watchdog_interval() -> float | None:
    """Within how many seconds the manager wants to hear of :func:`watchdog` again, before it takes this process for
    hung (``WATCHDOG_USEC``, ``WATCHDOG_PID``; sd_watchdog_enabled(3)); None where it does not, or not from this
    process. Twice in that time is usual.

    Raises:
        OSError: ``EINVAL`` where the variables are no numbers, or the time is zero.
    """
    if _number("WATCHDOG_PID") not in (None, os.getpid()):
        return None
    microseconds = _number("WATCHDOG_USEC", below=1 << 64)
    if microseconds == 0:
        raise _wrong("WATCHDOG_USEC is 0")
    return None if microseconds is None else microseconds / 1_000_000


def store(name: str, descriptors: Sequence[_HasFileno | int]) -> bool:
    """Have the manager keep descriptors, of sockets or files, under a name (``FDSTORE=1``), for the next process of
    this service, which gets them by :func:`listen_fds`: state that outlives a restart or a crash. This process keeps
    its own.

    Returns whether there is a manager to ask; what it keeps it does not say: nothing where ``FileDescriptorStoreMax=``
    is 0, nothing beyond that number, and nothing twice. It lets go of one whose other side has hung up.

    Raises:
        ValueError: a name that is not 1 to 255 bytes of printable ASCII without colons; no descriptor, or more than
        253, or
            than :func:`store_limit`.
        OSError: as :func:`notify`.
    """
    _check(name)
    limit = min(_MOST_AT_ONCE, _MOST_AT_ONCE if (told := store_limit()) is None else told)
    if not 1 <= len(descriptors) <= limit:
        raise ValueError(f"systemd: {len(descriptors)} descriptors to store, where 1 to {limit} can be")
    numbers = [one if isinstance(one, int) else one.fileno() for one in descriptors]
    return _tell(f"FDSTORE=1\nFDNAME={name}", numbers)


def unstore(name: str) -> bool:
    """Have the manager let go of all that it keeps under a name (``FDSTOREREMOVE=1``).

    Raises:
        ValueError: a name as :func:`store` would not have it.
        OSError: as :func:`notify`.
    """
    _check(name)
    return _tell(f"FDSTOREREMOVE=1\nFDNAME={name}", [])


def store_limit() -> int | None:
    """How many descriptors the manager keeps for this service (``FDSTORE``, which systemd sets since version 254, from
    ``FileDescriptorStoreMax=``); None where it does not say.

    Raises:
        OSError: ``EINVAL`` where the variable is no number.
    """
    return _number("FDSTORE")


def _number(variable: str, below: int = 1 << 31) -> int | None:
    told = os.environ.get(variable)
    if told is None:
        return None
    if not (told.isascii() and told.isdigit() and int(told) < below):
        raise _wrong(f"{variable} is {told!r}, and no number that it can be")
    return int(told)


def _what(number: int) -> socket.socket | int:
    return socket.socket(fileno=number) if stat.S_ISSOCK(os.fstat(number).st_mode) else number


def _listens(one: socket.socket | int) -> bool:
    if isinstance(one, int) or one.family not in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
        return False
    return one.type == socket.SOCK_STREAM and one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) != 0


def _tell(assignments: str, descriptors: Sequence[int]) -> bool:
    lines = [line.partition("=") for line in assignments.split("\n")]
    if not all(name and equals for name, equals, _ in lines):
        raise ValueError(f"systemd: {assignments!r} is not NAME=value, a line each")
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return False
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as to:
        to.sendmsg([assignments.encode()], rights, 0, _path_of(os.fsencode(address)))
    return True


def _path_of(address: bytes) -> bytes:
    """Where the manager listens: a path, or on Linux an abstract name, which is written with an ``@`` in front."""
    if len(address) > 1 and address[:1] in (b"/", b"@"):
        return address.replace(b"@", b"\0", 1) if address[:1] == b"@" else address
    if address.startswith(b"vsock"):
        raise OSError(errno.EAFNOSUPPORT, "systemd: NOTIFY_SOCKET is a vsock address")
    raise _wrong(f"NOTIFY_SOCKET is {address!r}: neither a path nor an abstract name")


def _check(name: str) -> None:
    """Refuses a name that the manager would ignore, or could not find again."""
    if not (1 <= len(name) <= _LONGEST_NAME and name.isascii() and name.isprintable() and ":" not in name):
        why = f"1 to {_LONGEST_NAME} bytes of printable ASCII without colons"
        raise ValueError(f"systemd: {name!r} is no name for a descriptor: {why}")


def _wrong(why: str) -> OSError:
    return OSError(errno.EINVAL, f"systemd: {why}")
