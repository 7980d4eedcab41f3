"""TCP on `overlapped.socket`: what blocks blocks the caller alone; everything else is as in the standard library."""

from __future__ import annotations

import array
import errno
import gc
import pickle
import select
import socket as std_socket
import threading
import time

import pytest

from conftest import needs, wine_hangs
from overlapped import sleep, socket, spawn
from streams import MB, pattern, read_all


def test_module_has_every_name_of_the_original():
    missing = [name for name in std_socket.__all__ if not hasattr(socket, name)]
    assert missing == []
    assert set(socket.__all__) == set(std_socket.__all__)
    missing = [name for name in vars(std_socket) if not hasattr(socket, name)]
    assert not missing
    assert socket.EBADF == errno.EBADF
    assert not hasattr(socket, "no_such_name")
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
        ticker.wait(3)
        while count := server.recv_into(view):
            assert view[:count] == data[received : received + count]
            received += count
            if received % 8 == 0:
                sleep(0)

    with ticker:
        reader = spawn(read_slowly)
        client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        reader.result()
    assert received == len(data)


def test_sendall_with_a_timeout_says_so(pair):
    client, server = pair
    client.settimeout(0.05)
    started = time.perf_counter()
    with pytest.raises(TimeoutError, match="timed out"):
        client.sendall(bytes(50 * MB))
    assert 0.05 <= time.perf_counter() - started < 20
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


@needs("socket.MSG_DONTWAIT")
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


@wine_hangs("a receive with MSG_OOB never ends, not even when it is cancelled")
def test_out_of_band(pair):
    client, server = pair
    client.send(b"!", socket.MSG_OOB)
    sleep(0.01)
    assert server.recv(1, socket.MSG_OOB) == b"!"


@needs("socket.socket.recvmsg")
def test_sendmsg_and_recvmsg(pair):
    client, server = pair
    assert client.sendmsg([b"several ", bytearray(b"buffers"), memoryview(b"!")]) == 16
    data, control, flags, _address = server.recvmsg(100)
    assert (data, control) == (b"several buffers!", [])
    assert not flags & socket.MSG_TRUNC


@needs("socket.socket.recvmsg")
def test_recvmsg_into(pair):
    client, server = pair
    client.sendall(b"abcdefghij")
    buffers = [bytearray(3), bytearray(4), bytearray(10)]
    count, control, _flags, _address = server.recvmsg_into(buffers)
    assert (count, control) == (10, [])
    assert buffers == [bytearray(b"abc"), bytearray(b"defg"), bytearray(b"hij\0\0\0\0\0\0\0")]


@needs("socket.socket.recvmsg")
def test_recvmsg_waits(pair):
    client, server = pair
    waiting = spawn(server.recvmsg, 100)
    sleep(0.001)
    client.sendmsg([b"late"])
    assert waiting.result()[0] == b"late"


@needs("socket.socket.sendmsg")
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
    with std_socket.socket(fileno=server.dup().detach()) as plain:
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


@needs("socket.MSG_WAITALL")
def test_slow_peers_that_are_waited_for_starve_nobody():
    pairs = [socket.socketpair() for _ in range(300)]
    waiting = [spawn(one.recv, 100, socket.MSG_WAITALL) for one, _other in pairs]
    for _one, other in pairs:
        other.send(b"x")
    sleep(0.01)
    assert all(tasklet.alive for tasklet in waiting)
    one, other = socket.socketpair()
    with one, other:
        other.send(b"hello")
        one.settimeout(20)
        assert one.recv(100) == b"hello"
    for _one, other in pairs:
        other.sendall(bytes(99))
    assert [tasklet.result(20) for tasklet in waiting] == [b"x" + bytes(99)] * len(pairs)
    for one, other in pairs:
        one.close()
        other.close()
