"""``with_loop.py MODULE:CLASS PROGRAM ...``: ``python -m PROGRAM ...`` or ``python PROGRAM.py ...`` with another event
loop in the place of the standard one (on Windows, of both), wherever asyncio, its tests or others' make one by default.

The class is changed where asyncio keeps it, for a policy would not reach the tests that name `SelectorEventLoop`.
"""

from __future__ import annotations

import asyncio
import os
import pkgutil
import runpy
import sys
from typing import Any

name = sys.argv[1]
Loop: Any = pkgutil.resolve_name(name)


class InPlace(Loop):  # type: ignore[misc]
    """The loop. The tests of the standard ones give them selectors, one of each kind, and proactors."""

    _default_executor: Any = None
    """asyncio's test tools look at it; a loop that is written in C has none."""

    def __new__(cls, waiter: Any = None) -> Any:
        return super().__new__(cls)

    def __init__(self, waiter: Any = None) -> None:
        if waiter is not None:
            waiter.close()
        super().__init__()


all_of_asyncio: Any = asyncio
where: Any = all_of_asyncio.windows_events if sys.platform == "win32" else all_of_asyncio.unix_events
all_of_asyncio.SelectorEventLoop = where.SelectorEventLoop = InPlace
if sys.platform == "win32":
    all_of_asyncio.ProactorEventLoop = where.ProactorEventLoop = InPlace
    for policy in (where.WindowsSelectorEventLoopPolicy, where.WindowsProactorEventLoopPolicy):
        policy._loop_factory = InPlace
if hasattr(where, "EventLoop"):
    all_of_asyncio.EventLoop = where.EventLoop = InPlace
if hasattr(where, "_UnixDefaultEventLoopPolicy"):
    where._UnixDefaultEventLoopPolicy._loop_factory = InPlace
del sys.argv[:2]
# As with ``-m``: not this program's folder.
sys.path[0] = os.getcwd()
if sys.argv[0].endswith(".py"):
    runpy.run_path(sys.argv[0], run_name="__main__")
else:
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
