"""The transports of streams on our loop: receives by the port, and a native ``write``."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import socket
import struct
import sys
import weakref
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest

import overlapped
import overlapped.asyncio
from conftest import WINDOWS, unix_only
from overlapped import _engine
from overlapped.asyncio import run
from recorder import Recorder

_T = TypeVar("_T")

LARGE = bytes(range(256)) * 4096 * 8
"""More than a connection holds on its way."""


class Buffered(asyncio.BufferedProtocol):
    """Takes three bytes at a time."""

    def __init__(self) -> None:
        self.buffer = bytearray(3)
        self.data = b""
        self.lost = asyncio.Event()

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.data += self.buffer[:nbytes]

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.set()


async def connected(protocol: _T) -> tuple[Any, _T, socket.socket]:
    """A transport with the protocol, and the other end, which does not wait."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    loop = asyncio.get_running_loop()
    connect: Any = loop.create_connection if WINDOWS else loop.create_unix_connection
    made = await connect(lambda: protocol, sock=ours)
    return made[0], protocol, theirs


async def close(transport: Any, theirs: socket.socket) -> None:
    """Close both ends, and let the transport's go."""
    theirs.close()
    transport.abort()
    while transport._sock is not None:
        await asyncio.sleep(0)


def run_all(test: Coroutine[Any, Any, None]) -> None:
    """Run a test's coroutine; afterwards nothing is in flight."""
    run(test)
    assert not _engine.in_flight(), "the loop rests, and so does the port"


def test_a_transport_is_asyncios_and_its_attributes_can_be_patched() -> None:
    async def main() -> None:
        transport, _, theirs = await connected(Recorder())
        assert isinstance(transport, asyncio.Transport)
        assert "read=polling" in repr(transport)
        sent: list[bytes] = []
        transport.write = sent.append
        transport.write(b"not sent")
        assert sent == [b"not sent"]
        await close(transport, theirs)

    run_all(main())


def test_bytes_come_in_order_and_then_the_end() -> None:
    async def main() -> None:
        transport, protocol, theirs = await connected(Recorder())
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(theirs, LARGE)
        theirs.shutdown(socket.SHUT_WR)
        await protocol.wait_for(("lost", None))
        assert protocol.data == LARGE
        assert protocol.calls[-2:] == ["eof", ("lost", None)]
        theirs.close()
        assert transport._sock is None

    run_all(main())


def test_what_a_socket_does_not_take_at_once_follows_and_the_protocol_is_paused_meanwhile() -> None:
    async def main() -> None:
        transport, protocol, theirs = await connected(Recorder())
        transport.write(LARGE)
        assert protocol.calls == ["made", "pause"]
        assert 0 < transport.get_write_buffer_size() < len(LARGE)
        transport.write(b"the last")
        loop = asyncio.get_running_loop()
        got = bytearray()
        while len(got) < len(LARGE) + 8:
            got += await loop.sock_recv(theirs, 1 << 20)
        assert got == LARGE + b"the last"
        await protocol.wait_for("resume")
        await close(transport, theirs)

    run_all(main())


def test_a_paused_transport_keeps_what_comes_for_when_it_reads_again() -> None:
    async def main() -> None:
        transport, protocol, theirs = await connected(Recorder())
        theirs.send(b"one")
        await protocol.wait_for_bytes(3)
        transport.pause_reading()
        assert not transport.is_reading()
        theirs.send(b"two")
        for _ in range(10):
            await asyncio.sleep(0)
        assert protocol.data == b"one"
        transport.resume_reading()
        assert await protocol.wait_for_bytes(6) == b"onetwo"
        # A pause that is over before the receive's cancel has come, and bytes on their way.
        for number in range(100):
            theirs.send(b"%02d" % number)
            transport.pause_reading()
            transport.resume_reading()
            if number % 3 == 0:
                await asyncio.sleep(0)
        assert await protocol.wait_for_bytes(206) == b"onetwo" + b"".join(b"%02d" % number for number in range(100))
        await close(transport, theirs)

    run_all(main())


def test_a_protocol_that_pauses_as_it_is_told_is_told_no_more() -> None:
    class Once(Recorder):
        def data_received(self, data: bytes) -> None:
            self.transport.pause_reading()
            super().data_received(data)

    async def main() -> None:
        transport, protocol, theirs = await connected(Once())
        for number in range(1, 20):
            theirs.send(b"x")
            await protocol.wait_for_bytes(number)
            assert not transport.is_reading()
            transport.resume_reading()
        await close(transport, theirs)

    run_all(main())


