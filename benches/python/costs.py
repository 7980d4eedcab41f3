"""The costs of the basic moves, in nanoseconds: `costs.py overlapped|gevent|uvloop|asyncio`.

Prints `spawn_join` (batches of a thousand), `switch` (a yield while one other yields too), `stream` (one producer and
one consumer on one channel) and `ping_pong` (two that answer each other, so that every value needs a switch).
"""

import asyncio
import json
import sys
from collections.abc import Callable

from measured import Laps

SPAWNS = 1000
SWITCHES = 10_000


def blocking(spawn: Callable, switch: Callable[[], object], channel: Callable, send: str, receive: str) -> dict:
    """Of a library with blocking calls; `send` and `receive` are its channel's method names."""

    def nothing() -> int:  # in Python, as a real one is: a builtin would need no frame
        return 0

    def spawn_join() -> Laps:
        laps = Laps(SPAWNS)
        for _ in laps:
            for tasklet in [spawn(nothing) for _ in range(SPAWNS)]:
                tasklet.join()
        return laps

    def switching() -> Laps:
        def switches() -> None:
            for _ in range(SWITCHES // 2):
                switch()

        laps = Laps(SWITCHES)
        for _ in laps:
            other = spawn(switches)
            switches()
            other.join()
        return laps

    def stream() -> Laps:
        def produce() -> None:
            put = getattr(values, send)
            for number in range(SWITCHES):
                put(number)

        laps = Laps(SWITCHES)
        for _ in laps:
            values = channel()
            take = getattr(values, receive)
            spawn(produce)
            assert all(take() == number for number in range(SWITCHES))
        return laps

    def ping_pong() -> Laps:
        def answer() -> None:
            take, put = getattr(ping, receive), getattr(pong, send)
            for _ in range(SWITCHES // 2):
                put(take())

        laps = Laps(SWITCHES)
        for _ in laps:
            ping, pong = channel(), channel()
            spawn(answer)
            put, take = getattr(ping, send), getattr(pong, receive)
            for number in range(SWITCHES // 2):
                put(number)
                assert take() == number
        return laps

    return {"spawn_join": spawn_join(), "switch": switching(), "stream": stream(), "ping_pong": ping_pong()}


async def awaiting() -> dict:
    """Of asyncio; its nearest to a channel is a queue for one item."""

    async def spawn_join() -> Laps:
        async def nothing() -> int:
            return 0

        laps = Laps(SPAWNS)
        for _ in laps:
            for task in [asyncio.create_task(nothing()) for _ in range(SPAWNS)]:
                await task
        return laps

    async def switching() -> Laps:
        async def switches() -> None:
            for _ in range(SWITCHES // 2):
                await asyncio.sleep(0)

        laps = Laps(SWITCHES)
        for _ in laps:
            other = asyncio.create_task(switches())
            await switches()
            await other
        return laps

    async def stream() -> Laps:
        async def produce() -> None:
            for number in range(SWITCHES):
                await values.put(number)

        laps = Laps(SWITCHES)
        for _ in laps:
            values: asyncio.Queue[int] = asyncio.Queue(1)
            producer = asyncio.create_task(produce())
            for number in range(SWITCHES):
                assert await values.get() == number
            await producer
        return laps

    async def ping_pong() -> Laps:
        async def answer() -> None:
            for _ in range(SWITCHES // 2):
                await pong.put(await ping.get())

        laps = Laps(SWITCHES)
        for _ in laps:
            ping: asyncio.Queue[int] = asyncio.Queue(1)
            pong: asyncio.Queue[int] = asyncio.Queue(1)
            other = asyncio.create_task(answer())
            for number in range(SWITCHES // 2):
                await ping.put(number)
                assert await pong.get() == number
            await other
        return laps

    return {
        "spawn_join": await spawn_join(),
        "switch": await switching(),
        "stream": await stream(),
        "ping_pong": await ping_pong(),
    }


def costs(contender: str) -> dict:
    match contender:
        case "overlapped":
            import overlapped

            return blocking(overlapped.spawn, lambda: overlapped.sleep(0), overlapped.Channel, "send", "receive")
        case "gevent":
            import gevent
            from gevent.queue import Channel

            return blocking(gevent.spawn, lambda: gevent.sleep(0), Channel, "put", "get")
        case "uvloop":
            import uvloop

            return uvloop.run(awaiting())
        case "asyncio":
            return asyncio.run(awaiting())
    sys.exit(f"no such contender: {contender}")


print(json.dumps({name: laps.nanoseconds for name, laps in costs(sys.argv[1]).items()}))
