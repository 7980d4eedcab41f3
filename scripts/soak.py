"""Everything at once for minutes, and a look after each round whether anything has grown.

`soak.py --minutes 5` runs servers and clients, time-outs, cancels, files, child processes, hand-off to workers,
tasklets that share things and an asyncio loop, all on one thread and the loopback, and checks every answer. The
servers, the workers and the loop stay; the rest works in rounds of some seconds. Between two rounds all is quiet, so
that what is left can be counted: tasklets, operations in flight, timers and open descriptors must be no more than after
the first rounds, also in the workers; what is allocated may be more by `HEAP`, resident memory by `MEMORY`, objects by
`OBJECTS`; and the port must rest. What has grown is named, with what it is made of, and the program ends with status 1.

Counting while all is at work was rejected: bounds would have to leave room for what happens to be open.

`OVERLAPPED_BACKEND` chooses the backend, `OVERLAPPED_SEED` the choices of the first round.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import gc
import hashlib
import os
import random
import re
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import overlapped
import overlapped.asyncio
from overlapped import (
    Channel,
    Event,
    Group,
    Queue,
    Semaphore,
    TaskletExit,
    handoff,
    io,
    sleep,
    socket,
    spawn,
    subprocess,
)

HEAP = 1 << 20
"""Bytes by which what is allocated in the process may grow after the warm-up."""
MEMORY = 24 << 20
"""Bytes by which a process's resident memory may grow then: the port's 16 MiB of buffers are touched bit by bit, and
what allocators keep varies by some."""
OBJECTS = 0.05
"""By this part may the number of the interpreter's memory blocks grow."""
ROUND = 5.0
"""Seconds of a round, where there is time for ten."""
WARM_UP = 3
"""At least so many rounds, and a fifth of the time, go by before anything is compared."""
PATIENCE = 30.0
"""Seconds in which all has to become quiet after a round, and in which each answer has to come."""
WORKERS = 2

LOOPBACK = ("127.0.0.1", 0)


# The servers, which stay.


def echo(connection: socket.socket) -> None:
    """Sends back what comes."""
    with connection, contextlib.suppress(ConnectionError):
        while data := connection.recv(40_000):
            connection.sendall(data)
        with contextlib.suppress(OSError):
            # The peer may have reset it meanwhile.
            connection.shutdown(socket.SHUT_WR)


def serve(listener: socket.socket) -> None:
    with Group() as group:
        while True:
            group.spawn(echo, listener.accept()[0])


def serve_datagrams(sock: socket.socket) -> None:
    while True:
        data, address = sock.recvfrom(2000)
        sock.sendto(data[::-1], address)


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        async for line in reader:
            # Every other one goes through a tasklet.
            writer.write(await overlapped.spawn(line.upper) if line[0] % 2 else line.upper())
            await writer.drain()
    writer.close()


async def serve_lines(address: Queue[tuple[str, int]]) -> None:
    server = await asyncio.start_server(answer, *LOOPBACK)
    address.put(server.sockets[0].getsockname()[:2])
    async with server:
        await server.serve_forever()


def work() -> None:
    """A worker: answers each connection with what came along with it, and echoes."""

    def talk(given: handoff.Given) -> None:
        with given.take() as connection, contextlib.suppress(ConnectionError):
            connection.sendall(given.context)
            while data := connection.recv(10_000):
                connection.sendall(data)

    with Group() as group:
        for given in handoff.Worker():
            group.spawn(talk, given)


# What is done in a round.


class Round:
    """What all parts need: until when they work, and where."""

    def __init__(self, seed: int, seconds: float, places: Places, folder: Path) -> None:
        self.seed, self.places, self.folder = seed, places, folder
        self.until = time.monotonic() + seconds
        self.done: Counter[str] = Counter()

    def run(self) -> None:
        """Runs all parts, some of them several times at once."""
        tasklets = []
        for part, times in PARTS.items():
            for number in range(times):
                rng = random.Random(f"{self.seed} {part.__name__} {number}")
                tasklets.append(spawn(self.repeat, part, rng, number))
        for tasklet in tasklets:
            tasklet.result()

    def repeat(self, part: Part, rng: random.Random, number: int) -> None:
        try:
            while time.monotonic() < self.until:
                with overlapped.timeout(PATIENCE):
                    part(self, rng)
                self.done[part.__name__] += 1
        except BaseException as error:
            error.add_note(f"in {part.__name__}, number {number}; OVERLAPPED_SEED={self.seed}")
            raise