def test_a_buffered_protocol_is_filled_piece_by_piece() -> None:
    async def main() -> None:
        _, protocol, theirs = await connected(Buffered())
        theirs.send(b"0123456789")
        theirs.close()
        await protocol.lost.wait()
        assert protocol.data == b"0123456789"

    run_all(main())


def test_the_protocol_may_be_replaced_by_one_of_the_other_kind() -> None:
    async def main() -> None:
        transport, first, theirs = await connected(Recorder())
        theirs.send(b"first")
        await first.wait_for_bytes(5)
        second = Buffered()
        transport.set_protocol(second)
        assert transport.get_protocol() is second
        theirs.send(b"second")
        theirs.close()
        await second.lost.wait()
        assert (first.data, second.data) == (b"first", b"second")

    run_all(main())


def test_a_kept_open_connection_is_written_to_after_its_end() -> None:
    async def main() -> None:
        transport, protocol, theirs = await connected(Recorder())
        protocol.keep_open = True
        theirs.shutdown(socket.SHUT_WR)
        await protocol.wait_for("eof")
        transport.write(b"still")
        assert await asyncio.get_running_loop().sock_recv(theirs, 10) == b"still"
        transport.write_eof()
        assert await asyncio.get_running_loop().sock_recv(theirs, 10) == b""
        with pytest.raises(RuntimeError, match=r"Cannot call write\(\) after write_eof\(\)"):
            transport.write(b"more")
        await close(transport, theirs)

    run_all(main())


def test_write_has_the_errors_of_asyncio() -> None:
    async def main() -> None:
        transport, _, theirs = await connected(Recorder())
        with pytest.raises(TypeError, match=r"data argument must be a bytes.* object, not 'str'"):
            transport.write("text")
        with pytest.raises(TypeError, match="exactly one argument"):
            transport.write()
        for data in (b"a", bytearray(b"b"), memoryview(b"c"), b""):
            transport.write(data)
        transport.writelines([b"d", bytearray(b"e")])
        assert theirs.recv(10) == b"abcde"
        await close(transport, theirs)

    run_all(main())


def test_an_end_while_bytes_wait_comes_after_them() -> None:
    async def main() -> None:
        transport, protocol, theirs = await connected(Recorder())
        transport.write(LARGE)
        transport.close()
        assert transport.is_closing()
        loop, got = asyncio.get_running_loop(), bytearray()
        while data := await loop.sock_recv(theirs, 1 << 20):
            got += data
        assert got == LARGE
        await protocol.wait_for(("lost", None))
        theirs.close()

    run_all(main())


def test_a_connection_is_lost_at_once_with_nothing_in_flight_on_its_socket_which_is_closed_then() -> None:
    class Looks(Recorder):
        def connection_lost(self, exc: Exception | None) -> None:
            self.note(self.transport._receiving.in_flight)

    async def main() -> None:
        transport, protocol, theirs = await connected(Looks())
        # The port takes up the receive.
        await asyncio.sleep(0)
        ours = transport._sock
        # As where the last bytes go out in the turn in which the transport was closed.
        transport._loop._remove_reader(transport._sock_fd)
        assert transport._receiving.in_flight
        transport._call_connection_lost(None)
        assert protocol.calls == ["made", False]
        assert ours.fileno() < 0
        # The loop has not run since, and the peer sees the end.
        assert theirs.recv(1) == b""
        theirs.close()

    run_all(main())


def test_what_has_come_for_a_transport_that_is_closed_is_dropped_and_others_get_theirs() -> None:
    async def main() -> None:
        lost, other = await connected(Recorder()), await connected(Recorder())
        await asyncio.sleep(0)
        for _, _, theirs in (lost, other):
            theirs.send(b"bytes")
        _engine.give_way()
        lost[0]._loop._remove_reader(lost[0]._sock_fd)
        lost[0]._call_connection_lost(None)
        await other[1].wait_for_bytes(5)
        assert lost[1].calls == ["made", ("lost", None)]
        lost[2].close()
        await close(other[0], other[2])

    run_all(main())


@pytest.mark.parametrize("debug", [False, True])
def test_what_was_ready_runs_before_a_protocol_is_told_of_what_has_come(debug: bool) -> None:
    """As with asyncio's readers: a coroutine that was started is there for the answer."""

    async def main() -> None:
        asyncio.get_running_loop().set_debug(debug)
        transport, protocol, theirs = await connected(Recorder())
        await asyncio.sleep(0)
        theirs.send(b"bytes")
        _engine.give_way()
        asyncio.get_running_loop().call_soon(protocol.note, "soon")
        await protocol.wait_for("data")
        assert protocol.calls == ["made", "soon", "data"]
        await close(transport, theirs)

    run_all(main())


