"""A program of threads, sockets and files that knows nothing of Overlapped: the standard library alone.

    python examples/plain_program.py
    python -m overlapped examples/plain_program.py

A server stores what it is sent, as a file for each sender, and sends back what the file holds. Its clients are all
there at once, a thread each, and so are the server's ends. Under `python -m overlapped` the threads are tasklets.
"""

import argparse
import hashlib
import socket
import socketserver
import tempfile
import threading
import time
from pathlib import Path

folder: Path


class Store(socketserver.StreamRequestHandler):
    """Lines `name size`, each followed by that many bytes; each is answered by the bytes in the file."""

    disable_nagle_algorithm = True

    def handle(self) -> None:
        while line := self.rfile.readline():
            name, size = line.decode().split()
            path = folder / name
            with open(path, "ab") as file:
                file.write(self.rfile.read(int(size)))
            with open(path, "rb") as file:
                file.seek(-int(size), 2)
                self.wfile.write(file.read())


class Server(socketserver.ThreadingTCPServer):
    request_queue_size = 1024
    daemon_threads = True


class Client(threading.Thread):
    """Sends pieces of its own, after all clients are connected, and compares what comes back."""

    def __init__(self, port: int, number: int, rounds: int, gate: threading.Barrier) -> None:
        super().__init__()
        self.port, self.number, self.rounds, self.gate = port, number, rounds, gate
        self.digest = hashlib.sha256()
        self.count = 0
        self.error: Exception | None = None

    def run(self) -> None:
        try:
            with socket.create_connection(("127.0.0.1", self.port)) as connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                stream = connection.makefile("rb")
                self.gate.wait()
                for round in range(self.rounds):
                    piece = f"client {self.number}, round {round}; ".encode() * (1 + (self.number + round) % 100)
                    connection.sendall(f"client-{self.number} {len(piece)}\n".encode() + piece)
                    if stream.read(len(piece)) != piece:
                        raise ValueError(f"client {self.number} got back something else in round {round}")
                    self.digest.update(piece)
                    self.count += len(piece)
        except Exception as error:
            self.error = error
            self.gate.abort()


def main() -> None:
    global folder
    parser = argparse.ArgumentParser(description="Threads, sockets and files: the standard library alone.")
    parser.add_argument("--clients", type=int, default=250)
    parser.add_argument("--rounds", type=int, default=40)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, Server(("127.0.0.1", 0), Store) as server:
        folder = Path(name)
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        begun = time.perf_counter()
        gate = threading.Barrier(chosen.clients)
        clients = [Client(server.server_address[1], number, chosen.rounds, gate) for number in range(chosen.clients)]
        for client in clients:
            client.start()
        for client in clients:
            client.join()
        seconds = time.perf_counter() - begun
        server.shutdown()
        serving.join()
        # A client that fails breaks the barrier for the others: theirs are not the errors to tell.
        errors = [client.error for client in clients if client.error is not None]
        if errors:
            raise min(errors, key=lambda error: isinstance(error, threading.BrokenBarrierError))
        for client in clients:
            stored = (folder / f"client-{client.number}").read_bytes()
            if hashlib.sha256(stored).digest() != client.digest.digest():
                raise SystemExit(f"the file of client {client.number} is not what it sent")
    count = sum(client.count for client in clients)
    print(
        f"plain program: {chosen.clients} client threads, {chosen.clients * chosen.rounds} requests,"
        f" {count} bytes stored and back as sent, in {seconds:.3f} s"
    )


main()
