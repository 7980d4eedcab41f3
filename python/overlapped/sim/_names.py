"""Look-ups of names in a simulated world."""

from __future__ import annotations

import ipaddress
import socket as _std
from collections.abc import Callable
from typing import Any

from .. import _engine
from .. import socket as _ours

ours: Any = _ours
_LOOPBACK = "localhost"


def install() -> None:
    """Have :mod:`overlapped.socket` ask here."""
    ask = ours._look_up
    answers: dict[str, Callable[..., Any]] = {
        "getaddrinfo": _getaddrinfo,
        "gethostbyname": _gethostbyname,
        "gethostbyname_ex": _gethostbyname_ex,
        "gethostbyaddr": _gethostbyaddr,
        "getnameinfo": _getnameinfo,
    }

    def look_up(function: Callable[..., Any], *args: Any) -> Any:
        answer = answers.get(function.__name__)
        if answer is None or not _engine.is_simulated():
            return ask(function, *args)
        return answer(*args)

    ours._look_up = look_up


def _addresses(name: str) -> list[str]:
    if _engine.numeric_address(name, 0) is not None:
        return [name]
    addresses, certain, delay = _engine.world_addresses(name.rstrip(".").lower()) or ([], True, 0.0)
    _engine.sleep(delay)
    if not addresses:
        if certain:
            raise _std.gaierror(_std.EAI_NONAME, "Name or service not known")
        raise _std.gaierror(_std.EAI_AGAIN, "Temporary failure in name resolution")
    return addresses


def _text(host: Any) -> str:
    return bytes(host).decode("ascii") if isinstance(host, (bytes, bytearray)) else str(host)


def _getaddrinfo(host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0) -> list[Any]:
    # What is in numbers, the system's own function takes apart, and asks nobody.
    flags = (flags | _std.AI_NUMERICHOST) & ~getattr(_std, "AI_ADDRCONFIG", 0)
    if host is None:
        found: list[Any] = ours._getaddrinfo(host, port, family, type, proto, flags & ~_std.AI_NUMERICHOST)
        return found
    found = []
    for address in _addresses(_text(host)):
        of = _std.AF_INET6 if ":" in address else _std.AF_INET
        if family in (0, of):
            found += ours._getaddrinfo(address, port, of, type, proto, flags)
    if not found:
        raise _std.gaierror(_std.EAI_NONAME, "Name or service not known")
    return found


def _gethostbyname(name: str) -> str:
    if name in ("", "0.0.0.0"):
        return "0.0.0.0"
    for address in _addresses(_text(name)):
        if ":" not in address:
            return address
    raise _std.gaierror(_std.EAI_NONAME, "Name or service not known")


def _gethostbyname_ex(name: str) -> tuple[str, list[str], list[str]]:
    return name, [], [address for address in _addresses(_text(name)) if ":" not in address]


def _gethostbyaddr(address: str) -> tuple[str, list[str], list[str]]:
    for found in _addresses(_text(address)):
        if ipaddress.ip_address(found).is_loopback:
            return _LOOPBACK, [], [found]
    raise _std.herror(1, "Unknown host")


def _getnameinfo(address: Any, flags: int) -> tuple[str, str]:
    return _std.getnameinfo(address, flags | _std.NI_NUMERICHOST | _std.NI_NUMERICSERV)
