"""Work at intervals.

The ticks are those of a clock that was started once: what the work takes does not add up, and one that comes late is
not followed by others that make up for it. (Rejected: to sleep for the interval after each round, which drifts by the
time that the work takes; to give the ticks that were missed all at once, which makes a program that is behind be
further behind.)
"""

from __future__ import annotations

from ._engine import clock, sleep

__all__ = ["every"]


class every:
    """An iterator of ticks, one every ``interval`` seconds, the first at once.

    ::

        for missed in overlapped.every(0.5):
            measure()
            if missed:
                print(f"{missed} measurements were left out")

    Each tick is the number of ticks before it that were missed, for the body of the loop took longer than the interval.
    The iterator never ends by itself.

    Raises:
        ValueError: ``interval`` is not more than 0.
    """

    def __init__(self, interval: float) -> None:
        if not interval > 0:
            raise ValueError("an interval is more than 0 seconds")
        self.interval = interval
        self._begun: float | None = None
        self._last = 0

    def __iter__(self) -> every:
        return self

    def __next__(self) -> int:
        if self._begun is None:
            self._begun = clock()
            return 0
        now = clock() - self._begun
        due = max(int(now / self.interval), self._last + 1)
        missed, self._last = due - self._last - 1, due
        # Where one is due already this lets the others run, and no more.
        sleep(max(due * self.interval - now, 0.0))
        return missed
