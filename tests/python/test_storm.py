"""Everything at once, in a random order that a seed repeats: cancels, time-outs and closes while data moves.

What must hold: each stream brings a prefix of what was sent, errors are of the kinds that were asked for, and nothing
is left behind (see `nothing_left`).
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import threading
from pathlib import Path

import pytest

import overlapped
from conftest import NO_SOCKET
from overlapped import Channel, Event, Queue, Semaphore, TaskletExit, io, sleep, socket, spawn

PATTERN = bytes(range(251)) * 4000


class Storm:
    """Tasklets that live and die together, and what they saw."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.tasklets: list[overlapped.Tasklet[None]] = []
        self.moved = 0
        self.ended_early = 0

    def start(self, work, *arguments) -> None:
        def contained() -> None:
            try:
                work(*arguments)
            except (TaskletExit, TimeoutError, ConnectionError):
                self.ended_early += 1
            except OSError as error:
                assert error.errno in (*NO_SOCKET, errno.ENOTCONN), error
                self.ended_early += 1

        self.tasklets.append(spawn(contained))

    def some_time(self) -> float:
        return self.random.choice([0, 0, 0.0001, 0.001, 0.003])

    def sender(self, sock: socket.socket) -> None:
        with sock:
            for _ in range(self.random.randrange(1, 30)):
                size = self.random.choice([1, 100, 5000, 20_000, 300_000])
                sock.sendall(PATTERN[:size])
                if self.random.random() < 0.3:
                    sleep(self.some_time())

    def receiver(self, sock: socket.socket) -> None:
        """Each message is a prefix of the pattern: a byte is the next one, or the first of the next message."""
        with sock:
            last = 250
            while True:
                how = self.random.randrange(4)
                if how == 0:
                    data = sock.recv(self.random.choice([1, 100, 16_384, 100_000]))
                elif how == 1:
                    buffer = bytearray(self.random.choice([10, 50_000]))
                    data = bytes(buffer[: sock.recv_into(buffer)])
                elif how == 2:
                    sock.settimeout(self.random.choice([None, 0.002]))
                    data = sock.recv(4096)
                else:
                    try:
                        with overlapped.timeout(self.some_time()):
                            data = sock.recv(3000)
                    except TimeoutError:
                        continue
                if not data:
                    return
                assert data[0] in (0, (last + 1) % 251), (data[:3], last)
                last = data[-1]
                self.moved += len(data)

    def pair(self) -> None:
        one, other = socket.socketpair() if self.random.random() < 0.5 else self.tcp_pair()
        self.start(self.sender, one)
        self.start(self.receiver, other)
        if self.random.random() < 0.2:
            self.start(self.close_later, self.random.choice([one, other]))

    def tcp_pair(self) -> tuple[socket.socket, socket.socket]:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            client = socket.create_connection(listener.getsockname())
            return client, listener.accept()[0]

    def close_later(self, sock: socket.socket) -> None:
        sleep(self.some_time())
        sock.close()

    def disturber(self) -> None:
        """Ends others at random."""
        for _ in range(40):
            sleep(self.some_time())
            tasklet = self.random.choice(self.tasklets)
            if tasklet is not overlapped.current() and tasklet.alive:
                tasklet.throw(self.random.choice([TaskletExit, TimeoutError, ConnectionError]))


@pytest.mark.parametrize("seed", range(6))
def test_connections(seed: int) -> None:
    storm = Storm(seed)
    for _ in range(60):
        storm.pair()
    for _ in range(3):
        storm.start(storm.disturber)
    for tasklet in storm.tasklets:
        tasklet.result()
    assert storm.moved > 100_000
    assert storm.ended_early > 5


@pytest.mark.parametrize("seed", range(4))
def test_channels_queues_and_locks(seed: int) -> None:
    """What was handed over arrives once; what a cancelled tasklet waited for is free for others."""
    rng = random.Random(seed)
    channel: Channel[int] = Channel()
    queue: Queue[int] = Queue(3)
    semaphore, opened = Semaphore(2), Event()
    sent, received, inside = [], [], 0

    def send(number: int) -> None:
        channel.send(number)
        sent.append(number)

    def receive() -> None:
        received.append(channel.receive())

    def put(number: int) -> None:
        queue.put(number)

    def get() -> None:
        queue.get()

    def hold() -> None:
        nonlocal inside
        with semaphore:
            inside += 1
            assert inside <= 2
            try:
                sleep(rng.choice([0, 0.0005]))
            finally:
                inside -= 1

    def wait() -> None:
        with contextlib.suppress(TimeoutError), overlapped.timeout(rng.choice([0, 0.001, 5])):
            opened.wait()

    works = [lambda number: send(number), lambda _: receive(), put, lambda _: get(), lambda _: hold(), lambda _: wait()]
    tasklets = []
    for number in range(1500):
        tasklets.append(spawn(rng.choice(works), number))
        if rng.random() < 0.2:
            sleep(0)
        if rng.random() < 0.3:
            rng.choice(tasklets).cancel()
    opened.set()
    sleep(0.01)
    for tasklet in tasklets:
        tasklet.cancel()
    for tasklet in tasklets:
        tasklet.join()
    assert len(received) == len(set(received))
    assert set(sent) <= set(received)
    assert channel.balance == 0
    assert semaphore.value == 2
    # Each that was taken or put moved both counters of the queue alike.
    while not queue.empty():
        queue.get(False)
    for number in range(3):
        queue.put(number, False)
    assert queue.full()


@pytest.mark.parametrize("seed", range(3))
def test_files_and_pipes(seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)

    def copy(number: int) -> None:
        data = rng.randbytes(rng.randrange(200_000))
        path = tmp_path / str(number)
        with io.open(path, "wb", rng.choice([0, -1])) as file:
            for at in range(0, len(data), 50_000):
                file.write(data[at : at + 50_000])
        with io.open(path, "rb", rng.choice([0, -1, 1000])) as file:
            assert file.read() == data

    def through_a_pipe(number: int) -> None:
        reading, writing = os.pipe()
        data = PATTERN[: rng.randrange(400_000)]

        def write() -> None:
            with io.open(writing, "wb") as sink:
                sink.write(data)

        writer = spawn(write)
        with io.open(reading, "rb") as source:
            assert source.read() == data
        writer.result()

    def left_early(number: int) -> None:
        reading, writing = os.pipe()
        with io.open(reading, "rb") as source, io.open(writing, "wb", 0), overlapped.timeout(rng.choice([0, 0.002])):
            source.read(rng.choice([1, 100_000]))

    works = [copy, through_a_pipe, left_early]
    tasklets = [spawn(rng.choice(works), number) for number in range(150)]
    failures = [type(error) for tasklet in tasklets if (error := tasklet.exception())]
    assert set(failures) <= {TimeoutError}
    assert 0 < len(failures) < 100


def test_threads_with_tasklets_of_their_own() -> None:
    """Several ports at once, which wake one another through one queue, while their tasklets are cancelled."""
    queue: Queue[int] = Queue(5)
    got: list[int] = []
    each = 200

    def produce(base: int) -> None:
        rng = random.Random(base)

        def put(number: int) -> None:
            queue.put(base + number)

        for number in range(each):
            doomed = spawn(sleep, 60)
            spawn(put, number).join()
            if rng.random() < 0.5:
                doomed.cancel()
        # The rest of the doomed end with their thread.

    threads = [threading.Thread(target=produce, args=(number * each,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(4 * each):
        got.append(queue.get(timeout=30))
    for thread in threads:
        thread.join()
    assert sorted(got) == list(range(4 * each))
