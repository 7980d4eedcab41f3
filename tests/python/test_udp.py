"""Datagrams on `overlapped.socket`."""

from __future__ import annotations

import errno
import sys
import time
from collections.abc import Iterator

import pytest

import overlapped
from conftest import needs, unix_only, wine_fails
from overlapped import TaskletExit, sleep, socket, spawn
from streams import all_find_it_closed

HAS_MESSAGES = hasattr(socket.socket, "recvmsg")


@pytest.fixture
def udp() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Two bound UDP sockets on the loopback."""
    with socket.socket(type=socket.SOCK_DGRAM) as one, socket.socket(type=socket.SOCK_DGRAM) as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        yield one, other


def test_sendto_and_recvfrom(udp):
    one, other = udp
    assert one.sendto(b"hello", other.getsockname()) == 5
    assert other.recvfrom(100) == (b"hello", one.getsockname())
    assert other.sendto(b"flags too", 0, one.getsockname()) == 9
    assert one.recvfrom(100)[0] == b"flags too"


def test_recvfrom_waits(udp, ticker):
    one, other = udp
    waiting = spawn(one.recvfrom, 100)
    with ticker:
        sleep(0.01)
        assert waiting.alive
        other.sendto(b"late", one.getsockname())
        assert waiting.result() == (b"late", other.getsockname())


def test_recvfrom_into(udp):
    one, other = udp
    buffer = bytearray(8)
    other.sendto(b"abc", one.getsockname())
    assert one.recvfrom_into(buffer) == (3, other.getsockname())
    assert buffer == b"abc\0\0\0\0\0"
    other.sendto(b"defgh", one.getsockname())
    assert one.recvfrom_into(memoryview(buffer)[4:], 2)[0] == 2
    assert buffer == b"abc\0de\0\0"


def test_connected(udp):
    one, other = udp
    one.connect(other.getsockname())
    other.connect(one.getsockname())
    assert one.send(b"to my peer") == 10
    assert other.recv(100) == b"to my peer"
    one.sendall(b"again")
    buffer = bytearray(10)
    assert other.recv_into(buffer) == 5
    assert one.getpeername() == other.getsockname()


def test_each_recv_is_one_datagram(udp):
    one, other = udp
    one.connect(other.getsockname())
    for message in (b"first", b"", b"third"):
        one.send(message)
    assert [other.recv(100) for _ in range(3)] == [b"first", b"", b"third"]


@pytest.mark.parametrize("size", [4, 20_000])
def test_what_does_not_fit_is_cut(udp, size):
    one, other = udp
    message = bytes(range(256)) * 120
    receives = [lambda: other.recv(size), lambda: other.recvfrom(size)[0]]
    if HAS_MESSAGES:
        receives.append(lambda: other.recvmsg(size)[0])
    for receive in receives:
        one.sendto(message, other.getsockname())
        one.sendto(b"next", other.getsockname())
        assert receive() == message[:size]
        assert other.recv(100) == b"next"


@needs("socket.socket.recvmsg")
def test_truncation_is_told(udp):
    one, other = udp
    one.sendto(b"123456789", other.getsockname())
    data, control, flags, address = other.recvmsg(4)
    assert (data, control, address) == (b"1234", [], one.getsockname())
    assert flags & socket.MSG_TRUNC
    one.sendto(b"123456789", other.getsockname())
    assert not other.recvmsg(9)[2] & socket.MSG_TRUNC
    one.sendto(b"123456789", other.getsockname())
    buffers = [bytearray(2), bytearray(3)]
    count, _control, flags, _address = other.recvmsg_into(buffers)
    assert (count, buffers) == (5, [bytearray(b"12"), bytearray(b"345")])
    assert flags & socket.MSG_TRUNC


def test_largest_datagram(udp):
    one, other = udp
    message = bytes(65_507)
    one.sendto(message, other.getsockname())
    assert other.recv(1 << 17) == message
    with pytest.raises(OSError) as caught:
        one.sendto(bytes(65_508), other.getsockname())
    assert caught.value.errno == errno.EMSGSIZE


@needs("socket.socket.sendmsg")
def test_sendmsg_to_an_address(udp):
    one, other = udp
    assert one.sendmsg([b"two ", b"parts"], [], 0, other.getsockname()) == 9
    assert other.recvfrom(100) == (b"two parts", one.getsockname())


@needs("socket.socket.recvmsg")
def test_control_data(udp):
    one, other = udp
    other.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
    one.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, 0x10)
    one.sendto(b"x", other.getsockname())
    _data, control, _flags, _address = other.recvmsg(100, socket.CMSG_SPACE(1))
    assert control == [(socket.IPPROTO_IP, socket.IP_TOS, b"\x10")]


@needs("socket.socket.recvmsg")
def test_control_data_that_does_not_fit_is_told(udp):
    one, other = udp
    other.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
    one.sendto(b"x", other.getsockname())
    _data, control, flags, _address = other.recvmsg(100, 0)
    assert control == []
    assert flags & socket.MSG_CTRUNC


def test_by_name(udp):
    one, other = udp
    one.sendto(b"by name", ("localhost", other.getsockname()[1]))
    assert other.recv(100) == b"by name"


@wine_fails("nobody is told that a datagram's destination is not there")
def test_refused_by_a_peer_that_is_gone(udp):
    one, other = udp
    one.settimeout(1)
    one.connect(other.getsockname())
    other.close()
    one.send(b"into the void")
    sleep(0.01)
    with pytest.raises(ConnectionRefusedError):
        one.recv(100)


def test_timeouts(udp):
    one, _other = udp
    one.settimeout(0.01)
    for receive in (
        lambda: one.recv(10),
        lambda: one.recvfrom(10),
        lambda: one.recvfrom_into(bytearray(10)),
        *([lambda: one.recvmsg(10)] if HAS_MESSAGES else []),
    ):
        started = time.perf_counter()
        with pytest.raises(TimeoutError, match="timed out"):
            receive()
        assert time.perf_counter() - started >= 0.01


def test_non_blocking(udp):
    one, other = udp
    one.setblocking(False)
    receives = [lambda: one.recv(10), lambda: one.recvfrom(10)]
    if HAS_MESSAGES:
        receives.append(lambda: one.recvmsg(10))
    for receive in receives:
        with pytest.raises(BlockingIOError):
            receive()
    other.sendto(b"x", one.getsockname())
    assert one.recvfrom(10)[0] == b"x"


def test_broadcast_needs_the_option(udp):
    one, _other = udp
    with pytest.raises(PermissionError):
        one.sendto(b"x", ("255.255.255.255", 9))
    with pytest.raises(PermissionError):
        one.sendto(b"x", ("<broadcast>", 9))
    one.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    assert one.getsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST)


def test_wrong_arguments(udp):
    one, other = udp
    for arguments in ((b"x",), (b"x", 0, other.getsockname(), 3), ("text", other.getsockname()), (b"x", "address")):
        with pytest.raises(TypeError):
            one.sendto(*arguments)


def test_peek(udp):
    one, other = udp
    one.sendto(b"peeked", other.getsockname())
    assert other.recvfrom(3, socket.MSG_PEEK) == (b"pee", one.getsockname())
    assert other.recv(100, socket.MSG_PEEK) == b"peeked"
    assert other.recvfrom(100)[0] == b"peeked"


def test_several_receivers_get_each_datagram_once(udp):
    one, other = udp
    receivers = [spawn(other.recvfrom, 100) for _ in range(50)]
    sleep(0.001)
    for number in range(50):
        one.sendto(b"%d" % number, other.getsockname())
    got = sorted(int(receiver.result()[0]) for receiver in receivers)
    assert got == list(range(50))


def test_an_echo_server_for_many_clients(udp):
    server, _other = udp

    def echo():
        while True:
            data, address = server.recvfrom(100)
            server.sendto(data.upper(), address)

    def ask(number):
        with socket.socket(type=socket.SOCK_DGRAM) as client:
            client.connect(server.getsockname())
            client.send(b"client %d" % number)
            return client.recv(100)

    serving = spawn(echo)
    clients = [spawn(ask, number) for number in range(100)]
    assert [client.result() for client in clients] == [b"CLIENT %d" % number for number in range(100)]
    serving.cancel()
    assert isinstance(serving.exception(), TaskletExit)


def test_a_close_wakes_who_receives(udp):
    one, _other = udp
    waiting = [spawn(one.recvfrom, 10), spawn(one.recv, 10)]
    if HAS_MESSAGES:
        waiting.append(spawn(one.recvmsg, 10))
    sleep(0.005)
    one.close()
    all_find_it_closed(waiting)
    overlapped.run()


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone has a queue of errors")
@pytest.mark.parametrize("timeout", [None, 60, 0])
def test_an_empty_queue_of_errors_says_so_at_once(udp, timeout):
    one, other = udp
    one.setsockopt(socket.IPPROTO_IP, 11, 1)  # IP_RECVERR
    other.sendto(b"data is no error", one.getsockname())
    one.settimeout(timeout)
    for receive in (
        lambda: one.recv(100, socket.MSG_ERRQUEUE),
        lambda: one.recv_into(bytearray(100), 100, socket.MSG_ERRQUEUE),
        lambda: one.recvfrom(100, socket.MSG_ERRQUEUE),
        lambda: one.recvfrom_into(bytearray(100), 100, socket.MSG_ERRQUEUE),
        lambda: one.recvmsg(100, 1000, socket.MSG_ERRQUEUE),
        lambda: one.recvmsg_into([bytearray(100)], 1000, socket.MSG_ERRQUEUE),
    ):
        with pytest.raises(BlockingIOError):
            receive()
    assert one.recv(100) == b"data is no error"


@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone has a queue of errors")
def test_an_error_is_read_from_its_queue_with_what_was_sent(udp):
    one, other = udp
    nobody = other.getsockname()
    other.close()
    one.setsockopt(socket.IPPROTO_IP, 11, 1)  # IP_RECVERR
    one.sendto(b"into the void", nobody)
    with pytest.raises(ConnectionRefusedError):
        one.recvfrom(100)
    data, control, flags, address = one.recvmsg(100, 1000, socket.MSG_ERRQUEUE)
    assert (data, address) == (b"into the void", nobody)
    assert flags & socket.MSG_ERRQUEUE
    assert [(level, kind) for level, kind, _ in control] == [(socket.IPPROTO_IP, 11)]


@unix_only("there is no MSG_TRUNC to ask with")
@pytest.mark.skipif(sys.platform != "linux", reason="Linux alone tells the length of what it has cut")
def test_a_receive_with_msg_trunc_tells_the_true_length(udp):
    one, other = udp
    message = bytes(range(1, 101))
    buffer = bytearray(10)
    for receive in (
        lambda: other.recv(10, socket.MSG_TRUNC),
        lambda: other.recvfrom(10, socket.MSG_TRUNC)[0],
        lambda: other.recvmsg(10, 0, socket.MSG_TRUNC)[0],
    ):
        one.sendto(message, other.getsockname())
        data = receive()
        assert len(data) == 100
        # What is beyond the size was never received; it is nobody else's memory either.
        assert data == message[:10] + bytes(90)
    for receive_into in (
        lambda: other.recv_into(buffer, 10, socket.MSG_TRUNC),
        lambda: other.recvfrom_into(buffer, 10, socket.MSG_TRUNC)[0],
        lambda: other.recvmsg_into([buffer], 0, socket.MSG_TRUNC)[0],
    ):
        one.sendto(message, other.getsockname())
        assert receive_into() == 100
        assert buffer == message[:10]
    one.sendto(message, other.getsockname())
    assert other.recv(0, socket.MSG_PEEK | socket.MSG_TRUNC) in (bytes(100), b"")
    assert other.recv(200, socket.MSG_TRUNC) == message


@unix_only("its call for datagrams gives an address in any case")
def test_a_connected_stream_has_no_sender(pair):
    client, server = pair
    for receive in (lambda: server.recvfrom(1), lambda: server.recvmsg(1), lambda: server.recvfrom_into(bytearray(1))):
        client.send(b"x")
        assert receive()[-1] is None


def test_who_sends_and_receives_what_is_there_lets_others_run(udp):
    one, other = udp
    turns = []

    def work():
        for _ in range(2000):
            one.sendto(b"x", other.getsockname())
            other.recvfrom(10)

    def count():
        while working.alive:
            turns.append(None)
            sleep(0)

    working = spawn(work)
    spawn(count)
    working.result()
    overlapped.run()
    assert len(turns) > 10


@unix_only("a socket that was shut down says so there by an error")
@pytest.mark.parametrize("timeout", [None, 60])
def test_a_receive_on_what_was_shut_down_is_the_end(udp, timeout):
    one, other = udp
    one.connect(other.getsockname())
    one.settimeout(timeout)
    waiting = [spawn(one.recv, 10), spawn(one.recvfrom, 10), spawn(one.recvmsg, 10)]
    sleep(0)
    one.shutdown(socket.SHUT_RD)
    assert [tasklet.result(20) for tasklet in waiting] == [b"", (b"", None), (b"", [], 0, None)]
    assert one.recv(10) == one.recvfrom(10)[0] == one.recvmsg(10)[0] == b""
    assert one.recv_into(bytearray(10)) == one.recvfrom_into(bytearray(10))[0] == 0


def test_those_who_receive_are_served_in_the_order_in_which_they_came(udp):
    one, other = udp
    receives = [other.recvfrom, other.recv] + ([other.recvmsg] if HAS_MESSAGES else [])
    waiting = [spawn(receives[number % len(receives)], 100) for number in range(60)]
    sleep(0.001)
    for number in range(60):
        one.sendto(b"%d" % number, other.getsockname())
    got = [tasklet.result() for tasklet in waiting]
    assert [data if isinstance(data, bytes) else data[0] for data in got] == [b"%d" % number for number in range(60)]