def test_a_reset_is_told_as_such() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        made: asyncio.Future[Recorder] = loop.create_future()

        def accepted() -> Recorder:
            made.set_result(Recorder())
            return made.result()

        server = await loop.create_server(accepted, "127.0.0.1", 0)
        client = socket.create_connection(server.sockets[0].getsockname())
        protocol = await made
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("hh" if WINDOWS else "ii", 1, 0))
        client.close()
        await protocol.wait_for(("lost", ConnectionResetError))
        server.close()

    run_all(main())


@unix_only("a pair is a connection there, whose other end has gone when that is heard of")
def test_a_write_to_nobody_ends_the_connection_with_its_error(caplog: pytest.LogCaptureFixture) -> None:
    async def main() -> None:
        transport, protocol, theirs = await connected(Recorder())
        transport.pause_reading()
        theirs.close()
        for _ in range(8):
            transport.write(b"nobody")
        await protocol.wait_for(("lost", BrokenPipeError))

    with caplog.at_level(logging.WARNING):
        run_all(main())
    assert "socket.send() raised exception." in caplog.messages


@pytest.mark.parametrize("call", ["data_received", "eof_received", "get_buffer", "buffer_updated"])
def test_what_a_protocol_raises_goes_to_the_exception_handler_and_ends_the_connection(call: str) -> None:
    async def main() -> None:
        told: list[dict[str, Any]] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: told.append(context))
        protocol: Any = Recorder() if hasattr(Recorder, call) else Buffered()
        error = ZeroDivisionError(call)

        def fails(*_: Any) -> Any:
            raise error

        setattr(protocol, call, fails)
        transport, _, theirs = await connected(protocol)
        theirs.send(b"bytes")
        theirs.shutdown(socket.SHUT_WR)
        while transport._sock is not None:
            await asyncio.sleep(0.001)
        assert [context["message"] for context in told] == [f"Fatal error: protocol.{call}() call failed."]
        assert (told[0]["exception"], told[0]["transport"], told[0]["protocol"]) == (error, transport, protocol)
        theirs.close()

    run_all(main())


def test_a_protocol_may_end_the_program() -> None:
    class Ends(Recorder):
        def data_received(self, data: bytes) -> None:
            raise SystemExit(3)

    async def main() -> None:
        _, _, theirs = await connected(Ends())
        theirs.send(b"bytes")
        try:
            await asyncio.sleep(100)
        finally:
            theirs.close()

    with pytest.raises(SystemExit), pytest.warns(ResourceWarning, match="unclosed transport"):
        run_all(main())


def test_a_protocol_is_told_in_the_context_in_which_its_transport_was_made() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")

    class Looks(Recorder):
        def data_received(self, data: bytes) -> None:
            seen.append(variable.get("nothing"))
            variable.set("changed")
            super().data_received(data)

    seen: list[str] = []

    async def main() -> None:
        variable.set("made")
        transport, protocol, theirs = await connected(Looks())
        variable.set("later")
        theirs.send(b"1")
        await protocol.wait_for_bytes(1)
        theirs.send(b"2")
        await protocol.wait_for_bytes(2)
        assert seen == ["made", "changed"]
        assert variable.get() == "later"
        await close(transport, theirs)

    run_all(main())


def test_a_protocol_may_block_its_loops_tasklet() -> None:
    class Waits(Recorder):
        def data_received(self, data: bytes) -> None:
            overlapped.sleep(0.001)
            super().data_received(data)

    async def main() -> None:
        transport, protocol, theirs = await connected(Waits())
        theirs.send(b"bytes")
        assert await protocol.wait_for_bytes(5) == b"bytes"
        await close(transport, theirs)

    run_all(main())


def test_a_loop_that_rests_receives_nothing_and_goes_on_on_another_thread() -> None:
    loop = overlapped.asyncio.new_event_loop()
    transport, protocol, theirs = loop.run_until_complete(connected(Recorder()))
    assert not _engine.in_flight()
    theirs.send(b"in between")

    def elsewhere() -> bytes:
        return loop.run_until_complete(protocol.wait_for_bytes(10))

    assert overlapped.offload(elsewhere) == b"in between"
    theirs.send(b", and here")
    assert loop.run_until_complete(protocol.wait_for_bytes(20)) == b"in between, and here"
    loop.run_until_complete(close(transport, theirs))
    loop.close()


