"""Randomness in a simulated world: :mod:`random`, :func:`os.urandom`, and with them :mod:`secrets` and :mod:`uuid`."""

from __future__ import annotations

import itertools
import os
import random
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from .._engine import is_simulated, world_bytes, world_random

_MOST = 2**32 - 1
_NODE = 0x02_00_00_00_00_01
"""A hardware address that nobody has: it says of itself that it is local."""


def install(replace: Callable[[Any, dict[str, Any]], None]) -> None:
    """Put the world's bytes in the place of the system's."""

    def bytes_instead(real: Callable[..., bytes]) -> Callable[..., bytes]:
        def random_bytes(count: int, *args: Any) -> bytes:
            drawn = world_bytes(count)
            return real(count, *args) if drawn is None else drawn

        random_bytes.__name__ = random_bytes.__qualname__ = real.__name__
        random_bytes.__doc__ = real.__doc__
        return random_bytes

    names = ("urandom", "getrandom")
    replace(os, {name: bytes_instead(getattr(os, name)) for name in names if hasattr(os, name)})
    seed = random.Random.seed

    def seeded(self: random.Random, a: Any = None, version: int = 2) -> None:
        # In C, one without a seed asks the system.
        seed(self, world_random(_MOST) if a is None and is_simulated() else a, version)

    random.Random.seed = seeded  # type: ignore[method-assign]
    import uuid

    uuid1 = uuid.uuid1

    def simulated_uuid1(node: int | None = None, clock_seq: int | None = None) -> uuid.UUID:
        if not is_simulated():
            return uuid1(node, clock_seq)
        return uuid1(_NODE if node is None else node, world_random(1 << 14) if clock_seq is None else clock_seq)

    uuid.uuid1 = simulated_uuid1


_OF_UUID = {"_last_timestamp": None, "_last_timestamp_v7": None, "_last_counter_v7": 0}
"""What :mod:`uuid` remembers of the last one that was made, so that the next is another, as it is at first."""


@contextmanager
def begun() -> Iterator[None]:
    """While a world is there, the numbers that the process counts and draws begin anew; then they go on as before."""
    import uuid

    before = random.getstate()
    counter: Any = threading._counter  # type: ignore[attr-defined]
    last = {name: getattr(uuid, name) for name in _OF_UUID if hasattr(uuid, name)}
    random.seed(world_random(_MOST))
    threading._counter = itertools.count(1).__next__  # type: ignore[attr-defined]
    for name in last:
        setattr(uuid, name, _OF_UUID[name])
    tempfile = sys.modules.get("tempfile")
    if tempfile is not None:
        tempfile._name_sequence = None  # type: ignore[attr-defined]
    try:
        yield
    finally:
        random.setstate(before)
        threading._counter = counter  # type: ignore[attr-defined]
        for name, value in last.items():
            setattr(uuid, name, value)
