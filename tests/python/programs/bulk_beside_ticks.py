"""A plain program: a thread moves bytes without an end, as the argument says, until another has slept for a millisecond
fifty times. Its peer is a process, and is always ready."""

import contextlib
import os
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

CHUNK = bytes(65536)
kind, direction = sys.argv[1].split("-")


def peer(port: int, authority: str) -> None:
    """The other end, until it is cut off, or the program has gone."""
    if kind == "udp":
        program = os.getppid()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
            while os.getppid() == program:
                plain.sendto(CHUNK[:100], ("127.0.0.1", port))
    connection = socket.create_connection(("127.0.0.1", port))
    if kind == "tls":
        context = ssl.create_default_context(cafile=authority)
        connection = context.wrap_socket(connection, server_hostname="localhost")
    with contextlib.suppress(OSError):
        while direction == "send" and connection.recv(1 << 20):
            pass
        while direction == "receive":
            connection.sendall(CHUNK)


def secured(connection: socket.socket) -> socket.socket:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context.wrap_socket(connection, server_side=True)


def tick() -> None:
    for _ in range(50):
        time.sleep(0.001)
    enough.set()


def move(connection: socket.socket) -> None:
    while not enough.is_set():
        if direction == "send":
            connection.sendall(CHUNK)
        elif kind == "udp":
            connection.recvfrom(200)
        else:
            connection.recv(65536)


if len(sys.argv) > 2:
    peer(int(sys.argv[2]), sys.argv[3])
    sys.exit()
enough = threading.Event()
with tempfile.TemporaryDirectory() as folder:
    authority = Path(folder, "authority.pem")
    if kind == "tls":
        import trustme

        issuer = trustme.CA()
        issuer.cert_pem.write_to_path(str(authority))
        certificate = issuer.issue_cert("localhost")
    if kind == "udp":
        listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        listener.bind(("127.0.0.1", 0))
    else:
        listener = socket.create_server(("127.0.0.1", 0))
    other = subprocess.Popen([sys.executable, __file__, *sys.argv[1:], str(listener.getsockname()[1]), str(authority)])
    try:
        connection = listener if kind == "udp" else listener.accept()[0]
        connection = secured(connection) if kind == "tls" else connection
        threads = [threading.Thread(target=move, args=(connection,)), threading.Thread(target=tick)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        connection.close()
        listener.close()
    finally:
        other.kill()
        other.wait()
print("ticked")
