"""Functions of the standard library over other names: the same code, so the same behaviour in every version."""

from __future__ import annotations

from types import FunctionType
from typing import Any


def rebind(function: Any, names: dict[str, Any], module: str) -> Any:
    """The same function, but where it speaks of a global it finds that of ``names``."""
    plain: FunctionType = getattr(function, "__func__", function)
    rebound = FunctionType(plain.__code__, names, plain.__name__, plain.__defaults__, plain.__closure__)
    rebound.__kwdefaults__ = plain.__kwdefaults__
    rebound.__doc__ = plain.__doc__
    rebound.__annotations__ = plain.__annotations__
    rebound.__module__ = module
    return rebound
