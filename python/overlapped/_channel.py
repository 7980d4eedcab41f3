"""The messages between a server and a worker of :mod:`overlapped.handoff`, each with the socket that came with it.

The protocol is told in the documentation of the Rust crate's ``overlapped::handoff``. What differs by system, the
stream and how a socket goes along, is an `End`: see `_channel_unix` and `_channel_windows`, which have the same names.
"""

from __future__ import annotations

import struct
import sys
from typing import Any

from . import _engine, socket, subprocess
from ._channel_errors import ProtocolError

if sys.platform == "win32":
    from ._channel_windows import End
else:
    from ._channel_unix import End

CONTEXT_LIMIT = 1 << 20
VARIABLE = "OVERLAPPED_HANDOFF"

VERSION = 1
GREETING = b"overlapped hand-off"
HELLO, WELCOME, REFUSED, GIVE, TAKEN, BACK, END = range(1, 8)
NUMBER = struct.Struct("!Q")
VERSIONS = struct.Struct("!HH")
PROCESS = struct.Struct("!I")

_MOST = 1 + NUMBER.size + End.TOLD + CONTEXT_LIMIT


def frame(kind: int, body: bytes) -> bytes:
    return struct.pack("!IB", 1 + len(body), kind) + body


class Channel:
    """Messages on a stream, each with the descriptor that came with it."""

    def __init__(self, end: End) -> None:
        self._end = end
        self._bytes = bytearray()
        self._turn = _engine.Lock()

    @classmethod
    def start(cls, command: Any, options: dict[str, Any]) -> tuple[subprocess.Popen[bytes], Channel]:
        """Start a worker, whose standard input is the other end."""
        process, end = End.start(command, options)
        return process, cls(end)

    @classmethod
    def inherited(cls, text: str | None) -> Channel:
        """The channel that the variable `VARIABLE` tells of, with this text.

        Raises:
            RuntimeError: there is none.
        """
        why = "this process was not started as a worker:"
        if text is None:
            raise RuntimeError(f"{why} {VARIABLE} is not set")
        if not text.isdecimal():
            raise RuntimeError(f"{why} {VARIABLE} is {text!r}, which is no descriptor's number")
        try:
            return cls(End.inherited(int(text)))
        except LookupError as error:
            raise RuntimeError(f"{why} {error.args[0]}") from None

    def close(self) -> None:
        self._end.close()

    def send(self, kind: int, body: bytes) -> None:
        """Send a message as a whole. Who is made to leave in the middle ends the channel: half a frame is none."""
        self._send(frame(kind, body), None)

    def give(self, number: int, given: socket.socket, context: bytes) -> None:
        """Send a socket."""
        told = self._end.tell(given)
        self._send(frame(GIVE, NUMBER.pack(number) + told + context), given)

    def _send(self, data: bytes, given: socket.socket | None) -> None:
        self._turn.acquire()
        try:
            self._end.send(data, given)
        finally:
            self._turn.release()

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

    def cut(self) -> None:
        """Let a receive end with what has come."""
        self._end.cut()

    def receive(self) -> tuple[int, bytes, int | None] | None:
        """The next message's kind, its body, and the descriptor that came with it, None for one that was lost; None at
        the end.

        Raises:
            ProtocolError: what came is no message, or ends in the middle of one.
        """
        while True:
            if (message := self._decoded()) is not None:
                return message
            data = self._end.receive(64 * 1024)
            if not data:
                if self._bytes:
                    raise ProtocolError(
                        f"the stream ended within a frame, {len(self._bytes)} bytes after its beginning"
                    )
                return None
            self._bytes += data

    def _decoded(self) -> tuple[int, bytes, int | None] | None:
        length = int.from_bytes(self._bytes[:4], "big") if len(self._bytes) >= 4 else 1
        if length > _MOST:
            raise ProtocolError(f"a frame of {length} bytes, where {_MOST} are allowed")
        if len(self._bytes) < 4 + length or len(self._bytes) < 4:
            if self._end.came > bool(self._bytes):
                raise ProtocolError("a descriptor came that belongs to no frame")
            return None
        whole = bytes(self._bytes[4 : 4 + length])
        del self._bytes[: 4 + length]
        if not whole:
            raise ProtocolError("no frame: it has no kind")
        kind, body = whole[0], whole[1:]
        if not HELLO <= kind <= END:
            raise ProtocolError("no frame: it is of a kind that there is not")
        if not _is_body(kind, body):
            raise ProtocolError("no frame: its body is not as its kind's")
        if kind != GIVE:
            return kind, body, None
        number, told, context = body[: NUMBER.size], body[NUMBER.size :][: End.TOLD], body[NUMBER.size + End.TOLD :]
        try:
            descriptor = self._end.own(told)
        except LookupError:
            raise ProtocolError(f"number {NUMBER.unpack(number)[0]} came without its descriptor") from None
        return kind, number + context, descriptor


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
