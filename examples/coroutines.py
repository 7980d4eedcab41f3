"""Tasklets and coroutines on one thread: each waits for the other, and cancelling crosses between them.

python examples/coroutines.py
"""

import asyncio
import time

import overlapped
import overlapped.asyncio
from overlapped import socket


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server in asyncio's style; for what takes time it awaits a tasklet, which may block."""
    async for line in reader:
        writer.write(await overlapped.spawn(shout, line))
        await writer.drain()
    writer.close()
    await writer.wait_closed()


def shout(line: bytes) -> bytes:
    overlapped.sleep(0.01)
    return line.upper()


def ask(address: tuple[str, int], number: int) -> str:
    """A client in the blocking style, in a tasklet."""
    with socket.create_connection(address) as connection, connection.makefile("rw") as lines:
        lines.write(f"number {number}\n")
        lines.flush()
        return lines.readline().strip()


async def serve_and_ask() -> None:
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        address = server.sockets[0].getsockname()[:2]
        answers = await asyncio.gather(*(overlapped.spawn(ask, address, number) for number in range(50)))
    assert answers == [f"NUMBER {number}" for number in range(50)]
    print(answers[0], "...", answers[-1])

    # A time limit of asyncio's ends the tasklet that is awaited.
    patient = overlapped.spawn(overlapped.sleep, 100)
    try:
        await asyncio.wait_for(patient, 0.01)
    except TimeoutError:
        print("wait_for: the tasklet", "is alive" if patient.alive else "has left")


def main() -> None:
    begun = time.perf_counter()
    # Only this tasklet waits for the loop.
    overlapped.asyncio.run(serve_and_ask())

    # And where no loop runs, a tasklet just waits for what is written for asyncio.
    for words in [overlapped.spawn(overlapped.asyncio.result_of, asyncio.sleep(0.01, word)) for word in "abc"]:
        print("result_of:", words.result())
    seconds = time.perf_counter() - begun
    print(f"coroutines: 50 tasklets asked a server of coroutines, answered right in {seconds:.2f} s")


main()