def test_a_busy_loop_still_receives() -> None:
    async def main() -> None:
        transport, protocol, theirs = await connected(Recorder())
        theirs.send(b"bytes")
        while not protocol.data:
            await asyncio.sleep(0)
        await close(transport, theirs)

    run_all(main())


def test_debug_mode_tells_of_a_protocol_that_takes_its_time(caplog: pytest.LogCaptureFixture) -> None:
    class Slow(Recorder):
        def data_received(self, data: bytes) -> None:
            overlapped.sleep(0.02)
            super().data_received(data)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        transport, protocol, theirs = await connected(Slow())
        loop.set_debug(True)
        loop.slow_callback_duration = 0.01
        theirs.send(b"bytes")
        await protocol.wait_for_bytes(5)
        await asyncio.sleep(0)
        loop.set_debug(False)
        await close(transport, theirs)

    with caplog.at_level(logging.WARNING):
        run_all(main())
    assert any("Executing <Handle" in message for message in caplog.messages)


def test_many_connections_echo_at_once() -> None:
    class Echo(Recorder):
        def data_received(self, data: bytes) -> None:
            self.transport.write(data)

    async def client(address: tuple[str, int], number: int) -> None:
        reader, writer = await asyncio.open_connection(*address)
        for size in (1, 100, 70_000):
            data = bytes([number]) * size
            writer.write(data)
            assert await reader.readexactly(size) == data
        writer.close()
        await writer.wait_closed()

    async def main() -> None:
        server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", 0)
        await asyncio.gather(*(client(server.sockets[0].getsockname(), number) for number in range(100)))
        server.close()

    run_all(main())


async def stream(limit: int = 2**16) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, socket.socket]:
    """One of asyncio's streams, and the other end, which does not wait."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    reader, writer = await asyncio.open_connection(sock=ours, limit=limit)
    return reader, writer, theirs


def test_what_comes_goes_straight_to_the_reader_of_a_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[bytes] = []
    data_received = asyncio.StreamReaderProtocol.data_received

    async def talk() -> bytes:
        reader, writer, theirs = await stream()
        # A wait that is given up takes nothing along.
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(reader.read(9), 0)
        theirs.send(b"one\n")
        assert await reader.readline() == b"one\n"
        theirs.send(b"two")
        theirs.close()
        rest = await reader.read()
        assert reader.at_eof()
        writer.close()
        return rest

    def tell(protocol: asyncio.StreamReaderProtocol, data: bytes) -> None:
        told.append(data)
        data_received(protocol, data)

    calls = set()
    sys.setprofile(lambda frame, event, argument: calls.add(frame.f_code))
    try:
        assert run(talk()) == b"two"
    finally:
        sys.setprofile(None)
    assert asyncio.StreamReader.readline.__code__ in calls and data_received.__code__ not in calls
    # A program's own method is called, and a subclass's.
    monkeypatch.setattr(asyncio.StreamReaderProtocol, "data_received", tell)
    assert run(talk()) == b"two" and told == [b"one\n", b"two"]
    monkeypatch.undo()
    monkeypatch.setattr(asyncio.StreamReader, "feed_data", lambda reader, data: told.append(data.upper()))

    async def listen() -> None:
        _reader, writer, theirs = await stream()
        theirs.send(b"three")
        while told[-1] != b"THREE":
            await asyncio.sleep(0)
        await close(writer.transport, theirs)

    run(listen())


def test_a_stream_that_is_not_read_keeps_no_more_than_its_limit_allows() -> None:
    async def talk() -> None:
        reader, writer, theirs = await stream(limit=1000)
        loop = asyncio.get_running_loop()
        sends = asyncio.ensure_future(loop.sock_sendall(theirs, LARGE))
        transport: Any = writer.transport
        while transport.is_reading():
            await asyncio.sleep(0)
        kept = len(reader._buffer)  # type: ignore[attr-defined]
        assert 2000 < kept < 2000 + 2**18
        for _ in range(10):
            await asyncio.sleep(0)
        assert len(reader._buffer) == kept and not sends.done()  # type: ignore[attr-defined]
        assert await reader.readexactly(len(LARGE)) == LARGE
        await sends
        await close(transport, theirs)

    run(talk())


def test_a_stream_of_nobody_is_told_of_no_more() -> None:
    async def talk() -> None:
        reader, writer, theirs = await stream()
        transport: Any = writer.transport
        gone = weakref.ref(reader)
        # The writer has its reader, too.
        writer._reader = None  # type: ignore[attr-defined]
        del reader
        gc.collect()
        assert gone() is None
        theirs.send(b"nobody")
        for _ in range(10):
            await asyncio.sleep(0)
        await close(transport, theirs)

    run(talk())
