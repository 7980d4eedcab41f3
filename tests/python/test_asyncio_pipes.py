"""The transports of pipes on our loop: a read in flight on the port, and a native method to write."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Coroutine
from typing import Any

import pytest

import overlapped.asyncio
from conftest import unix_only
from overlapped import _engine
from overlapped.asyncio import run
from recorder import Recorder

on_unix = unix_only("os.pipe() makes pipes that always wait, which asyncio has no transport of there")

LARGE = bytes(range(256)) * 4096
"""More than a pipe holds."""


async def reading() -> tuple[Any, Recorder, int]:
    """A transport that reads, its protocol, and the descriptor to write to."""
    ours, theirs = os.pipe()
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.connect_read_pipe(Recorder, os.fdopen(ours, "rb", 0))
    return transport, protocol, theirs


async def writing() -> tuple[Any, Recorder, int]:
    """A transport that writes, its protocol, and the descriptor to read from, which does not wait."""
    theirs, ours = os.pipe()
    os.set_blocking(theirs, False)
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.connect_write_pipe(Recorder, os.fdopen(ours, "wb", 0))
    return transport, protocol, theirs


async def end(transport: Any, protocol: Recorder, *descriptors: int) -> None:
    getattr(transport, "abort", transport.close)()
    await protocol.wait_for(("lost", None))
    for descriptor in descriptors:
        os.close(descriptor)


async def read_all(descriptor: int, count: int) -> bytes:
    """Read so much from a descriptor that does not wait."""
    got = b""
    while len(got) < count:
        try:
            got += os.read(descriptor, 1 << 20)
        except BlockingIOError:
            await asyncio.sleep(0)
    return got


def run_all(test: Coroutine[Any, Any, None]) -> None:
    """Run a test's coroutine; afterwards nothing is in flight."""
    run(test)
    assert not _engine.in_flight()


@on_unix
def test_bytes_come_in_order_and_then_the_end() -> None:
    async def main() -> None:
        transport, protocol, theirs = await reading()
        assert isinstance(transport, asyncio.ReadTransport)
        await asyncio.sleep(0)
        assert " polling" in repr(transport)
        writer = overlapped.spawn(lambda: overlapped.offload(write_all, theirs))
        await protocol.wait_for(("lost", None))
        writer.join()
        assert protocol.data == LARGE
        assert protocol.calls[-2:] == ["eof", ("lost", None)]
        assert repr(transport).startswith("<ReadPipeTransport closed")

    def write_all(theirs: int) -> None:
        with os.fdopen(theirs, "wb") as file:
            file.write(LARGE)

    run_all(main())


@on_unix
def test_a_paused_transport_tells_nothing_until_it_reads_again() -> None:
    async def main() -> None:
        transport, protocol, theirs = await reading()
        os.write(theirs, b"one")
        await protocol.wait_for_bytes(3)
        transport.pause_reading()
        os.write(theirs, b"two")
        for _ in range(10):
            await asyncio.sleep(0)
        assert protocol.data == b"one"
        transport.resume_reading()
        assert await protocol.wait_for_bytes(6) == b"onetwo"
        for number in range(100):
            os.write(theirs, b"%02d" % number)
            transport.pause_reading()
            transport.resume_reading()
            if number % 3 == 0:
                await asyncio.sleep(0)
        assert await protocol.wait_for_bytes(206) == b"onetwo" + b"".join(b"%02d" % number for number in range(100))
        await end(transport, protocol, theirs)

    run_all(main())


@on_unix
def test_a_message_begins_no_new_operation() -> None:
    def begun() -> int:
        found = re.search(r"operations: (\d+) begun", _engine.report())
        assert found
        return int(found[1])

    async def main() -> None:
        transport, protocol, theirs = await reading()
        os.write(theirs, b"first")
        await protocol.wait_for_bytes(5)
        before = begun()
        for number in range(20):
            os.write(theirs, b"again")
            await protocol.wait_for_bytes(5 * (number + 2))
        # A kernel before 6.7 has to be asked again, which the port does not count.
        assert begun() == before
        await end(transport, protocol, theirs)

    run_all(main())


@on_unix
def test_a_terminal_is_read_as_a_pipe_is() -> None:
    async def main() -> None:
        theirs, ours = os.openpty()
        os.write(theirs, b"a line\n")
        loop = asyncio.get_running_loop()
        transport, protocol = await loop.connect_read_pipe(Recorder, os.fdopen(ours, "rb", 0))
        assert await protocol.wait_for_bytes(7) == b"a line\n"
        os.write(theirs, b"one more\n")
        assert await protocol.wait_for_bytes(16) == b"a line\none more\n"
        await end(transport, protocol, theirs)

    run_all(main())


