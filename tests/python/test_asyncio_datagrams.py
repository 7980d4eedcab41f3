"""The transports of datagrams on our loop: a poll on the port, and native methods to take and send."""

from __future__ import annotations

import asyncio
import contextvars
import errno
import socket
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

import overlapped.asyncio
from conftest import unix_only
from overlapped import _engine
from overlapped.asyncio import run

LOOPBACK = "127.0.0.1"

told_of_nobody = unix_only("Wine does not tell who has sent a datagram to nobody")


class Recorder(asyncio.DatagramProtocol):
    """Notes what it is told, and lets a test wait for it."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.told = asyncio.Event()
        self.transport: Any = None

    def note(self, *call: Any) -> None:
        self.calls.append(call)
        self.told.set()

    async def wait_for(self, count: int) -> list[Any]:
        while len(self.calls) < count:
            self.told.clear()
            await self.told.wait()
        return self.calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.note("datagram", data, addr)

    def error_received(self, exc: Exception) -> None:
        self.note("error", type(exc))

    def connection_lost(self, exc: Exception | None) -> None:
        self.note("lost", exc)

    def pause_writing(self) -> None:
        self.note("pause")

    def resume_writing(self) -> None:
        self.note("resume")


class Echo(Recorder):
    def datagram_received(self, data: bytes, addr: Any) -> None:
        super().datagram_received(data, addr)
        self.transport.sendto(data, addr)


async def endpoint(protocol: Recorder, *args: Any, **named: Any) -> Any:
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: protocol, *args, **named)
    return transport


async def end(*transports: Any) -> None:
    for transport in transports:
        transport.abort()
    while any(transport._sock is not None for transport in transports):
        await asyncio.sleep(0)


def run_all(test: Coroutine[Any, Any, None]) -> None:
    """Run a test's coroutine; afterwards nothing is in flight."""
    run(test)
    assert not _engine.in_flight()


@pytest.mark.parametrize("host", [LOOPBACK, "::1"])
def test_datagrams_go_to_and_fro(host: str) -> None:
    async def main() -> None:
        served, asked = Echo(), Recorder()
        server = await endpoint(served, local_addr=(host, 0))
        address = server.get_extra_info("sockname")
        client = await endpoint(asked, remote_addr=address[:2])
        assert isinstance(client, asyncio.DatagramTransport)
        for number in range(100):
            client.sendto(b"%d" % number)
            await asked.wait_for(number + 1)
        assert asked.calls == [("datagram", b"%d" % number, address) for number in range(100)]
        senders = {addr for _, _, addr in served.calls}
        assert senders == {client.get_extra_info("sockname")}
        await end(server, client)

    run_all(main())


@unix_only("Python has no local sockets there")
def test_local_sockets_have_their_paths(tmp_path: Path) -> None:
    async def main() -> None:
        served, asked = Echo(), Recorder()
        paths = [str(tmp_path / name) for name in ("server", "client")]
        server = await endpoint(served, local_addr=paths[0], family=socket.AF_UNIX)
        client = await endpoint(asked, local_addr=paths[1], remote_addr=paths[0], family=socket.AF_UNIX)
        client.sendto(b"one")
        assert await asked.wait_for(1) == [("datagram", b"one", paths[0])]
        assert served.calls == [("datagram", b"one", paths[1])]
        await end(server, client)

    run_all(main())


def test_a_sender_is_the_same_object_while_it_is_the_same_and_a_copy_is_as_good_to_answer_to() -> None:
    class Answers(Recorder):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            super().datagram_received(data, addr)
            self.transport.sendto(data, (addr[0], addr[1]) if data == b"copy" else addr)

    async def main() -> None:
        served, asked, other = Answers(), Recorder(), Recorder()
        server = await endpoint(served, local_addr=(LOOPBACK, 0))
        address = server.get_extra_info("sockname")
        client, second = await endpoint(asked, remote_addr=address), await endpoint(other, remote_addr=address)
        for number, data in enumerate((b"one", b"two", b"copy"), 1):
            client.sendto(data)
            await asked.wait_for(number)
        assert served.calls[0][2] is served.calls[1][2]
        second.sendto(b"second")
        await other.wait_for(1)
        assert served.calls[3][2] == second.get_extra_info("sockname")
        # The first again, by the address of then.
        server.sendto(b"late", served.calls[0][2])
        await asked.wait_for(4)
        assert [data for _, data, _ in asked.calls] == [b"one", b"two", b"copy", b"late"]
        await end(server, client, second)

    run_all(main())


