"""Versions of functions that run on a thread of the pool, where another tasklet could run meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from . import _engine

__all__ = ["on_pool"]


def on_pool(function: Callable[..., Any], offload: Callable[..., Any] = _engine.offload_endless) -> Callable[..., Any]:
    """A version of a function that runs by ``offload``; at once where no other tasklet is alive."""

    @wraps(function)
    def runs_on_pool(*args: Any, **kwargs: Any) -> Any:
        if _engine.is_alone() or _engine.program_ends():
            return function(*args, **kwargs)
        return offload(lambda: function(*args, **kwargs))

    return runs_on_pool
