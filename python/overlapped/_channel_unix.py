"""Unix: a channel is a socket pair, one end of which is the worker's standard input; descriptors go along by
``SCM_RIGHTS`` (unix(7)).
"""

from __future__ import annotations

import contextlib
import os
import struct
from typing import Any, ClassVar

from . import socket, subprocess
from ._channel_errors import ProtocolError


class End:
    """One end of a channel: bytes, and the descriptors that came with them."""

    TOLD: ClassVar = 0
    """How many bytes of a message are about its socket: that comes along."""

    def __init__(self, stream: socket.socket, descriptors: int) -> None:
        self._stream = stream
        self._descriptors = descriptors
        """How many are taken at once."""
        self._came: list[int | None] = []
        """In the order of the messages that they belong to; None for one that was lost."""

    @classmethod
    def start(cls, command: Any, options: dict[str, Any], descriptors: int = 0) -> tuple[subprocess.Popen[bytes], End]:
        """Start a worker, from which so many descriptors are taken at once."""
        ours, theirs = socket.socketpair()
        try:
            # Their end is closed here: the worker alone has it then, and its end is seen.
            with theirs:
                return subprocess.Popen(command, **{**options, "stdin": theirs}), cls(ours, descriptors)
        except BaseException:
            ours.close()
            raise

    @classmethod
    def inherited(cls, number: int) -> End:
        """A worker's end; what has its number is ``/dev/null`` after that.

        Raises:
            LookupError: there is none; the text says why.
        """
        if not _is_unix_stream(number):
            raise LookupError(f"descriptor {number} is no Unix stream socket")
        stream = socket.socket(fileno=os.dup(number))
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, number)
        os.close(nothing)
        return cls(stream, descriptors=64)

    @staticmethod
    def process() -> bytes:
        """What the two sides' first words say of their processes: a descriptor finds its way without."""
        return b""

    def is_process(self, number: int) -> None:
        """Learn what the other side has said of its process."""

    def tell(self, given: socket.socket | int) -> bytes:
        """The bytes of a message that are about its socket."""
        return b""

    def send(self, data: bytes, given: socket.socket | int | None) -> None:
        """Send bytes, with a socket along with the first of them; left in the middle, the channel has ended."""
        view, sent = memoryview(data), 0
        descriptor = given if given is None or isinstance(given, int) else given.fileno()
        rights = [] if descriptor is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", descriptor))]
        try:
            while sent < len(view):
                sent += self._stream.sendmsg([view[sent:]], rights if sent == 0 else [])
        except BaseException:
            if sent > 0:
                self.cut()
            raise

    def receive(self, most: int) -> bytes:
        """Wait for bytes; none at the end."""
        room = socket.CMSG_SPACE(4 * self._descriptors) if self._descriptors else 0
        flags = getattr(socket, "MSG_CMSG_CLOEXEC", 0)
        try:
            data, control, told, _ = self._stream.recvmsg(most, room, flags)
        except ConnectionResetError:
            # It has ended with something unread; all that it had written was read before.
            return b""
        self._take(control, bool(told & socket.MSG_CTRUNC))
        return data

    def _take(self, control: list[Any], lost: bool) -> None:
        for level, kind, data in control:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                for (descriptor,) in struct.iter_unpack("i", data[: len(data) - len(data) % 4]):
                    os.set_inheritable(descriptor, False)
                    self._came.append(descriptor)
        if lost:
            if self._descriptors == 0:
                raise ProtocolError("a descriptor came from a worker, which has none to give")
            self._came.append(None)

    @property
    def came(self) -> int:
        """How many descriptors have come whose messages were not complete."""
        return len(self._came)

    def own(self, told: bytes) -> int | None:
        """The descriptor of the next message that has one; None for one that was lost.

        Raises:
            LookupError: none came.
        """
        return self._came.pop(0)

    def finish(self) -> bool:
        """Send nothing more; whether the other side finds out by that."""
        self._shut_down(socket.SHUT_WR)
        return True

    def cut(self) -> None:
        """Let a receive end with what has come."""
        self._shut_down(socket.SHUT_RDWR)

    def _shut_down(self, how: int) -> None:
        with contextlib.suppress(OSError):
            self._stream.shutdown(how)

    def close(self) -> None:
        self._stream.close()
        for descriptor in self._came:
            if descriptor is not None:
                os.close(descriptor)
        self._came.clear()


def _is_unix_stream(number: int) -> bool:
    try:
        copy = os.dup(number)
    except OSError:
        return False
    try:
        stream = socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        return False
    with stream:
        return (stream.family, stream.type) == (socket.AF_UNIX, socket.SOCK_STREAM)
