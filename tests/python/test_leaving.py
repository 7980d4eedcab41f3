"""Each kind of wait can be left early: by a cancel, an exception thrown in, a time-out. It then leaves no trace."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import overlapped
from conftest import WINDOWS, needs, unix_only
from overlapped import Channel, Event, Queue, Semaphore, TaskletExit, _engine, io, sleep, socket, spawn
from overlapped._engine import Lock, RLock

Wait = Callable[[], Any]
Scene = tuple[Wait, Callable[[], None]]
"""A call that waits without end, and a look afterwards at what it waited on: it must still work."""


@contextlib.contextmanager
def tcp_pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        with client, listener.accept()[0] as server:
            yield client, server


@contextlib.contextmanager
def wait_in_sleep(tmp_path: Path) -> Iterator[Scene]:
    yield lambda: sleep(60), lambda: sleep(0.001)


@contextlib.contextmanager
def wait_in_recv(tmp_path: Path) -> Iterator[Scene]:
    with tcp_pair() as (client, server):

        def check() -> None:
            server.sendall(b"all that is sent after")
            assert client.recv(100) == b"all that is sent after"

        yield lambda: client.recv(100), check


@contextlib.contextmanager
def wait_in_large_recv(tmp_path: Path) -> Iterator[Scene]:
    with tcp_pair() as (client, server):

        def check() -> None:
            server.sendall(b"x" * 50_000)
            server.shutdown(socket.SHUT_WR)
            got = b""
            while piece := client.recv(100_000):
                got += piece
            assert got == b"x" * 50_000

        yield lambda: client.recv(1 << 20), check


@contextlib.contextmanager
def wait_in_recv_into(tmp_path: Path) -> Iterator[Scene]:
    with tcp_pair() as (client, server):
        buffer = bytearray(64)

        def check() -> None:
            assert buffer == bytes(64)
            buffer.clear()  # nothing exports it any more
            server.sendall(b"later")
            assert client.recv(64) == b"later"

        yield lambda: client.recv_into(buffer), check


@contextlib.contextmanager
def wait_in_recv_with_timeout(tmp_path: Path) -> Iterator[Scene]:
    with tcp_pair() as (client, server):
        client.settimeout(60)

        def check() -> None:
            server.sendall(b"later")
            assert client.recv(64) == b"later"

        yield lambda: client.recv(64), check


@contextlib.contextmanager
def wait_in_recvfrom(tmp_path: Path) -> Iterator[Scene]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one, socket.socket(type=socket.SOCK_DGRAM) as other:
        one.bind(("127.0.0.1", 0))

        def check() -> None:
            other.sendto(b"datagram", one.getsockname())
            assert one.recvfrom(100)[0] == b"datagram"

        yield lambda: one.recvfrom(100), check


@contextlib.contextmanager
def wait_in_accept(tmp_path: Path) -> Iterator[Scene]:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def check() -> None:
            with socket.create_connection(listener.getsockname()), listener.accept()[0]:
                pass

        yield listener.accept, check


@contextlib.contextmanager
def wait_in_sendall(tmp_path: Path) -> Iterator[Scene]:
    with tcp_pair() as (client, server):

        def check() -> None:
            client.shutdown(socket.SHUT_WR)
            got = 0
            while piece := server.recv(1 << 20):
                assert piece.count(b"x") == len(piece)
                got += len(piece)
            assert 0 < got < 64 << 20

        yield lambda: client.sendall(b"x" * (64 << 20)), check


@contextlib.contextmanager
def wait_in_makefile_readline(tmp_path: Path) -> Iterator[Scene]:
    with tcp_pair() as (client, server), client.makefile("rb") as file:

        def check() -> None:
            server.sendall(b"the line\n")
            assert file.readline() == b"the line\n"

        yield file.readline, check


@contextlib.contextmanager
def wait_in_channel_receive(tmp_path: Path) -> Iterator[Scene]:
    channel = Channel()

    def check() -> None:
        assert channel.balance == 0
        spawn(channel.send, 1)
        assert channel.receive() == 1

    yield channel.receive, check


@contextlib.contextmanager
def wait_in_channel_send(tmp_path: Path) -> Iterator[Scene]:
    channel = Channel()

    def check() -> None:
        assert channel.balance == 0
        spawn(channel.send, "after")
        assert channel.receive() == "after"

    yield lambda: channel.send("lost"), check


@contextlib.contextmanager
def wait_in_lock(tmp_path: Path) -> Iterator[Scene]:
    lock = Lock()
    lock.acquire()

    def check() -> None:
        lock.release()
        assert lock.acquire(False)

    yield lock.acquire, check


@contextlib.contextmanager
def wait_in_rlock(tmp_path: Path) -> Iterator[Scene]:
    lock, gate = RLock(), Event()

    def hold() -> None:
        with lock:
            gate.wait()

    holder = spawn(hold)
    sleep(0)

    def check() -> None:
        gate.set()
        holder.result()
        assert lock.acquire(False)

    yield lock.acquire, check
    gate.set()


@contextlib.contextmanager
def wait_in_event(tmp_path: Path) -> Iterator[Scene]:
    event = Event()

    def check() -> None:
        event.set()
        assert event.wait()

    yield event.wait, check


@contextlib.contextmanager
def wait_in_semaphore(tmp_path: Path) -> Iterator[Scene]:
    semaphore = Semaphore(0)

    def check() -> None:
        semaphore.release()
        assert semaphore.value == 1

    yield semaphore.acquire, check


@contextlib.contextmanager
def wait_in_queue_get(tmp_path: Path) -> Iterator[Scene]:
    queue: Queue[int] = Queue()

    def check() -> None:
        queue.put(3)
        assert queue.get(False) == 3

    yield queue.get, check


@contextlib.contextmanager
def wait_in_queue_put(tmp_path: Path) -> Iterator[Scene]:
    queue: Queue[int] = Queue(1)
    queue.put(0)

    def check() -> None:
        assert queue.get() == 0
        queue.put(2, False)
        assert queue.get() == 2

    yield lambda: queue.put(1), check


@contextlib.contextmanager
def wait_in_join(tmp_path: Path) -> Iterator[Scene]:
    gate = Event()
    other = spawn(gate.wait)

    def check() -> None:
        gate.set()
        assert other.result()

    yield other.join, check
    gate.set()


@contextlib.contextmanager
def wait_in_pipe_read(tmp_path: Path) -> Iterator[Scene]:
    reading, writing = os.pipe()
    with io.open(reading, "rb") as source, open(writing, "wb", buffering=0) as sink:

        def check() -> None:
            sink.write(b"later")
            assert source.read(5) == b"later"

        yield lambda: source.read(5), check


@contextlib.contextmanager
def wait_in_unbuffered_pipe_read(tmp_path: Path) -> Iterator[Scene]:
    reading, writing = os.pipe()
    with io.open(reading, "rb", buffering=0) as source, open(writing, "wb", buffering=0) as sink:

        def check() -> None:
            sink.write(b"later")
            assert source.read(5) == b"later"

        yield lambda: source.read(5), check


@contextlib.contextmanager
def wait_in_text_pipe_read(tmp_path: Path) -> Iterator[Scene]:
    reading, writing = os.pipe()
    with io.open(reading, encoding="utf-8") as source, open(writing, "wb", buffering=0) as sink:

        def check() -> None:
            sink.write("späte Zeile\n".encode())
            assert source.readline() == "späte Zeile\n"

        yield source.readline, check


@contextlib.contextmanager
def wait_in_pipe_write(tmp_path: Path) -> Iterator[Scene]:
    reading, writing = os.pipe()
    with io.open(writing, "wb", buffering=0) as sink, open(reading, "rb", buffering=0) as source:

        def fill() -> None:
            while True:
                sink.write(bytes(1 << 20))

        def check() -> None:
            if WINDOWS:
                # There a write that is cancelled has brought nothing but what was read of it.
                sink.write(bytes(10))
            assert source.read(10) == bytes(10)

        yield fill, check


@contextlib.contextmanager
def wait_in_fifo_open(tmp_path: Path) -> Iterator[Scene]:
    """An open of a FIFO waits for the other end."""
    path = tmp_path / "fifo"
    os.mkfifo(path)

    def check() -> None:
        writer = spawn(io.open, path, "wb", buffering=0)
        with io.open(path, "rb", buffering=0) as source, writer.result() as sink:
            sink.write(b"through")
            assert source.read(7) == b"through"

    yield lambda: io.open(path, "rb", buffering=0).close(), check


@contextlib.contextmanager
def wait_in_readiness(tmp_path: Path) -> Iterator[Scene]:
    with tcp_pair() as (client, server):

        def check() -> None:
            server.sendall(b"x")
            assert _engine.wait(client.fileno(), 1, 10) & 1

        yield lambda: _engine.wait(client.fileno(), 1), check


@contextlib.contextmanager
def wait_in_offload(tmp_path: Path) -> Iterator[Scene]:
    """What runs on a thread runs on there; whoever waited for it is free at once."""
    begun, gate, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        gate.wait()
        ended.set()

    def check() -> None:
        assert not ended.is_set()
        gate.set()
        # What no thread has begun by then is not run.
        assert not begun.is_set() or overlapped.offload(ended.wait, 60)

    yield lambda: overlapped.offload(work), check


WAITS = [
    wait_in_sleep,
    wait_in_recv,
    wait_in_large_recv,
    wait_in_recv_into,
    wait_in_recv_with_timeout,
    wait_in_recvfrom,
    wait_in_accept,
    wait_in_sendall,
    wait_in_makefile_readline,
    wait_in_channel_receive,
    wait_in_channel_send,
    wait_in_lock,
    wait_in_rlock,
    wait_in_event,
    wait_in_semaphore,
    wait_in_queue_get,
    wait_in_queue_put,
    wait_in_join,
    wait_in_pipe_read,
    wait_in_unbuffered_pipe_read,
    wait_in_text_pipe_read,
    wait_in_pipe_write,
    pytest.param(wait_in_fifo_open, marks=needs("os.mkfifo")),
    wait_in_readiness,
    wait_in_offload,
]


@pytest.fixture(params=WAITS, ids=lambda scene: scene.__name__.removeprefix("wait_in_"))
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Scene]:
    with request.param(tmp_path) as scene:
        yield scene


def begin(wait: Wait) -> overlapped.Tasklet[Any]:
    """A tasklet that is surely waiting."""
    tasklet = spawn(wait)
    sleep(0.01)
    assert tasklet.alive
    return tasklet


def test_cancel(scene: Scene) -> None:
    wait, check = scene
    tasklet = begin(wait)
    tasklet.cancel()
    assert isinstance(tasklet.exception(), TaskletExit)
    check()


def test_throw(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    wait, check = scene
    tasklet = begin(wait)
    thrown = LookupError("thrown in")
    tasklet.throw(thrown)
    assert tasklet.exception() is thrown
    check()
    assert "thrown in" in capsys.readouterr().err


def test_timeout(scene: Scene) -> None:
    wait, check = scene
    started = time.perf_counter()
    with pytest.raises(TimeoutError), overlapped.timeout(0.02) as limit:
        wait()
    assert limit.expired
    assert time.perf_counter() - started < 20
    check()


def test_timeout_caught_and_waited_again(scene: Scene) -> None:
    wait, check = scene

    def work() -> int:
        times = 0
        for _ in range(3):
            with contextlib.suppress(TimeoutError), overlapped.timeout(0.005):
                wait()
            times += 1
        return times

    assert spawn(work).result() == 3
    check()


def test_cancel_before_the_wait_begins(scene: Scene) -> None:
    wait, _ = scene

    def work() -> None:
        overlapped.sleep(0)
        wait()

    tasklet = spawn(work)
    sleep(0)
    tasklet.cancel()
    assert isinstance(tasklet.exception(), TaskletExit)


BETWEEN_TASKLETS = [
    "channel_receive",
    "channel_send",
    "event",
    "join",
    "lock",
    "queue_get",
    "queue_put",
    "rlock",
    "semaphore",
]
"""Scenes that only another tasklet can end. There may be none, and a wait for them a deadlock."""


@unix_only("a program that waits has no alarm")
def test_deadlock_is_not_seen_where_the_system_is_waited_for(scene: Scene, request: pytest.FixtureRequest) -> None:
    """Main waits without end for a tasklet that waits for the scene: an alarm, of which nobody can know, ends that."""
    wait, check = scene
    tasklet = begin(wait)
    left = signal.alarm(0)
    before = signal.signal(signal.SIGALRM, lambda *_: tasklet.cancel())
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        tasklet.join()
    except RuntimeError as error:
        assert "Deadlock" in str(error)
        assert request.node.callspec.id in BETWEEN_TASKLETS, error
        assert tasklet.alive
    finally:
        # Time enough for an alarm that the deadlock has not waited for.
        sleep(0.05)
        signal.signal(signal.SIGALRM, before)
        signal.alarm(left)
    tasklet.cancel()
    tasklet.join()
    check()
