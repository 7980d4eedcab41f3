"""TCP on `overlapped.socket`: what blocks blocks the caller alone; everything else is as in the standard library."""

from __future__ import annotations

import array
import errno
import gc
import io as std_io
import os
import pickle
import select
import socket as std_socket
import struct
import threading
import time

import pytest

import overlapped
from overlapped import TaskletExit, sleep, socket, spawn

MB = 1 << 20


def pattern(size: int) -> bytes:
    """Bytes in which a shift shows: no two places within 64 KiB look alike."""
    numbers = array.array("H", range(1 << 16))
    return (numbers.tobytes() * (size // (1 << 17) + 1))[:size]


def read_all(sock: socket.socket, piece: int = 1 << 16) -> bytes:
    """What comes until the end."""
    pieces = []
    while data := sock.recv(piece):
        pieces.append(data)
    return b"".join(pieces)


def reset(sock: socket.socket) -> None:
    """Closes a connection so that the other end sees a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


# The module.


def test_module_has_every_name_of_the_original():
    missing = [name for name in std_socket.__all__ if not hasattr(socket, name)]
    assert missing == []
    assert set(socket.__all__) == set(std_socket.__all__)
    assert socket.timeout is TimeoutError
    assert socket.error is OSError
    assert socket.AF_INET is std_socket.AF_INET


def test_class_is_a_subclass_of_the_original(pair):
    client, server = pair
    assert isinstance(client, std_socket.socket)
    assert type(server) is socket.socket
    assert "overlapped" in repr(client)
    assert f"fd={client.fileno()}" in repr(client)


def test_cannot_be_pickled(pair):
    with pytest.raises(TypeError, match="pickle"):
        pickle.dumps(pair[0])


# Receiving and sending.


@pytest.mark.parametrize("size", [1, 100, 16 << 10, (16 << 10) + 1, 100_000, MB])
def test_recv_of_all_sizes(pair, size):
    client, server = pair
    data = pattern(300_000)
    sender = spawn(lambda: (client.sendall(data), client.shutdown(socket.SHUT_WR)))
    got = []
    while piece := server.recv(size):
        assert len(piece) <= size
        got.append(piece)
        if size == 1 and len(got) == 2000:
            break
    received = b"".join(got)
    assert received == data[: len(received)]
    if size > 1:
        assert len(received) == len(data)
    else:
        assert read_all(server) == data[2000:]
    sender.result()


def test_recv_of_changing_sizes_keeps_the_order(pair):
    client, server = pair
    data = pattern(400_000)
    sender = spawn(lambda: (client.sendall(data), client.shutdown(socket.SHUT_WR)))
    sizes = [10, 20_000, 1, 16_384, 65_536, 3, 100_000]
    got, turn = b"", 0
    while piece := server.recv(sizes[turn % len(sizes)]):
        got += piece
        turn += 1
    assert got == data
    sender.result()


def test_recv_zero_and_negative(pair):
    client, server = pair
    client.sendall(b"x")
    assert server.recv(0) == b""
    with pytest.raises(ValueError, match="negative"):
        server.recv(-1)
    assert server.recv(1) == b"x"


def test_recv_wrong_arguments(pair):
    for arguments in ((), ("1",), (1, 2, 3), (None,), (1.5,)):
        with pytest.raises(TypeError):
            pair[0].recv(*arguments)


def test_recv_of_an_impossible_size(pair):
    with pytest.raises(OverflowError):
        pair[0].recv(1 << 63)


def test_recv_after_the_end_again(pair):
    client, server = pair
    client.close()
    for size in (10, 100_000):
        assert server.recv(size) == b""
        assert server.recv_into(bytearray(size)) == 0


@pytest.mark.parametrize("size", [100, 100_000])
def test_recv_into(pair, size):
    client, server = pair
    data = pattern(size)
    client.sendall(data)
    got = bytearray(size)
    done = 0
    while done < size:
        done += server.recv_into(memoryview(got)[done:])
    assert got == data


def test_recv_into_buffers_of_all_kinds(pair):
    client, server = pair
    client.sendall(b"abcdefghijklmnopqrstuvwxyz")
    plain = bytearray(4)
    assert server.recv_into(plain) == 4
    assert plain == b"abcd"
    assert server.recv_into(plain, 2) == 2
    assert plain == b"efcd"
    assert server.recv_into(buffer=plain, nbytes=1, flags=socket.MSG_PEEK) == 1
    assert plain == b"gfcd"
    numbers = array.array("I", [0, 0])
    assert server.recv_into(numbers) == 8
    assert numbers.tobytes() == b"ghijklmn"
    sliced = bytearray(b"........")
    assert server.recv_into(memoryview(sliced)[2:5]) == 3
    assert sliced == b"..opq..."
    assert server.recv_into(bytearray()) == 0


def test_recv_into_refuses_what_is_wrong(pair):
    server = pair[1]
    with pytest.raises(TypeError):
        server.recv_into(b"read-only")
    with pytest.raises(TypeError):
        server.recv_into()
    with pytest.raises(ValueError, match="too small"):
        server.recv_into(bytearray(3), 4)
    with pytest.raises(ValueError, match="negative"):
        server.recv_into(bytearray(3), -1)
    with pytest.raises(TypeError):
        server.recv_into(bytearray(3), what=1)
    with pytest.raises(TypeError):
        server.recv_into(memoryview(bytearray(8))[::2])


def test_a_buffer_that_is_received_into_cannot_be_resized(pair):
    client, server = pair
    buffer = bytearray(8)
    tasklet = spawn(server.recv_into, buffer)
    sleep(0.001)
    with pytest.raises(BufferError):
        buffer.extend(b"more")
    client.sendall(b"12345678")
    assert tasklet.result() == 8
    buffer.extend(b"more")


@pytest.mark.parametrize("make", [bytes, bytearray, memoryview, lambda data: array.array("B", data)])
def test_send_and_sendall_of_buffers_of_all_kinds(pair, make):
    client, server = pair
    assert client.send(make(b"hello ")) == 6
    assert client.sendall(make(b"world")) is None
    client.shutdown(socket.SHUT_WR)
    assert read_all(server) == b"hello world"


def test_send_nothing(pair):
    client, server = pair
    assert client.send(b"") == 0
    assert client.sendall(b"") is None
    client.close()
    assert server.recv(1) == b""


def test_send_wrong_arguments(pair):
    for arguments in (("text",), (), (b"x", 0, 0), (b"x", "0"), (None,)):
        with pytest.raises(TypeError):
            pair[0].send(*arguments)
        with pytest.raises(TypeError):
            pair[0].sendall(*arguments)


def test_sendall_of_50_megabytes_waits_for_a_slow_reader(pair, ticker):
    client, server = pair
    data = pattern(50 * MB)
    received = 0

    def read_slowly():
        nonlocal received
        view = memoryview(bytearray(MB))
        while count := server.recv_into(view):
            assert view[:count] == data[received : received + count]
            received += count
            if received % 8 == 0:
                sleep(0)

    reader = spawn(read_slowly)
    with ticker:
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        reader.result()
    assert received == len(data)
    assert ticker.ticks >= 3


def test_sendall_with_a_timeout_says_so(pair):
    client, server = pair
    client.settimeout(0.05)
    started = time.monotonic()
    with pytest.raises(TimeoutError, match="timed out"):
        client.sendall(bytes(50 * MB))
    assert 0.05 <= time.monotonic() - started < 20
    client.shutdown(socket.SHUT_WR)
    assert 0 < len(read_all(server)) < 50 * MB


def test_send_of_much_sends_a_part(pair):
    client, server = pair
    client.settimeout(5)
    sent = client.send(bytes(50 * MB))
    assert 0 < sent < 50 * MB
    client.shutdown(socket.SHUT_WR)
    assert len(read_all(server)) == sent


def test_two_tasklets_send_and_two_receive_on_one_connection(pair):
    """Sends of different tasklets are each whole on the stream where they are small; nothing is lost."""
    client, server = pair
    record = 64

    def send(letter):
        for _ in range(500):
            client.sendall(letter * record)

    senders = [spawn(send, bytes([65 + number])) for number in range(4)]

    def receive():
        got = b""
        while piece := server.recv(1000):
            got += piece
        return got

    receivers = [spawn(receive) for _ in range(2)]
    for sender in senders:
        sender.result()
    client.shutdown(socket.SHUT_WR)
    received = b"".join(receiver.result() for receiver in receivers)
    for number in range(4):
        assert received.count(bytes([65 + number])) == 500 * record


def test_both_directions_at_once(pair):
    client, server = pair
    data = pattern(4 * MB)

    def send(sock):
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)

    tasklets = [spawn(send, client), spawn(send, server)]
    readers = [spawn(read_all, client), spawn(read_all, server)]
    for tasklet in tasklets:
        tasklet.result()
    assert all(reader.result() == data for reader in readers)


# Flags.


def test_peek(pair):
    client, server = pair
    client.sendall(b"peeked at")
    for _ in range(3):
        assert server.recv(6, socket.MSG_PEEK) == b"peeked"
    assert server.recv(100_000, socket.MSG_PEEK) == b"peeked at"
    assert server.recv(100) == b"peeked at"


def test_peek_sees_all_that_is_asked_for(pair):
    client, server = pair
    data = pattern(60_000)
    client.sendall(data)
    while len(server.recv(100_000, socket.MSG_PEEK)) < len(data):
        sleep(0.001)
    assert server.recv(100_000, socket.MSG_PEEK) == data
    assert server.recv(60_000, socket.MSG_WAITALL) == data


def test_peek_waits(pair):
    client, server = pair
    tasklet = spawn(server.recv, 10, socket.MSG_PEEK)
    sleep(0.005)
    assert tasklet.alive
    client.sendall(b"now")
    assert tasklet.result() == b"now"
    assert server.recv(10) == b"now"


@pytest.mark.parametrize("size", [9, 60_000])
def test_waitall(pair, size):
    client, server = pair
    data = pattern(size)
    tasklet = spawn(server.recv, size, socket.MSG_WAITALL)
    for at in range(0, size, size // 3):
        sleep(0.002)
        assert tasklet.alive
        client.sendall(data[at : at + size // 3])
    assert tasklet.result() == data


def test_waitall_with_the_end_in_between(pair):
    client, server = pair
    tasklet = spawn(server.recv, 100, socket.MSG_WAITALL)
    sleep(0.001)
    client.sendall(b"part")
    client.close()
    assert tasklet.result() == b"part"


def test_dontwait(pair):
    client, server = pair
    with pytest.raises(BlockingIOError):
        server.recv(10, socket.MSG_DONTWAIT)
    with pytest.raises(BlockingIOError):
        server.recv_into(bytearray(10), 0, socket.MSG_DONTWAIT)
    client.sendall(b"x")
    sleep(0.01)
    assert server.recv(10, socket.MSG_DONTWAIT) == b"x"
    assert client.send(b"y", socket.MSG_DONTWAIT) == 1
    with pytest.raises(BlockingIOError):
        while True:
            client.send(bytes(MB), socket.MSG_DONTWAIT)


def test_out_of_band(pair):
    client, server = pair
    client.send(b"!", socket.MSG_OOB)
    sleep(0.01)
    assert server.recv(1, socket.MSG_OOB) == b"!"


# Time-outs and non-blocking mode.


def test_timeout_of_each_call(listener, pair):
    client, _server = pair
    client.settimeout(0.01)
    listener.settimeout(0.01)
    for call in (
        lambda: client.recv(1),
        lambda: client.recv(1 << 20),
        lambda: client.recv_into(bytearray(1)),
        lambda: client.recvfrom(1),
        lambda: client.recvmsg(1),
        listener.accept,
    ):
        started = time.monotonic()
        with pytest.raises(TimeoutError, match="timed out"):
            call()
        assert 0.01 <= time.monotonic() - started < 20


def test_data_just_in_time(pair):
    client, server = pair
    client.settimeout(10)
    spawn(lambda: (sleep(0.02), server.sendall(b"in time")))
    assert client.recv(100) == b"in time"
    overlapped.run()


def test_blocking_modes():
    with socket.socket() as sock:
        assert sock.gettimeout() is None
        assert sock.getblocking()
        sock.setblocking(False)
        assert sock.gettimeout() == 0
        assert not sock.getblocking()
        sock.settimeout(1.5)
        assert sock.gettimeout() == 1.5
        assert sock.timeout == 1.5
        for wrong in (-1, "1"):
            with pytest.raises((ValueError, TypeError)):
                sock.settimeout(wrong)


def test_default_timeout():
    socket.setdefaulttimeout(0.01)
    try:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            assert listener.gettimeout() == 0.01
            with pytest.raises(TimeoutError):
                listener.accept()
    finally:
        socket.setdefaulttimeout(None)


def test_non_blocking_socket_behaves_as_always(listener):
    listener.setblocking(False)
    with pytest.raises(BlockingIOError):
        listener.accept()
    with socket.socket() as client:
        client.setblocking(False)
        assert client.connect_ex(listener.getsockname()) in (0, errno.EINPROGRESS)
        assert select.select([listener], [], [], 5)[0]
        server, _address = listener.accept()
        with server:
            server.setblocking(False)
            assert select.select([], [client], [], 5)[1]
            assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
            for call in (lambda: server.recv(1), lambda: server.recv_into(bytearray(1)), lambda: server.recvfrom(1)):
                with pytest.raises(BlockingIOError):
                    call()
            client.send(b"x")
            assert select.select([server], [], [], 5)[0]
            assert server.recv(10) == b"x"
            with pytest.raises(BlockingIOError):
                while True:
                    server.send(bytes(MB))
            with pytest.raises(BlockingIOError):
                server.sendall(bytes(MB))


def test_mode_changed_while_another_tasklet_waits(pair):
    """The wait goes on as it began; later calls are of the new mode."""
    client, server = pair
    waiting = spawn(client.recv, 10)
    sleep(0.001)
    client.settimeout(0.005)
    sleep(0.01)
    assert waiting.alive
    server.sendall(b"x")
    assert waiting.result() == b"x"
    with pytest.raises(TimeoutError):
        client.recv(1)


# Accepting and connecting.


def test_accept_times_out_then_takes_a_thousand_connections(listener):
    """The socket scene: each of a thousand connections is sent its own message and disconnected."""
    listener.settimeout(0.01)
    with pytest.raises(TimeoutError):
        listener.accept()
    listener.settimeout(None)
    count = 1000

    def serve():
        for _ in range(count):
            connection, _address = listener.accept()
            spawn(greet, connection)

    def greet(connection):
        with connection:
            number = connection.recv(16)
            connection.sendall(b"message for " + number)

    def visit(number):
        with socket.create_connection(listener.getsockname()) as client:
            client.sendall(b"%d" % number)
            return read_all(client)

    server = spawn(serve)
    clients = [spawn(visit, number) for number in range(count)]
    for number, client in enumerate(clients):
        assert client.result() == b"message for %d" % number
    server.result()
    overlapped.run()


def test_accept_gives_the_address_of_the_peer(listener):
    with socket.create_connection(listener.getsockname()) as client:
        server, address = listener.accept()
        with server:
            assert address == client.getsockname() == server.getpeername()
            assert server.getsockname() == client.getpeername() == listener.getsockname()
            assert server.family == socket.AF_INET
            assert server.type == socket.SOCK_STREAM
            assert server.gettimeout() is None
            assert not server.get_inheritable()
            assert not listener.get_inheritable()


def test_an_accepted_connection_is_blocking_though_the_listener_has_a_timeout(listener):
    listener.settimeout(5)
    with socket.create_connection(listener.getsockname()), listener.accept()[0] as server:
        assert server.gettimeout() is None


def test_several_tasklets_accept(listener):
    got = []

    def serve():
        connection, _address = listener.accept()
        with connection:
            got.append(connection.recv(10))

    servers = [spawn(serve) for _ in range(5)]
    for number in range(5):
        with socket.create_connection(listener.getsockname()) as client:
            client.sendall(b"%d" % number)
    for server in servers:
        server.result()
    assert sorted(got) == [b"0", b"1", b"2", b"3", b"4"]


def test_connect_refused():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = free.getsockname()
    with socket.socket() as sock:
        with pytest.raises(ConnectionRefusedError) as caught:
            sock.connect(address)
        assert caught.value.errno == errno.ECONNREFUSED
        assert [sock.connect_ex(address) for _ in range(3)] == [errno.ECONNREFUSED] * 3
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)


def full_listener() -> tuple[socket.socket, list[socket.socket]]:
    """A listener whose queue is full: further connects get no answer."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=0)
    waiting = []
    for _ in range(8):
        sock = socket.socket()
        sock.setblocking(False)
        sock.connect_ex(listener.getsockname())
        waiting.append(sock)
    sleep(0.01)
    return listener, waiting


def test_connect_times_out():
    listener, waiting = full_listener()
    with listener, socket.socket() as sock:
        sock.settimeout(0.05)
        started = time.monotonic()
        with pytest.raises(TimeoutError):
            sock.connect(listener.getsockname())
        assert 0.05 <= time.monotonic() - started < 20
    with socket.socket() as sock:
        sock.settimeout(0.01)
        assert sock.connect_ex(("127.0.0.1", 1)) == errno.ECONNREFUSED
    for other in waiting:
        other.close()


def test_connect_ex_times_out():
    listener, waiting = full_listener()
    with listener, socket.socket() as sock:
        sock.settimeout(0.02)
        assert sock.connect_ex(listener.getsockname()) == errno.EAGAIN
    for other in waiting:
        other.close()


def test_connect_in_a_cancelled_tasklet():
    listener, waiting = full_listener()
    with listener, socket.socket() as sock:
        tasklet = spawn(sock.connect, listener.getsockname())
        sleep(0.01)
        tasklet.cancel()
        assert isinstance(tasklet.exception(5), TaskletExit)
    for other in waiting:
        other.close()


def test_connect_twice(pair):
    client, _server = pair
    with pytest.raises(OSError) as caught:
        client.connect(client.getpeername())
    assert caught.value.errno == errno.EISCONN
    assert client.connect_ex(client.getpeername()) == errno.EISCONN


def test_addresses_that_are_wrong():
    with socket.socket() as sock:
        for address in (("127.0.0.1",), "127.0.0.1", ("127.0.0.1", "http"), (1, 2), None):
            with pytest.raises(TypeError):
                sock.connect(address)
        for port in (-1, 65536):
            with pytest.raises(OverflowError):
                sock.connect(("127.0.0.1", port))


def test_connect_and_bind_by_name(monkeypatch):
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        listener.listen()
        with socket.socket() as client:
            client.connect(("localhost", listener.getsockname()[1]))
            server, _address = listener.accept()
            server.close()


def test_bind_in_use(listener):
    with socket.socket() as sock, pytest.raises(OSError) as caught:
        sock.bind(listener.getsockname())
    assert caught.value.errno == errno.EADDRINUSE


def test_create_connection_all_errors():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(ExceptionGroup) as caught:
        socket.create_connection(("localhost", port), all_errors=True)
    assert all(isinstance(error, ConnectionRefusedError) for error in caught.value.exceptions)
    assert 1 <= len(caught.value.exceptions) <= 2
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("localhost", port))


def test_create_connection_options(listener):
    with (
        socket.create_connection(listener.getsockname(), timeout=7, source_address=("127.0.0.1", 0)) as client,
        listener.accept()[0],
    ):
        assert client.gettimeout() == 7
        assert type(client) is socket.socket


def test_create_server_options():
    with socket.create_server(("127.0.0.1", 0), backlog=3, reuse_port=True) as listener:
        assert type(listener) is socket.socket
        assert listener.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)
        assert listener.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)


