"""What the measured Python programs share: how a server is asked, begins and ends, how a cost is timed.

The Rust programs' twins are in `src/lib.rs`; both print the same lines, so the runner treats them alike.
"""

import argparse
import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator


def asked(*words: str) -> argparse.Namespace:
    """What an echo server is asked for on its command line, after words of its own."""
    parser = argparse.ArgumentParser()
    for word in words:
        parser.add_argument(word)
    parser.add_argument("read_size", nargs="?", type=int, default=4096, help="the most bytes of one recv")
    parser.add_argument("path", nargs="?", help="of a Unix socket, where it is not to be TCP")
    parser.add_argument("--lines", action="store_true", help="read and answer lines")
    parser.add_argument("--once", action="store_true", help="close after the first reply")
    parser.add_argument("--whole-turns", action="store_true", help="no thread is preempted")
    return parser.parse_args()


def announce(address: int | str) -> None:
    """Tell the runner the port or path, and from then on end the process when stdin closes.

    A thread of the operating system, blocked in `read` without the GIL, watches stdin: it costs nothing while the
    server works and needs nothing from the library that is measured.
    """
    print(address, flush=True)
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

    def __init__(self, items: int, clock: Callable[[], float] = time.perf_counter) -> None:
        self.items = items
        self.clock = clock
        self.laps: list[float] = []

    def __iter__(self) -> Iterator[None]:
        began = time.perf_counter()
        while len(self.laps) <= self.FEWEST or time.perf_counter() - began < self.LONGEST:
            lap_began = self.clock()
            yield
            self.laps.append(self.clock() - lap_began)

    @property
    def nanoseconds(self) -> float:
        """The first lap warms caches and pools, and does not count."""
        return round(statistics.median(self.laps[1:]) / self.items * 1e9, 1)
