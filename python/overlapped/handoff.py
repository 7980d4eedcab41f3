"""Open sockets given to worker processes, confirmed: a worker that dies loses none that it had not taken over.

A :class:`Server` starts workers, programs of the caller's choice, and gives them sockets (streams, listeners, datagram
sockets), each with some bytes of *context*: what was read from it already, most often::

    workers = handoff.Server(4, [sys.executable, "worker.py"])
    while True:
        connection, _ = listener.accept()
        workers.give(connection, connection.recv(1024))

and in ``worker.py``::

    for given in handoff.Worker():
        overlapped.spawn(serve, given.take(), given.context)

The protocol is that of the Rust crate's ``overlapped::handoff``, whose documentation has it byte by byte and says what
was rejected: a server in one language and workers in the other work together.

**Confirmed.** The server keeps its own descriptor of a socket, and the context, in a journal until the worker has said
that it takes it over (:meth:`Given.take`). Where a worker dies before, or does not want it, both go to the next one,
and after some attempts back to whoever gave it (:meth:`Giving.wait`). The worker says so before it touches the socket,
and the server reads all that a dead worker has said: no client is served twice.

**Back-pressure.** A worker holds so many unconfirmed sockets at most; where all do, :meth:`Server.give` waits. A worker
that ends is started again, after a growing delay where it had taken nothing over.
"""

from __future__ import annotations

import contextlib
import socket as _std_socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from . import _channel, _engine, socket, subprocess
from ._channel import BACK as _BACK
from ._channel import END as _END
from ._channel import GIVE as _GIVE
from ._channel import HELLO as _HELLO
from ._channel import NUMBER as _NUMBER
from ._channel import REFUSED as _REFUSED
from ._channel import TAKEN as _TAKEN
from ._channel import VERSION as _VERSION
from ._channel import WELCOME as _WELCOME
from ._channel import Channel as _Channel
from ._channel_errors import ProtocolError
from ._delay import Delay
from ._journal import Choice, Journal, NotYours
from ._timeout import timeout
from ._worker_process import running as _running
from ._worker_process import told as _told

__all__ = [
    "CONTEXT_LIMIT",
    "VARIABLE",
    "Choice",
    "Given",
    "Giving",
    "NotTaken",
    "ProtocolError",
    "Server",
    "Worker",
    "WorkerStatus",
]

CONTEXT_LIMIT = _channel.CONTEXT_LIMIT
"""The most bytes of context that can go with a socket."""

VARIABLE = _channel.VARIABLE
"""The variable of a worker's environment that says which of its descriptors is the channel."""

_TIME_FOR_HELLO = 60.0


class Worker:
    """The channel of a process that a server has started, in Python or in Rust; iterate over what comes through it.

    Made once in a process: the channel is its standard input, which is `os.devnull` after that.

    Raises:
        RuntimeError: this process was not started as a worker, or has made one before.
        ConnectionError: the server refuses this version of the protocol, or is gone.
    """

    def __init__(self) -> None:
        self._channel = _Channel.inherited()
        self._over = False
        """Whether the server has said that nothing more comes."""
        self._channel.hello()
        match self._channel.receive():
            case None:
                raise ConnectionAbortedError("the server was gone before it said welcome")
            case (kind, body, _) if kind == _REFUSED:
                raise ConnectionRefusedError(f"the server refuses this worker: {body.decode()}")
            case (kind, body, _) if (kind, body) != (_WELCOME, _VERSION.to_bytes(2, "big")):
                raise ProtocolError(f"the first message is of kind {kind}, and no welcome")

    def next(self) -> Given | None:
        """Wait for the next socket; None once the server gives no more: finish what is begun, and end.

        Raises:
            ProtocolError: the server breaks the rules.
            OSError: a socket was lost on its way, most likely for this process had no descriptor left for it, and went
                back: the next call goes on.
        """
        message = None if self._over else self._channel.receive()
        if message is None:
            return None
        kind, body, descriptor = message
        if kind == _END:
            self._over = True
            return None
        if kind != _GIVE:
            raise ProtocolError(f"a message of kind {kind} came from the server")
        number = body[: _NUMBER.size]
        if descriptor is None:
            self._channel.send(_BACK, number)
            raise OSError(
                "a socket came and was lost, most likely for this process has no descriptor left: it goes back"
            )
        return Given(self._channel, number, descriptor, body[_NUMBER.size :])

    def __iter__(self) -> Iterator[Given]:
        # A generator would keep each one until the next comes.
        return iter(self.next, None)


