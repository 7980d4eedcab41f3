"""The text scene: `text.py overlapped|plain FILE`; with `plain`, `open` is what the program finds.

Prints the nanoseconds of a line, of a hundred thousand: iterated, by `readline`, read whole, written one by one; of a
text file, and of a binary one where the name says so.
"""

import json
import sys
from collections.abc import Callable
from typing import IO, Any

from measured import Laps

LINES = 100_000
LINE = "the quick brown fox jumps over the lazy dog\n"


def scene(open: Callable[..., IO[Any]], path: str) -> dict[str, Laps]:
    def laps(mode: str, body: Callable[[IO[Any]], int]) -> Laps:
        laps = Laps(LINES)
        for _ in laps:
            with open(path, mode) as file:
                assert body(file) == LINES
        return laps

    def write(file: IO[Any]) -> int:
        line = LINE if "b" not in file.mode else LINE.encode()
        for _ in range(LINES):
            file.write(line)
        return LINES

    def iterate(file: IO[Any]) -> int:
        count = 0
        for _line in file:
            count += 1
        return count

    def readline(file: IO[Any]) -> int:
        count = 0
        while file.readline():
            count += 1
        return count

    def read(file: IO[Any]) -> int:
        return len(file.read()) // len(LINE)

    return {
        "write": laps("w", write),
        "iterate": laps("r", iterate),
        "readline": laps("r", readline),
        "bytes-write": laps("wb", write),
        "bytes": laps("rb", iterate),
        "read": laps("r", read),
    }


def opener(contender: str) -> Callable[..., IO[Any]]:
    match contender:
        case "overlapped":
            import overlapped.io

            return overlapped.io.open
        case "plain":
            return open
    sys.exit(f"no such contender: {contender}")


contender, path = sys.argv[1:]
print(json.dumps({name: laps.nanoseconds for name, laps in scene(opener(contender), path).items()}))
