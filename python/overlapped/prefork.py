"""One server, several worker processes, and restarts that no client notices.

A :class:`Supervisor` has the listeners and starts workers, programs of the caller's choice, which all accept from
them::

    supervisor = prefork.Supervisor(4, [sys.executable, "worker.py"], {"http": listener})
    supervisor.obey_signals()

and in ``worker.py``, a server that answers each line with itself::

    def serve(connection):
        request = bytearray()
        while True:
            while (end := request.find(b"\\n")) >= 0:
                connection.sendall(request[: end + 1])
                del request[: end + 1]
            match connection.read_more(request):
                case prefork.More.END:
                    return
                case prefork.More.MOVE:
                    return connection.give(request)

    worker = prefork.Worker()
    worker.retire_after(10_000, jitter=1000)
    # What it needs comes here; then it is ready.
    worker.serve(serve)

:meth:`Supervisor.restart` replaces one worker after the other: the new one gets the same listeners, initialises, and
says that it is ready; only then the old one *drains*: it accepts nothing more, answers the requests that are begun,
gives its connections away, and ends. A new one that fails to start changes nothing. A worker that dies is replaced: at
once, where it was ready for a second or longer, else after a delay that doubles with each that was not, from 50 ms up
to 10 s.

**Connections move, too**, idle ones and ones with half of a request in hand: the old worker gives them away with the
bytes that it has read and not answered, and a new one gets them as if it had accepted them, with those bytes first. The
supervisor keeps each until the new worker has said that it takes it over; where that dies before, or has no descriptor
left for it, it goes to the next, and waits where there is none. What a worker has when it is killed is closed with it.

A worker whose tasklets do not run for ``hang_limit`` is ended and replaced. One that has had its number of requests
(:meth:`Worker.retire_after`), or has other reasons (:meth:`Worker.retire`), asks for another one in its place, and
serves on until that is ready. :meth:`Supervisor.resize` goes over to another number of them.
:meth:`Supervisor.obey_signals` does all that by signals, under the names that other servers have given them. Workers in
the foreground of a terminal get its Ctrl-C, too: the option ``process_group=0`` keeps them from it.

The protocol is that of the Rust crate's ``overlapped::prefork``, whose documentation has it byte by byte and says what
was rejected: a supervisor in one language and workers in the other work together.

On Windows all is the same, and no manager of services is told.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from _socket import close as _close_socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import _engine, socket
from ._channel_errors import ProtocolError
from ._delay import has_served
from ._group import Group
from ._prefork_book import Book, NotYours
from ._prefork_channel import (
    ALIVE,
    BACK,
    CONNECTION,
    DRAIN,
    HEAD,
    HELLO,
    LISTENER,
    NUMBER,
    ON_THE_WAY,
    READY,
    REFUSED,
    RETIRE,
    TAKEN,
    UNREAD_LIMIT,
    VARIABLE,
    VERSION,
    Channel,
)
from ._prefork_member import Member, Place
from ._prefork_service import Service
from ._prefork_signals import FEWER, MORE, STOP, handled
from ._prefork_worker import Connection, More, Worker
from ._queue import Queue
from ._worker_process import running

__all__ = [
    "UNREAD_LIMIT",
    "VARIABLE",
    "Connection",
    "More",
    "Moves",
    "ProtocolError",
    "Supervisor",
    "Worker",
    "WorkerStatus",
]

Command = Sequence[str] | Callable[[int], Sequence[str]]


_REST = 0.05
"""How many seconds a worker gets no connections after it has given one back."""


@dataclass
class WorkerStatus:
    """What a worker is doing."""

    process: int | None
    """None between the end of one and the start of the next."""
    generation: int = 1
    """1 for those that a supervisor began with; each restart begins another."""
    ready: bool = False
    """Whether it serves: it has said that it is ready, and has not ended."""
    unconfirmed: int = 0
    """How many connections of others it was given and has not taken over yet."""
    ended: int = 0
    """How many processes have ended in this place."""
    last_end: str | None = None
    """How the last of those ended."""
    failures: int = 0
    """How many have failed, one after the other, since one was of use: each makes the delay before the next longer. One
    that cannot be started fails as well."""


@dataclass
class Moves:
    """Connections that went from one worker to another."""

    taken: int = 0
    """How many were taken over."""
    on_the_way: int = 0
    """How many are given and not taken over yet."""
    lost: int = 0
    """How many were closed because nobody took them: the server stopped, or eight workers died of one."""


@dataclass
class _Moved:
    descriptor: int
    body: bytes
    """The listener's place, and the unread bytes."""


