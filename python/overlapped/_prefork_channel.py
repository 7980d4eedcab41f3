"""The channel between a supervisor and a worker of :mod:`overlapped.prefork`: messages, and the sockets that go along.

The messages are those of the table in the Rust crate's ``overlapped::prefork``.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from . import socket
from ._channel_errors import ProtocolError
from ._channel_frames import End, Frames

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


class Message(NamedTuple):
    kind: int
    body: bytes
    descriptor: int | None
    """None too where it was lost: this process had no descriptor left."""


class Channel(Frames):
    """Messages on a stream, each with the descriptor that came with it."""

    def __init__(self, stream: socket.socket) -> None:
        super().__init__(End(stream, descriptors=ON_THE_WAY), _LONGEST, range(HELLO, BACK + 1), _is_body)

    def send(self, kind: int, body: bytes = b"", descriptor: int | None = None) -> None:
        """Send a message, with a descriptor along."""
        self.send_frame(kind, body, descriptor)

    def receive(self) -> Message | None:
        """The next message; None at the end.

        Raises:
            ProtocolError: what came is no message, or ends in the middle of one.
        """
        if (received := self.receive_frame()) is None:
            return None
        kind, body = received
        if kind not in (LISTENER, CONNECTION):
            return Message(kind, body, None)
        try:
            return Message(kind, body, self._end.own(b""))
        except LookupError:
            raise ProtocolError(f"a message of kind {kind} came without its descriptor") from None


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
