"""Our `open` beside the built-in one: the same calls on both, and the same outcome."""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any

from overlapped import io

OPENERS = [builtins.open, io.open]


def outcome(action: Callable[[], Any]) -> Any:
    """What an action returns, or the kind, number and words of its error."""
    try:
        return action()
    except (OSError, ValueError, TypeError, LookupError, OverflowError) as error:
        number = error.errno if isinstance(error, OSError) else None
        name = error.filename if isinstance(error, OSError) else None
        return type(error), number, name, str(error)


def both(action: Callable[[Any], Any]) -> Any:
    """What ours does, after a look that the built-in does the same."""
    expected, got = (outcome(lambda opener=opener: action(opener)) for opener in OPENERS)
    assert got == expected
    return got
