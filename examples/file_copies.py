"""Ten big and twenty small files copied at once by tasklets, while a ticker shows that the thread is never held up.

python examples/file_copies.py
"""

import tempfile
import time
from pathlib import Path

import overlapped
from overlapped.io import open

BIG = (10, 3_000_000)
SMALL = (20, 3_000)
PIECE = 64 * 1024
TICK = 0.001


def contents(file: int, length: int) -> bytes:
    """Bytes that differ from file to file and from place to place."""
    block = bytes((at * at + 7 * at + file * 97) >> 3 & 0xFF for at in range(4099))
    return (block * (length // len(block) + 1))[:length]


def copy(source: Path, target: Path) -> None:
    """Copies a file piece by piece, as one would without tasklets."""
    with open(source, "rb") as reader, open(target, "wb") as writer:
        while piece := reader.read(PIECE):
            writer.write(piece)


class Ticker:
    """Sleeps a millisecond again and again, and remembers the longest time that one took."""

    def __init__(self) -> None:
        self.worst = 0.0
        self.tasklet = overlapped.spawn(self.run)

    def run(self) -> None:
        while True:
            before = time.perf_counter()
            overlapped.sleep(TICK)
            self.worst = max(self.worst, time.perf_counter() - before)


def main() -> None:
    sizes = [BIG[1]] * BIG[0] + [SMALL[1]] * SMALL[0]
    originals = [contents(file, size) for file, size in enumerate(sizes)]
    with tempfile.TemporaryDirectory() as folder:
        pairs = [(Path(folder, f"original {file}"), Path(folder, f"copy {file}")) for file in range(len(sizes))]
        for (source, _), original in zip(pairs, originals, strict=True):
            source.write_bytes(original)

        ticker = Ticker()
        begun = time.perf_counter()
        copies = [overlapped.spawn(copy, source, target) for source, target in pairs]
        for copying in copies:
            copying.result()
        seconds = time.perf_counter() - begun
        ticker.tasklet.cancel()

        for (_, target), original in zip(pairs, originals, strict=True):
            if target.read_bytes() != original:
                raise SystemExit(f"{target.name} differs from the original")
    print(
        f"file copies: {BIG[0]} big and {SMALL[0]} small files, {sum(sizes)} bytes, copied at once in {seconds:.3f} s"
        f" and right; worst gap of the 1 ms ticker {ticker.worst * 1000:.1f} ms"
    )


main()
