"""A worker's side of :mod:`overlapped.prefork`."""

from __future__ import annotations

import contextlib
import enum
import random
from _socket import close as _close_socket
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import TypeVar

from . import _engine, socket
from ._channel_errors import ProtocolError
from ._prefork_channel import (
    ALIVE,
    BACK,
    CONNECTION,
    DRAIN,
    HEAD,
    LISTENER,
    NUMBER,
    ON_THE_WAY,
    READY,
    REFUSED,
    RETIRE,
    TAKEN,
    UNREAD_LIMIT,
    VERSION,
    WELCOME,
    Channel,
    Message,
)
from ._queue import Queue, ShutDown
from ._timeout import timeout
from .socket import socket as Socket

__all__ = ["Connection", "More", "Worker"]

T = TypeVar("T")

_READ_AT_ONCE = 64 * 1024
_ACCEPTED_AHEAD = 16
"""How many connections are accepted before the server's code has asked for them: others can take the rest."""
_REST = 0.05
"""How many seconds a listener rests after an error."""


class More(enum.Enum):
    """What :meth:`Connection.read_more` has come to."""

    BYTES = 1
    """Some were added."""
    END = 2
    """The client has ended its side, or the server stops and nothing of a request is here."""
    MOVE = 3
    """This worker is to end, and another one serves on: give the connection away, with what is here of a request."""


class _Phase(enum.Enum):
    SERVING = 1
    MOVING = 2
    STOPPING = 3


class _Bell:
    """Makes waits end, and loses nothing that they had: how a worker's tasklets hear that it is to drain."""

    def __init__(self) -> None:
        self._rung = False
        self._waiting: set[timeout] = set()

    def until_rung(self, wait: Callable[[], T]) -> T | None:
        """What ``wait`` returns; None where the bell has rung before it had anything."""
        if self._rung:
            return None
        came: T | None = None
        scope = timeout(None)
        try:
            with scope:
                self._waiting.add(scope)
                try:
                    came = wait()
                finally:
                    self._waiting.discard(scope)
        except TimeoutError:
            if not scope.expired:
                raise
        return came

    def ring(self) -> None:
        self._rung = True
        for scope in self._waiting:
            scope.reschedule(0)


@dataclass
class _Answer:
    known: _engine.Event = field(default_factory=_engine.Event)
    taken: bool = False


class Connection:
    """A connection that a worker serves: one that it has accepted, or one that another worker has given away.

    The bytes that the other one had read come first here, as if they had come just now. A context manager that closes
    it.
    """

    socket: Socket
    """The socket itself; what was moved along with it is in ``unread``, and not here."""
    listener: str
    """The name of the listener that it came through."""
    unread: bytes
    """Bytes that were read before, and that :meth:`recv` and :meth:`read_more` return first."""

    def __init__(self, worker: Worker, connection: Socket, listener: int, unread: bytes) -> None:
        self._worker, self._place = worker, listener
        self.socket, self.listener, self.unread = connection, worker._names[listener], unread

    def recv(self, size: int) -> bytes:
        """As :meth:`socket.socket.recv`; the unread bytes come first."""
        if self.unread:
            data, self.unread = self.unread[:size], self.unread[size:]
            return data
        return self.socket.recv(size)

    def sendall(self, data: bytes | bytearray | memoryview) -> None:
        """As :meth:`socket.socket.sendall`."""
        self.socket.sendall(data)

    def close(self) -> None:
        """Close the connection. Given away, it is another worker's, and open."""
        self.socket.close()

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def read_more(self, request: bytearray) -> More:
        """Wait for more of a request, and add it to ``request``: what is here of the current one, nothing between
        requests.

        From the time that the worker is to drain it says ``MOVE`` at once, or, where the whole server stops, ``END``
        between requests, and waits on for the rest of one that has begun. No byte is lost by that: what it had is
        added, and what it had not stays in the socket.

        Raises:
            OSError: as :meth:`socket.socket.recv`.
        """
        between = not request
        more = self._add_more(request)
        if between and more is More.BYTES:
            self._worker._begins_request()
        return more

    def _add_more(self, request: bytearray) -> More:
        if self.unread:
            request += self.unread
            self.unread = b""
            return More.BYTES
        while True:
            data: bytes | None
            if self._worker._phase is _Phase.MOVING:
                return More.MOVE
            if self._worker._phase is _Phase.SERVING:
                data = self._worker._bell.until_rung(lambda: self.socket.recv(_READ_AT_ONCE))
            elif request:
                data = self.socket.recv(_READ_AT_ONCE)
            else:
                # What has come already is a request that was made before the server stopped.
                data = b""
                with contextlib.suppress(TimeoutError), timeout(0):
                    data = self.socket.recv(_READ_AT_ONCE)
            if data is not None:
                request += data
                return More.BYTES if data else More.END

    def give(self, unread: bytes | bytearray | memoryview = b"") -> None:
        """Give the connection to another worker, the newest, with what was read of a request that is not answered.

        There it comes as if it had been accepted, and these bytes come first. Waits until the supervisor has it; it is
        closed here then.

        Raises:
            ValueError: the bytes are more than :data:`UNREAD_LIMIT`.
            OSError: the server stops, or the supervisor is gone or cannot take it. In both cases the connection is
                still this worker's, to serve on or to close, and the bytes come first in it again.
        """
        self.unread = bytes(unread) + self.unread
        self._worker._give(self.socket.fileno(), self._place, self.unread)
        self.socket.close()