Part = Callable[[Round, random.Random], None]


@dataclass
class Places:
    """Where the servers are."""

    echo: tuple[str, int]
    datagrams: tuple[str, int]
    lines: tuple[str, int]
    workers: handoff.Server


def read_exactly(sock: socket.socket, count: int) -> bytes:
    buffer = bytearray(count)
    view = memoryview(buffer)
    while view:
        got = sock.recv_into(view)
        assert got, f"the connection has ended {len(view)} bytes too early"
        view = view[got:]
    return bytes(buffer)


def streams(this: Round, rng: random.Random) -> None:
    """Messages to the echo server and back, some larger than the kernel's buffers; different ends."""
    with socket.create_connection(this.places.echo) as sock:
        for _ in range(rng.randrange(1, 6)):
            data = rng.randbytes(rng.choice([1, 100, 5000, 60_000, 400_000]))
            sender = spawn(sock.sendall, data)
            assert read_exactly(sock, len(data)) == data
            sender.result()
        match rng.randrange(4):
            case 0:
                sock.shutdown(socket.SHUT_WR)
                assert sock.recv(1) == b""
            case 1:
                sock.sendall(b"never read")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            case 2:
                with sock.makefile("rwb") as file:
                    file.write(b"a line\n")
                    file.flush()
                    assert file.readline() == b"a line\n"


def datagrams(this: Round, rng: random.Random) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect(this.places.datagrams)
        sock.settimeout(0.5)
        for _ in range(5):
            data = rng.randbytes(rng.randrange(1, 1500))
            # The loopback loses a datagram where a buffer is full.
            for _ in range(60):
                sock.send(data)
                with contextlib.suppress(TimeoutError):
                    assert sock.recv(2000) == data[::-1]
                    break
            else:
                raise AssertionError("no answer to 60 datagrams")
            sock.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while sock.recv(2000):
                    pass
            sock.settimeout(0.5)


def send_later(sock: socket.socket, data: bytes, seconds: float) -> None:
    sleep(seconds)
    sock.sendall(data)


def time_outs(this: Round, rng: random.Random) -> None:
    """A receive that has timed out has taken nothing."""
    one, other = socket.socketpair()
    with one, other:
        for number in range(10):
            if rng.random() < 0.5:
                one.settimeout(rng.choice([0.001, 0.003]))
                limit: Any = contextlib.nullcontext()
            else:
                one.settimeout(None)
                limit = overlapped.timeout(rng.choice([0, 0.001, 0.003]))
            late = spawn(send_later, other, b"%4d" % number, rng.choice([0, 0.001, 0.004]))
            try:
                with limit:
                    got = one.recv(4)
            except TimeoutError:
                one.settimeout(None)
                got = one.recv(4)
            assert got == b"%4d" % number
            late.result()


def cancels(this: Round, rng: random.Random) -> None:
    """Tasklets are cancelled wherever they wait; what they waited for is still to be had."""
    one, other = socket.socketpair()
    queue: Queue[int] = Queue(1)
    channel: Channel[int] = Channel()
    semaphore, never = Semaphore(0), Event()
    with one, other, socket.create_server(LOOPBACK) as listener:
        waits: list[Callable[[], object]] = [
            lambda: one.recv(10),
            lambda: one.recv_into(bytearray(10)),
            lambda: one.recvfrom(10),
            listener.accept,
            lambda: sleep(60),
            queue.get,
            channel.receive,
            semaphore.acquire,
            never.wait,
            lambda: overlapped.readable(one),
            lambda: subprocess.run(["sleep", "60"], check=True),
            lambda: socket.create_connection(this.places.echo).recv(1),
        ]
        tasklets = [spawn(rng.choice(waits)) for _ in range(12)]
        sleep(rng.choice([0, 0.001]))
        rng.shuffle(tasklets)
        for tasklet in tasklets:
            tasklet.cancel()
        for tasklet in tasklets:
            assert isinstance(tasklet.exception(), TaskletExit | None), tasklet.exception()
        other.sendall(b"for nobody")
        assert read_exactly(one, 10) == b"for nobody"
        queue.put(1)
        assert queue.get() == 1
        assert channel.balance == 0 and semaphore.value == 0
        with socket.create_connection(listener.getsockname()) as client, listener.accept()[0] as server:
            client.sendall(b"x")
            assert server.recv(1) == b"x"


