"""What the measured Python programs share: how a server begins and ends, how a cost is timed.

The Rust programs' twins are in `src/lib.rs`; both print the same lines, so the runner treats them alike.
"""

import os
import statistics
import threading
import time
from collections.abc import Iterator

READ_SIZE = 4096
"""The most bytes that an echo server takes in one `recv`: the largest message measured."""


def announce(port: int) -> None:
    """Tell the runner the port, and from then on end the process when stdin closes.

    A thread of the operating system, blocked in `read` without the GIL, watches stdin: it costs nothing while the
    server works and needs nothing from the library that is measured.
    """
    print(port, flush=True)
    threading.Thread(target=_end_with_stdin, daemon=True).start()


def _end_with_stdin() -> None:
    while os.read(0, 1):
        pass
    os._exit(0)


class Laps:
    """Times the body of the caller's loop again and again; `nanoseconds` is the median cost of one of its items.

    The loop stays the caller's, so that blocking and async code are timed by the same lines.
    """

    LONGEST = 0.6
    FEWEST = 5

    def __init__(self, items: int) -> None:
        self.items = items
        self.laps: list[float] = []

    def __iter__(self) -> Iterator[None]:
        began = time.perf_counter()
        while len(self.laps) <= self.FEWEST or time.perf_counter() - began < self.LONGEST:
            lap_began = time.perf_counter()
            yield
            self.laps.append(time.perf_counter() - lap_began)

    @property
    def nanoseconds(self) -> float:
        """The first lap warms caches and pools, and does not count."""
        return round(statistics.median(self.laps[1:]) / self.items * 1e9, 1)
