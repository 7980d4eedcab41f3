"""What an asyncio loop costs, in nanoseconds: `loop.py overlapped.asyncio|uvloop|zuvloop|asyncio`.

Prints `call_soon` (asked for and made, in batches of a thousand), `threadsafe` (the same by `call_soon_threadsafe`),
`timer_cancelled` (set among a thousand others and taken back, as a time limit is), `timer_due` (set and called, in
processor time),
`sleep` (a task that lets others run), `getaddrinfo` (of an address in numbers), `child` (a process that ends at once,
waited for), `child_output` (the same of one whose output is read to its end), `child_pipes` (a message of 64 bytes to a
process and back), `pipe` (the same to a pipe and back through another), `datagram` (the same by UDP) and, of ours,
`tasklet_ready` and `tasklet_ended` (a coroutine awaits a tasklet that it has started, and one that has run).
"""

import asyncio
import json
import os
import socket
import sys
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

from measured import Laps

CALLS = 1000
FEW = 100


def nothing() -> None:
    pass


async def calls(ask: Callable[[Callable[[], None]], object]) -> Laps:
    laps = Laps(CALLS)
    for _ in laps:
        for _ in range(CALLS):
            ask(nothing)
        await asyncio.sleep(0)
    return laps


async def call_soon(loop: asyncio.AbstractEventLoop) -> Laps:
    return await calls(loop.call_soon)


async def threadsafe(loop: asyncio.AbstractEventLoop) -> Laps:
    return await calls(loop.call_soon_threadsafe)


async def timer_cancelled(loop: asyncio.AbstractEventLoop) -> Laps:
    others = [loop.call_later(1000 + number, nothing) for number in range(CALLS)]
    laps = Laps(CALLS)
    for _ in laps:
        for _ in range(CALLS // FEW):
            for timer in [loop.call_later(60, nothing) for _ in range(FEW)]:
                timer.cancel()
            await asyncio.sleep(0)
    for timer in others:
        timer.cancel()
    return laps


async def timer_due(loop: asyncio.AbstractEventLoop) -> Laps:
    # Less than a millisecond is none to uvloop, which then sets no timer. What is waited for it is no cost.
    laps = Laps(CALLS, time.process_time)
    for _ in laps:
        called = loop.create_future()
        for _ in range(CALLS - 1):
            loop.call_later(0.001, nothing)
        loop.call_later(0.002, called.set_result, None)
        await called
    return laps


async def sleep(_loop: asyncio.AbstractEventLoop) -> Laps:
    laps = Laps(CALLS)
    for _ in laps:
        for _ in range(CALLS):
            await asyncio.sleep(0)
    return laps


async def getaddrinfo(loop: asyncio.AbstractEventLoop) -> Laps:
    laps = Laps(FEW)
    for _ in laps:
        for _ in range(FEW):
            await loop.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)
    return laps


async def child(_loop: asyncio.AbstractEventLoop) -> Laps:
    laps = Laps(4)
    for _ in laps:
        for _ in range(4):
            process = await asyncio.create_subprocess_exec("/bin/true")
            await process.wait()
    return laps


async def child_output(_loop: asyncio.AbstractEventLoop) -> Laps:
    laps = Laps(4)
    for _ in laps:
        for _ in range(4):
            process = await asyncio.create_subprocess_exec("/bin/echo", "some words", stdout=asyncio.subprocess.PIPE)
            assert await process.communicate() == (b"some words\n", None)
    return laps


async def child_pipes(_loop: asyncio.AbstractEventLoop) -> Laps:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec("/bin/cat", stdin=pipe, stdout=pipe)
    assert process.stdin and process.stdout
    laps = Laps(FEW)
    for _ in laps:
        for _ in range(FEW):
            process.stdin.write(bytes(64))
            await process.stdout.readexactly(64)
    process.stdin.close()
    await process.wait()
    return laps


class Answers(asyncio.Protocol, asyncio.DatagramProtocol):
    """Notes that something has come: `come` is the next one's."""

    come: asyncio.Future[None]

    def data_received(self, data: bytes) -> None:
        self.come.set_result(None)

    def datagram_received(self, data: bytes, addr: object) -> None:
        self.come.set_result(None)


class Echoes(asyncio.Protocol, asyncio.DatagramProtocol):
    """Sends what comes back."""

    transport: Any

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)

    def datagram_received(self, data: bytes, addr: object) -> None:
        self.transport.sendto(data, addr)


async def asking(loop: asyncio.AbstractEventLoop, answers: Answers, ask: Callable[[bytes], None]) -> Laps:
    message = bytes(64)
    laps = Laps(FEW)
    for _ in laps:
        for _ in range(FEW):
            answers.come = loop.create_future()
            ask(message)
            await answers.come
    return laps


async def pipe(loop: asyncio.AbstractEventLoop) -> Laps:
    ends = [os.pipe(), os.pipe()]
    there, back = [(os.fdopen(reader, "rb", 0), os.fdopen(writer, "wb", 0)) for reader, writer in ends]
    _, echoes = await loop.connect_read_pipe(Echoes, there[0])
    echoes.transport, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, back[1])
    _, answers = await loop.connect_read_pipe(Answers, back[0])
    ours, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, there[1])
    return await asking(loop, answers, ours.write)


async def datagram(loop: asyncio.AbstractEventLoop) -> Laps:
    server, _ = await loop.create_datagram_endpoint(Echoes, local_addr=("127.0.0.1", 0))
    address = server.get_extra_info("sockname")
    ours, answers = await loop.create_datagram_endpoint(Answers, remote_addr=address)
    return await asking(loop, answers, ours.sendto)


async def tasklet_ready(_loop: asyncio.AbstractEventLoop) -> Laps:
    import overlapped

    laps = Laps(CALLS)
    for _ in laps:
        for _ in range(CALLS):
            await overlapped.spawn(nothing)
    return laps


async def tasklet_ended(_loop: asyncio.AbstractEventLoop) -> Laps:
    import overlapped

    tasklet = overlapped.spawn(nothing)
    tasklet.join()
    laps = Laps(CALLS)
    for _ in laps:
        for _ in range(CALLS):
            await tasklet
    return laps


COSTS = (
    call_soon,
    threadsafe,
    timer_cancelled,
    timer_due,
    sleep,
    getaddrinfo,
    child,
    child_output,
    child_pipes,
    pipe,
    datagram,
)
OF_OURS = (tasklet_ready, tasklet_ended)


async def costs(chosen: list[str], ours: bool) -> dict[str, float]:
    loop = asyncio.get_running_loop()
    found = {}
    for cost in (*COSTS, *(OF_OURS if ours else ())):
        if not chosen or cost.__name__ in chosen:
            found[cost.__name__] = (await cost(loop)).nanoseconds
    return found


if __name__ == "__main__":
    contender, *chosen = sys.argv[1:]
    print(json.dumps(import_module(contender).run(costs(chosen, contender == "overlapped.asyncio"))), flush=True)
    os._exit(0)