needs_ipv6 = pytest.mark.skipif(not os.path.exists("/proc/net/if_inet6"), reason="this machine has no IPv6")


@needs_ipv6
def test_ipv6():
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        with socket.create_connection(listener.getsockname()[:2]) as client:
            server, address = listener.accept()
            with server:
                assert len(address) == 4
                assert address[0] == "::1"
                assert address == client.getsockname()
                client.sendall(b"six")
                assert server.recv(10) == b"six"
        with socket.socket(socket.AF_INET6) as client:
            client.connect(("::1", listener.getsockname()[1], 0, 0))
            listener.accept()[0].close()


@needs_ipv6
def test_dual_stack_server():
    assert socket.has_dualstack_ipv6()
    with socket.create_server(("", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
        port = listener.getsockname()[1]
        for host, seen in (("127.0.0.1", "::ffff:127.0.0.1"), ("::1", "::1")):
            with socket.create_connection((host, port)):
                server, address = listener.accept()
                server.close()
                assert address[0] == seen


# Errors of a connection.


@pytest.mark.parametrize("size", [10, 100_000])
def test_a_reset_is_connection_reset(pair, size):
    client, server = pair
    waiting = spawn(server.recv, size)
    sleep(0.001)
    reset(client)
    with pytest.raises(ConnectionResetError):
        waiting.result()


def test_a_reset_shows_in_recv_into_and_send(pair, capsys):
    client, server = pair
    reset(client)
    sleep(0.01)
    with pytest.raises(ConnectionResetError):
        server.recv_into(bytearray(10))
    with pytest.raises(BrokenPipeError):
        server.send(b"x")
    with pytest.raises(BrokenPipeError):
        server.sendall(b"x")


def test_broken_pipe_after_shutdown(pair):
    client, _server = pair
    client.shutdown(socket.SHUT_WR)
    with pytest.raises(BrokenPipeError):
        client.send(b"x")
    with pytest.raises(BrokenPipeError):
        client.sendall(bytes(MB))


def test_sendall_to_a_peer_that_goes_away(pair):
    client, server = pair
    sender = spawn(client.sendall, bytes(50 * MB))
    sleep(0.01)
    assert sender.alive
    server.close()
    with pytest.raises((BrokenPipeError, ConnectionResetError)):
        sender.result()


def test_not_connected():
    with socket.socket() as sock:
        for call in (lambda: sock.recv(1), lambda: sock.recv(100_000), lambda: sock.recv_into(bytearray(1))):
            with pytest.raises(OSError) as caught:
                call()
            assert caught.value.errno == errno.ENOTCONN
        with pytest.raises(OSError) as caught:
            sock.send(b"x")
        assert caught.value.errno in (errno.EPIPE, errno.ENOTCONN)
        with pytest.raises(OSError) as caught:
            sock.accept()
        assert caught.value.errno == errno.EINVAL


def test_accept_on_a_connection(pair):
    with pytest.raises(OSError) as caught:
        pair[0].accept()
    assert caught.value.errno == errno.EINVAL


def test_every_call_on_a_closed_socket():
    sock = socket.socket()
    sock.close()
    sock.close()
    assert sock.fileno() == -1
    for call in (
        lambda: sock.recv(1),
        lambda: sock.recv(100_000),
        lambda: sock.recv_into(bytearray(1)),
        lambda: sock.recvfrom(1),
        lambda: sock.recvmsg(1),
        lambda: sock.send(b"x"),
        lambda: sock.sendall(b"x"),
        lambda: sock.sendto(b"x", ("127.0.0.1", 1)),
        lambda: sock.sendmsg([b"x"]),
        lambda: sock.connect(("127.0.0.1", 1)),
        lambda: sock.bind(("127.0.0.1", 0)),
        sock.accept,
        sock.listen,
        sock.getsockname,
        lambda: sock.shutdown(socket.SHUT_RD),
        sock.dup,
    ):
        with pytest.raises(OSError) as caught:
            call()
        assert caught.value.errno == errno.EBADF


# Closing and shutting down while others wait.


@pytest.mark.parametrize(
    "wait",
    [
        lambda sock: sock.recv(10),
        lambda sock: sock.recv(100_000),
        lambda sock: sock.recv_into(bytearray(10)),
        lambda sock: sock.recvfrom(10),
        lambda sock: sock.recvmsg(10),
        lambda sock: sock.sendall(bytes(50 * MB)),
    ],
    ids=["recv", "large recv", "recv_into", "recvfrom", "recvmsg", "sendall"],
)
@pytest.mark.parametrize("timeout", [None, 60])
def test_a_close_wakes_who_waits(pair, wait, timeout):
    client, _server = pair
    client.settimeout(timeout)
    waiting = [spawn(wait, client) for _ in range(3)]
    sleep(0.01)
    client.close()
    for tasklet in waiting:
        with pytest.raises(OSError) as caught:
            tasklet.result(5)
        assert caught.value.errno == errno.EBADF


def test_a_close_wakes_who_accepts():
    listener = socket.create_server(("127.0.0.1", 0))
    waiting = [spawn(listener.accept) for _ in range(3)]
    sleep(0.001)
    listener.close()
    for tasklet in waiting:
        with pytest.raises(OSError) as caught:
            tasklet.result(5)
        assert caught.value.errno == errno.EBADF


def test_a_close_tells_the_peer(pair):
    client, server = pair
    waiting = spawn(client.recv, 10)
    sleep(0.001)
    client.close()
    assert server.recv(10) == b""
    with pytest.raises(OSError):
        waiting.result()


def test_a_number_given_away_is_not_read_by_who_waited(pair, listener):
    """A closed descriptor's number is used again at once: what waited on the old socket must not touch the new one."""
    client, _server = pair
    waiting = spawn(client.recv, 10)
    sleep(0.001)
    number = client.fileno()
    client.close()
    fresh = socket.create_connection(listener.getsockname())
    with fresh, listener.accept()[0] as other:
        assert fresh.fileno() == number
        other.sendall(b"for the new one")
        with pytest.raises(OSError):
            waiting.result()
        assert fresh.recv(100) == b"for the new one"


def test_shutdown_wakes_who_receives(pair):
    client, server = pair
    waiting = spawn(client.recv, 10)
    sleep(0.001)
    client.shutdown(socket.SHUT_RD)
    assert waiting.result(5) == b""
    server.sendall(b"x")


def test_half_close(pair):
    client, server = pair
    client.sendall(b"question")
    client.shutdown(socket.SHUT_WR)
    assert read_all(server) == b"question"
    server.sendall(b"answer")
    server.close()
    assert read_all(client) == b"answer"


def test_closing_a_socket_with_unsent_data_still_sends_it(listener):
    data = pattern(200_000)
    with socket.create_connection(listener.getsockname()) as client, listener.accept()[0] as server:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 * len(data))
        client.sendall(data)
        client.close()
        assert read_all(server) == data


# Files on sockets.


def test_makefile_in_all_modes(pair):
    client, server = pair
    with server.makefile("w", encoding="utf-8", newline="\r\n") as text, server.makefile("wb") as binary:
        assert isinstance(text, std_io.TextIOWrapper)
        text.write("Zeile eins\nZeile zwei\n")
        text.flush()
        binary.write(b"raw")
        binary.flush()
    server.shutdown(socket.SHUT_WR)
    with client.makefile("r", encoding="utf-8") as text:
        assert text.readline() == "Zeile eins\n"
        assert text.read() == "Zeile zwei\nraw"


def test_makefile_unbuffered_and_both_ways(pair):
    client, server = pair
    with client.makefile("rwb") as file, server.makefile("rwb", buffering=0) as raw:
        assert isinstance(raw, std_io.RawIOBase)
        raw.write(b"to the client\n")
        assert file.readline() == b"to the client\n"
        file.write(b"to the server\n")
        file.flush()
        assert raw.readline() == b"to the server\n"
        assert file.readable()
        assert file.writable()
        assert not file.seekable()


def test_makefile_refuses_what_is_wrong(pair):
    client, _server = pair
    for arguments in (("x",), ("r", 0)):
        with pytest.raises(ValueError):
            client.makefile(*arguments)


def test_makefile_outlives_the_socket(listener):
    with socket.create_connection(listener.getsockname()) as client:
        server, _address = listener.accept()
        file = client.makefile("rb")
        client.close()
        server.sendall(b"still open")
        server.close()
        with file:
            assert file.read() == b"still open"


def test_makefile_is_used_by_a_reader_and_a_writer_at_once(pair):
    """One file object both ways: a tasklet that waits to read does not keep another from writing."""
    client, server = pair
    with client.makefile("rwb") as file:

        def read_lines():
            return [file.readline() for _ in range(100)]

        reader = spawn(read_lines)
        sleep(0.001)
        assert reader.alive
        for number in range(100):
            file.write(b"question %d\n" % number)
            file.flush()
        with server.makefile("rb") as questions:
            for number in range(100):
                line = questions.readline()
                assert line == b"question %d\n" % number
                server.sendall(b"answer %d\n" % number)
        assert reader.result() == [b"answer %d\n" % number for number in range(100)]


def test_makefile_with_several_readers(pair):
    client, server = pair
    lines = [b"line %d\n" % number for number in range(300)]
    with client.makefile("rb") as file:

        def read_some():
            return [file.readline() for _ in range(100)]

        readers = [spawn(read_some) for _ in range(3)]
        for line in lines:
            server.sendall(line)
            sleep(0)
        got = [line for reader in readers for line in reader.result()]
    assert sorted(got) == sorted(lines)


def test_makefile_with_several_writers(pair):
    client, server = pair
    with client.makefile("wb") as file:

        def write_some(letter):
            for _ in range(200):
                file.write(letter * 99 + b"\n")
                sleep(0)

        for number in range(4):
            spawn(write_some, bytes([65 + number]))
        reader = spawn(read_all, server)
        while len(overlapped.tasklets()) > 2:
            sleep(0.001)
        file.flush()
        client.shutdown(socket.SHUT_WR)
        lines = reader.result().splitlines()
    assert len(lines) == 800
    assert all(line == line[:1] * 99 for line in lines)


def test_makefile_timeout(pair):
    client, _server = pair
    client.settimeout(0.01)
    with client.makefile("rb") as file:
        with pytest.raises(TimeoutError):
            file.readline()
        with pytest.raises(OSError, match="timed out"):
            file.readline()


def test_closing_the_socket_under_a_waiting_file(pair):
    client, server = pair
    file = client.makefile("rb")
    waiting = spawn(file.readline)
    sleep(0.001)
    client.close()
    sleep(0.001)
    assert waiting.alive, "the file keeps the socket open, as in the standard library"
    server.sendall(b"line\n")
    assert waiting.result() == b"line\n"
    file.close()


def test_sendfile(pair, tmp_path):
    client, server = pair
    data = pattern(3 * MB + 17)
    path = tmp_path / "data"
    path.write_bytes(data)
    with path.open("rb") as file:
        for offset, count in ((0, None), (1000, None), (0, 5000), (MB, MB), (3 * MB, MB), (4 * MB, None)):
            expected = data[offset:] if count is None else data[offset : offset + count]
            reader = spawn(server.recv, max(1, len(expected)), socket.MSG_WAITALL) if expected else None
            sent = client.sendfile(file, offset, count)
            assert sent == len(expected)
            if reader is not None:
                assert reader.result() == expected
                assert file.tell() == offset + sent


def test_sendfile_of_what_is_no_regular_file(pair):
    client, server = pair
    assert client.sendfile(std_io.BytesIO(b"from memory")) == 11
    assert client.sendfile(std_io.BytesIO(b"from memory"), offset=5) == 6
    client.shutdown(socket.SHUT_WR)
    assert read_all(server) == b"from memorymemory"


def test_sendfile_refuses_what_is_wrong(pair, tmp_path):
    client, _server = pair
    path = tmp_path / "data"
    path.write_bytes(b"x")
    with path.open("rb") as file:
        for count in (0, -1):
            with pytest.raises(ValueError):
                client.sendfile(file, count=count)
        with pytest.raises(TypeError):
            client.sendfile(file, count=1.5)
        client.settimeout(0)
        with pytest.raises(ValueError, match="non-blocking"):
            client.sendfile(file)
    with path.open(encoding="utf-8") as file, pytest.raises(ValueError, match="binary"):
        client.sendfile(file)


def test_sendfile_of_an_empty_file(pair, tmp_path):
    path = tmp_path / "empty"
    path.touch()
    with path.open("rb") as file:
        assert pair[0].sendfile(file) == 0


def test_sendfile_waits_for_the_reader_alone(pair, tmp_path, ticker):
    client, server = pair
    path = tmp_path / "data"
    path.write_bytes(pattern(16 * MB))
    with path.open("rb") as file, ticker:
        reader = spawn(read_all, server, 4096)
        assert client.sendfile(file) == 16 * MB
        client.shutdown(socket.SHUT_WR)
        assert reader.result() == path.read_bytes()
    assert ticker.ticks >= 3


# Control data and several buffers.


def test_sendmsg_and_recvmsg(pair):
    client, server = pair
    assert client.sendmsg([b"several ", bytearray(b"buffers"), memoryview(b"!")]) == 16
    data, control, flags, _address = server.recvmsg(100)
    assert (data, control) == (b"several buffers!", [])
    assert not flags & socket.MSG_TRUNC


def test_recvmsg_into(pair):
    client, server = pair
    client.sendall(b"abcdefghij")
    buffers = [bytearray(3), bytearray(4), bytearray(10)]
    count, control, _flags, _address = server.recvmsg_into(buffers)
    assert (count, control) == (10, [])
    assert buffers == [bytearray(b"abc"), bytearray(b"defg"), bytearray(b"hij\0\0\0\0\0\0\0")]


def test_recvmsg_waits(pair):
    client, server = pair
    waiting = spawn(server.recvmsg, 100)
    sleep(0.001)
    client.sendmsg([b"late"])
    assert waiting.result()[0] == b"late"


def test_sendmsg_waits_for_room(pair):
    client, server = pair
    sent = 0
    client.setblocking(False)
    with pytest.raises(BlockingIOError):
        while True:
            sent += client.send(bytes(MB))
    client.setblocking(True)
    sender = spawn(client.sendmsg, [b"x" * 100])
    sleep(0.001)
    assert sender.alive
    reader = spawn(read_all, server)
    assert sender.result() == 100
    client.shutdown(socket.SHUT_WR)
    assert len(reader.result()) == sent + 100


# One socket, several objects.


def test_dup(pair):
    client, server = pair
    with client.dup() as copy:
        assert type(copy) is socket.socket
        assert copy.fileno() != client.fileno()
        assert copy.gettimeout() == client.gettimeout()
        copy.sendall(b"from the copy")
        client.close()
        copy.sendall(b", still open")
    assert read_all(server) == b"from the copy, still open"


def test_detach_and_fileno(pair):
    client, server = pair
    number = client.detach()
    assert client.fileno() == -1
    with socket.socket(fileno=number) as again:
        assert again.family == socket.AF_INET
        again.sendall(b"same connection")
    assert read_all(server) == b"same connection"


def test_fromfd(pair):
    client, server = pair
    with socket.fromfd(client.fileno(), socket.AF_INET, socket.SOCK_STREAM) as copy:
        assert type(copy) is socket.socket
        copy.sendall(b"through a copy")
    client.close()
    assert read_all(server) == b"through a copy"


def test_standard_socket_and_ours_on_one_connection(pair):
    """Nothing is read ahead: a standard socket on the same descriptor finds what ours left."""
    client, server = pair
    client.sendall(b"first second")
    assert server.recv(6) == b"first "
    with std_socket.socket(fileno=os.dup(server.fileno())) as plain:
        plain.settimeout(5)
        assert plain.recv(100) == b"second"


def test_nothing_is_read_ahead(pair):
    client, server = pair
    client.sendall(b"0123456789")
    sleep(0.01)
    assert server.recv(4) == b"0123"
    assert select.select([server], [], [], 5)[0]
    assert server.recv(100, socket.MSG_PEEK) == b"456789"
    assert server.recv(100) == b"456789"


def test_socketpair():
    one, other = socket.socketpair()
    with one, other:
        assert type(one) is type(other) is socket.socket
        one.sendall(b"x")
        assert other.recv(10) == b"x"


def test_context_manager_and_resource_warning():
    with socket.socket() as sock:
        pass
    assert sock.fileno() == -1
    leaked = socket.socket()
    with pytest.warns(ResourceWarning, match="unclosed"):
        del leaked
        gc.collect()


def test_a_socket_that_is_waited_on_is_not_collected(listener):
    def wait():
        with socket.create_connection(listener.getsockname()) as client:
            return client.recv(10)

    waiting = spawn(wait)
    server, _address = listener.accept()
    sleep(0.001)
    gc.collect()
    with server:
        server.sendall(b"alive")
        assert waiting.result() == b"alive"


# Names.


def test_getaddrinfo_is_the_standard_one():
    for arguments in (
        ("127.0.0.1", 80),
        ("localhost", 80, socket.AF_INET, socket.SOCK_STREAM),
        (None, 0, 0, socket.SOCK_STREAM, 0, socket.AI_PASSIVE),
        ("::1", "http", 0, socket.SOCK_STREAM),
        (b"localhost", None, socket.AF_INET),
    ):
        assert socket.getaddrinfo(*arguments) == std_socket.getaddrinfo(*arguments)
    with pytest.raises(socket.gaierror):
        socket.getaddrinfo("name.invalid.", 80, flags=socket.AI_NUMERICHOST)


def test_getaddrinfo_blocks_only_the_caller(monkeypatch, ticker):
    def slow(*arguments):
        time.sleep(0.3)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 1))]

    monkeypatch.setattr(socket, "_getaddrinfo", slow)
    with ticker:
        lookups = [spawn(socket.getaddrinfo, "slow.example", 80) for _ in range(3)]
        for lookup in lookups:
            assert lookup.result()[0][4] == ("127.0.0.1", 1)
    assert ticker.ticks >= 30


