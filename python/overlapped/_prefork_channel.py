"""The channel between a supervisor and a worker of :mod:`overlapped.prefork`: messages, and the sockets that go along.

The messages are those of the table in the Rust crate's ``overlapped::prefork``.
"""

from __future__ import annotations

import contextlib
import os
import struct
from typing import Any, NamedTuple

from . import _engine, socket

UNREAD_LIMIT = 1 << 20
"""The most bytes that can go with a connection."""

VARIABLE = "OVERLAPPED_PREFORK"
"""The variable of a worker's environment that says which of its descriptors is the channel."""

VERSION = 1
GREETING = b"overlapped prefork"
HELLO, WELCOME, REFUSED, LISTENER, READY, DRAIN, CONNECTION, TAKEN, BACK = range(1, 10)
TWO = struct.Struct("!HH")
NUMBER = struct.Struct("!Q")
HEAD = struct.Struct("!QH")
"""What a connection's body begins with: its number, and the place of its listener."""

ON_THE_WAY = 64
"""How many connections may be on their way in one direction and not taken over yet."""

_LONGEST = 1 + HEAD.size + UNREAD_LIMIT


class ProtocolError(OSError):
    """The other side of a channel broke the rules: nothing more comes from it."""


class Message(NamedTuple):
    kind: int
    body: bytes
    descriptor: int | None
    """None too where it was lost: this process had no descriptor left."""


class Channel:
    def __init__(self, stream: socket.socket) -> None:
        self.stream = stream
        self._bytes = bytearray()
        self._came: list[int | None] = []
        """In the order of the frames that they belong to; None for one that was lost."""
        self._turn = _engine.Lock()

    def close(self) -> None:
        self.stream.close()
        for descriptor in self._came:
            if descriptor is not None:
                os.close(descriptor)
        self._came.clear()

    def cut(self) -> None:
        """Let a receive end with what has come."""
        with contextlib.suppress(OSError):
            self.stream.shutdown(socket.SHUT_RDWR)

    def send(self, kind: int, body: bytes = b"", descriptor: int | None = None) -> None:
        """Send a message as a whole. Who is made to leave in the middle ends the channel: half a frame is none."""
        data = memoryview(struct.pack("!IB", 1 + len(body), kind) + body)
        rights = [] if descriptor is None else [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", descriptor))]
        with self._turn:
            sent = 0
            try:
                while sent < len(data):
                    sent += self.stream.sendmsg([data[sent:]], rights if sent == 0 else [])
            except BaseException:
                if sent > 0:
                    self.cut()
                raise

    def receive(self) -> Message | None:
        """The next message; None at the end.

        Raises:
            ProtocolError: what came is no message, or ends in the middle of one.
        """
        while True:
            if (message := self._decoded()) is not None:
                return message
            room, flags = socket.CMSG_SPACE(4 * ON_THE_WAY), getattr(socket, "MSG_CMSG_CLOEXEC", 0)
            try:
                data, control, told, _ = self.stream.recvmsg(64 * 1024, room, flags)
            except ConnectionResetError:
                # It has ended with something unread; all that it had written was read before.
                data, control, told = b"", [], 0
            self._take(control, bool(told & socket.MSG_CTRUNC))
            if not data:
                if self._bytes:
                    raise ProtocolError(
                        f"the stream ended within a frame, {len(self._bytes)} bytes after its beginning"
                    )
                return None
            self._bytes += data

    def _take(self, control: list[Any], lost: bool) -> None:
        for level, kind, data in control:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                for (descriptor,) in struct.iter_unpack("i", data[: len(data) - len(data) % 4]):
                    os.set_inheritable(descriptor, False)
                    self._came.append(descriptor)
        if lost:
            self._came.append(None)

    def _decoded(self) -> Message | None:
        length = int.from_bytes(self._bytes[:4], "big") if len(self._bytes) >= 4 else 1
        if length > _LONGEST:
            raise ProtocolError(f"a frame of {length} bytes, where {_LONGEST} are allowed")
        if len(self._bytes) < 4 + length:
            if len(self._came) > bool(self._bytes):
                raise ProtocolError("a descriptor came that belongs to no frame")
            return None
        frame = bytes(self._bytes[4 : 4 + length])
        del self._bytes[: 4 + length]
        if not frame:
            raise ProtocolError("no frame: it has no kind")
        kind, body = frame[0], frame[1:]
        if not HELLO <= kind <= BACK:
            raise ProtocolError("no frame: it is of a kind that there is not")
        if not _is_body(kind, body):
            raise ProtocolError("no frame: its body is not as its kind's")
        if kind not in (LISTENER, CONNECTION):
            return Message(kind, body, None)
        if not self._came:
            raise ProtocolError(f"a message of kind {kind} came without its descriptor")
        return Message(kind, body, self._came.pop(0))


def _is_body(kind: int, body: bytes) -> bool:
    if kind == HELLO:
        return len(body) == len(GREETING) + TWO.size and body.startswith(GREETING)
    if kind == WELCOME:
        return len(body) == TWO.size
    if kind in (REFUSED, LISTENER):
        return body.decode(errors="ignore").encode() == body
    if kind == READY:
        return not body
    if kind == DRAIN:
        return body in (b"\0", b"\1")
    if kind == CONNECTION:
        return len(body) >= HEAD.size
    return len(body) == NUMBER.size
