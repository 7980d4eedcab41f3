"""A listener whose accept first times out; then a thousand connections at once, each of which is told that it is being
disconnected, and is.

    python examples/socket_scene.py
"""

import sys
import time

import overlapped
from overlapped import socket

CONNECTIONS = 1000
MESSAGE = b"Disconnecting you.."
PATIENCE = 0.05


def tell(connection: socket.socket) -> None:
    with connection:
        connection.sendall(MESSAGE)


def serve(listener: socket.socket) -> None:
    with listener:
        while True:
            connection, _ = listener.accept()
            overlapped.spawn(tell, connection)


def listen(address: tuple[str, int]) -> bytes:
    """What the server says, to the end."""
    heard = b""
    with socket.create_connection(address) as connection:
        while piece := connection.recv(4096):
            heard += piece
    return heard


def raise_descriptor_limit() -> None:
    """Both ends of the connections are in this process: more descriptors than most systems give at first."""
    if sys.platform != "win32":
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def main() -> None:
    raise_descriptor_limit()
    listener = socket.create_server(("127.0.0.1", 0), backlog=CONNECTIONS)
    listener.settimeout(PATIENCE)
    begun = time.perf_counter()
    try:
        listener.accept()
        raise SystemExit("nobody connects, yet accept gave a connection")
    except TimeoutError:
        waited = time.perf_counter() - begun
    listener.settimeout(None)

    begun = time.perf_counter()
    server = overlapped.spawn(serve, listener)
    clients = [overlapped.spawn(listen, listener.getsockname()) for _ in range(CONNECTIONS)]
    for number, client in enumerate(clients):
        if (heard := client.result()) != MESSAGE:
            raise SystemExit(f"client {number} was told {heard!r}")
    seconds = time.perf_counter() - begun
    server.cancel()
    print(
        f"socket scene: accept timed out after {waited * 1000:.0f} ms; then {CONNECTIONS} connections at once,"
        f' each told "{MESSAGE.decode()}" and disconnected, in {seconds:.3f} s'
    )


main()