@on_unix
def test_what_a_pipe_does_not_take_at_once_follows_and_the_protocol_is_paused_meanwhile() -> None:
    async def main() -> None:
        transport, protocol, theirs = await writing()
        assert isinstance(transport, asyncio.WriteTransport)
        for data in (b"a", bytearray(b"b"), memoryview(b"c"), b""):
            transport.write(data)
        assert os.read(theirs, 10) == b"abc"
        transport.write(LARGE)
        assert protocol.calls == ["made", "pause"]
        assert 0 < transport.get_write_buffer_size() < len(LARGE)
        transport.write(b"the last")
        assert await read_all(theirs, len(LARGE) + 8) == LARGE + b"the last"
        await protocol.wait_for("resume")
        transport.close()
        transport.write(b"too late")
        await protocol.wait_for(("lost", None))
        assert os.read(theirs, 1) == b""
        os.close(theirs)

    run_all(main())


@on_unix
def test_a_reader_that_is_gone_is_noticed() -> None:
    async def main() -> None:
        transport, protocol, theirs = await writing()
        await asyncio.sleep(0)
        os.close(theirs)
        await protocol.wait_for(("lost", None))
        assert transport.is_closing()

    run_all(main())


@on_unix
def test_a_write_to_nobody_ends_the_transport_with_its_error() -> None:
    async def main() -> None:
        transport, protocol, theirs = await writing()
        os.close(theirs)
        transport.write(b"nobody")
        await protocol.wait_for(("lost", BrokenPipeError))
        with pytest.raises(TypeError, match="exactly one argument"):
            transport.write()

    run_all(main())


@on_unix
def test_what_a_protocol_raises_goes_to_the_exception_handler_and_the_transport_goes_on() -> None:
    async def main() -> None:
        told: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        transport, protocol, theirs = await reading()
        error = ZeroDivisionError()

        def fails(_: bytes) -> None:
            del protocol.data_received  # type: ignore[method-assign]
            raise error

        protocol.data_received = fails  # type: ignore[method-assign]
        os.write(theirs, b"lost")
        while not told:
            await asyncio.sleep(0)
        assert told[0]["exception"] is error
        os.write(theirs, b"told")
        assert await protocol.wait_for_bytes(4) == b"told"
        await end(transport, protocol, theirs)

    run_all(main())


@on_unix
def test_what_is_no_pipe_is_refused() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with open(__file__, "rb") as file:
            with pytest.raises(ValueError, match="Pipe transport is for pipes/sockets only"):
                await loop.connect_read_pipe(Recorder, file)
            with pytest.raises(ValueError, match="Pipe transport is only for"):
                await loop.connect_write_pipe(Recorder, file)

    run_all(main())


@on_unix
def test_a_loop_that_rests_reads_nothing_and_goes_on_on_another_thread() -> None:
    loop = overlapped.asyncio.new_event_loop()
    transport, protocol, theirs = loop.run_until_complete(reading())
    assert not _engine.in_flight()
    os.write(theirs, b"in between")
    assert overlapped.offload(lambda: loop.run_until_complete(protocol.wait_for_bytes(10))) == b"in between"
    loop.run_until_complete(end(transport, protocol, theirs))
    loop.close()


def test_child_processes_are_talked_to_through_them() -> None:
    async def main() -> None:
        pipe = asyncio.subprocess.PIPE
        program = "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read()[::-1])"
        child = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stdin=pipe, stdout=pipe)
        assert "PipeTransport" in repr(child._transport.get_pipe_transport(1))  # type: ignore[attr-defined]
        assert type(child._transport.get_pipe_transport(1)).__module__.startswith("overlapped.")  # type: ignore[attr-defined]
        output, _ = await child.communicate(LARGE)
        assert output == LARGE[::-1]

    run_all(main())


@on_unix
def test_a_loop_that_always_has_something_to_do_gives_way_and_can_be_cancelled() -> None:
    class Back(Recorder):
        def data_received(self, data: bytes) -> None:
            os.write(self.to, data)

        to: int

    async def main() -> None:
        ends = [await reading(), await reading()]
        for (_, protocol, _), (_, _, theirs) in zip(ends, reversed(ends), strict=True):
            protocol.__class__, protocol.to = Back, theirs  # type: ignore[attr-defined]
        os.write(ends[0][2], b"to and fro")
        try:
            await asyncio.sleep(100)
        finally:
            for transport, _, theirs in ends:
                transport.close()
                os.close(theirs)

    tasklet = overlapped.spawn(run, main())
    for _ in range(20):
        overlapped.sleep(0.001)
    tasklet.cancel()
    with pytest.raises(overlapped.TaskletExit):
        tasklet.result()
    assert not _engine.in_flight()
