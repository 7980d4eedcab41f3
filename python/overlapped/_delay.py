"""How long to wait before a worker process is started again, in seconds."""

from __future__ import annotations

_FIRST, _LONGEST = 0.05, 10.0
_SERVED = 1.0
"""A worker that has been ready for so long has served, however it ended."""


class Delay:
    """Doubles with each worker that ends before it has done anything."""

    failures = 0
    """How many have ended one after the other and were of no use."""

    def after(self, *, of_use: bool) -> float:
        """The delay after a worker's end. One that was of use is replaced at once."""
        self.failures = 0 if of_use else self.failures + 1
        return min(_FIRST * 2 ** min(self.failures - 1, 16), _LONGEST) if self.failures else 0.0


def has_served(ready_for: float | None) -> bool:
    """Whether a worker was of use that was ready for so long; None where it never was."""
    return ready_for is not None and ready_for >= _SERVED
