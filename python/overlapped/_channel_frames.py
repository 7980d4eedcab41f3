"""Frames between a process and its workers: a kind and a body each, and a descriptor along with some.

:mod:`overlapped.handoff` and :mod:`overlapped.prefork` have messages of their own, and this in common.
"""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from . import _engine
from ._channel_errors import ProtocolError

if sys.platform == "win32":
    from ._channel_windows import End
else:
    from ._channel_unix import End

if TYPE_CHECKING:
    from . import socket

__all__ = ["End", "Frames", "frame", "inherited_end"]

_ROOM = 64 * 1024
"""How much is read at once."""


def frame(kind: int, body: bytes) -> bytes:
    return struct.pack("!IB", 1 + len(body), kind) + body


def inherited_end(variable: str) -> End:
    """A worker's end of its channel, that a variable of its environment tells of.

    Raises:
        RuntimeError: there is none.
    """
    why, text = "this process was not started as a worker:", os.environ.get(variable)
    if text is None:
        raise RuntimeError(f"{why} {variable} is not set")
    if not text.isdecimal():
        raise RuntimeError(f"{why} {variable} is {text!r}, which is no descriptor's number")
    try:
        return End.inherited(int(text))
    except LookupError as error:
        raise RuntimeError(f"{why} {error.args[0]}") from None


class Frames:
    """Frames on one end of a channel, whose kinds and bodies are checked; ``longest`` is the most bytes of one."""

    def __init__(self, end: End, longest: int, kinds: range, is_body: Callable[[int, bytes], bool]) -> None:
        self._end = end
        self._longest, self._kinds, self._is_body = longest, kinds, is_body
        self._bytes = bytearray()
        self._turn = _engine.Lock()

    def close(self) -> None:
        self._end.close()

    def cut(self) -> None:
        """Let a receive end with what has come."""
        self._end.cut()

    def send_frame(self, kind: int, body: bytes, given: socket.socket | int | None = None) -> None:
        """Send a frame as a whole. Who is made to leave in the middle ends the channel: half a frame is none."""
        data = frame(kind, body)
        with self._turn:
            self._end.send(data, given)

    def receive_frame(self) -> tuple[int, bytes] | None:
        """The next frame's kind and its body; None at the end.

        Raises:
            ProtocolError: what came is no frame, or ends in the middle of one.
        """
        while (whole := self._decoded()) is None:
            data = self._end.receive(_ROOM)
            if not data:
                if self._bytes:
                    raise ProtocolError(
                        f"the stream ended within a frame, {len(self._bytes)} bytes after its beginning"
                    )
                return None
            self._bytes += data
        return whole

    def _decoded(self) -> tuple[int, bytes] | None:
        length = int.from_bytes(self._bytes[:4], "big") if len(self._bytes) >= 4 else 1
        if length > self._longest:
            raise ProtocolError(f"a frame of {length} bytes, where {self._longest} are allowed")
        if len(self._bytes) < 4 + length:
            if self._end.came > bool(self._bytes):
                raise ProtocolError("a descriptor came that belongs to no frame")
            return None
        whole = bytes(self._bytes[4 : 4 + length])
        del self._bytes[: 4 + length]
        if not whole:
            raise ProtocolError("no frame: it has no kind")
        kind, body = whole[0], whole[1:]
        if kind not in self._kinds:
            raise ProtocolError("no frame: it is of a kind that there is not")
        if not self._is_body(kind, body):
            raise ProtocolError("no frame: its body is not as its kind's")
        return kind, body
