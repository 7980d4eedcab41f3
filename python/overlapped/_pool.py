"""Versions of functions that run on a thread of the pool, where another tasklet could run meanwhile."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

from . import _engine, _thread

__all__ = ["offload_named", "on_pool"]


def on_pool(function: Callable[..., Any], offload: Callable[..., Any] = _engine.offload_endless) -> Callable[..., Any]:
    """A version of a function that runs by ``offload``; at once where no other tasklet is alive."""

    @wraps(function)
    def runs_on_pool(*args: Any, **kwargs: Any) -> Any:
        if _engine.is_alone() or _engine.program_ends():
            return function(*args, **kwargs)
        return offload(lambda: function(*args, **kwargs))

    return runs_on_pool


def offload_named(function: Callable[[], Any]) -> Any:
    """Offload what may wait without end, on a thread that meanwhile has the calling thread's name."""
    if sys.version_info < (3, 14):
        return _engine.offload_endless(function)
    return _engine.offload_endless(_thread.run_named, _thread._get_name(), function)
