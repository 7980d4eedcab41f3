"""Frames between a process and its workers: a kind and a body each, and a descriptor along with some.

:mod:`overlapped.handoff` and :mod:`overlapped.prefork` have messages of their own, and this in common.
"""

from __future__ import annotations

import os
import struct
import sys
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Self

from . import _engine, subprocess
from ._channel_errors import ProtocolError

if sys.platform == "win32":
    from ._channel_windows import End
else:
    from ._channel_unix import End

if TYPE_CHECKING:
    from . import socket

__all__ = ["End", "Frames", "frame"]

_ROOM = 64 * 1024
"""How much is read at once."""


def frame(kind: int, body: bytes) -> bytes:
    return struct.pack("!IB", 1 + len(body), kind) + body


class Frames(ABC):
    """Frames on one end of a channel, whose kinds and bodies are checked."""

    variable: ClassVar[str]
    """The variable of a worker's environment that says which of its descriptors is the channel."""
    _longest: ClassVar[int]
    """The most bytes of a frame."""
    _kinds: ClassVar[range]
    _at_once: ClassVar[int] = 0
    """How many descriptors are taken at once from a worker."""

    def __init__(self, end: End) -> None:
        self._end = end
        self._bytes = bytearray()
        self._turn = _engine.Lock()

    @classmethod
    def start(cls, command: Any, options: dict[str, Any]) -> tuple[subprocess.Popen[bytes], Self]:
        """Start a worker, whose standard input is the other end."""
        environment = {**(options.get("env") or os.environ), cls.variable: "0"}
        process, end = End.start(command, {**options, "env": environment}, cls._at_once)
        return process, cls(end)

    @classmethod
    def inherited(cls) -> Self:
        """A worker's channel.

        Raises:
            RuntimeError: there is none.
        """
        why, text = "this process was not started as a worker:", os.environ.get(cls.variable)
        if text is None:
            raise RuntimeError(f"{why} {cls.variable} is not set")
        if not text.isdecimal():
            raise RuntimeError(f"{why} {cls.variable} is {text!r}, which is no descriptor's number")
        try:
            return cls(End.inherited(int(text)))
        except LookupError as error:
            raise RuntimeError(f"{why} {error.args[0]}") from None

    @staticmethod
    @abstractmethod
    def _is_body(kind: int, body: bytes) -> bool:
        """Whether a frame of that kind may have such a body."""

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
