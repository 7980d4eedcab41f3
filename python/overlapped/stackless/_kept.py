"""Names of Stackless's that programs ask for and that have nothing to do here: kept, so that these programs run.

Its flags of pickling are of tasklets that have begun, and its lists are of what its own C stacks and debug builds
leave: a greenlet cannot be pickled, and leaves nothing. What a program would notice is not kept but refused, where it
is used; and what is Stackless's inside is not there: `ABSENT` says what to do instead.
"""

from __future__ import annotations

from typing import Any

PICKLEFLAGS_PRESERVE_TRACING_STATE = 1
PICKLEFLAGS_PRESERVE_AG_FINALIZER = 2
PICKLEFLAGS_RESET_AG_FINALIZER = 4
PICKLEFLAGS_PICKLE_CONTEXT = 8

pickle_with_tracing_state = False
"""May be set; nothing depends on it: no tasklet that has begun is pickled."""

ABSENT = {
    "bomb": "how Stackless keeps an exception on its way: channel.send_throw() and tasklet.throw() take one",
    "cframe": "a part of Stackless's own C stack, which greenlets have no use for: see tasklet.frame",
    "cstack": "a part of Stackless's own C stack, which greenlets have no use for: see tasklet.frame",
    "slpdict": "a type of Stackless's own inside: a dict will do",
    "test_cframe": "a measurement of Stackless's own switches: `make bench` measures those here",
    "test_cframe_nr": "a measurement of Stackless's own switches: `make bench` measures those here",
    "test_cstate": "a test of Stackless's own C stacks, which greenlets have no use for",
    "test_outside": "a test of Stackless's own C stacks, which greenlets have no use for",
}
"""What is not here, and why."""

_ALL = 15
_flags = {"now": 0, "default": 0}


def _exchange(which: str, new: int, mask: int) -> int:
    before = _flags[which]
    if new != -1:
        if new & ~_ALL or new < 0 or mask < -1 or (mask != -1 and mask & ~_ALL):
            raise ValueError(f"pickle flags are of 0 to {_ALL}, not {new} under the mask {mask}")
        _flags[which] = (before & ~mask) | (new & mask)
    return before


def pickle_flags(new_flags: int = -1, mask: int = -1) -> int:
    """Return the flags for pickling, and set those of ``mask``, unless it is -1. Nothing depends on them here.

    Raises:
        ValueError: there are no such flags.
    """
    return _exchange("now", new_flags, mask)


def pickle_flags_default(new_default: int = -1, mask: int = -1) -> int:
    """As :func:`pickle_flags`, for threads to come."""
    return _exchange("default", new_default, mask)


def getdebug() -> bool:
    """Whether this is a debug build of Stackless: it is none."""
    return False


def getuncollectables() -> list[Any]:
    """The tasklets that the collector could not free: there are none, for those that are left are ended."""
    return []