def files(this: Round, rng: random.Random) -> None:
    """A file that is written and read here and there is what a bytearray says."""
    name = this.folder / f"file-{rng.getrandbits(64):x}"
    model = bytearray()
    with io.open(name, "w+b", rng.choice([0, -1, 100])) as file:
        for _ in range(30):
            at = rng.randrange(len(model) + 1)
            if rng.random() < 0.5:
                data = rng.randbytes(rng.choice([1, 50, 9000]))
                file.seek(at)
                written = file.write(data)
                model[at : at + written] = data[:written]
            else:
                file.seek(at)
                assert file.read(5000) == model[at : at + 5000]
        file.flush()
        os.fsync(file.fileno())
    assert io.open(name, "rb").read() == model
    lines = [f"line {number} \u20ac\n" for number in range(rng.randrange(300))]
    with io.open(name, "w", encoding="utf-8") as text:
        text.writelines(lines)
    with io.open(name, encoding="utf-8") as text:
        assert list(text) == lines
    name.unlink()


def children(this: Round, rng: random.Random) -> None:
    data = rng.randbytes(rng.choice([0, 10, 300_000]))
    match rng.randrange(3):
        case 0:
            assert subprocess.run(["cat"], input=data, capture_output=True, check=True).stdout == data
        case 1:
            assert subprocess.run(["sh", "-c", "exit 3"]).returncode == 3
        case _:
            try:
                subprocess.run(["sleep", "60"], timeout=0.01)
            except subprocess.TimeoutExpired:
                return
            raise AssertionError("a child that sleeps for a minute has ended")


def hand_offs(this: Round, rng: random.Random) -> None:
    context = rng.randbytes(rng.choice([0, 10, 100_000]))
    with socket.create_server(LOOPBACK) as listener:
        client = socket.create_connection(listener.getsockname())
        giving = this.places.workers.give(listener.accept()[0], context)
    with client:
        giving.wait()
        assert read_exactly(client, len(context)) == context
        client.sendall(b"and more")
        assert read_exactly(client, 8) == b"and more"


def coroutines(this: Round, rng: random.Random) -> None:
    """Lines to the server of asyncio's style: from a tasklet, or from a coroutine."""
    lines = [b"%c line %d\n" % (rng.choice(b"abcd"), number) for number in range(rng.randrange(1, 20))]

    async def ask() -> list[bytes]:
        reader, writer = await asyncio.open_connection(*this.places.lines)
        writer.writelines(lines)
        answers = [await reader.readline() for _ in lines]
        writer.close()
        await writer.wait_closed()
        return answers

    if rng.random() < 0.5:
        answers = overlapped.asyncio.result_of(asyncio.wait_for(ask(), PATIENCE))
    else:
        with socket.create_connection(this.places.lines) as sock, sock.makefile("rwb") as file:
            file.writelines(lines)
            file.flush()
            answers = [file.readline() for _ in lines]
    assert answers == [line.upper() for line in lines]


