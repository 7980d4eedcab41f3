"""Sockets with a time-out, in non-blocking mode, and closed or shut down while tasklets wait."""

from __future__ import annotations

import errno
import os
import select
import sys
import time

import pytest

import overlapped
from conftest import NO_SOCKET, needs, unix_only, wine_fails
from overlapped import select as overlapped_select
from overlapped import sleep, socket, spawn
from streams import MB, all_find_it_closed, pattern, read_all, reset

HAS_MESSAGES = hasattr(socket.socket, "recvmsg")


def test_timeout_of_each_call(listener, pair):
    client, _server = pair
    client.settimeout(0.01)
    listener.settimeout(0.01)
    for call in (
        lambda: client.recv(1),
        lambda: client.recv(1 << 20),
        lambda: client.recv_into(bytearray(1)),
        lambda: client.recvfrom(1),
        *([lambda: client.recvmsg(1)] if HAS_MESSAGES else []),
        listener.accept,
    ):
        started = time.perf_counter()
        with pytest.raises(TimeoutError, match="timed out"):
            call()
        assert 0.01 <= time.perf_counter() - started < 20


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


@pytest.mark.parametrize("timeout", [None, 1.5])
def test_a_connect_that_fails_leaves_the_mode_as_it_was(timeout):
    with socket.socket() as sock:
        sock.settimeout(timeout)
        for wrong in (5, ("127.0.0.1", 1 << 20)):
            with pytest.raises((TypeError, OverflowError)):
                sock.connect(wrong)
        assert sock.gettimeout() == timeout
    with pytest.raises(OSError) as refused:
        sock.connect(("127.0.0.1", 1))
    assert refused.value.errno in NO_SOCKET
    with pytest.raises(TypeError):
        sock.connect(5)
    assert sock.gettimeout() == timeout


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
        assert client.connect_ex(listener.getsockname()) in (0, errno.EINPROGRESS, errno.EWOULDBLOCK)
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


def test_who_asks_again_and_again_holds_back_no_completion(pair):
    """A loop over select, as asyncore's: it is answered at once, and still the others hear of theirs."""
    client, server = pair
    received = []
    spawn(lambda: received.append(client.recv(10)))
    sleep(0.01)
    server.setblocking(False)
    server.send(b"x")
    asked = 0
    while not received:
        assert overlapped_select.select([], [server], [], 10)[1]
        asked += 1
    assert received == [b"x"]
    # One call of the system's each: with thousands, a slow system makes that seconds.
    assert asked < 1000


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
            sock.accept()
        assert caught.value.errno == errno.EINVAL


@wine_fails("a send on a socket that was never connected fails with WSAECONNRESET")
def test_send_not_connected():
    with socket.socket() as sock, pytest.raises(OSError) as caught:
        sock.send(b"x")
    assert caught.value.errno in (errno.EPIPE, errno.ENOTCONN)


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
        *([lambda: sock.recvmsg(1), lambda: sock.sendmsg([b"x"])] if HAS_MESSAGES else []),
        lambda: sock.send(b"x"),
        lambda: sock.sendall(b"x"),
        lambda: sock.sendto(b"x", ("127.0.0.1", 1)),
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
        assert caught.value.errno in NO_SOCKET


@pytest.mark.parametrize(
    "wait",
    [
        lambda sock: sock.recv(10),
        lambda sock: sock.recv(100_000),
        lambda sock: sock.recv_into(bytearray(10)),
        lambda sock: sock.recvfrom(10),
        pytest.param(lambda sock: sock.recvmsg(10), marks=needs("socket.socket.recvmsg")),
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
    all_find_it_closed(waiting)


@unix_only("the seeds are those of the simulation over poll")
@pytest.mark.parametrize("seed", range(4))
def test_a_close_ends_what_a_send_goes_on_with(run_python, seed):
    """A cancelled send of all that has moved a part goes on while the others are waited for: found by seed 0."""
    code = """
from overlapped import sleep, socket, spawn

for _ in range(10):
    client, server = socket.socketpair()
    with server:
        sends = [spawn(client.sendall, bytes(4 << 20)) for _ in range(3)]
        sleep(0.001)
        client.close()
        for send in sends:
            try:
                send.result()
            except OSError:
                pass
            else:
                raise AssertionError("nobody receives")
"""
    done = run_python(code, env=os.environ | {"OVERLAPPED_BACKEND": "sim", "OVERLAPPED_SIM": str(seed)})
    assert done.returncode == 0, done.stderr


def test_a_close_wakes_who_accepts():
    listener = socket.create_server(("127.0.0.1", 0))
    waiting = [spawn(listener.accept) for _ in range(3)]
    sleep(0.001)
    listener.close()
    all_find_it_closed(waiting)


def test_a_close_tells_the_peer(pair):
    client, server = pair
    waiting = spawn(client.recv, 10)
    sleep(0.001)
    client.close()
    assert server.recv(10) == b""
    with pytest.raises(OSError):
        waiting.result()


def test_a_number_given_away_is_not_read_by_who_waited(pair, listener):
    """A closed descriptor's number is used again at once on Unix: what waited must not touch the new socket."""
    client, _server = pair
    waiting = spawn(client.recv, 10)
    sleep(0.001)
    number = client.fileno()
    client.close()
    fresh = socket.create_connection(listener.getsockname())
    with fresh, listener.accept()[0] as other:
        assert fresh.fileno() == number or sys.platform == "win32"
        other.sendall(b"for the new one")
        with pytest.raises(OSError):
            waiting.result()
        assert fresh.recv(100) == b"for the new one"


def test_shutdown_wakes_who_receives(pair):
    client, server = pair
    waiting = spawn(client.recv, 10)
    sleep(0.001)
    client.shutdown(socket.SHUT_RD)
    assert waiting.result() == b""
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


def test_a_listener_of_a_family_that_is_not_known_waits_in_its_tasklet(listener):
    class Foreign(socket.socket):
        family = property(lambda self: 77)

    with Foreign(fileno=listener.dup().detach()) as foreign:
        accepting = spawn(foreign.accept)
        sleep(0)
        with socket.create_connection(listener.getsockname()) as client:
            connection, address = accepting.result(20)
            with connection:
                assert address == client.getsockname()


@needs("socket.MSG_DONTWAIT")
def test_not_to_wait_is_for_sockets_without_a_time_out(pair):
    client, server = pair
    receives = [lambda: server.recv(10, socket.MSG_DONTWAIT), lambda: server.recvfrom(10, socket.MSG_DONTWAIT)[0]]
    for receive in receives:
        with pytest.raises(BlockingIOError):
            receive()
    # With a time-out Python waits first, whatever the flags.
    server.settimeout(20)
    for receive in receives:
        waiting = spawn(receive)
        sleep(0)
        assert waiting.alive
        client.sendall(b"late")
        assert waiting.result() == b"late"
    server.settimeout(0.01)
    for receive in receives:
        with pytest.raises(TimeoutError):
            receive()


def test_a_receive_of_no_bytes_does_not_wait(pair):
    _client, server = pair
    assert server.recv(0) == b""
    assert server.recv_into(bytearray()) == 0
    server.settimeout(20)
    assert server.recv(0) == b""
