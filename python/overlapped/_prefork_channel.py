"""The channel between a supervisor and a worker of :mod:`overlapped.prefork`: messages, and the sockets that go along.

The messages are those of the table in the Rust crate's ``overlapped::prefork``. What differs by system is an `End`: see
`_channel_unix` and `_channel_windows`.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from ._channel_errors import ProtocolError
from ._channel_frames import End, Frames

UNREAD_LIMIT = 1 << 20
"""The most bytes that can go with a connection."""

VARIABLE = "OVERLAPPED_PREFORK"
"""The variable of a worker's environment that says which of its descriptors is the channel."""

VERSION = 1
GREETING = b"overlapped prefork"
HELLO, WELCOME, REFUSED, LISTENER, READY, DRAIN, CONNECTION, TAKEN, BACK, ALIVE, RETIRE = range(1, 12)
TWO = struct.Struct("!HH")
NUMBER = struct.Struct("!Q")
PROCESS = struct.Struct("!I")
HEAD = struct.Struct("!QH")
"""What a connection's body begins with: its number, and the place of its listener."""

ON_THE_WAY = 64
"""How many connections may be on their way in one direction and not taken over yet."""

_LONGEST = 1 + HEAD.size + End.TOLD + UNREAD_LIMIT


class Message(NamedTuple):
    kind: int
    body: bytes
    """What is told of a socket is not in it."""
    descriptor: int | None
    """The socket that came along; None too where it was lost: this process had no descriptor left, most likely."""


class Channel(Frames):
    """Messages on a stream, each with the descriptor that came with it."""

    variable = VARIABLE
    _longest = _LONGEST
    _kinds = range(HELLO, RETIRE + 1)
    _at_once = ON_THE_WAY

    def send(self, kind: int, body: bytes = b"", descriptor: int | None = None) -> None:
        """Send a message, with a socket along."""
        if descriptor is not None:
            head = _heads(kind)
            body = body[:head] + self._end.tell(descriptor) + body[head:]
        self.send_frame(kind, body, descriptor)

    def hello(self) -> None:
        """Say which versions this speaks."""
        self.send(HELLO, GREETING + TWO.pack(VERSION, VERSION) + End.process())

    def welcome(self, listeners: int) -> None:
        """Say which version is spoken, and how many listeners follow."""
        self.send(WELCOME, TWO.pack(VERSION, listeners) + End.process())

    def first_words(self, message: Message) -> tuple[int, int]:
        """Learn what a hello or a welcome says: its two numbers."""
        said = message.body[len(GREETING) :] if message.kind == HELLO else message.body
        if len(said) > TWO.size:
            self._end.is_process(PROCESS.unpack_from(said, TWO.size)[0])
        one, other = TWO.unpack_from(said)
        return one, other

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
        head = _heads(kind)
        try:
            descriptor = self._end.own(body[head:][: End.TOLD])
        except LookupError:
            raise ProtocolError(f"a message of kind {kind} came without its descriptor") from None
        return Message(kind, body[:head] + body[head + End.TOLD :], descriptor)

    @staticmethod
    def _is_body(kind: int, body: bytes) -> bool:
        if kind == HELLO:
            return body.startswith(GREETING) and Channel._is_body(WELCOME, body[len(GREETING) :])
        if kind == WELCOME:
            return len(body) in (TWO.size, TWO.size + PROCESS.size)
        if kind == REFUSED:
            return body.decode(errors="ignore").encode() == body
        if kind == LISTENER:
            return len(body) >= End.TOLD and Channel._is_body(REFUSED, body[End.TOLD :])
        if kind in (READY, ALIVE, RETIRE):
            return not body
        if kind == DRAIN:
            return body in (b"\0", b"\1")
        if kind == CONNECTION:
            return len(body) >= HEAD.size + End.TOLD
        return len(body) == NUMBER.size


def _heads(kind: int) -> int:
    """How many bytes of a message come before what is told of its socket."""
    return HEAD.size if kind == CONNECTION else 0
