"""``python -m overlapped --doctor``: what a program does that holds up its other threads, and what to set.

Who holds the thread is looked for on another one, as for a warning (:func:`overlapped.watch`), but for less: each place
is noted, by the line that it is at when it has held the thread for :data:`LIMIT`, with how long that went on.
"""

from __future__ import annotations

import sys
from typing import TextIO

from . import _engine, _libraries

__all__ = ["Doctor"]

LIMIT = 0.05
"""For how long the thread is to be held, in seconds, to be noted."""
SHOWN = 10
"""How many places are shown."""


class Doctor:
    """Notes who holds the thread of a program, and what the program has imported."""

    def __init__(self) -> None:
        self._held: dict[str, list[float]] = {}
        self._place: str | None = None
        self._so_far = 0.0

    def begin(self) -> None:
        """Note who holds this thread from now on."""
        _engine.watch(LIMIT, self._tell)

    def _tell(self, seconds: float, stack: str | None) -> None:
        if stack is not None:
            self._place, self._so_far = stack, seconds
            return
        self._note(seconds)

    def _note(self, seconds: float) -> None:
        if self._place is not None:
            self._held.setdefault(self._place, []).append(seconds)
        self._place = None

    def report(self, to: TextIO) -> None:
        """Say what was found."""
        _engine.watch(None)
        self._note(self._so_far)
        print("python -m overlapped: the doctor's report", file=to)
        held = sorted(self._held.items(), key=lambda item: -sum(item[1]))
        if not held:
            print(f"  Nothing held the thread for {LIMIT} s or more.", file=to)
        for place, times in held[:SHOWN]:
            often = f"{len(times)} times, " if len(times) > 1 else ""
            print(f"  The thread was held {often}{sum(times):.2f} s, while no other ran, at", file=to)
            print(*(f"    {line}" for line in place.splitlines()), sep="\n", file=to)
        if len(held) > SHOWN:
            print(f"  and at {len(held) - SHOWN} other places", file=to)
        if held:
            print(
                "  What waits there in C can run on a thread of a pool: overlapped.offload(function, ...), or, with the"
                " program as it is,\n  --offload module:function,Class.method",
                file=to,
            )
        for name in sorted(_libraries.KNOWN.keys() & sys.modules.keys()):
            known = _libraries.KNOWN[name]
            print(f"  {name} {known.does}. What to set: {known.advice}", file=to)
