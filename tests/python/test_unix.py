"""Unix sockets on `overlapped.socket`: streams, datagrams, names, and descriptors that are passed on."""

from __future__ import annotations

import array
import contextlib
import errno
import os
import struct
import sys
import time

import pytest

import overlapped
from overlapped import _engine, sleep, socket, spawn


def test_stream(tmp_path):
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        assert listener.getsockname() == path

        def serve():
            connection, address = listener.accept()
            with connection:
                assert address == ""
                connection.sendall(connection.recv(100).upper())

        server = spawn(serve)
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
            assert client.getpeername() == path
            client.sendall(b"over a unix socket")
            assert client.recv(100) == b"OVER A UNIX SOCKET"
            assert client.recv(100) == b""
        server.result()


def test_accept_gives_the_name_of_a_bound_peer(tmp_path):
    path, own = str(tmp_path / "listener"), str(tmp_path / "client")
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind(path)
        listener.listen()
        client.bind(own)
        client.connect(path)
        connection, address = listener.accept()
        connection.close()
        assert address == own


def test_names_of_all_kinds(tmp_path):
    path = tmp_path / "s\u00f6cket"
    abstract = b"\0overlapped-test-%d" % os.getpid()
    for name in (os.fsencode(path), abstract, bytearray(abstract + b"2")):
        with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
            listener.bind(name)
            listener.listen()
            client.connect(name)
            connection, _address = listener.accept()
            with connection:
                client.sendall(b"x")
                assert connection.recv(1) == b"x"
                assert os.fsencode(client.getpeername()) == name


def test_a_listener_that_is_not_there(tmp_path):
    with socket.socket(socket.AF_UNIX) as client:
        with pytest.raises(FileNotFoundError):
            client.connect(str(tmp_path / "nobody"))
        assert client.connect_ex(str(tmp_path / "nobody")) == errno.ENOENT
        with pytest.raises(OSError, match="too long"):
            client.connect("x" * 200)


def test_connect_waits_while_the_backlog_is_full(tmp_path):
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(0)

        def visit():
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(path)
                client.sendall(b"x")

        visitors = [spawn(visit) for _ in range(5)]
        sleep(0.01)
        assert any(visitor.alive for visitor in visitors)
        for _ in visitors:
            connection, _address = listener.accept()
            with connection:
                assert connection.recv(10) == b"x"
        for visitor in visitors:
            visitor.result()


def test_datagrams(tmp_path):
    paths = [str(tmp_path / name) for name in "ab"]
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other,
    ):
        one.bind(paths[0])
        other.bind(paths[1])
        waiting = spawn(other.recvfrom, 100)
        sleep(0.001)
        one.sendto(b"hello", paths[1])
        assert waiting.result() == (b"hello", paths[0])
        one.connect(paths[1])
        one.send(b"again")
        assert other.recv(100) == b"again"


def test_datagrams_wait_for_room():
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    count = 2000

    def send():
        for number in range(count):
            one.send(b"%d" % number)

    with one, other:
        sender = spawn(send)
        sleep(0.005)
        assert sender.alive
        assert [int(other.recv(100)) for _ in range(count)] == list(range(count))
        sender.result()


@pytest.fixture
def full(tmp_path):
    """A datagram socket whose queue is full, the one that has filled it, and its address."""
    address = str(tmp_path / "receiver")
    receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    with receiver, sender:
        receiver.bind(address)
        sender.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                sender.sendto(b"old", address)
        sender.setblocking(True)
        yield receiver, sender, address


def sends_of(sender, address):
    return [lambda data: sender.sendto(data, address), lambda data: sender.sendmsg([data], [], 0, address)]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a full queue is an error (ENOBUFS)")
@pytest.mark.parametrize("way", [0, 1], ids=["sendto", "sendmsg"])
def test_a_receiver_that_is_full_is_waited_for(full, way):
    receiver, sender, address = full
    waiting = [spawn(sends_of(sender, address)[way], b"%d" % number) for number in range(3)]
    sleep(0.002)
    assert all(tasklet.alive for tasklet in waiting)
    received = []
    while not {b"0", b"1", b"2"} <= set(received):
        received.append(receiver.recv(100))
    assert [tasklet.result() for tasklet in waiting] == [1, 1, 1]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a full queue is an error (ENOBUFS)")
@pytest.mark.parametrize("way", [0, 1], ids=["sendto", "sendmsg"])
def test_a_receiver_that_stays_full_costs_the_time_out_and_no_processor(full, way):
    _receiver, sender, address = full
    sender.settimeout(0.5)
    before = time.process_time()
    with pytest.raises(TimeoutError, match="timed out"):
        sends_of(sender, address)[way](b"late")
    assert time.process_time() - before < 0.25
    sender.settimeout(None)
    with pytest.raises(BlockingIOError):
        sender.sendto(b"at once", socket.MSG_DONTWAIT, address)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a full queue is an error (ENOBUFS)")