def sharing(this: Round, rng: random.Random) -> None:
    """Queues, channels, groups that fail, and work for the thread pool."""
    queue: Queue[int] = Queue(3)
    channel: Channel[int] = Channel()
    numbers = [rng.randrange(1000) for _ in range(50)]
    passed: list[int] = []

    def put() -> None:
        for number in numbers:
            queue.put(number)

    def move() -> None:
        for _ in numbers:
            channel.send(queue.get())

    def take() -> None:
        passed.extend(channel.receive() for _ in numbers)

    with Group() as group:
        for each in (put, move, take):
            group.spawn(each)
    assert passed == numbers
    try:
        with Group() as group:
            group.spawn(sleep, 60)
            group.spawn(lambda: 1 / 0)
    except BaseException as error:
        assert "ZeroDivisionError" in repr(error), error
    data = rng.randbytes(1000)
    assert overlapped.offload(hashlib.sha256, data).digest() == hashlib.sha256(data).digest()
    assert socket.getaddrinfo("localhost", 80, type=socket.SOCK_STREAM)


PARTS: dict[Part, int] = {
    streams: 6,
    datagrams: 2,
    time_outs: 3,
    cancels: 2,
    files: 2,
    children: 2,
    hand_offs: 2,
    coroutines: 3,
    sharing: 2,
}
"""Each part, and how many of it run at once."""


# What is looked at.


def descriptors(process: int | str = "self") -> list[str]:
    """What a process has open; nothing where the system does not tell."""
    found = []
    with contextlib.suppress(OSError):
        for name in os.listdir(f"/proc/{process}/fd"):
            with contextlib.suppress(OSError):
                found.append(re.sub(r"\d{3,}", "N", os.readlink(f"/proc/{process}/fd/{name}")))
    # The folder that is listed is open meanwhile.
    return sorted(one for one in found if not one.startswith("/proc/"))


def memory(process: int | str = "self") -> int:
    """Resident memory of a process in bytes, 0 where the system does not tell."""
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError):
        return 0


def give_back() -> None:
    """Frees what can be freed, so that what is counted is what is held."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


class _Allocated(ctypes.Structure):
    """``struct mallinfo2``, mallinfo(3)."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keep",
        )
    ]


def heap() -> int:
    """Bytes that are allocated in this process, 0 where its C library does not tell."""
    try:
        ask = ctypes.CDLL(None).mallinfo2
    except (OSError, AttributeError):
        return 0
    ask.restype = _Allocated
    told = ask()
    return int(told.uordblks + told.hblkhd)


def counters() -> dict[str, int]:
    """The numbers of the port's report."""
    told = overlapped.report()
    found = re.search(r"operations: (\d+) begun .*?(\d+) ended", told)
    in_flight, timers, polls = (
        re.search(pattern, told) for pattern in (r"in flight: (\d+)", r"timers: (\d+)", r"polls: (\d+)")
    )
    assert found and in_flight and timers and polls, told
    return {
        "operations begun": int(found[1]),
        "operations not ended": int(found[1]) - int(found[2]),
        "operations in flight": int(in_flight[1]),
        "timers": int(timers[1]),
        "polls": int(polls[1]),
    }


EXACT = ["tasklets", "operations in flight", "operations not ended", "timers", "descriptors", "workers' descriptors"]
ABOUT = {"heap": HEAP, "memory": MEMORY, "workers' memory": WORKERS * MEMORY}
PORTION = {"blocks": OBJECTS}