class Given:
    """A socket that a server gave, until it is taken over. One that is forgotten goes back, and to another worker."""

    context: bytes
    """What the server sent along: bytes that it had read already, most often."""

    def __init__(self, channel: _Channel, number: bytes, descriptor: int, context: bytes) -> None:
        self._channel, self._number, self._descriptor = channel, number, descriptor
        self.context = context

    def take(self) -> socket.socket:
        """Take the socket over, in the family and type that it has: the server is told, and forgets its copy.

        Raises:
            OSError: the server cannot be told, gives it to another, and this one must not touch it: it is closed here.
            ValueError: it was taken over, or given back, before.
        """
        descriptor = self._leave()
        try:
            self._channel.send(_TAKEN, self._number)
        except BaseException:
            _std_socket.close(descriptor)
            raise
        return socket.socket(fileno=descriptor)

    def refuse(self) -> None:
        """Give it back, for another worker."""
        _std_socket.close(self._leave())
        self._channel.send(_BACK, self._number)

    def _leave(self) -> int:
        if self._descriptor < 0:
            raise ValueError("it was taken over or given back before")
        descriptor, self._descriptor = self._descriptor, -1
        return descriptor

    def __del__(self) -> None:
        if self._descriptor >= 0:
            # Where the server cannot be told, it is gone, or finds it out at the end of the channel.
            with contextlib.suppress(OSError):
                self.refuse()


class NotTaken(OSError):
    """No worker has taken a socket over; it is here, with its context."""

    def __init__(self, why: str, socket: socket.socket, context: bytes) -> None:
        super().__init__(f"a socket was not handed over: {why}")
        self.socket = socket
        self.context = context


class _Gift:
    """What is in the journal: the server's copy of a socket."""

    def __init__(self, given: socket.socket, context: bytes) -> None:
        self.socket, self.context = given, context
        self.known = _engine.Event()
        self.process: int | None = None
        self.why = ""
        self.awaited = True
        """Whether somebody may ask what has become of it, and """
        self.fetched = False
        """has, and so has the socket that came back."""


class Giving:
    """A socket on its way: see :meth:`Server.give`. Forgotten, it goes on; what comes back is closed then."""

    def __init__(self, gift: _Gift) -> None:
        self._gift = gift

    @property
    def known(self) -> bool:
        """Whether it is known what has become of it, so that :meth:`wait` does not wait."""
        return self._gift.known.is_set()

    def wait(self, timeout: float | None = None) -> int:
        """Wait until a worker has taken the socket over, at most ``timeout`` seconds; return its process's number.

        Raises:
            NotTaken: as many as may be asked did not, or the server has stopped. It has the socket and its bytes.
            TimeoutError: it is on its way still.
        """
        if not self._gift.known.wait(timeout):
            raise TimeoutError(f"it is not known after {timeout} s who takes the socket over")
        if self._gift.process is None:
            self._gift.fetched = True
            raise NotTaken(self._gift.why, self._gift.socket, self._gift.context)
        return self._gift.process

    def __del__(self) -> None:
        self._gift.awaited = False
        if self.known and self._gift.process is None and not self._gift.fetched:
            self._gift.socket.close()


@dataclass
class WorkerStatus:
    """What a worker is doing."""

    process: int | None
    """None between the end of one and the start of the next."""
    unconfirmed: int = 0
    """How many sockets it has that it has not taken over yet."""
    taken: int = 0
    """How many have been taken over in this place."""
    ended: int = 0
    """How many processes have ended in this place."""
    last_end: str | None = None
    """How the last of those ended."""


@dataclass
class _Place:
    process: subprocess.Popen[bytes]
    channel: _Channel
    assigned: _engine.Event = field(default_factory=_engine.Event)
    ended: int = 0
    last_end: str | None = None


