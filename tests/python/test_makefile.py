"""Files on sockets: `makefile`, which several tasklets use, and `sendfile`."""

from __future__ import annotations

import io as std_io

import pytest

import overlapped
from overlapped import sleep, socket, spawn
from streams import MB, pattern, read_all


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
        reader = spawn(lambda: ticker.wait(3) or read_all(server, 4096))
        assert client.sendfile(file) == 16 * MB
        client.shutdown(socket.SHUT_WR)
        assert reader.result() == path.read_bytes()
