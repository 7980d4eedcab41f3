"""What tests of sockets send, how they end them, and how those find out who wait."""

from __future__ import annotations

import array
import struct
from collections.abc import Iterable
from typing import Any

import pytest

import overlapped
from conftest import NO_SOCKET
from overlapped import socket

MB = 1 << 20


def pattern(size: int) -> bytes:
    """Bytes in which a shift shows: no two places within 64 KiB look alike."""
    numbers = array.array("H", range(1 << 16))
    return (numbers.tobytes() * (size // (1 << 17) + 1))[:size]


def read_all(sock: socket.socket, piece: int = 1 << 16) -> bytes:
    """What comes until the end."""
    pieces = []
    while data := sock.recv(piece):
        pieces.append(data)
    return b"".join(pieces)


def reset(sock: socket.socket) -> None:
    """Closes a connection so that the other end sees a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def all_find_it_closed(waiting: Iterable[overlapped.Tasklet[Any]]) -> None:
    """Each of the tasklets ends, soon, with the error of a socket that is closed."""
    for tasklet in waiting:
        with pytest.raises(OSError) as caught:
            tasklet.result()
        assert caught.value.errno in NO_SOCKET
