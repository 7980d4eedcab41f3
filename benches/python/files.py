"""The file scene: `files.py overlapped|gevent|aiofiles|blocking SOURCE TARGET`.

Copies every file of the folder SOURCE into the folder TARGET in pieces of 64 KiB, all at once, while a ticker sleeps
a millisecond again and again. Prints the seconds, the CPU seconds of the process, the bytes, and the ticker's worst
gap in milliseconds. Plain blocking copies one after the other and lets no ticker run: its gap is the whole time. What
was written is compared with the source, file by file, after the clock has stopped.
"""

import asyncio
import filecmp
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

PIECE = 64 * 1024
TICK = 0.001

Pair = tuple[Path, Path]


class Ticker:
    """The longest time between two ticks; the ticks are the caller's."""

    def __init__(self) -> None:
        self.last = time.perf_counter()
        self.worst = 0.0

    def tick(self) -> None:
        now = time.perf_counter()
        self.worst = max(self.worst, now - self.last)
        self.last = now


def copy(open: Callable, source: Path, target: Path) -> None:
    with open(source, "rb") as reader, open(target, "wb") as writer:
        while piece := reader.read(PIECE):
            writer.write(piece)


def in_sequence(pairs: list[Pair]) -> Ticker:
    ticker = Ticker()
    for source, target in pairs:
        copy(open, source, target)
    ticker.tick()
    return ticker


def at_once(pairs: list[Pair], open: Callable, spawn: Callable, sleep: Callable[[float], object]) -> Ticker:
    ticker = Ticker()
    copying = True

    def tick() -> None:
        while copying:
            ticker.tick()
            sleep(TICK)

    ticking = spawn(tick)
    for copier in [spawn(copy, open, source, target) for source, target in pairs]:
        copier.join()
    ticker.tick()
    copying = False
    ticking.join()
    return ticker


async def awaiting(pairs: list[Pair]) -> Ticker:
    import aiofiles

    async def copy(source: Path, target: Path) -> None:
        async with aiofiles.open(source, "rb") as reader, aiofiles.open(target, "wb") as writer:
            while piece := await reader.read(PIECE):
                await writer.write(piece)

    async def tick() -> None:
        while copying:
            ticker.tick()
            await asyncio.sleep(TICK)

    ticker = Ticker()
    copying = True
    ticking = asyncio.create_task(tick())
    await asyncio.gather(*(copy(source, target) for source, target in pairs))
    ticker.tick()
    copying = False
    await ticking
    return ticker


def scene(contender: str) -> Callable[[list[Pair]], Ticker]:
    match contender:
        case "overlapped":
            import overlapped
            import overlapped.io

            return lambda pairs: at_once(pairs, overlapped.io.open, overlapped.spawn, overlapped.sleep)
        case "gevent":
            import gevent
            from gevent.fileobject import FileObjectThread

            return lambda pairs: at_once(pairs, FileObjectThread, gevent.spawn, gevent.sleep)
        case "aiofiles":
            return lambda pairs: asyncio.run(awaiting(pairs))
        case "blocking":
            return in_sequence
    sys.exit(f"no such contender: {contender}")


def main() -> None:
    contender, source, target = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    run = scene(contender)
    pairs = [(file, target / file.name) for file in sorted(source.iterdir())]
    began, cpu_began = time.perf_counter(), time.process_time()
    ticker = run(pairs)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu_began
    for file, copied in pairs:
        if not filecmp.cmp(file, copied, shallow=False):
            sys.exit(f"{copied} is not what {file} is")
    size = sum(file.stat().st_size for file, _ in pairs)
    print(json.dumps({"seconds": seconds, "cpu": cpu, "bytes": size, "worst_gap_ms": ticker.worst * 1000}))


main()
