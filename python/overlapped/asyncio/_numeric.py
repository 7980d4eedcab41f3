"""Addresses in numbers, which are looked up without a thread: nobody is asked for them.

The system's own function says what they are, at once; what it has said is kept, for it says the same again. Taking them
apart here was rejected: which kinds and protocols the system lists for an address is its own affair.
"""

from __future__ import annotations

import socket as _socket
from collections.abc import Callable
from functools import lru_cache
from typing import Any

_HARMLESS = _socket.AI_PASSIVE | _socket.AI_NUMERICHOST | getattr(_socket, "AI_NUMERICSERV", 0)
"""Flags with which the answer depends on the arguments alone; not so with ``AI_ADDRCONFIG``."""


def may_be(host: Any, port: Any) -> bool:
    """Whether they are of the types of what is written in numbers, or a name."""
    return type(host) is str and (type(port) is int or type(port) is str)


@lru_cache(1024)
def look_up(
    function: Callable[..., list[Any]], host: str, port: int | str, family: int, type: int, proto: int, flags: int
) -> tuple[Any, ...] | None:
    """What :func:`socket.getaddrinfo`, given as it is now, says of an address in numbers; None of a name.

    Raises:
        socket.gaierror: as it does; that is not kept.
    """
    if flags & ~_HARMLESS or not _is_address(host) or not (isinstance(port, int) or port.isdigit()):
        return None
    return tuple(function(host, port, family=family, type=type, proto=proto, flags=flags))


def _is_address(host: str) -> bool:
    for family in (_socket.AF_INET, _socket.AF_INET6):
        try:
            _socket.inet_pton(family, host)
        except (OSError, ValueError):
            continue
        return True
    return False
