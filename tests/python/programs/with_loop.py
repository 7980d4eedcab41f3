"""``with_loop.py MODULE:CLASS PROGRAM ...``: ``python -m PROGRAM ...`` with another event loop in the place of the
standard one, wherever asyncio, its tests or others' make one by default.

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
    """The loop. The tests of the standard one give it selectors, one of each kind."""

    def __new__(cls, selector: Any = None) -> Any:
        return super().__new__(cls)

    def __init__(self, selector: Any = None) -> None:
        if selector is not None:
            selector.close()
        super().__init__()


where: Any = asyncio.unix_events
asyncio.SelectorEventLoop = where.SelectorEventLoop = InPlace  # type: ignore[misc]
if hasattr(where, "EventLoop"):
    asyncio.EventLoop = where.EventLoop = InPlace  # type: ignore[misc]
if hasattr(where, "_UnixDefaultEventLoopPolicy"):
    where._UnixDefaultEventLoopPolicy._loop_factory = InPlace
del sys.argv[:2]
# As with ``-m``: not this program's folder.
sys.path[0] = os.getcwd()
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
