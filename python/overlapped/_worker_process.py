"""A worker's process, as `overlapped.handoff` and `overlapped.prefork` speak of it."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .subprocess import Popen


def running(process: Popen[bytes]) -> int | None:
    """Return the number of a process, unless it has been waited for: the number may be a stranger's then."""
    return process.pid if process.returncode is None else None


def told(status: int) -> str:
    """Say how a process ended, by its ``returncode``."""
    if status >= 0:
        return f"exit status {status}"
    name = signal.Signals(-status).name if -status in set(signal.Signals) else "one of those without a name"
    return f"signal {-status} ({name})"