def test_the_largest_datagram_and_an_empty_one_come_whole() -> None:
    async def main() -> None:
        asked = Recorder()
        client = await endpoint(asked, local_addr=(LOOPBACK, 0))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            large = bytes(range(256)) * 255
            for data in (large, b"", b"last"):
                sender.sendto(data, client.get_extra_info("sockname"))
        calls = await asked.wait_for(3)
        assert [data for _, data, _ in calls] == [large, b"", b"last"]
        await end(client)

    run_all(main())


def test_many_that_have_come_at_once_are_all_told() -> None:
    async def main() -> None:
        asked = Recorder()
        client = await endpoint(asked, local_addr=(LOOPBACK, 0))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for number in range(100):
                sender.sendto(b"%d" % number, client.get_extra_info("sockname"))
        calls = await asked.wait_for(100)
        assert [int(data) for _, data, _ in calls] == list(range(100))
        await end(client)

    run_all(main())


@told_of_nobody
def test_nobody_there_is_an_error_that_is_told() -> None:
    async def main() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as unused:
            unused.bind((LOOPBACK, 0))
            address = unused.getsockname()
        asked = Recorder()
        client = await endpoint(asked, remote_addr=address)
        client.sendto(b"nobody")
        assert await asked.wait_for(1) == [("error", ConnectionRefusedError)]
        assert not client.is_closing()
        # Of two that are sent at once, the second send is told of the first's.
        client.sendto(b"nobody")
        client.sendto(b"nobody")
        await asked.wait_for(2)
        await end(client)

    run_all(main())


def test_what_cannot_be_sent_is_told_to_the_protocol() -> None:
    async def main() -> None:
        asked = Recorder()
        client = await endpoint(asked, local_addr=(LOOPBACK, 0))
        client.sendto(bytes(70_000), client.get_extra_info("sockname"))
        assert asked.calls == [("error", OSError)]
        await end(client)

    run_all(main())


def test_sendto_has_the_errors_of_asyncio() -> None:
    async def main() -> None:
        peer = await endpoint(Recorder(), local_addr=(LOOPBACK, 0))
        address = peer.get_extra_info("sockname")
        client = await endpoint(Recorder(), remote_addr=address)
        with pytest.raises(TypeError, match="data argument must be a bytes-like object, not 'str'"):
            client.sendto("text")
        with pytest.raises(ValueError, match="Invalid address: must be None or"):
            client.sendto(b"data", (LOOPBACK, 1))
        with pytest.raises(TypeError, match="sendto"):
            client.sendto()
        client.sendto(bytearray(b"array"), address)
        client.sendto(memoryview(b"view"), addr=None)
        client.sendto(data=b"named")
        received = await peer.get_protocol().wait_for(3)
        assert [data for _, data, _ in received] == [b"array", b"view", b"named"]
        await end(peer, client)

    run_all(main())


def slow_receiver(folder: Path) -> socket.socket:
    """A local one that reads nothing by itself."""
    slow = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    slow.bind(str(folder / "slow"))
    slow.setblocking(False)
    return slow


@unix_only("Python has no local sockets there")
def test_a_socket_that_takes_no_more_pauses_the_protocol(tmp_path: Path) -> None:
    """A local one: its datagrams wait for room in the receiver, where UDP's are thrown away."""

    async def main() -> None:
        asked = Recorder()
        with slow_receiver(tmp_path) as slow:
            client = await endpoint(asked, remote_addr=slow.getsockname(), family=socket.AF_UNIX)
            client.set_write_buffer_limits(high=10_000)
            sent = 0
            while ("pause",) not in asked.calls:
                client.sendto(b"%06d" % sent + bytes(1000))
                sent += 1
            assert client.get_write_buffer_size() > 10_000
            loop = asyncio.get_running_loop()
            for number in range(sent):
                data = await loop.sock_recv(slow, 2000)
                assert int(data[:6]) == number
            assert asked.calls == [("pause",), ("resume",)]
            await end(client)

    run_all(main())


@unix_only("Python has no local sockets there")
def test_a_closed_one_is_lost_when_its_datagrams_have_gone(tmp_path: Path) -> None:
    async def main() -> None:
        asked = Recorder()
        with slow_receiver(tmp_path) as slow:
            client = await endpoint(asked, remote_addr=slow.getsockname(), family=socket.AF_UNIX)
            sent = 0
            while not client.get_write_buffer_size():
                client.sendto(b"%06d" % sent)
                sent += 1
            client.close()
            assert client.is_closing()
            loop = asyncio.get_running_loop()
            for number in range(sent):
                assert int(await loop.sock_recv(slow, 2000)) == number
            assert await asked.wait_for(1) == [("lost", None)]

    run_all(main())


