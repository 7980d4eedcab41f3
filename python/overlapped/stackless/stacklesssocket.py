"""``stacklesssocket``, which put sockets that block only their tasklet under a program for Stackless, on our sockets.

``stacklesssocket.install()`` makes :mod:`socket` make them, before or after it was imported; what was made before
stays as it is. :func:`uninstall` takes that back. Whatever else is asked of this module is that of
:mod:`overlapped.socket`, so that it can also be used in the place of :mod:`socket`.

The original polled the sockets in a tasklet, the *manager*, that ran as long as there were any, and so kept
``stackless.run()`` going. Here the port is waited in when nobody is ready, and ``run()`` knows who waits for it:
there is no manager. :func:`StopManager` has ``run()`` end as if there were one and it had stopped; a program that
then polls by itself calls :func:`pump`.
"""

from __future__ import annotations

import socket as _std
from typing import TYPE_CHECKING, Any

from .. import _engine, monkey
from .. import socket as _ours

__all__ = [
    "StartManager",
    "StopManager",
    "can_timeout",
    "install",
    "make_blocking_socket",
    "pump",
    "ready_to_schedule",
    "uninstall",
]

_installed: dict[str, Any] = {}
"""What :func:`install` has replaced."""


def install(pi: float | None = None) -> None:
    """Have :mod:`socket` make sockets that block only their tasklet, and look names up so.

    ``pi``, which was the interval at which sockets were polled, is taken and not needed.

    Raises:
        RuntimeError: it is installed.
    """
    if _installed:
        raise RuntimeError("Still installed")
    names = {name for name in vars(_ours) if not name.startswith("_") and hasattr(_std, name)} - set(_ours._REBOUND)
    for name in names:
        _installed[name] = getattr(_std, name)
        setattr(_std, name, getattr(_ours, name))


def uninstall() -> None:
    """Take :func:`install` back, where it was. A program that runs under ``python -m overlapped`` keeps our sockets."""
    while _installed:
        name, before = _installed.popitem()
        setattr(_std, name, before)


def make_blocking_socket(family: int = _std.AF_INET, type: int = _std.SOCK_STREAM, proto: int = 0) -> _std.socket:
    """A socket of the standard library, which blocks the thread, whatever is installed."""
    made: _std.socket = _real(family, type, proto)
    return made


_real: Any = monkey.original("socket", "socket")


def StartManager() -> None:
    """Have ``stackless.run()`` go on while a tasklet waits for the port, as it does without :func:`StopManager`."""
    _engine.let_port_count(True)


def StopManager() -> None:
    """Have ``stackless.run()`` on this thread end when nobody is ready, whoever waits for the port."""
    _engine.let_port_count(False)


def pump() -> None:
    """Look at the port, without a wait: whoever waited for what has come is ready, and runs at the next ``run()``."""
    _engine.poll()


def ready_to_schedule(flag: bool) -> None:
    """Nothing: the original's sockets could not be used before the scheduler ran, and these can."""


def can_timeout() -> bool:
    """True: time-outs of sockets need nothing that the program is to provide."""
    return True


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        return getattr(_ours, name)
