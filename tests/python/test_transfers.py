"""`recv`, `recv_into`, `send`, `sendall`: what comes is guessed from what was before, and nobody sees the guess."""

from __future__ import annotations

import contextlib
import struct
import sys

import greenlet
import pytest

from conftest import unix_only
from overlapped import sleep, socket, spawn
from streams import pattern

USUAL = 4096
"""Bytes of the messages that the server has come to expect."""

ASKED = 16 << 10


@pytest.fixture
def expecting(pair):
    """A client and a server that has received some messages of the usual size."""
    client, server = pair
    for _ in range(50):
        message = pattern(USUAL)
        client.sendall(message)
        assert receive_exactly(server, USUAL) == message
    return client, server


def receive_exactly(server, size):
    got = b""
    while len(got) < size:
        got += server.recv(ASKED)
    return got


def arrive(server, size):
    """Wait until so many bytes are there."""
    while len(server.recv(size, socket.MSG_PEEK)) < size:
        sleep(0.001)


@pytest.mark.parametrize("size", [1, USUAL - 1, USUAL, USUAL + 15, USUAL + 16, USUAL + 17, 12_000, ASKED])
def test_a_message_that_is_there_is_received_whole_whatever_came_before(expecting, size):
    client, server = expecting
    data = pattern(size)
    client.sendall(data)
    arrive(server, size)
    assert server.recv(ASKED) == data


def test_no_more_is_received_than_was_asked_for(expecting):
    client, server = expecting
    data = pattern(20_000)
    client.sendall(data)
    arrive(server, len(data))
    assert server.recv(5000) == data[:5000]
    assert server.recv(USUAL + 16) == data[5000 : 5000 + USUAL + 16]
    assert receive_exactly(server, len(data) - 5000 - USUAL - 16) == data[5000 + USUAL + 16 :]


def test_a_message_between_two_of_this_process_is_received_whole_whatever_came_before():
    client, server = socket.socketpair()
    with client, server:
        for size in (USUAL, USUAL, 12_000, 100, 15_000, USUAL):
            data = pattern(size)
            client.sendall(data)
            arrive(server, size)
            assert server.recv(ASKED) == data


def test_a_reset_after_what_was_expected_is_told_to_the_next_call(expecting):
    client, server = expecting
    receiver = spawn(server.recv, ASKED)
    sleep(0)
    data = pattern(USUAL + 16)
    client.sendall(data)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    assert receiver.result() == data
    with pytest.raises(ConnectionResetError):
        server.recv(ASKED)


def test_what_two_receive_from_one_stream_is_in_the_order_in_which_they_asked(expecting):
    client, server = expecting
    data = pattern(40_000)
    first, second = spawn(server.recv, ASKED), spawn(server.recv, 100)
    sleep(0)
    client.sendall(data)
    got = first.result() + second.result()
    assert got + receive_exactly(server, len(data) - len(got)) == data


def test_what_is_expected_is_no_more_than_memory_for_what_comes(expecting):
    client, server = expecting
    client.sendall(b"x" * USUAL)
    assert sys.getsizeof(receive_exactly(server, USUAL)) < 2 * USUAL


def test_messages_of_datagrams_are_not_cut_to_what_was_expected():
    datagrams = (socket.AF_INET, socket.SOCK_DGRAM)
    with socket.socket(*datagrams) as server, socket.socket(*datagrams) as client:
        server.bind(("127.0.0.1", 0))
        client.connect(server.getsockname())
        for size in (USUAL, USUAL, 12_000, USUAL, ASKED):
            data = pattern(size)
            client.send(data)
            assert server.recv(ASKED) == data


def test_an_object_that_is_no_bytes_is_kept_while_it_is_sent(pair):
    client, server = pair
    data = bytearray(pattern(4 << 20))
    whole = bytes(data)
    sender = spawn(client.sendall, data)
    sleep(0)
    with pytest.raises(BufferError):
        data.clear()
    got = b""
    while len(got) < len(whole):
        got += server.recv(1 << 20)
    sender.result()
    assert got == whole
    data.clear()


@unix_only("its frames are made otherwise")
def test_stacks_of_all_that_wait_on_a_socket_are_equally_deep():
    pairs = [socket.socketpair() for _ in range(4)]
    full = pattern(8 << 20)
    calls = [
        lambda: pairs[0][0].recv(100),
        lambda: pairs[1][0].recv_into(bytearray(100)),
        lambda: pairs[2][0].sendall(full),
        lambda: pairs[3][0].recv(100_000),
    ]
    stacks = []

    def wait(call):
        stacks.append(greenlet.getcurrent())
        with contextlib.suppress(OSError):
            call()

    tasklets = [spawn(wait, call) for call in calls]
    sleep(0.001)
    assert all(tasklet.alive for tasklet in tasklets)
    depths = [stack._stack_saved for stack in stacks]
    for one, other in pairs:
        one.close()
        other.close()
    for tasklet in tasklets:
        tasklet.result()
    # Without optimisation there are frames in between, of various sizes.
    assert max(depths) - min(depths) <= 64, depths
