"""Accepting and connecting, by number and by name."""

from __future__ import annotations

import errno
import socket as std_socket
import sys
import time

import pytest

import overlapped
from conftest import needs, wine_fails
from overlapped import TaskletExit, sleep, socket, spawn
from streams import read_all


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
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)


@wine_fails("every other connect of a socket that was refused fails with WSAECONNABORTED, with plain Python too")
def test_connect_refused_again_and_again():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = free.getsockname()
    with socket.socket() as sock:
        assert [sock.connect_ex(address) for _ in range(4)] == [errno.ECONNREFUSED] * 4


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
        started = time.perf_counter()
        with pytest.raises(TimeoutError):
            sock.connect(listener.getsockname())
        assert 0.05 <= time.perf_counter() - started < 20
    with socket.socket() as sock:
        sock.settimeout(0.01)
        assert sock.connect_ex(("127.0.0.1", 1)) == errno.ECONNREFUSED
    for other in waiting:
        other.close()


def test_connect_ex_times_out():
    listener, waiting = full_listener()
    with listener, socket.socket() as sock:
        sock.settimeout(0.02)
        assert sock.connect_ex(listener.getsockname()) == errno.EWOULDBLOCK
    for other in waiting:
        other.close()


def test_connect_in_a_cancelled_tasklet():
    listener, waiting = full_listener()
    with listener, socket.socket() as sock:
        tasklet = spawn(sock.connect, listener.getsockname())
        sleep(0.01)
        tasklet.cancel()
        assert isinstance(tasklet.exception(), TaskletExit)
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
    with socket.create_server(("127.0.0.1", 0), backlog=3) as listener:
        assert type(listener) is socket.socket
        # Windows lets everybody take an address that has the option: there create_server does not set it.
        assert bool(listener.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)) == (sys.platform != "win32")


@needs("socket.SO_REUSEPORT")
def test_create_server_on_a_shared_port():
    with socket.create_server(("127.0.0.1", 0), reuse_port=True) as listener:
        assert listener.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT)


def has_ipv6() -> bool:
    try:
        with std_socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")


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
        ticker.let_tick(30)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 1))]

    monkeypatch.setattr(socket, "_getaddrinfo", slow)
    with ticker:
        lookups = [spawn(socket.getaddrinfo, "slow.example", 80) for _ in range(3)]
        for lookup in lookups:
            assert lookup.result()[0][4] == ("127.0.0.1", 1)


def test_names_in_addresses_are_looked_up_on_the_side(monkeypatch, ticker, listener):
    looked_up = []

    def slow(host, *arguments):
        looked_up.append(host)
        ticker.let_tick(30)
        return std_socket.getaddrinfo("127.0.0.1", *arguments)

    monkeypatch.setattr(socket, "_getaddrinfo", slow)
    with ticker, socket.socket() as client:
        client.connect(("name.example", listener.getsockname()[1]))
        listener.accept()[0].close()
    assert looked_up == ["name.example"]


def test_other_lookups():
    assert socket.gethostbyname("127.0.0.1") == "127.0.0.1"
    assert socket.gethostbyname_ex("localhost")[2] == std_socket.gethostbyname_ex("localhost")[2]
    assert socket.getnameinfo(("127.0.0.1", 80), socket.NI_NUMERICHOST | socket.NI_NUMERICSERV) == ("127.0.0.1", "80")
    assert isinstance(socket.getfqdn("localhost"), str)
