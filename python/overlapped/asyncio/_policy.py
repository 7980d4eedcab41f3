"""The event loop policy, for programs that choose their loop by one."""

from __future__ import annotations

import asyncio as _asyncio

from ._loop import EventLoop


class EventLoopPolicy(_asyncio.DefaultEventLoopPolicy):
    """Makes our loops, and is the system's default policy in all else."""

    _loop_factory = EventLoop
