"""A finalizer may wait wherever it runs: when the last handle of a tasklet goes, and where the collector finds it."""

from __future__ import annotations

import gc
import os
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import overlapped
from overlapped import io


class Waits:
    """Its finalizer waits, with `how`, and leaves a mark when it has."""

    def __init__(self, how: Callable[[], object], done: list[str]) -> None:
        self.how, self.done = how, done

    def __del__(self) -> None:
        self.how()
        self.done.append("finalized")


WAYS = {
    "sleep(0)": lambda: [overlapped.sleep(0) for _ in range(3)],
    "sleep": lambda: overlapped.sleep(0.001),
    "spawn and join": lambda: overlapped.spawn(overlapped.sleep, 0).join(),
}


@pytest.fixture(params=WAYS.values(), ids=WAYS)
def how(request: pytest.FixtureRequest) -> Callable[[], object]:
    """A way to wait."""
    return request.param  # type: ignore[no-any-return]


def turns(count: int = 20) -> None:
    for _ in range(count):
        overlapped.sleep(0)


def test_what_a_tasklet_returns_when_nobody_keeps_the_tasklet(how: Callable[[], object]) -> None:
    done: list[str] = []
    overlapped.spawn(Waits, how, done)
    others = [overlapped.spawn(turns, 5) for _ in range(3)]
    overlapped.run()
    assert done == ["finalized"]
    assert not any(other.alive for other in others)


