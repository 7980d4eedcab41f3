"""Puts the simulated world under the standard library's names. Threads that are in none get what was there."""

from __future__ import annotations

import time
from typing import Any

from .. import monkey
from . import _chance, _names, _ready, _sockets, _ssl, _time

_done: set[str] = set()


def install(*, dates: bool = False) -> None:
    """Do so once. ``dates``: :mod:`datetime` too, whose classes become subclasses of what they were."""
    if "all" not in _done:
        _done.add("all")
        _sockets.install()
        _ready.install()
        _names.install()
        _ssl.install()
        _chance.install(monkey._replace)
        monkey._replace(time, _time.names())
    if dates and "dates" not in _done:
        _done.add("dates")
        import datetime

        replaced: dict[str, Any] = {"date": _time.date, "datetime": _time.datetime}
        monkey._replace(datetime, replaced)