def test_names_in_addresses_are_looked_up_on_the_side(monkeypatch, ticker, listener):
    looked_up = []

    def slow(host, *arguments):
        looked_up.append(host)
        time.sleep(0.3)
        return std_socket.getaddrinfo("127.0.0.1", *arguments)

    monkeypatch.setattr(socket, "_getaddrinfo", slow)
    with ticker, socket.socket() as client:
        client.connect(("name.example", listener.getsockname()[1]))
        listener.accept()[0].close()
    assert looked_up == ["name.example"]
    assert ticker.ticks >= 30


def test_other_lookups():
    assert socket.gethostbyname("127.0.0.1") == "127.0.0.1"
    assert socket.gethostbyname_ex("localhost")[2] == std_socket.gethostbyname_ex("localhost")[2]
    assert socket.getnameinfo(("127.0.0.1", 80), socket.NI_NUMERICHOST | socket.NI_NUMERICSERV) == ("127.0.0.1", "80")
    assert isinstance(socket.getfqdn("localhost"), str)


# Threads.


def test_sockets_used_in_several_threads():
    def echo(listener):
        for _ in range(20):
            connection, _address = listener.accept()
            with connection:
                connection.sendall(connection.recv(100))
        listener.close()

    def thread():
        with socket.create_server(("127.0.0.1", 0)) as listener:
            server = spawn(echo, listener)
            for number in range(20):
                with socket.create_connection(listener.getsockname()) as client:
                    client.sendall(b"%d" % number)
                    assert client.recv(100) == b"%d" % number
            server.join()
            done.append(True)

    done: list[bool] = []
    threads = [threading.Thread(target=thread) for _ in range(4)]
    for started in threads:
        started.start()
    thread()
    for started in threads:
        started.join()
    assert len(done) == 5


def test_one_connection_between_two_threads(pair):
    client, server = pair
    data = pattern(4 * MB)
    thread = threading.Thread(target=lambda: (client.sendall(data), client.shutdown(socket.SHUT_WR)))
    thread.start()
    assert read_all(server) == data
    thread.join()
