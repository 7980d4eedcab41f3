"""Pseudo-terminals for child processes: :class:`overlapped.subprocess.Pty`.

Rejected: to map the end of the terminal in :func:`os.read`: what the standard library's :mod:`pty` and others have
written against the system's own answer, ``EIO``, is to go on working as it is.
"""

from __future__ import annotations

import errno
import fcntl
import io
import os
import signal
import termios
from typing import Any

from ._signal import _signal
from .io import FileIO

__all__ = ["Pty"]


class Pty(io.RawIOBase):
    """A pseudo-terminal (:manpage:`pty(7)`): this side's end, a raw file that blocks only the calling tasklet.

    ``Child(…, pty=pty)`` starts a child on the other end: it leads a session whose controlling terminal that is, is the
    root of a tree (``Child.kill_tree``), and has it for those of its standard streams that were not given. What the
    terminal sends (SIGINT, SIGHUP, ...) has its effect, also where this process ignores it. Closed, it hangs up: the
    child's session is sent SIGHUP.

    What is read is what the child writes to its terminal, and what the terminal itself shows, such as the echo of what
    is written here; what is written is what the child reads, as if it were typed, until the child wants it otherwise
    (:mod:`termios`). Lines end with ``\\r\\n``.

    A read is at its end, ``b""``, when the child, and all that it has given its terminal to, are gone; before the first
    start it waits.
    """

    def __init__(self) -> None:
        controller, self._terminal = os.openpty()
        # Held until a child has it, for a terminal that nobody has any more is at its end.
        self._name = os.ttyname(self._terminal)
        self._file: Any = FileIO(controller, "r+b")

    def size(self) -> tuple[int, int]:
        """How many rows and columns the child is told; zeroes until it was set."""
        rows, columns = termios.tcgetwinsize(self.fileno())
        return rows, columns

    def resize(self, rows: int, columns: int) -> None:
        """Set the size, in characters. The programs in the terminal's foreground are told (SIGWINCH)."""
        termios.tcsetwinsize(self.fileno(), (rows, columns))

    def terminal(self) -> int:
        """Open the other end; its descriptor is the caller's. While it is open, reads here do not come to their end."""
        self.fileno()
        return os.open(self._name, os.O_RDWR | os.O_NOCTTY)

    def fileno(self) -> int:
        """This end's descriptor."""
        number: int = self._file.fileno()
        return number

    def readable(self) -> bool:
        """True."""
        return True

    def writable(self) -> bool:
        """True."""
        return True

    def isatty(self) -> bool:
        """True."""
        self.fileno()
        return True

    def readinto(self, buffer: Any, /) -> int | None:
        """Read what has come into ``buffer``; how many bytes, 0 at the end."""
        try:
            count: int | None = self._file.readinto(buffer)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return 0
        return count

    def write(self, data: Any, /) -> int | None:
        """Write ``data``; how many bytes were."""
        count: int | None = self._file.write(data)
        return count

    def close(self) -> None:
        """Close this end; what other tasklets have in flight on it ends first."""
        if not self.closed:
            try:
                self._let_go()
                self._file.close()
            finally:
                super().close()

    def _let_go(self) -> None:
        """A child has the terminal: it is held no longer here."""
        terminal, self._terminal = self._terminal, -1
        if terminal >= 0:
            os.close(terminal)


_OF_TERMINALS = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)
"""What a terminal sends to the processes of its session."""


def take(terminal: int) -> None:
    """Make the terminal that of this process's session, which the process leads.

    What the terminal sends has its effect: whoever ignores a signal, as :manpage:`nohup(1)` and a shell's background
    jobs do, would else have its children ignore it too (:manpage:`execve(2)`).
    """
    for number in _OF_TERMINALS:
        _signal(number, signal.SIG_DFL)
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
