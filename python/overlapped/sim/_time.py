"""Time in a simulated world, under the names of :mod:`time` and :mod:`datetime`. Elsewhere it is what it was."""

from __future__ import annotations

import datetime as _datetime
import time as _time
from collections.abc import Callable
from typing import Any

from .._engine import is_simulated, sleep_as_time, world_time

EPOCH = 1_700_000_000
"""What :func:`time.time` says when a world begins: 14 November 2023, 22:13:20 UTC."""

_BILLION = 1_000_000_000
_UPTIME = 1_000 * _BILLION
"""What the other clocks say then: nothing has just begun."""

_jumped = 0
"""By how much the clock on the wall was set, in nanoseconds."""

_real_time_ns = _time.time_ns


def begin() -> None:
    """A world begins: nobody has set its clock."""
    global _jumped
    _jumped = 0


def elapsed() -> float:
    """How many seconds have passed since the world began.

    Raises:
        RuntimeError: the thread is in no world. (So do all functions of a world's.)
    """
    passed = world_time()
    if passed is None:
        raise RuntimeError("this is of a simulated world, and the thread is in none")
    return passed / _BILLION


def jump(seconds: float) -> None:
    """Set the clock on the wall: :func:`time.time` jumps, the monotonic clocks and what waits by them do not."""
    global _jumped
    _jumped += round(seconds * _BILLION)


def wall_ns() -> int:
    """The time of the clock on the wall."""
    passed = world_time()
    return _real_time_ns() if passed is None else EPOCH * _BILLION + passed + _jumped


def names() -> dict[str, Callable[..., Any]]:
    """What is to stand in :mod:`time`."""
    found = {name: _counting(getattr(_time, name), False) for name in _CLOCKS}
    found |= {f"{name}_ns": _counting(getattr(_time, f"{name}_ns"), True) for name in _CLOCKS}
    found |= {"time": _wall(_time.time, False), "time_ns": _wall(_time.time_ns, True)}
    found |= {name: _of_now(getattr(_time, name)) for name in ("gmtime", "localtime", "ctime")}
    found["sleep"] = _sleep(_time.sleep)
    found |= {"asctime": _written(_time.asctime, 0), "strftime": _written(_time.strftime, 1)}
    if hasattr(_time, "clock_gettime"):
        found["clock_gettime"] = _by_number(_time.clock_gettime, _BILLION)
        found["clock_gettime_ns"] = _by_number(_time.clock_gettime_ns, 1)
    return found


_CLOCKS = ("monotonic", "perf_counter", "process_time", "thread_time")


def _named(function: Callable[..., Any], like: Callable[..., Any]) -> Callable[..., Any]:
    function.__name__ = function.__qualname__ = like.__name__
    function.__doc__ = like.__doc__
    return function


def _counting(real: Callable[[], Any], in_ns: bool) -> Callable[..., Any]:
    def clock() -> Any:
        passed = world_time()
        if passed is None:
            return real()
        return _UPTIME + passed if in_ns else (_UPTIME + passed) / _BILLION

    return _named(clock, real)


def _wall(real: Callable[[], Any], in_ns: bool) -> Callable[..., Any]:
    def clock() -> Any:
        if world_time() is None:
            return real()
        return wall_ns() if in_ns else wall_ns() / _BILLION

    return _named(clock, real)


def _of_now(real: Callable[..., Any]) -> Callable[..., Any]:
    def told(seconds: float | None = None) -> Any:
        return real(wall_ns() / _BILLION if seconds is None else seconds)

    return _named(told, real)


def _sleep(real: Callable[[float], None]) -> Callable[..., Any]:
    def sleep(seconds: float, /) -> None:
        (sleep_as_time if is_simulated() else real)(seconds)

    return _named(sleep, real)


def _written(real: Callable[..., Any], given: int) -> Callable[..., Any]:
    def told(*args: Any) -> Any:
        return real(*args, _time.localtime(wall_ns() / _BILLION)) if len(args) == given else real(*args)

    return _named(told, real)


def _by_number(real: Callable[[int], Any], unit: int) -> Callable[..., Any]:
    wall = {_time.CLOCK_REALTIME, getattr(_time, "CLOCK_REALTIME_COARSE", _time.CLOCK_REALTIME)}

    def clock(number: int) -> Any:
        passed = world_time()
        if passed is None:
            return real(number)
        nanoseconds = wall_ns() if number in wall else _UPTIME + passed
        return nanoseconds if unit == 1 else nanoseconds / unit

    return _named(clock, real)


class _Passes(type):
    """Has an object or class of the standard library's pass for one of ours."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _REAL[cls]) if cls in _REAL else super().__instancecheck__(instance)

    def __subclasscheck__(cls, subclass: type) -> bool:
        return issubclass(subclass, _REAL[cls]) if cls in _REAL else super().__subclasscheck__(subclass)


class date(_datetime.date, metaclass=_Passes):
    """:class:`datetime.date` whose today is the world's."""

    @classmethod
    def today(cls) -> date:
        return cls.fromtimestamp(wall_ns() / _BILLION)


class datetime(_datetime.datetime, metaclass=_Passes):
    """:class:`datetime.datetime` whose now is the world's."""

    @classmethod
    def now(cls, tz: Any = None) -> datetime:
        return cls.fromtimestamp(wall_ns() / _BILLION, tz)

    @classmethod
    def today(cls) -> datetime:
        return cls.fromtimestamp(wall_ns() / _BILLION)

    @classmethod
    def utcnow(cls) -> datetime:
        return cls.fromtimestamp(wall_ns() / _BILLION, _datetime.UTC).replace(tzinfo=None)


_REAL: dict[type, type] = {date: _datetime.date, datetime: _datetime.datetime}

for _kind in _REAL:
    _kind.__module__ = "datetime"
