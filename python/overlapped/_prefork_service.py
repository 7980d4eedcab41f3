"""The server as a service of systemd's: what the manager hears of it, and when.

From the beginning of a stop it hears of nothing else: a restart that was under way then ends without a word. To tell is
not left early (who is told to leave stops the server, which is what there is to tell), and waits only where the manager
does not read.
"""

from __future__ import annotations

import contextlib
import enum
from collections.abc import Callable, Iterator

from . import _engine, systemd


class _Phase(enum.Enum):
    SILENT = 1
    """The manager waits, or is not to be told."""
    SERVING = 2
    STOPPING = 3


class Service:
    def __init__(self, tell: bool) -> None:
        self._tell = tell
        self._phase = _Phase.SILENT
        self._watchdog: _engine.Tasklet[None] | None = None

    def begins(self) -> None:
        """All workers are ready.

        Raises:
            OSError: the manager cannot be told, or the variables of its watchdog are wrong.
        """
        if self._tell:
            interval = systemd.watchdog_interval()
            systemd.ready()
            self._phase = _Phase.SERVING
            if interval is not None:
                self._watchdog = _engine.spawn(_feed, interval / 2)

    @contextlib.contextmanager
    def reloads(self) -> Iterator[None]:
        """Workers are replaced within it."""
        self._say(systemd.reloading)
        try:
            yield
        finally:
            self._say(systemd.ready)

    def stops(self) -> None:
        self._say(systemd.stopping, then=_Phase.STOPPING)

    def ends(self) -> None:
        """The manager hears no more that this lives."""
        if self._watchdog is not None:
            self._watchdog.cancel()

    def _say(self, what: Callable[[], bool], then: _Phase = _Phase.SERVING) -> None:
        """Where the manager cannot be told, the server serves all the same."""
        if self._phase is _Phase.SERVING:
            self._phase = then
            with _engine.uncancellable(), contextlib.suppress(OSError):
                what()


def _feed(rest: float) -> None:
    """Says that the server is alive as long as this thread runs its tasklets, until it is cancelled."""
    while True:
        # The manager may be busy, or starting anew.
        with contextlib.suppress(OSError):
            systemd.watchdog()
        _engine.sleep(rest)