def test_a_receiver_that_is_full_and_then_gone_is_told(full):
    receiver, sender, address = full
    waiting = [spawn(send, b"for nobody") for send in sends_of(sender, address)]
    sleep(0.002)
    receiver.close()
    for tasklet in waiting:
        assert isinstance(tasklet.exception(20), ConnectionRefusedError)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a full queue is an error (ENOBUFS)")
def test_a_send_to_a_full_receiver_can_be_cancelled(full):
    _receiver, sender, address = full
    waiting = [spawn(send, b"never") for send in sends_of(sender, address)]
    sleep(0.002)
    for tasklet in waiting:
        tasklet.cancel()
        assert isinstance(tasklet.exception(20), overlapped.TaskletExit)


def test_a_call_that_would_block_on_a_ready_socket_is_made_now_and_then_until_the_time_is_up():
    one, other = socket.socketpair()
    calls = []

    def call(sock):
        calls.append(sock)
        raise BlockingIOError

    with one, other:
        one.settimeout(0.3)
        with pytest.raises(TimeoutError, match="timed out"):
            _engine.retry(call, one, True, 0)
        assert 2 <= len(calls) < 60
        calls.clear()
        one.settimeout(None)
        waiting = spawn(_engine.retry, call, one, True, 0)
        while len(calls) < 3:
            sleep(0)
        waiting.cancel()
        assert isinstance(waiting.exception(20), overlapped.TaskletExit)


def test_sequenced_packets():
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with one, other:
        one.send(b"first")
        one.send(b"second")
        assert other.recv(3) == b"fir"
        large = bytes(range(256)) * 150
        one.send(large)
        assert other.recv(30_000) == b"second"
        assert other.recv(30_000) == large[:30_000]
        one.send(b"second")
        assert other.recv(100) == b"second"
        one.close()
        assert other.recv(100) == b""


def test_file_descriptors_are_passed(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"contents")
    one, other = socket.socketpair()
    with one, other, path.open("rb") as file:
        waiting = spawn(socket.recv_fds, other, 100, 4)
        sleep(0.001)
        assert socket.send_fds(one, [b"here it is"], [file.fileno()]) == 10
        data, descriptors, _flags, _address = waiting.result()
        assert data == b"here it is"
        with os.fdopen(descriptors[0], "rb") as copy:
            assert copy.read() == b"contents"


def test_a_socket_is_passed_and_used(pair):
    client, server = pair
    one, other = socket.socketpair()
    with one, other:
        socket.send_fds(one, [b"x"], [server.fileno()])
        server.close()
        descriptors = socket.recv_fds(other, 1, 1)[1]
        with socket.socket(fileno=descriptors[0]) as passed:
            passed.sendall(b"from another hand")
            assert client.recv(100) == b"from another hand"


def test_descriptors_that_do_not_fit_are_told(tmp_path):
    one, other = socket.socketpair()
    with one, other, open(os.devnull) as null:
        rights = array.array("i", [null.fileno()] * 4)
        one.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        _data, control, flags, _address = other.recvmsg(10, socket.CMSG_LEN(2 * rights.itemsize))
        assert flags & socket.MSG_CTRUNC
        for _level, _kind, data in control:
            received = array.array("i", data[: len(data) - len(data) % rights.itemsize])
            for descriptor in received:
                os.close(descriptor)


def test_credentials():
    one, other = socket.socketpair()
    with one, other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        one.sendall(b"who am I")
        _data, control, _flags, _address = other.recvmsg(100, socket.CMSG_SPACE(12))
        ((_level, kind, data),) = control
        assert kind == socket.SCM_CREDENTIALS
        assert struct.unpack("iii", data) == (os.getpid(), os.getuid(), os.getgid())


def test_a_close_wakes_who_waits():
    one, other = socket.socketpair()
    with other:
        waiting = [spawn(one.recv, 10), spawn(one.recvmsg, 10), spawn(one.recv, 100_000)]
        sleep(0.001)
        one.close()
        for tasklet in waiting:
            with pytest.raises(OSError) as caught:
                tasklet.result()
            assert caught.value.errno == errno.EBADF
        assert other.recv(10) == b""
    overlapped.run()


def test_large_transfer_between_tasklets():
    one, other = socket.socketpair()
    data = bytes(range(256)) * 40_000
    with one, other:
        sender = spawn(one.sendall, data)
        assert other.recv(len(data), socket.MSG_WAITALL) == data
        sender.result()
