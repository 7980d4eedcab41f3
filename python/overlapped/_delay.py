"""How long to wait before a worker process is started again, in seconds."""

from __future__ import annotations

_FIRST, _LONGEST = 0.05, 10.0
_SERVED = 1.0
"""A worker that has been ready for so long has served, however it ended."""


class Delay:
    """Doubles with each worker that ends before it has done anything."""

    def __init__(self) -> None:
        self._next = _FIRST
        self.failures = 0
        """How many have ended one after the other and were of no use."""

    def after(self, *, of_use: bool) -> float:
        """The delay after a worker's end. One that was of use is replaced at once."""
        if of_use:
            self._next, self.failures = _FIRST, 0
            return 0.0
        self.failures += 1
        delay, self._next = self._next, min(2 * self._next, _LONGEST)
        return delay


def has_served(ready_for: float | None) -> bool:
    """Whether a worker was of use that was ready for so long; None where it never was."""
    return ready_for is not None and ready_for >= _SERVED
