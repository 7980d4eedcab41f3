"""TLS: only the caller waits, in handshakes, reads and writes."""

import pathlib
import ssl as std_ssl
import subprocess
import sys
from collections.abc import Iterator

import pytest
import trustme

import overlapped
from load import crowd
from overlapped import socket, ssl

MESSAGE = bytes(range(256)) * 4096


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def server_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    return context


@pytest.fixture
def client_context(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=200) as listener:
        yield listener


def test_many_conversations_on_one_thread(
    listener: socket.socket, server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    def echo(connection: socket.socket) -> None:
        with server_context.wrap_socket(connection, server_side=True) as wrapped:
            while data := wrapped.recv(16384):
                wrapped.sendall(data)

    def serve() -> None:
        for _ in range(30):
            overlapped.spawn(echo, listener.accept()[0])

    def client(number: int) -> int:
        raw = socket.create_connection(listener.getsockname())
        with client_context.wrap_socket(raw, server_hostname="localhost") as wrapped:
            assert isinstance(wrapped, ssl.SSLSocket)
            wrapped.sendall(b"%d\n" % number)
            with wrapped.makefile("rb") as lines:
                return int(lines.readline())

    server = overlapped.spawn(serve)
    clients = [overlapped.spawn(client, number) for number in range(30)]
    assert [each.result(20) for each in clients] == list(range(30))
    server.result(20)


def test_a_large_transfer_with_back_pressure(
    listener: socket.socket, server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    def send() -> None:
        with server_context.wrap_socket(listener.accept()[0], server_side=True) as wrapped:
            wrapped.sendall(MESSAGE)
            wrapped.unwrap()

    sender = overlapped.spawn(send)
    raw = socket.create_connection(listener.getsockname())
    with client_context.wrap_socket(raw, server_hostname="localhost") as wrapped:
        received = bytearray()
        while data := wrapped.recv(65536):
            received += data
            overlapped.sleep(0.0001)
        assert bytes(received) == MESSAGE
        wrapped.unwrap()
    sender.result()


def test_a_read_times_out_and_the_connection_lives_on(
    listener: socket.socket, server_context: ssl.SSLContext, client_context: ssl.SSLContext
) -> None:
    late = overlapped.Event()

    def serve() -> None:
        with server_context.wrap_socket(listener.accept()[0], server_side=True) as wrapped:
            late.wait()
            wrapped.sendall(b"late")

    server = overlapped.spawn(serve)
    raw = socket.create_connection(listener.getsockname())
    with client_context.wrap_socket(raw, server_hostname="localhost") as wrapped:
        wrapped.settimeout(0.02)
        with pytest.raises(TimeoutError):
            wrapped.recv(10)
        wrapped.setblocking(False)
        with pytest.raises(std_ssl.SSLWantReadError):
            wrapped.recv(10)
        wrapped.settimeout(None)
        late.set()
        assert wrapped.recv(10) == b"late"
    server.result()


def test_a_certificate_that_nobody_trusts_is_refused(listener: socket.socket, server_context: ssl.SSLContext) -> None:
    def serve() -> None:
        connection = listener.accept()[0]
        with connection, pytest.raises((ssl.SSLError, ConnectionError)):
            server_context.wrap_socket(connection, server_side=True)

    server = overlapped.spawn(serve)
    with socket.create_connection(listener.getsockname()) as raw, pytest.raises(ssl.SSLCertVerificationError):
        ssl.create_default_context().wrap_socket(raw, server_hostname="localhost")
    server.result()


def test_https_in_an_unmodified_program(authority: trustme.CA, tmp_path: pathlib.Path) -> None:
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "server.pem"))
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    program = pathlib.Path(__file__).parent / "programs" / "https.py"
    command = [sys.executable, "-m", "overlapped", str(program), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60 * crowd())
    assert done.stdout == "50 pages\n", done.stderr