def test_a_protocol_that_closes_as_it_is_told_is_told_no_more() -> None:
    class Once(Recorder):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            super().datagram_received(data, addr)
            self.transport.close()

    async def main() -> None:
        asked = Once()
        client = await endpoint(asked, local_addr=(LOOPBACK, 0))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for _ in range(3):
                sender.sendto(b"data", client.get_extra_info("sockname"))
        await asked.wait_for(2)
        while client._sock is not None:
            await asyncio.sleep(0)
        assert [call[0] for call in asked.calls] == ["datagram", "lost"]

    run_all(main())


@pytest.mark.parametrize("call", ["datagram_received", pytest.param("error_received", marks=told_of_nobody)])
def test_what_a_protocol_raises_goes_to_the_exception_handler_and_the_transport_goes_on(call: str) -> None:
    async def main() -> None:
        told: list[dict[str, Any]] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: told.append(context))
        asked = Recorder()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.bind((LOOPBACK, 0))
            client = await endpoint(asked, remote_addr=peer.getsockname())
            error = ZeroDivisionError(call)

            def fails(*_: Any) -> Any:
                raise error

            setattr(asked, call, fails)
            if call == "datagram_received":
                peer.sendto(b"data", client.get_extra_info("sockname"))
        if call == "error_received":
            client.sendto(b"nobody")
        while not told:
            await asyncio.sleep(0)
        assert told[0]["exception"] is error
        assert told[0]["message"].startswith("Exception in callback ")
        assert not client.is_closing()
        await end(client)

    run_all(main())


def test_a_protocol_is_told_in_the_context_in_which_its_transport_was_made() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")

    class Looks(Recorder):
        def datagram_received(self, data: bytes, addr: Any) -> None:
            self.note(variable.get("nothing"))

    async def main() -> None:
        variable.set("made")
        asked = Looks()
        client = await endpoint(asked, local_addr=(LOOPBACK, 0))
        variable.set("later")
        client.sendto(b"to itself", client.get_extra_info("sockname"))
        assert await asked.wait_for(1) == [("made",)]
        await end(client)

    run_all(main())


def test_its_attributes_can_be_patched_and_it_says_that_it_reads() -> None:
    async def main() -> None:
        client = await endpoint(Recorder(), local_addr=(LOOPBACK, 0))
        await asyncio.sleep(0)
        assert "read=polling" in repr(client)
        sent: list[Any] = []
        client.sendto = lambda *args: sent.append(args)
        client.sendto(b"not sent", ("nowhere", 1))
        assert sent == [(b"not sent", ("nowhere", 1))]
        await end(client)

    run_all(main())


def test_a_loop_that_rests_reads_nothing_and_goes_on_on_another_thread() -> None:
    loop = overlapped.asyncio.new_event_loop()
    asked = Recorder()
    client = loop.run_until_complete(endpoint(asked, local_addr=(LOOPBACK, 0)))
    assert not _engine.in_flight()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"in between", client.get_extra_info("sockname"))
    calls = overlapped.offload(lambda: loop.run_until_complete(asked.wait_for(1)))
    assert [data for _, data, _ in calls] == [b"in between"]
    loop.run_until_complete(end(client))
    loop.close()


def test_an_unknown_kind_of_socket_is_read_by_asyncios_own_method() -> None:
    """Of netlink(7), whose addresses only Python knows: a request that the kernel refuses is answered with an error."""
    if not hasattr(socket, "AF_NETLINK"):
        pytest.skip("this system has no netlink")

    async def main() -> None:
        asked = Recorder()
        ours = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, 0)
        ours.bind((0, 0))
        ours.setblocking(False)
        client = await endpoint(asked, sock=ours)
        length, kind, flags, number, port = 16, 0xFFF, 5, 1, 0
        request = length.to_bytes(4, "little") + kind.to_bytes(2, "little") + flags.to_bytes(2, "little")
        client.sendto(request + number.to_bytes(4, "little") + port.to_bytes(4, "little"), (0, 0))
        (what, data, sender), *_ = await asked.wait_for(1)
        assert (what, sender) == ("datagram", (0, 0))
        assert -int.from_bytes(data[16:20], "little", signed=True) in errno.errorcode
        await end(client)

    run_all(main())
