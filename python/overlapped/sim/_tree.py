"""What a simulated program may do to the real world: write below one directory, and nothing else.

The interpreter tells its audit hooks (PEP 578) of what a program is about to do. A hook cannot be taken away again:
this one looks at threads that are in a simulated world alone.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .._engine import is_simulated

_trees: list[str] = []
_installed = False

_STARTS = frozenset(
    {
        "os.exec",
        "os.fork",
        "os.forkpty",
        "os.posix_spawn",
        "os.spawn",
        "os.system",
        "pty.spawn",
        "subprocess.Popen",
    }
)
_CHANGES = {
    "os.chflags": (0,),
    "os.chmod": (0,),
    "os.chown": (0,),
    "os.link": (1,),
    "os.mkdir": (0,),
    "os.remove": (0,),
    "os.removexattr": (0,),
    "os.rename": (0, 1),
    "os.rmdir": (0,),
    "os.setxattr": (0,),
    "os.symlink": (1,),
    "os.truncate": (0,),
    "os.utime": (0,),
    "sqlite3.connect": (0,),
}
"""Which arguments of an event are paths that it changes."""

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


@contextmanager
def confined(*trees: str) -> Iterator[None]:
    """While this lasts, threads that are in a world write below these directories alone, and start no process."""
    global _installed
    if not _installed:
        _installed = True
        sys.addaudithook(_hook)
    before = _trees[:]
    _trees.extend(os.path.realpath(tree) for tree in trees)
    bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        yield
    finally:
        _trees[:] = before
        sys.dont_write_bytecode = bytecode


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if not _trees or event not in _EVENTS or not is_simulated():
        return
    if event in _STARTS:
        raise PermissionError(f"{event}: a simulated world has no processes: what is to run in it runs in a thread")
    if event == "open":
        path, _mode, flags = args
        if isinstance(flags, int) and flags & _WRITES:
            _check(path)
        return
    for place in _CHANGES[event]:
        _check(args[place])


_EVENTS = frozenset({*_STARTS, *_CHANGES, "open"})


def _check(path: Any) -> None:
    # A descriptor was opened before.
    if isinstance(path, int) or path is None:
        return
    name = os.fsdecode(path)
    if name in ("", ":memory:") or name.startswith("file:"):
        return
    real = os.path.join(os.path.realpath(os.path.dirname(name)), os.path.basename(name))
    if real.startswith("/dev/") or any(f"{real}/".startswith(f"{tree.rstrip('/')}/") for tree in _trees):
        return
    raise PermissionError(
        f"{name!r}: what is simulated writes below {' or '.join(_trees)} alone, where its temporary files are "
        "(python -m overlapped --sim-tree names another directory)"
    )