class Worker:
    """This process as one of a supervisor's workers, in Python or in Rust.

    Made, it has the server's listeners and accepts nothing yet: the time to initialise. Whoever fails then ends the
    process, and the old worker serves on. :meth:`serve` does the rest; a server with a loop of its own calls
    :meth:`ready` and :meth:`next`. Made once in a process: the channel is its standard input, which is `os.devnull`
    after that.

    Raises:
        RuntimeError: this process was not started as a worker, or has made one before.
        ConnectionError: the supervisor refuses this version of the protocol, or is gone.
    """

    def __init__(self) -> None:
        self._names: list[str] = []
        self._phase = _Phase.SERVING
        self._bell = _Bell()
        self._arrivals: Queue[tuple[socket.socket, int] | tuple[int, int, bytes, bytes]] = Queue()
        self._accepting = 0
        self._ahead = _engine.Semaphore(_ACCEPTED_AHEAD)
        self._giving: dict[bytes, _Answer] = {}
        self._next_number = 0
        self._room = _engine.Semaphore(ON_THE_WAY)
        self._requests_left: int | None = None
        self._has_asked = False
        self._listeners: list[socket.socket] | None = []
        self._channel = Channel.inherited()
        self._channel.hello()
        first = self._first()
        if first.kind == REFUSED:
            raise ConnectionRefusedError(f"the supervisor refuses this worker: {first.body.decode()}")
        version, listeners = self._channel.first_words(first) if first.kind == WELCOME else (0, 0)
        if version != VERSION:
            raise ProtocolError(f"the first message is of kind {first.kind}, and no welcome to version {VERSION}")
        for _ in range(listeners):
            kind, name, descriptor = self._first()
            if kind != LISTENER:
                raise ProtocolError(f"a message of kind {kind} came in place of a listener")
            if descriptor is None:
                raise OSError("a listener came and was lost, most likely for this process has no descriptor left")
            self._names.append(name.decode())
            self._listeners.append(socket.socket(fileno=descriptor))

    def _first(self) -> Message:
        message = self._channel.receive()
        if message is None:
            raise ConnectionAbortedError("the supervisor was gone before it had given the listeners")
        return message

    @property
    def draining(self) -> bool:
        """Whether this worker is to end: it accepts nothing more."""
        return self._phase is not _Phase.SERVING

    def ready(self) -> None:
        """Say that this worker is ready: it accepts from now on, and the one that it replaces drains. Once is enough.

        Raises:
            OSError: the supervisor is gone.
        """
        if self._listeners is None:
            return
        listeners, self._listeners = self._listeners, None
        self._accepting = len(listeners)
        for place, listener in enumerate(listeners):
            _engine.spawn(self._accept, listener, place)
        _engine.spawn(self._hear)
        self._channel.send(READY)

    def next(self) -> Connection | None:
        """Wait for the next connection; None once this worker drains and has handed out all.

        Whoever gets None finishes what is begun, and ends.
        """
        for arrival in self._arrivals:
            if len(arrival) == 2:
                self._ahead.release()
                return Connection(self, *arrival, b"")
            descriptor, place, number, unread = arrival
            try:
                self._channel.send(TAKEN, number)
            except OSError:
                # The supervisor, where it lives, gives it to another.
                _close_socket(descriptor)
                continue
            return Connection(self, socket.socket(fileno=descriptor), place, unread)
        return None

    def serve(self, each: Callable[[Connection], object]) -> None:
        """Be ready, and call ``each`` with each connection, in a tasklet of its own, until the worker has drained and
        all have ended. Each is closed where its function ends; a broken connection (:exc:`ConnectionError`) is no
        error."""
        self.ready()
        begun: set[_engine.Tasklet[None]] = set()

        def handle(connection: Connection) -> None:
            try:
                with connection, contextlib.suppress(ConnectionError):
                    each(connection)
            finally:
                begun.discard(_engine.current())

        while (connection := self.next()) is not None:
            begun.add(_engine.spawn(handle, connection))
        for one in list(begun):
            one.join()

    def retire_after(self, requests: int, jitter: int = 0) -> None:
        """Have this worker ask for another one in its place (:meth:`retire`) when so many requests have begun.

        By chance it is up to ``jitter`` more, so that workers which began together do not all do so at once: for
        servers whose memory grows (gunicorn's ``max_requests`` and ``max_requests_jitter``). 0 requests: never.

        A request is counted when :meth:`Connection.read_more` brings the first bytes of it; those that come together
        are one. A server that reads otherwise counts itself.
        """
        self._requests_left = requests + random.randint(0, jitter) if requests else None

    def retire(self) -> None:
        """Ask the supervisor to replace this worker, as in a restart: it serves on until another one is ready in its
        place, and drains then. Asked again, it does nothing.

        Raises:
            OSError: the supervisor is gone.
        """
        if not self._has_asked:
            self._has_asked = True
            self._channel.send(RETIRE)

    def _begins_request(self) -> None:
        if self._requests_left is not None:
            self._requests_left -= 1
            if self._requests_left <= 0:
                # Where the supervisor is gone, this is to end anyway.
                with contextlib.suppress(OSError):
                    self.retire()

    def _accept(self, listener: socket.socket, place: int) -> None:
        """Accepts until the worker is to drain. A connection that was accepted just then is served like any other."""
        try:
            with listener:
                while self._phase is _Phase.SERVING:
                    if not self._bell.until_rung(self._ahead.acquire):
                        return
                    try:
                        accepted = self._bell.until_rung(listener.accept)
                    except OSError:
                        # No descriptor left, most often.
                        self._ahead.release()
                        self._bell.until_rung(lambda: _engine.sleep(_REST))
                        continue
                    if accepted is not None:
                        self._arrivals.put((accepted[0], place))
        finally:
            self._accepting -= 1
            if self._accepting == 0:
                self._arrivals.close()

    def _begin(self, phase: _Phase) -> None:
        if self._phase is not _Phase.STOPPING:
            self._phase = phase
        self._bell.ring()

    def _hear(self) -> None:
        """Does what the supervisor says, until it says nothing more or breaks the rules."""
        try:
            while (message := self._channel.receive()) is not None and self._keeps_the_rules(*message):
                pass
        except OSError:
            pass
        finally:
            self._begin(_Phase.STOPPING)
            answers, self._giving = self._giving, {}
            for answer in answers.values():
                answer.known.set()

    def _keeps_the_rules(self, kind: int, body: bytes, descriptor: int | None) -> bool:
        if kind == DRAIN:
            self._begin(_Phase.MOVING if body == b"\1" else _Phase.STOPPING)
        elif kind == CONNECTION:
            _, place = HEAD.unpack_from(body)
            number, unread = body[: NUMBER.size], body[HEAD.size :]
            # One without its descriptor, for which there was no room, goes back, and so does one that is too late.
            try:
                if descriptor is None:
                    raise ShutDown
                self._arrivals.put((descriptor, place, number, unread))
            except ShutDown:
                if descriptor is not None:
                    _close_socket(descriptor)
                self._channel.send(BACK, number)
        elif kind in (TAKEN, BACK) and body in self._giving:
            answer = self._giving.pop(body)
            answer.taken = kind == TAKEN
            answer.known.set()
        elif kind == ALIVE:
            self._channel.send(ALIVE)
        else:
            return False
        return True

    def _give(self, descriptor: int, place: int, unread: bytes) -> None:
        if len(unread) > UNREAD_LIMIT:
            raise ValueError(f"{len(unread)} unread bytes, where {UNREAD_LIMIT} are allowed")
        with self._room:
            if self._phase is _Phase.STOPPING:
                raise BrokenPipeError("the server stops")
            self._next_number += 1
            number = NUMBER.pack(self._next_number)
            answer = self._giving[number] = _Answer()
            try:
                self._channel.send(CONNECTION, HEAD.pack(self._next_number, place) + unread, descriptor)
            except BaseException:
                self._giving.pop(number, None)
                raise
            answer.known.wait()
        if not answer.taken:
            raise ConnectionAbortedError("the supervisor cannot take it, or is gone")