def test_what_a_tasklet_raises_when_nobody_keeps_the_tasklet(
    how: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    monkeypatch.setattr("sys.excepthook", lambda *_: None)

    def fail() -> None:
        raise LookupError(Waits(how, done))

    overlapped.spawn(fail)
    overlapped.run()
    gc.collect()
    assert done == ["finalized"]


def test_what_a_tasklet_has_in_its_dictionary(how: Callable[[], object]) -> None:
    done: list[str] = []

    def work() -> None:
        overlapped.current().mine = Waits(how, done)  # type: ignore[attr-defined]

    overlapped.spawn(work)
    overlapped.run()
    assert done == ["finalized"]


def test_a_callback_of_a_weak_reference_to_a_tasklet(how: Callable[[], object]) -> None:
    done: list[str] = []

    def gone(_: object) -> None:
        how()
        done.append("gone")

    weak = weakref.ref(overlapped.spawn(overlapped.sleep, 0), gone)
    overlapped.run()
    assert weak() is None
    assert done == ["gone"]


def test_a_tasklet_is_somebody_while_its_own_object_is_dropped() -> None:
    """The finalizer may ask who runs, join others, and be cancelled."""
    seen: list[Any] = []

    class Asks:
        def __del__(self) -> None:
            me = overlapped.current()
            seen.append((me.alive, me is overlapped.current()))
            me.kept = Asks2()  # type: ignore[attr-defined]

    class Asks2:
        def __del__(self) -> None:
            overlapped.sleep(0)
            seen.append(overlapped.current().alive)

    overlapped.spawn(Asks)
    overlapped.run()
    assert seen == [(True, True), True]


def test_buffers_are_flushed_where_a_tasklet_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where that takes several writes, each of which waits."""
    path = tmp_path / "file"
    monkeypatch.setattr("sys.excepthook", lambda *_: None)

    def work() -> None:
        file = io.open(path, "w")
        file.write("x" * 5000)
        file.write("y" * 5000)
        raise ValueError("on purpose")

    overlapped.spawn(work)
    overlapped.run()
    gc.collect()
    assert os.path.getsize(path) == 10_000


class Cycle:
    """As `Waits`, and only the collector finds it."""

    def __init__(self, how: Callable[[], object], done: list[str]) -> None:
        self.me, self.how, self.done = self, how, done

    def __del__(self) -> None:
        self.how()
        self.done.append("finalized")


@pytest.fixture
def collector() -> Iterator[Callable[[int], None]]:
    """Has the collector run after so many more allocations."""
    before = gc.get_threshold()
    gc.disable()
    gc.collect()

    def collect_after(allocations: int) -> None:
        gc.set_threshold(gc.get_count()[0] + allocations)
        gc.enable()

    yield collect_after
    gc.set_threshold(*before)
    gc.enable()


@pytest.mark.parametrize("used_before", [False, True], ids=["fresh workers", "idle workers"])
def test_the_collector_comes_while_a_tasklet_is_started(
    collector: Callable[[int], None], how: Callable[[], object], used_before: bool
) -> None:
    for allocations in range(1, 25):
        ran: list[int] = []
        done: list[str] = []
        if used_before:
            for _ in range(3):
                overlapped.spawn(turns, 1)
            overlapped.run()
        Cycle(how, done)
        collector(allocations)
        overlapped.spawn(ran.append, 1)
        overlapped.sleep(0)
        overlapped.spawn(ran.append, 2)
        turns()
        gc.disable()
        overlapped.spawn(ran.append, 3)
        overlapped.run()
        gc.collect()
        assert (ran, done) == ([1, 2, 3], ["finalized"]), allocations


@pytest.mark.parametrize("allocations", range(1, 20, 2))
def test_the_collector_comes_while_a_thread_gets_its_port(run_python: Any, allocations: int) -> None:
    done = run_python(
        """
import gc, sys, overlapped

class Cycle:
    def __init__(self): self.me = self
    def __del__(self):
        overlapped.sleep(0)
        print("finalized")

gc.disable()
gc.collect()
Cycle()
gc.set_threshold(gc.get_count()[0] + int(sys.argv[1]))
gc.enable()
overlapped.spawn(print, "ran")
overlapped.run()
gc.collect()
""",
        str(allocations),
    )
    assert (sorted(done.stdout.splitlines()), done.stderr) == (["finalized", "ran"], "")


def test_the_collector_comes_when_it_likes() -> None:
    """Nothing tuned, and each of many tasklets leaves something that waits."""
    ran: list[int] = []
    done: list[str] = []

    def work(number: int) -> None:
        Cycle(WAYS["sleep(0)"], done)
        ran.append(number)

    for number in range(5000):
        overlapped.spawn(work, number)
        if number % 50 == 0:
            overlapped.sleep(0)
    overlapped.run()
    gc.collect()
    assert (sorted(ran), len(done)) == (list(range(5000)), 5000)


def test_threads_are_started_while_finalizers_write(patched: Callable[..., str], tmp_path: Path) -> None:
    """A forgotten session writes a line to a log; the collector comes anywhere in the start of a thread."""
    patched(
        """
        import gc, sys, threading

        class Session:
            def __init__(self, log): self.me, self.log = self, log
            def __del__(self): self.log.write("session ended\\n")

        with open(sys.argv[1], "w", buffering=1) as log:
            for allocations in range(1, 80, 3):
                done, gate = [], threading.Event()
                def work(number): gate.wait(); done.append(number)
                gc.disable()
                gc.collect()
                Session(log)
                gc.set_threshold(gc.get_count()[0] + allocations)
                gc.enable()
                threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
                for thread in threads: thread.start()
                gc.disable()
                gate.set()
                for thread in threads: thread.join(10)
                assert sorted(done) == [0, 1, 2], (allocations, done)
            gc.collect()
        assert open(sys.argv[1]).read() == "session ended\\n" * 27
        """,
        str(tmp_path / "log"),
    )


def test_clients_say_goodbye_in_their_finalizers(patched: Callable[..., str]) -> None:
    """Some in reference cycles, while threads are started all the time."""
    patched(
        """
        import random, socket, threading
        random.seed(1)
        listener = socket.create_server(("127.0.0.1", 0), backlog=500)

        def serve():
            while True:
                connection, _ = listener.accept()
                def talk(connection=connection):
                    with connection:
                        while connection.recv(100): pass
                threading.Thread(target=talk, daemon=True).start()

        threading.Thread(target=serve, daemon=True).start()

        class Client:
            def __init__(self):
                self.socket = socket.create_connection(listener.getsockname())
                self.callback = self.work
            def work(self): self.socket.sendall(b"hello")
            def __del__(self):
                garbage = {key: [key] for key in range(random.randrange(4))}
                self.socket.sendall(b"QUIT")
                self.socket.close()

        for _ in range(600):
            Client().work()
            junk = [[] for _ in range(random.randrange(60))]
            threading.Thread(target=junk.clear, daemon=True).start()
        """
    )
