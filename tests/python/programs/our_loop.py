"""``python -m test`` with our event loop in the place of the standard one, wherever asyncio's tests make one."""

from __future__ import annotations

import asyncio
import runpy
from typing import Any

import overlapped.asyncio


class InPlace(overlapped.asyncio.EventLoop):
    """Ours. The tests of the standard loop give it selectors, one of each kind."""

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
runpy.run_module("test", run_name="__main__", alter_sys=True)