class Watch:
    """Looks at what there is between two rounds, and compares it with what there was after the warm-up."""

    def __init__(self, workers: handoff.Server) -> None:
        self.workers = workers
        self.most: dict[str, int] = {}
        self.made_of: dict[str, Counter[str]] = {}

    def look(self) -> dict[str, int]:
        processes = [status.process or 0 for status in self.workers.workers()]
        tasklets = [f"{one['name'] or 'a tasklet'}: {one['waits_for']}" for one in overlapped.tasklets()]
        held = {
            "tasklets": Counter(tasklets),
            "descriptors": Counter(descriptors()),
            "workers' descriptors": Counter(one for process in processes for one in descriptors(process)),
        }
        self.now = held
        numbers = {name: parts.total() for name, parts in held.items()}
        numbers |= {
            "heap": heap(),
            "memory": memory(),
            "workers' memory": sum(memory(process) for process in processes),
        }
        return numbers | {"blocks": sys.getallocatedblocks()} | counters()

    def grown(self, numbers: dict[str, int]) -> list[str]:
        """What is more than it may be."""
        told = []
        for name, most in self.most.items():
            room = ABOUT.get(name, 0) + int(PORTION.get(name, 0) * most)
            if numbers[name] > most + room:
                which = self.now.get(name, Counter()) - self.made_of.get(name, Counter())
                told.append(f"{name}: {numbers[name]}, at first {most}, and {room} more are allowed")
                told += [f"    {count} more: {what}" for what, count in which.most_common(10)]
        return told

    def learn(self, numbers: dict[str, int]) -> None:
        """Takes what there is for what may be."""
        for name in (*EXACT, *ABOUT, *PORTION):
            if numbers[name] >= self.most.get(name, 0):
                self.most[name] = numbers[name]
                if name in self.now:
                    self.made_of[name] = self.now[name]

    def quiet(self, *, learning: bool) -> dict[str, int]:
        """Waits until no more is there than may be; what still is more after a while, is."""
        deadline = time.monotonic() + (1 if learning else PATIENCE)
        while True:
            sleep(0.05)
            give_back()
            numbers = self.look()
            if learning and time.monotonic() > deadline:
                self.learn(numbers)
                return numbers
            if not learning and not self.grown(numbers):
                return numbers
            if time.monotonic() > deadline:
                for line in self.grown(numbers):
                    print(line)
                sys.exit("it has grown")

    def rests(self) -> None:
        """Nothing turns while there is nothing to do."""
        before = counters()["polls"]
        sleep(0.2)
        turned = counters()["polls"] - before
        if turned > 50:
            sys.exit(f"the port was polled {turned} times in 0.2 s in which nothing was to be done")


@contextlib.contextmanager
def servers() -> Iterator[Places]:
    """The servers run meanwhile."""
    address: Queue[tuple[str, int]] = Queue()
    with (
        socket.create_server(LOOPBACK, backlog=1024) as listener,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams,
        handoff.Server(WORKERS, [sys.executable, __file__, "--work"]) as workers,
    ):
        datagrams.bind(LOOPBACK)
        running = [
            spawn(serve, listener),
            spawn(serve_datagrams, datagrams),
            spawn(overlapped.asyncio.run, serve_lines(address)),
        ]
        try:
            yield Places(listener.getsockname(), datagrams.getsockname(), address.get(), workers)
        finally:
            for tasklet in running:
                tasklet.cancel()
            for tasklet in running:
                failure = tasklet.exception()
                assert failure is None or isinstance(failure, TaskletExit | asyncio.CancelledError), failure


def soak(seconds: float) -> None:
    print(overlapped.report().partition("\n")[0])
    seed = int(os.environ.get("OVERLAPPED_SEED", random.randrange(1 << 32)))
    length = min(ROUND, seconds / 10)
    began = time.monotonic()
    done: Counter[str] = Counter()
    with servers() as places, tempfile.TemporaryDirectory() as folder:
        watch = Watch(places.workers)
        number = 0
        while (passed := time.monotonic() - began) < seconds or number <= WARM_UP:
            this = Round(seed + number, length, places, Path(folder))
            this.run()
            number += 1
            done += this.done
            learning = number <= WARM_UP or passed < seconds / 5
            numbers = watch.quiet(learning=learning)
            watch.rests()
            shown = {name: numbers[name] for name in (*EXACT, "blocks", "operations begun")}
            sizes = " ".join(f"{name} {numbers[name] / (1 << 20):.1f} MiB," for name in ABOUT)
            print(f"{passed:6.1f} s{' warm-up' * learning}: {sizes}", str(shown)[1:-1].replace("'", ""), flush=True)
    idle = [part.__name__ for part in PARTS if not done[part.__name__]]
    print("done: " + ", ".join(f"{count} {name}" for name, count in sorted(done.items())))
    if idle:
        sys.exit(f"nothing was done of {', '.join(idle)}")
    print(f"nothing has grown in {number} rounds; seed {seed}")


def main() -> None:
    parser = argparse.ArgumentParser(description="Everything at once for minutes; fails where anything has grown.")
    parser.add_argument("--minutes", type=float, default=5.0, help="how long (5)")
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work()
    else:
        soak(options.minutes * 60)


if __name__ == "__main__":
    main()
