"""One worker as its supervisor has it, in :mod:`overlapped.prefork`: the process, its end, and what it is to get."""

from __future__ import annotations

import contextlib

from . import _engine, subprocess
from ._delay import Delay
from ._prefork_channel import ALIVE, Channel
from ._queue import Queue, ShutDown
from ._worker_process import told


class Member:
    """One worker as its supervisor has it: the process, the channel, and the tasklets that see to them."""

    def __init__(self, number: int, place: int, generation: int, process: subprocess.Popen[bytes], channel: Channel):
        self.number, self.place, self.generation, self.process, self.channel = (
            number,
            place,
            generation,
            process,
            channel,
        )
        self.ready, self.superseded, self.exited, self.ended = (_engine.Event() for _ in range(4))
        self.retires, self.is_alive = _engine.Event(), _engine.Event()
        """It asks for another one in its place; it has answered that it is alive."""
        self.ready_since: float | None = None
        self.draining = False
        self.how = ""
        self.why: str | None = None
        """Why the supervisor has ended it, where that is to be told."""
        self.outbox: Queue[tuple[int, bytes, int | None]] = Queue()
        self.watcher = _engine.spawn(self._watch)

    def _watch(self) -> None:
        """Waits for the process's end, which may come though its end of the channel is open elsewhere."""
        try:
            self.process.wait()
            self.how = told(self.process.returncode)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                with _engine.uncancellable():
                    self.process.wait()
                self.how = "ended by the supervisor"
            self.channel.cut()
            self.exited.set()

    def kill(self) -> None:
        self.watcher.cancel()
        if not self.watcher.alive and self.process.poll() is None:
            # It never began.
            self.process.kill()
            self.process.wait()
            self.channel.cut()
            self.exited.set()

    def end(self, why: str) -> None:
        """End its process, and say why."""
        self.why = why
        self.kill()

    def send(self, kind: int, body: bytes = b"", descriptor: int | None = None) -> None:
        # One that has ended gets nothing: what it had is taken back then.
        with contextlib.suppress(ShutDown):
            self.outbox.put((kind, body, descriptor))

    def await_ready(self, limit: float) -> None:
        """Waits until it is ready; else it is no more."""
        try:
            which, _ = _engine.first_of([self.ready, self.ended, max(0.0, limit)])
            if which == 0:
                return
        except BaseException:
            self.kill()
            raise
        if which == 1:
            raise ChildProcessError(f"a worker ended before it was ready: {self.how}")
        self.kill()
        self.ended.wait()
        raise TimeoutError(f"a worker was not ready after {limit} s: ended now")

    def ask_whether_it_lives(self, limit: float) -> None:
        """End it where it does not answer within ``limit``; ask again half of that after each answer."""
        half = limit / 2
        while True:
            self.is_alive.clear()
            self.send(ALIVE)
            # In halves: where this process itself was kept from running, its answer is read in the second.
            for _ in range(2):
                which, _ = _engine.first_of([self.is_alive, self.exited, half])
                if which != 2:
                    break
            if which == 2:
                return self.end(f"it did not answer for {limit} s")
            if which == 1 or _engine.first_of([self.exited, half])[0] == 0:
                return None


class Place:
    """A worker's place, which stays when the process in it is replaced."""

    def __init__(self, number: int, member: Member) -> None:
        self.number, self.member = number, member
        self.turn = _engine.Lock()
        """Held while the process is replaced."""
        self.ended = 0
        self.last_end: str | None = None
        self.delay = Delay()
        self.keeper: _engine.Tasklet[None] | None = None

    def put(self, member: Member) -> Member:
        """Put a worker in it; return the one before."""
        before, self.member = self.member, member
        before.superseded.set()
        return before

    def give_up(self) -> None:
        """Nobody fills it any more."""
        if self.keeper is not None:
            self.keeper.cancel()
