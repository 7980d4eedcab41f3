"""A plain program: TLS by pyOpenSSL on both sides, many connections at once; the second argument is the sockets'
time-out, none if it is 0."""

import select
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any

import trustme
from OpenSSL import SSL, crypto

count, seconds = int(sys.argv[1]), float(sys.argv[2]) or None
certificate = trustme.CA().issue_cert("localhost")
serving = SSL.Context(SSL.TLS_METHOD)
serving.use_privatekey(crypto.load_privatekey(crypto.FILETYPE_PEM, certificate.private_key_pem.bytes()))
serving.use_certificate(crypto.load_certificate(crypto.FILETYPE_PEM, certificate.cert_chain_pems[0].bytes()))
SIZE = 300_000


def patiently(plain: socket.socket, call: Callable[..., Any], *arguments: Any) -> Any:
    """What a call returns; it is made again when the socket is ready for it."""
    while True:
        try:
            return call(*arguments)
        except SSL.WantReadError:
            select.select([plain], [], [], 60)
        except SSL.WantWriteError:
            select.select([], [plain], [], 60)


def exchange(plain: socket.socket, it: SSL.Connection, letter: bytes) -> bytes:
    """Sends so many bytes and receives as many."""
    plain.settimeout(seconds)
    patiently(plain, it.do_handshake)
    data, received = letter * SIZE, b""
    if seconds is None:
        sent = it.sendall(data)
        assert sent == SIZE
    while data and seconds:
        data = data[patiently(plain, it.send, data[:16384]) :]
    while len(received) < SIZE:
        received += patiently(plain, it.recv, 65536)
    return received


def serve() -> None:
    for _ in range(count):
        plain, _ = listener.accept()
        it = SSL.Connection(serving, plain)
        it.set_accept_state()
        threading.Thread(target=exchange, args=(plain, it, b"s")).start()


def client() -> None:
    plain = socket.create_connection(listener.getsockname())
    it = SSL.Connection(SSL.Context(SSL.TLS_METHOD), plain)
    it.set_connect_state()
    answers.append(exchange(plain, it, b"c") == b"s" * SIZE)


answers: list[bool] = []
listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
threads = [threading.Thread(target=serve), *(threading.Thread(target=client) for _ in range(count))]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
listener.close()
print(sum(answers), "answers")
