"""A protocol of asyncio's that notes what it is told."""

from __future__ import annotations

import asyncio
from typing import Any

__all__ = ["Recorder"]


class Recorder(asyncio.Protocol):
    """Notes what it is told, and lets a test wait for it."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.data = b""
        self.told = asyncio.Event()
        self.transport: Any = None
        self.keep_open = False

    def note(self, call: Any) -> None:
        self.calls.append(call)
        self.told.set()

    async def wait_for(self, call: Any) -> None:
        while call not in self.calls:
            self.told.clear()
            await self.told.wait()

    async def wait_for_bytes(self, count: int) -> bytes:
        while len(self.data) < count:
            self.told.clear()
            await self.told.wait()
        return self.data

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.note("made")

    def data_received(self, data: bytes) -> None:
        self.data += data
        self.note("data")

    def eof_received(self) -> bool:
        self.note("eof")
        return self.keep_open

    def connection_lost(self, exc: Exception | None) -> None:
        self.note(("lost", type(exc) if exc else None))

    def pause_writing(self) -> None:
        self.note("pause")

    def resume_writing(self) -> None:
        self.note("resume")
