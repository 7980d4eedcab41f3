"""Files for coroutines, without threads: each call runs in a tasklet, and there waits on the port.

One call of a file runs at a time, the others in the order asked: two reads at once get what follows each other.
"""

from __future__ import annotations

import asyncio as _asyncio
from collections.abc import Callable, Generator, Iterable
from types import TracebackType
from typing import Any, Self

from .. import _engine
from .. import io as _io


class AsyncFile:
    """A file of :mod:`overlapped.io` whose methods are awaited. Made by :func:`open`.

    Every method has the arguments, the result and the errors of the file's own. Cancelled, a call may have read or
    written some; where the file then stands, ``tell`` says.
    """

    def __init__(self, opening: Callable[[], Any]) -> None:
        self._opening: Callable[[], Any] | None = opening
        self._file: Any = None
        self._turn = _asyncio.Lock()

    @property
    def raw(self) -> Any:
        """The file itself, for tasklets; None before it is open."""
        return self._file

    @property
    def closed(self) -> bool:
        """Whether it is not open, or no more."""
        return self._file is None or self._file.closed

    async def _open(self) -> Self:
        if self._opening is not None:
            opening, self._opening = self._opening, None
            self._file = await _engine.spawn_member(opening, ())
        return self

    def __await__(self) -> Generator[Any, None, Self]:
        return self._open().__await__()

    async def __aenter__(self) -> Self:
        return await self._open()

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def _call(self, method: str, *arguments: Any) -> Any:
        if self._file is None:
            raise ValueError("the file is not open yet: `await` it, or use `async with`")
        async with self._turn:
            return await _engine.spawn_member(getattr(self._file, method), arguments)

    async def read(self, size: int | None = -1, /) -> Any:
        """Read at most ``size`` bytes or characters; all that there is where ``size`` is negative or None."""
        return await self._call("read", size)

    async def readinto(self, buffer: Any, /) -> int | None:
        """Read into a writable buffer; return the number of bytes. Binary files have it."""
        return await self._call("readinto", buffer)  # type: ignore[no-any-return]

    async def readline(self, size: int = -1, /) -> Any:
        """Read a line, with its end; nothing at the end of the file."""
        return await self._call("readline", size)

    async def readlines(self, hint: int = -1, /) -> list[Any]:
        """Read all lines, or some until there are ``hint`` bytes or characters."""
        return await self._call("readlines", hint)  # type: ignore[no-any-return]

    async def write(self, data: Any, /) -> int:
        """Write bytes or text; return how many bytes or characters."""
        return await self._call("write", data)  # type: ignore[no-any-return]

    async def writelines(self, lines: Iterable[Any], /) -> None:
        """Write one after the other."""
        await self._call("writelines", lines)

    async def seek(self, offset: int, whence: int = 0, /) -> int:
        """Go to a position; return it."""
        return await self._call("seek", offset, whence)  # type: ignore[no-any-return]

    async def tell(self) -> int:
        """The position."""
        return await self._call("tell")  # type: ignore[no-any-return]

    async def truncate(self, size: int | None = None, /) -> int:
        """Make the file ``size`` bytes long, or end it at the position; return its size."""
        return await self._call("truncate", size)  # type: ignore[no-any-return]

    async def flush(self) -> None:
        """Have the system know what was written."""
        await self._call("flush")

    async def close(self) -> None:
        """Write what is buffered, and close the file. Closing it again does nothing."""
        if not self.closed:
            await self._call("close")

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        line = await self.readline()
        if not line:
            raise StopAsyncIteration
        return line


def open(
    file: Any,
    mode: str = "r",
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    closefd: bool = True,
    opener: Any = None,
) -> AsyncFile:
    """A file for coroutines, with the arguments and errors of :func:`open`::

        async with overlapped.asyncio.open("lines.txt") as file:
            async for line in file:
                ...

    ``await overlapped.asyncio.open(...)`` gives it open, to be closed by ``await file.close()``.
    """
    return AsyncFile(lambda: _io.open(file, mode, buffering, encoding, errors, newline, closefd, opener))