class Server:
    """``workers`` processes, and the sockets that are on their way to them.

    ``command`` is what each is started with, as :class:`subprocess.Popen` takes it, or a function of its place, from 0
    on, that returns that; ``options`` are ``Popen``'s. Their standard input is the channel. ``choice`` says who gets a
    socket: the one with fewest that it has not taken over yet, or one after the other. ``limit`` is how many a worker
    may have of those, ``attempts`` to how many workers one socket is given before it comes back.

    Raises:
        OSError: a worker cannot be started: then none runs.
        ValueError: a number is below 1.
    """

    def __init__(
        self,
        workers: int,
        command: Sequence[str] | Callable[[int], Sequence[str]],
        *,
        choice: Choice = "least busy",
        limit: int = 64,
        attempts: int = 8,
        **options: Any,
    ) -> None:
        if min(workers, limit, attempts) < 1:
            raise ValueError("hand-off: at least one worker, with one socket, at one attempt")
        self._command, self._options = command, options
        self._journal: Journal[_Gift] = Journal(workers, choice, limit, attempts)
        self._room = _engine.Semaphore(workers * limit)
        self._for_room = 0
        self._stopping = False
        self._confirmed_all, self._done = _engine.Event(), _engine.Event()
        self._places: list[_Place] = []
        try:
            for place in range(workers):
                self._places.append(_Place(*self._start(place)))
        except BaseException:
            for started in self._places:
                started.process.kill()
                started.process.wait()
                started.channel.close()
            raise
        self._keepers = [_engine.spawn(self._keep, place) for place in range(workers)]

    def give(self, given: socket.socket, context: bytes = b"", *, key: int | None = None) -> Giving:
        """Give a socket to a worker, with bytes that go along: wait until there is room for one more.

        The socket is the server's from then on, as after ``detach``. With a ``key``, equal ones go to the same worker,
        also while that is replaced. What becomes of it, :meth:`Giving.wait` tells.

        Raises:
            ValueError: the context is longer than :data:`CONTEXT_LIMIT`.
            BrokenPipeError: the server is stopping. In both cases the socket is still the caller's.
        """
        if len(context) > CONTEXT_LIMIT:
            raise ValueError(f"{len(context)} bytes of context, where {CONTEXT_LIMIT} are allowed")
        self._for_room += 1
        try:
            if not self._stopping:
                self._room.acquire()
        finally:
            self._for_room -= 1
        if self._stopping:
            raise BrokenPipeError("the server is stopping")
        try:
            gift = _Gift(socket.socket(fileno=given.detach()), bytes(context))
        except BaseException:
            self._room.release()
            raise
        self._journal.add(gift, key)
        self._assign()
        return Giving(gift)

    def workers(self) -> list[WorkerStatus]:
        """The workers, by place."""
        return [
            WorkerStatus(_running(place.process), counts.unconfirmed, counts.taken, place.ended, place.last_end)
            for place, counts in zip(self._places, self._journal.places, strict=True)
        ]

    def stop(self, limit: float) -> None:
        """End in order: take no more, wait until what was given is taken over, tell the workers that nothing more
        comes, and wait until they have ended; after ``limit`` seconds end them, and what was not taken over comes back.

        Raises:
            TimeoutError: it came to that.
        """
        deadline = time.monotonic() + limit
        self._begin_to_stop()
        try:
            if self._confirmed_all.wait(limit):
                self._done.set()
                for place in self._places:
                    place.assigned.set()
                for keeper in self._keepers:
                    keeper.join(max(0.0, deadline - time.monotonic()))
            running = sum(keeper.alive for keeper in self._keepers)
            if running:
                raise TimeoutError(
                    f"hand-off: after {limit} s, {len(self._journal)} sockets were not taken over and {running} workers"
                    " ran: ended now"
                )
        finally:
            self.close()

    def close(self) -> None:
        """End the workers at once; what they have not taken over comes back."""
        self._begin_to_stop()
        for keeper in self._keepers:
            keeper.cancel()
        for keeper in self._keepers:
            keeper.join()
        for place in self._places:
            # Of one whose keeper never began.
            if place.process.poll() is None:
                place.process.kill()
                place.process.wait()
            place.channel.close()
        for gift in self._journal.clear():
            self._came_back(gift, "the server has stopped")
        self._look_whether_all_is_confirmed()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _begin_to_stop(self) -> None:
        self._stopping = True
        if self._for_room:
            self._room.release(self._for_room)
        self._look_whether_all_is_confirmed()

    def _look_whether_all_is_confirmed(self) -> None:
        if self._stopping and not self._journal:
            self._confirmed_all.set()

    def _start(self, place: int) -> tuple[subprocess.Popen[bytes], _Channel]:
        command = self._command(place) if callable(self._command) else self._command
        return _Channel.start(command, self._options)

    def _assign(self) -> None:
        while (place := self._journal.assign()) is not None:
            self._places[place].assigned.set()

    def _leaves(self, gift: _Gift) -> None:
        gift.known.set()
        self._room.release()

    def _came_back(self, gift: _Gift, why: str) -> None:
        gift.why = why
        if not gift.awaited:
            gift.socket.close()
        self._leaves(gift)

    def _take_back(self, out: list[_Gift]) -> None:
        for gift in out:
            self._came_back(gift, "no worker has taken it over")
        self._assign()
        self._look_whether_all_is_confirmed()

    def _keep(self, number: int) -> None:
        """Keeps one place filled, until it is cancelled or all is done."""
        place, delay = self._places[number], Delay()
        running = True
        while True:
            had = self._journal.places[number].taken
            if running:
                try:
                    place.last_end = self._serve(number)
                finally:
                    self._take_back(self._journal.ended(number))
                place.ended += 1
            of_use = self._journal.places[number].taken > had
            if self._done.is_set() or self._done.wait(delay.after(of_use=of_use)):
                return
            try:
                place.process, place.channel = self._start(number)
                running = True
            except OSError as error:
                place.last_end, running = f"it does not start: {error}", False

    def _serve(self, number: int) -> str:
        """Serves one worker until it has ended, and says how."""
        place = self._places[number]
        process, channel = place.process, place.channel
        watcher = _engine.spawn(self._watch, process, channel)
        try:
            try:
                self._converse(number, channel)
            except OSError as error:
                # It has broken the rules. What it has not confirmed is given to others once it is dead: see below.
                return f"ended by the server: {error}"
            # It says nothing more, and so has not confirmed what it did not: others may have it, while it ends.
            self._take_back(self._journal.ended(number))
            watcher.join()
            return _told(process.returncode)
        finally:
            if watcher.alive:
                process.kill()
                watcher.join()
            channel.close()

    def _watch(self, process: subprocess.Popen[bytes], channel: _Channel) -> None:
        """Waits for a process's end, which may come though its end of the channel is open elsewhere."""
        try:
            process.wait()
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            channel.cut()

    def _converse(self, number: int, channel: _Channel) -> None:
        """Gives a worker sockets, and hears what becomes of them, until the end of what it says."""
        with timeout(_TIME_FOR_HELLO):
            if not self._greet(channel):
                return
        writer = _engine.spawn(self._write, number, channel)
        try:
            self._journal.places[number].ready = True
            self._assign()
            while (message := channel.receive()) is not None:
                self._hear(number, *message)
        finally:
            # It has ended before the next worker has one, whose sockets it would take.
            writer.cancel()
            writer.join()

    def _greet(self, channel: _Channel) -> bool:
        """Agrees with a worker on a version; False where it has ended instead."""
        message = channel.receive()
        if message is None:
            return False
        kind, body, _ = message
        if kind != _HELLO:
            raise ProtocolError("the first message is no hello")
        lowest, highest = channel.greeted(body)
        if not lowest <= _VERSION <= highest:
            why = f"it speaks versions {lowest} to {highest}, the server {_VERSION} to {_VERSION}"
            channel.send(_REFUSED, why.encode())
            raise ProtocolError(why)
        # One that has ended is found out when it is listened to.
        with contextlib.suppress(OSError):
            channel.send(_WELCOME, _VERSION.to_bytes(2, "big"))
        return True

    def _write(self, number: int, channel: _Channel) -> None:
        assigned = self._places[number].assigned
        while True:
            assigned.clear()
            while (item := self._journal.send(number)) is not None:
                which, gift = item
                try:
                    channel.give(which, gift.socket, gift.context)
                except OSError:
                    # It has ended: the keeper takes back what it has, this one too.
                    return
            if self._done.is_set():
                # One whose other side is gone has ended anyway.
                with contextlib.suppress(OSError):
                    channel.finish()
                return
            assigned.wait()

    def _hear(self, number: int, kind: int, body: bytes, _: int | None) -> None:
        if kind not in (_TAKEN, _BACK):
            raise ProtocolError(f"a message of kind {kind} came from a worker")
        which = _NUMBER.unpack(body)[0]
        try:
            if kind == _BACK:
                return self._take_back(self._journal.back(number, which))
            gift = self._journal.taken(number, which)
        except NotYours:
            what = "took" if kind == _TAKEN else "gave back"
            raise ProtocolError(f"a worker {what} number {which}, which it does not have") from None
        gift.process = self._places[number].process.pid
        gift.socket.close()
        self._leaves(gift)
        self._take_back([])
