"""Windows: a channel is a pipe for overlapped calls, one end of which is the worker's standard input; sockets go along
by WSADuplicateSocketW (:meth:`socket.socket.share`).

What that returns is for one process and one use, and goes within the message. The Rust crate's
``handoff/sys/windows.rs``, this file's sibling, says why things are as they are.
"""

from __future__ import annotations

import _socket
import _winapi
import ctypes
import msvcrt
import os
import secrets
import struct
from typing import Any, ClassVar

from . import _os, socket, subprocess

# What the types of other systems do not know.
_api: Any = _winapi
_runtime: Any = msvcrt
_Socket: Any = _socket.socket
_kernel: Any = getattr(ctypes, "WinDLL")("kernel32")  # noqa: B009
_kernel.CancelIoEx.argtypes = [ctypes.c_void_p, ctypes.c_void_p]

_CANCELLED = 995
"""``ERROR_OPERATION_ABORTED`` ("System Error Codes")."""
_FILE_TYPE_PIPE = 3
_REJECT_REMOTE_CLIENTS = 8
_ROOM = 64 * 1024
# The server may not act as the client (`SECURITY_SQOS_PRESENT`, `SECURITY_IDENTIFICATION`).
_IDENTIFICATION = 0x0011_0000


class End:
    """One end of a channel: bytes, and what they tell of sockets."""

    TOLD: ClassVar = 628
    """How many bytes of a message are about its socket: a ``WSAPROTOCOL_INFOW``."""

    came = 0
    """How many descriptors have come whose messages were not complete: a message has all of it."""

    def __init__(self, descriptor: int, process: int) -> None:
        self._descriptor = descriptor
        """The C runtime's; -1 once it is closed."""
        self._process = process
        """The other side's, where that gets sockets."""
        self._is_cut = False

    @classmethod
    def start(cls, command: Any, options: dict[str, Any], descriptors: int = 0) -> tuple[subprocess.Popen[bytes], End]:
        """Start a worker. It alone inherits its end: the standard library tells the system what goes along."""
        ours, theirs = _pipe()
        try:
            process = subprocess.Popen(command, **{**options, "stdin": theirs})
        except BaseException:
            os.close(ours)
            raise
        finally:
            # The worker alone has it then, and its end is seen.
            os.close(theirs)
        return process, cls(ours, process.pid)

    @classmethod
    def inherited(cls, number: int) -> End:
        """A worker's end; what has its number is ``NUL`` after that.

        Raises:
            LookupError: there is none; the text says why.
        """
        try:
            handle = _runtime.get_osfhandle(number)
        except OSError:
            raise LookupError(f"descriptor {number} is not open") from None
        if number != 0 or _api.GetFileType(handle) != _FILE_TYPE_PIPE:
            raise LookupError(f"descriptor {number} is not a standard input that is a pipe")
        here = _api.GetCurrentProcess()
        copy = _api.DuplicateHandle(here, handle, here, 0, False, _api.DUPLICATE_SAME_ACCESS)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, number)
        os.close(nothing)
        return cls(_opened(copy), 0)

    @staticmethod
    def process() -> bytes:
        """What the two sides' first words say of their processes: for these, sockets are shared. The worker's need not
        be the one that was started, which may have started it, as a virtual environment's ``python.exe`` does.
        """
        return struct.pack("!I", os.getpid())

    def is_process(self, number: int) -> None:
        """Learn what the other side has said of its process."""
        self._process = number

    def tell(self, given: socket.socket | int) -> bytes:
        """The bytes of a message that are about its socket: zeroes where the system refuses, for a dead process's."""
        try:
            borrowed = _Socket(fileno=given if isinstance(given, int) else given.fileno())
            try:
                told: bytes = borrowed.share(self._process)
            finally:
                borrowed.detach()
        except OSError:
            return bytes(self.TOLD)
        return told

    def send(self, data: bytes, given: socket.socket | int | None) -> None:
        """Send bytes, which tell of a socket; left in the middle, the channel has ended."""
        view = memoryview(data)
        try:
            while view:
                view = view[_os.write(self._descriptor, view) :]
        except OSError:
            raise
        except BaseException:
            # How much of it has gone is not known.
            self.cut()
            self.close()
            raise

    def receive(self, most: int) -> bytes:
        """Wait for bytes; none at the end."""
        while self._descriptor >= 0 and not (self._is_cut and self._readable() == 0):
            try:
                return _os.read(self._descriptor, most)
            except OSError as error:
                # The cut has ended it; something may be there.
                if not (self._is_cut and getattr(error, "winerror", 0) == _CANCELLED):
                    raise
        return b""

    def _readable(self) -> int:
        try:
            count: int = _api.PeekNamedPipe(_runtime.get_osfhandle(self._descriptor))[0]
        except OSError:
            return 0
        return count

    def own(self, told: bytes) -> int | None:
        """The handle of the socket that bytes of a message tell of; None for one that was lost."""
        if not any(told):
            return None
        try:
            handle: int = _Socket(fileno=told).detach()
            return handle
        except OSError:
            return None

    def finish(self) -> bool:
        """Send nothing more; whether the other side finds out by that. A pipe's two directions end together."""
        return False

    def cut(self) -> None:
        """Let a receive end with what has come."""
        self._is_cut = True
        if self._descriptor >= 0:
            _kernel.CancelIoEx(_runtime.get_osfhandle(self._descriptor), None)

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            _os.close(descriptor)


def _pipe() -> tuple[int, int]:
    """Two descriptors of a pipe, neither inherited. It has no name that another could know, and one client."""
    name = rf"\\.\pipe\overlapped-{secrets.token_hex(16)}"
    mode = _api.PIPE_ACCESS_DUPLEX | _api.FILE_FLAG_FIRST_PIPE_INSTANCE | _api.FILE_FLAG_OVERLAPPED
    ours = _api.CreateNamedPipe(name, mode, _REJECT_REMOTE_CLIENTS, 1, _ROOM, _ROOM, 0, _api.NULL)
    try:
        access, how = _api.GENERIC_READ | _api.GENERIC_WRITE, _api.FILE_FLAG_OVERLAPPED | _IDENTIFICATION
        theirs = _api.CreateFile(name, access, 0, _api.NULL, _api.OPEN_EXISTING, how, _api.NULL)
    except BaseException:
        _api.CloseHandle(ours)
        raise
    return _opened(ours), _opened(theirs)


def _opened(handle: int) -> int:
    # The runtime's descriptors are binary unless told, and are never inherited from here.
    descriptor: int = _runtime.open_osfhandle(handle, os.O_RDWR | getattr(os, "O_NOINHERIT", 0))
    return descriptor
