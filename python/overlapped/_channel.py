"""The messages between a server and a worker of :mod:`overlapped.handoff`, each with the socket that came with it.

The protocol is told in the documentation of the Rust crate's ``overlapped::handoff``. What differs by system, the
stream and how a socket goes along, is an `End`: see `_channel_unix` and `_channel_windows`, which have the same names.
"""

from __future__ import annotations

import struct

from . import socket
from ._channel_errors import ProtocolError
from ._channel_frames import End, Frames

CONTEXT_LIMIT = 1 << 20
VARIABLE = "OVERLAPPED_HANDOFF"

VERSION = 1
GREETING = b"overlapped hand-off"
HELLO, WELCOME, REFUSED, GIVE, TAKEN, BACK, END = range(1, 8)
NUMBER = struct.Struct("!Q")
VERSIONS = struct.Struct("!HH")
PROCESS = struct.Struct("!I")

_MOST = 1 + NUMBER.size + End.TOLD + CONTEXT_LIMIT


class Channel(Frames):
    """Messages on a stream, each with the descriptor that came with it."""

    variable = VARIABLE
    _longest = _MOST
    _kinds = range(HELLO, END + 1)

    def send(self, kind: int, body: bytes) -> None:
        """Send a message."""
        self.send_frame(kind, body)

    def give(self, number: int, given: socket.socket, context: bytes) -> None:
        """Send a socket."""
        told = self._end.tell(given)
        self.send_frame(GIVE, NUMBER.pack(number) + told + context, given)

    def hello(self) -> None:
        """Say which versions this speaks."""
        self.send(HELLO, GREETING + VERSIONS.pack(VERSION, VERSION) + End.process())

    def greeted(self, body: bytes) -> tuple[int, int]:
        """Learn what a hello says: the lowest and the highest version."""
        said = body[len(GREETING) :]
        if len(said) > VERSIONS.size:
            self._end.is_process(PROCESS.unpack_from(said, VERSIONS.size)[0])
        lowest, highest = VERSIONS.unpack_from(said)
        return lowest, highest

    def finish(self) -> None:
        """Tell a worker that nothing more comes."""
        if not self._end.finish():
            self.send(END, b"")

    def receive(self) -> tuple[int, bytes, int | None] | None:
        """The next message's kind, its body, and the descriptor that came with it, None for one that was lost; None at
        the end.

        Raises:
            ProtocolError: what came is no message, or ends in the middle of one.
        """
        if (received := self.receive_frame()) is None:
            return None
        kind, body = received
        if kind != GIVE:
            return kind, body, None
        number, told, context = body[: NUMBER.size], body[NUMBER.size :][: End.TOLD], body[NUMBER.size + End.TOLD :]
        try:
            descriptor = self._end.own(told)
        except LookupError:
            raise ProtocolError(f"number {NUMBER.unpack(number)[0]} came without its descriptor") from None
        return kind, number + context, descriptor

    @staticmethod
    def _is_body(kind: int, body: bytes) -> bool:
        if kind == HELLO:
            lengths = (len(GREETING) + VERSIONS.size, len(GREETING) + VERSIONS.size + PROCESS.size)
            return len(body) in lengths and body.startswith(GREETING)
        if kind == REFUSED:
            return body.decode(errors="ignore").encode() == body
        if kind == GIVE:
            return len(body) >= NUMBER.size + End.TOLD
        if kind == END:
            return not body
        return len(body) == (2 if kind == WELCOME else NUMBER.size)
