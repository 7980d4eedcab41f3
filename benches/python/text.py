"""The text scene: `text.py overlapped|plain FILE`; with `plain`, `open` is what the program finds.

Prints the nanoseconds of a line, of a hundred thousand: iterated, by `readline`, read whole, written one by one.
"""

import json
import sys
from collections.abc import Callable
from typing import TextIO

from measured import Laps

LINES = 100_000
LINE = "the quick brown fox jumps over the lazy dog\n"


def scene(open: Callable[..., TextIO], path: str) -> dict[str, Laps]:
    def laps(mode: str, body: Callable[[TextIO], int]) -> Laps:
        laps = Laps(LINES)
        for _ in laps:
            with open(path, mode) as file:
                assert body(file) == LINES
        return laps

    def write(file: TextIO) -> int:
        for _ in range(LINES):
            file.write(LINE)
        return LINES

    def iterate(file: TextIO) -> int:
        count = 0
        for _line in file:
            count += 1
        return count

    def readline(file: TextIO) -> int:
        count = 0
        while file.readline():
            count += 1
        return count

    def read(file: TextIO) -> int:
        return len(file.read()) // len(LINE)

    return {
        "write": laps("w", write),
        "iterate": laps("r", iterate),
        "readline": laps("r", readline),
        "read": laps("r", read),
    }


def opener(contender: str) -> Callable[..., TextIO]:
    match contender:
        case "overlapped":
            import overlapped.io

            return overlapped.io.open
        case "plain":
            return open
    sys.exit(f"no such contender: {contender}")


contender, path = sys.argv[1:]
print(json.dumps({name: laps.nanoseconds for name, laps in scene(opener(contender), path).items()}))
