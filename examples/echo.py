"""An echo server and a hundred clients, all of them tasklets of one thread.

python examples/echo.py                  # the server and its clients
python examples/echo.py 127.0.0.1 7007   # the server alone, until Ctrl-C
"""

import sys
import time

import overlapped
from overlapped import socket

CLIENTS = 100
ROUNDS = 50


def echo(connection: socket.socket) -> None:
    with connection:
        while data := connection.recv(16 * 1024):
            connection.sendall(data)


def serve(listener: socket.socket) -> None:
    with listener:
        while True:
            connection, _ = listener.accept()
            overlapped.spawn(echo, connection)


def client(address: tuple[str, int], number: int) -> int:
    """Sends messages and checks that each comes back as it was."""
    count = 0
    with socket.create_connection(address) as connection, connection.makefile("rwb") as stream:
        for round in range(ROUNDS):
            message = f"client {number}, round {round}: {'x' * round}\n".encode()
            stream.write(message)
            stream.flush()
            if (back := stream.readline()) != message:
                raise SystemExit(f"client {number} sent {message!r} and got back {back!r}")
            count += len(back)
    return count


def main() -> None:
    if len(sys.argv) > 1:
        listener = socket.create_server((sys.argv[1], int(sys.argv[2])))
        print("echo on", *listener.getsockname())
        serve(listener)
    listener = socket.create_server(("127.0.0.1", 0), backlog=CLIENTS)
    server = overlapped.spawn(serve, listener)
    begun = time.perf_counter()
    clients = [overlapped.spawn(client, listener.getsockname(), number) for number in range(CLIENTS)]
    count = sum(client.result() for client in clients)
    seconds = time.perf_counter() - begun
    server.cancel()
    print(f"echo: {CLIENTS} clients, {CLIENTS * ROUNDS} messages, {count} bytes back as sent, in {seconds:.3f} s")


main()
