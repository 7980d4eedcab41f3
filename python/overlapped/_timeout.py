"""Time-outs around any piece of code."""

from __future__ import annotations

from types import TracebackType

from ._engine import Alarm, clock


class _Expired(BaseException):
    """Raised in the body of a :class:`timeout` whose time is up; it leaves the body as a ``TimeoutError``."""


class timeout:
    """Ends the body of a ``with`` statement after ``seconds``, with a ``TimeoutError``.

    What the body waits for is cancelled. That is a level, and not an event: every further wait raises the exception
    again, however often that is caught, until the body has been left; a body that has caught it and returns ends with
    the ``TimeoutError`` all the same. What runs because the exception was raised (an ``except``, a ``finally``, an
    ``__exit__``) may wait, within the cleanup limit (:func:`overlapped.configure`), and so may what
    :class:`overlapped.uncancellable` encloses. A body that does not wait is not disturbed. Time-outs nest, and each has
    a level of its own. ``None`` sets none::

        with overlapped.timeout(2.5):
            data = connection.recv(4096)

    The time is the tasklet's that entered the body. A generator must not be suspended in it: the tasklet goes on
    outside of the body, and what is raised there says so.

    Raises:
        TimeoutError: the body has left by the time-out, or has returned in spite of it. An exception of its own that it
            raised instead passes; ``expired`` tells.
    """

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds
        self.expired = False
        """Whether a wait of the body was told that the time is up."""
        self._exception: _Expired | None = None
        self._alarm: Alarm | None = None
        self._limit = seconds
        self._until: float | None = None

    def __enter__(self) -> timeout:
        if self._alarm is not None:
            raise RuntimeError("a timeout is entered once at a time")
        self.expired = False
        self._exception = _Expired(
            f"timed out after {self.seconds} s, outside of the body: a generator was suspended in it"
        )
        self._alarm = Alarm(self.seconds, self._exception)
        self._begin(self.seconds)
        return self

    @property
    def remaining(self) -> float | None:
        """How many seconds are left, less than 0 where the time is up; None without a time, and outside of the body."""
        return None if self._until is None else self._until - clock()

    def reschedule(self, seconds: float | None) -> None:
        """Have the time be up after ``seconds`` from now; ``None``: never. Where it is up already, it stays so.

        Raises:
            RuntimeError: outside of the body, or by another thread.
        """
        if self._alarm is None:
            raise RuntimeError("the time of a timeout is moved while its body runs")
        self._alarm.set(seconds)
        self._begin(seconds)

    def _begin(self, seconds: float | None) -> None:
        self._limit = seconds
        self._until = None if seconds is None else clock() + seconds

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._alarm is None:
            return
        told = self._alarm.clear()
        ours, self._alarm, self._exception, self._until = self._exception, None, None, None
        self.expired = told or value is ours
        if value is ours or (told and value is None):
            raise TimeoutError(f"timed out after {self._limit} s") from None