class Supervisor:
    """``workers`` processes that accept from the same listeners, and are replaced.

    ``command`` is what each is started with, as :class:`subprocess.Popen` takes it, or a function of its place, from 0
    on, that returns that; ``options`` are ``Popen``'s. Their standard input is the channel. ``listeners`` have names,
    under which workers know them; they are the supervisor's from then on, on Unix non-blocking (``O_NONBLOCK``) in
    whatever other handles they have as well, and stay open in it: whoever connects while no worker is there waits in
    their line.
    Pairs of names and listeners may have the same name twice (:func:`overlapped.systemd.listeners`). All workers are
    ready when this returns. ``ready_limit`` is how many seconds one may take until then, ``drain_limit`` how many one
    that is replaced may take until it has ended what it began: then it is ended. ``hang_limit`` is how many one may
    take to answer that it is alive, as it does whenever its tasklets run: one that takes longer is ended, and replaced.
    The connections that it had are closed with it; those that it was given and had not taken over go to the next. It is
    asked again half of that time after each answer, from when it is ready.

    ``tell_systemd`` is whether systemd is told how the server is (:mod:`overlapped.systemd`): *ready* when all workers
    are; *reloading* from the beginning to the end of :meth:`restart` and :meth:`upgrade`, whether that succeeds or not;
    *stopping* from the beginning of :meth:`stop` or :meth:`close`. Where it wants to hear from a watchdog, it does,
    twice in each interval, as long as this thread runs its tasklets. That it could not be told is an error here alone:
    a server that serves does not end for that.

    Raises:
        OSError: a worker cannot be started, ends before it is ready (:exc:`ChildProcessError`), or is not ready in time
            (:exc:`TimeoutError`): then none runs.
        ValueError: no worker, or no listener.
    """

    def __init__(
        self,
        workers: int,
        command: Command,
        listeners: Mapping[str, socket.socket] | Iterable[tuple[str, socket.socket]],
        *,
        ready_limit: float = 30.0,
        drain_limit: float = 30.0,
        hang_limit: float | None = None,
        tell_systemd: bool = False,
        **options: Any,
    ) -> None:
        self._listeners = list(listeners.items() if isinstance(listeners, Mapping) else listeners)
        if workers < 1 or not self._listeners:
            raise ValueError("prefork: at least one worker, and one listener")
        self._service = Service(tell_systemd)
        self._command, self._options = command, options
        self._ready_limit, self._drain_limit, self._hang_limit = ready_limit, drain_limit, hang_limit
        self._book: Book[_Moved] = Book(ON_THE_WAY)
        self._alive: dict[int, Member] = {}
        self._takers: dict[int, int] = {}
        """Who takes connections, and its generation."""
        self._stopping = _engine.Event()
        self._restarts = _engine.Lock()
        self._generation, self._numbers = 1, 0
        self._taken = self._lost = 0
        self._places: list[Place] = []
        try:
            if sys.platform != "win32":
                for _, listener in self._listeners:
                    # All workers share the mode. Each would set it for its own calls else, and take it from another's,
                    # which waits then for the next client, and its worker with it. AcceptEx blocks in neither.
                    os.set_blocking(listener.fileno(), False)
            for place in range(workers):
                self._places.append(Place(place, self._launch(place, command)))
            until = time.monotonic() + ready_limit
            for one in self._places:
                one.member.await_ready(until - time.monotonic())
            self._service.begins()
        except BaseException:
            self.close()
            raise
        for one in self._places:
            one.keeper = _engine.spawn(self._keep, one)

    def workers(self) -> list[WorkerStatus]:
        """The workers, by place."""
        return [
            WorkerStatus(
                running(member.process),
                member.generation,
                member.ready.is_set() and not member.exited.is_set(),
                self._book.unconfirmed(member.number),
                place.ended,
                place.last_end,
                place.delay.failures,
            )
            for place in self._places
            for member in [place.member]
        ]

    def moves(self) -> Moves:
        """What has become of connections that workers gave away."""
        return Moves(self._taken, len(self._book), self._lost)

    def restart(self) -> None:
        """Replace all workers, one after the other: the new one starts, says that it is ready, and only then the old
        one drains; when that has ended, or was ended after ``drain_limit``, the next comes.

        Raises:
            OSError: a new worker does not start, ends before it is ready, or is not ready in time: the old one in its
                place, and those that were not replaced yet, go on. :exc:`BrokenPipeError`: the server stops.
        """
        self.upgrade(self._command)

    def upgrade(self, command: Command) -> None:
        """As :meth:`restart`, to another program: the command of all that come from the first on that has become ready
        by it.

        Raises:
            OSError: as :meth:`restart`. Where the first worker does not become ready, the command stays as it was.
        """
        with self._restarts, self._service.reloads():
            self._generation += 1
            for place in self._places:
                with place.turn:
                    fresh = self._make_ready(place.number, command)
                    self._command = command
                    before = place.put(fresh)
                self._drain(before, moving=True, limit=self._drain_limit)

    def resize(self, workers: int) -> None:
        """Go over to another number of workers, when a restart that is under way has ended.

        Those that are missing are started one after the other, each ready before the next; or those in the last places
        drain, and their connections go to the others.

        Raises:
            ValueError: none.
            OSError: as :meth:`restart`, where a new one does not become ready: those before it serve.
        """
        self._resize(lambda _: workers)

    def obey_signals(self, limit: float = 30.0) -> None:
        """Serve until a signal says to stop, and do what the others say.

        ================  ==============================================================================
        SIGHUP            :meth:`restart`
        SIGTTIN           one worker more (:meth:`resize`)
        SIGTTOU           one worker less, where there are two or more
        SIGTERM, SIGINT   :meth:`stop` with this ``limit``; a second time: workers are ended at once
        ================  ==============================================================================

        On Windows, Ctrl-Break (SIGBREAK) and Ctrl-C (SIGINT) stop it. What a signal begins goes on while others are
        heard, so that a restart does not keep the server from stopping. What fails is told by :mod:`logging`, and the
        server serves on. To be called in the main thread; the handlers that were there are put back afterwards.

        Raises:
            TimeoutError: as :meth:`stop`.
            ValueError: not in the main thread.
        """
        heard: Queue[int | None] = Queue()
        stop: _engine.Tasklet[None] | None = None

        def end() -> None:
            try:
                self.stop(limit)
            finally:
                heard.put(None)

        try:
            with Group() as group, handled(heard.put):
                while (number := heard.get()) is not None:
                    if number not in STOP:
                        group.spawn(self._obey, number)
                    elif stop is None:
                        stop = _engine.spawn(end)
                    else:
                        for member in list(self._alive.values()):
                            member.kill()
                group.cancel()
            if stop is not None:
                stop.result()
        finally:
            if stop is not None:
                stop.cancel()

    def stop(self, limit: float) -> None:
        """End in order: workers accept nothing more, end the requests that are begun, and themselves; whoever has not
        ended after ``limit`` seconds is ended. The listeners are closed; a line of theirs that waits is not answered.

        Raises:
            TimeoutError: workers had to be ended.
        """
        self._stopping.set()
        self._service.stops()
        try:
            drains = [_engine.spawn(self._drain, one, moving=False, limit=limit) for one in list(self._alive.values())]
            late = [drain.result() for drain in drains].count(False)
        finally:
            self.close()
        if late:
            raise TimeoutError(f"prefork: {late} workers had not ended after {limit} s: ended now")

    def close(self) -> None:
        """End the workers at once, and close the listeners."""
        self._stopping.set()
        self._service.stops()
        self._service.ends()
        for place in self._places:
            place.give_up()
        for member in list(self._alive.values()):
            member.kill()
            member.ended.wait()
        self._lose(self._book.clear())
        for _, listener in self._listeners:
            listener.close()

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _launch(self, place: int, command: Command) -> Member:
        """Starts a worker for a place, in which it is not yet."""
        words = command(place) if callable(command) else command
        process, channel = Channel.start(words, self._options)
        self._numbers += 1
        member = Member(self._numbers, place, self._generation, process, channel)
        self._alive[member.number] = member
        _engine.spawn(self._attend, member)
        return member

    def _obey(self, number: int) -> None:
        """Does what a signal says that does not say to stop."""
        try:
            if number == MORE:
                self._resize(lambda now: now + 1)
            elif number == FEWER:
                self._resize(lambda now: max(now, 2) - 1)
            else:
                self.restart()
        except OSError as error:
            if not self._stopping.is_set():
                logging.getLogger("overlapped.prefork").error("the workers go on that are there: %s", error)

    def _make_ready(self, place: int, command: Command) -> Member:
        """Starts a worker for a place, in which it is not yet, and waits until it is ready."""
        if self._stopping.is_set():
            raise BrokenPipeError("the server stops")
        member = self._launch(place, command)
        member.await_ready(self._ready_limit)
        return member

    def _resize(self, wanted: Callable[[int], int]) -> None:
        """As :meth:`resize`, to what ``wanted`` makes of the number when it is its turn."""
        with self._restarts:
            workers = wanted(len(self._places))
            if workers < 1:
                raise ValueError("prefork: at least one worker")
            while len(self._places) > workers:
                place = self._places[-1]
                # Whoever fills it has done so, or has not begun.
                with place.turn:
                    place.give_up()
                    self._places.pop()
                self._drain(place.member, moving=True, limit=self._drain_limit)
            while len(self._places) < workers:
                number = len(self._places)
                place = Place(number, self._make_ready(number, self._command))
                self._places.append(place)
                place.keeper = _engine.spawn(self._keep, place)

    def _drain(self, member: Member, *, moving: bool, limit: float) -> bool:
        """Has a worker drain, and ended where it has not done so within the limit; False in that case."""
        member.draining = True
        self._takers.pop(member.number, None)
        member.send(DRAIN, b"\1" if moving else b"\0")
        in_time = False
        try:
            in_time = member.ended.wait(limit)
        finally:
            if not in_time:
                member.kill()
                member.ended.wait()
        return in_time

    def _keep(self, place: Place) -> None:
        """Fills a place whenever the worker in it has died, or asks for another one, until the server stops.

        Of a dead worker the next is there at once; of one that asks, when the next is ready: until then it serves on.
        In both cases the delay grows with those that were of no use.
        """
        while True:
            member = place.member
            which, _ = _engine.first_of([self._stopping, member.superseded, member.ended, member.retires])
            if which == 0:
                return
            if which == 1:
                continue
            # It was of use once: where the next one cannot be started, this one is looked at again.
            since, member.ready_since = member.ready_since, None
            ready_for = None if since is None else time.monotonic() - since
            if self._stopping.wait(place.delay.after(of_use=has_served(ready_for))):
                return
            with place.turn:
                if member.superseded.is_set() or self._stopping.is_set():
                    continue
                try:
                    fresh = self._launch(place.number, self._command)
                    if died := member.ended.is_set():
                        place.put(fresh)
                    fresh.await_ready(self._ready_limit)
                    if not died:
                        place.put(fresh)
                        _engine.spawn(self._drain, member, moving=True, limit=self._drain_limit)
                except OSError as error:
                    place.last_end = str(error)

    def _attend(self, member: Member) -> None:
        """Sees to a worker from its beginning to its end."""
        # What it is to get waits in its outbox until it has been welcomed: it may be told to drain before.
        writer: _engine.Tasklet[None] | None = None
        try:
            try:
                if self._welcome(member):
                    writer = _engine.spawn(self._write, member)
                    self._converse(member)
            except OSError as error:
                # What it has not confirmed is given to others once it is dead.
                member.end(str(error))
            if not member.exited.wait(self._drain_limit):
                # It has let go of its channel, and lives on: nobody can tell it anything.
                member.kill()
        finally:
            with _engine.uncancellable():
                if not member.exited.is_set():
                    member.kill()
                member.exited.wait()
                if member.why is not None:
                    member.how = f"ended by the supervisor: {member.why}"
                member.outbox.close()
                if writer is not None:
                    writer.cancel()
                    writer.join()
            member.channel.close()
            self._alive.pop(member.number)
            self._takers.pop(member.number, None)
            self._lose(self._book.ended(member.number))
            if member.place < len(self._places):
                place = self._places[member.place]
                place.ended, place.last_end = place.ended + 1, member.how
            member.ended.set()
            self._send_on()

    def _write(self, member: Member) -> None:
        for kind, body, descriptor in member.outbox:
            try:
                member.channel.send(kind, body, descriptor)
            except OSError:
                # It has ended, or this is to: what it has not confirmed is taken back.
                return member.channel.cut()

    def _welcome(self, member: Member) -> bool:
        """Hears which versions a worker speaks, and gives it the listeners; False where it has ended."""
        channel = member.channel
        if (message := channel.receive()) is None:
            return False
        if message.kind != HELLO:
            raise ProtocolError(f"the first message is of kind {message.kind}, and no hello")
        lowest, highest = channel.first_words(message)
        if not lowest <= VERSION <= highest:
            why = f"it speaks versions {lowest} to {highest}, the supervisor {VERSION} to {VERSION}"
            channel.send(REFUSED, why.encode())
            raise ProtocolError(why)
        channel.welcome(len(self._listeners))
        for name, listener in self._listeners:
            channel.send(LISTENER, name.encode(), listener.fileno())
        return True

    def _converse(self, member: Member) -> None:
        """Hears what a worker says, until its end."""
        while (message := member.channel.receive()) is not None:
            self._hear(member, *message)

    def _hear(self, member: Member, kind: int, body: bytes, descriptor: int | None) -> None:
        if kind == READY and not member.ready.is_set():
            member.ready_since = time.monotonic()
            member.ready.set()
            if not member.draining:
                self._takers[member.number] = member.generation
            if self._hang_limit is not None:
                _engine.spawn(member.ask_whether_it_lives, self._hang_limit)
        elif kind == ALIVE:
            member.is_alive.set()
        elif kind == RETIRE:
            member.retires.set()
        elif kind == CONNECTION:
            number, place = HEAD.unpack_from(body)
            if place >= len(self._listeners):
                if descriptor is not None:
                    _close_socket(descriptor)
                raise ProtocolError(f"a connection came from listener {place}, which there is not")
            if descriptor is None or self._stopping.is_set():
                if descriptor is not None:
                    _close_socket(descriptor)
                member.send(BACK, NUMBER.pack(number))
            else:
                self._book.add(_Moved(descriptor, body[NUMBER.size :]), member.number)
                member.send(TAKEN, NUMBER.pack(number))
        elif kind in (TAKEN, BACK):
            (number,) = NUMBER.unpack(body)
            try:
                if kind == TAKEN:
                    _close_socket(self._book.taken(member.number, number).descriptor)
                    self._taken += 1
                else:
                    self._book.back(member.number, number)
                    if self._takers.pop(member.number, None) is not None:
                        _engine.spawn(self._rest, member)
            except NotYours:
                raise ProtocolError(f"a worker speaks of number {number}, which it does not have") from None
        else:
            raise ProtocolError(f"a message of kind {kind} came from a worker")
        self._send_on()

    def _rest(self, member: Member) -> None:
        """Lets a worker that has given a connection back take some again after a while.

        It has no descriptor left, most often. The connection goes to another one meanwhile, or waits.
        """
        rested, _ = _engine.first_of([self._stopping, member.ended, _REST])
        if rested == 2 and not member.draining:
            self._takers[member.number] = member.generation
            self._send_on()

    def _send_on(self) -> None:
        """Sends connections that wait to workers that have room."""
        while (sent := self._book.send(self._takers)) is not None:
            worker, number, moved = sent
            self._alive[worker].send(CONNECTION, NUMBER.pack(number) + moved.body, moved.descriptor)

    def _lose(self, out: list[_Moved]) -> None:
        for moved in out:
            _close_socket(moved.descriptor)
        self._lost += len(out)
