"""A toy store, with commands like Redis's, in plain threads and sockets: tests for ``pytest --overlapped-sim``.

``FLAW`` plants a mistake of each of the usual kinds."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

FLAW = os.environ.get("FLAW")
STORE, COPY = ("10.0.0.1", 6379), ("10.0.0.2", 6379)
PATIENCE = 600.0


class Server:
    """Keeps numbers by name, each change in a copy elsewhere before it is answered."""

    def __init__(self, address: tuple[str, int], copy: tuple[str, int] | None = None) -> None:
        self.numbers: dict[str, int] = {}
        self.done: dict[str, int] = {}
        self.lock, self.of_copy = threading.Lock(), threading.Lock()
        self.copy = None if copy is None else Client(copy, own=address[0])
        self.listener = socket.create_server(address)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection: socket.socket) -> None:
        try:
            with connection:
                for line in self.lines(connection):
                    connection.sendall(self.answer(*line.split()) + b"\n")
        except OSError:
            pass

    def lines(self, connection: socket.socket) -> Iterator[str]:
        rest = b""
        while True:
            received = connection.recv(100)
            if not received and FLAW != "the end is not seen":
                return
            if FLAW == "a receive is a line" and received:
                yield received.decode()
                continue
            *whole, rest = (rest + received).split(b"\n")
            yield from (line.decode() for line in whole)
            if FLAW == "the end is not seen":
                time.sleep(0)

    def answer(self, command: str, name: str, token: str = "") -> bytes:
        if command == "GET":
            return str(self.numbers.get(name, 0)).encode()
        if command == "MOVE":
            first, second = (self.of_copy, self.lock) if FLAW == "locks cross" else (self.lock, self.of_copy)
            with first:
                self.keep("moved")
                with second:
                    return b"0"
        if FLAW == "read, wait, write":
            number = self.numbers.get(name, 0) + 1
            self.keep(name)
            self.numbers[name] = number
            return str(number).encode()
        with self.lock:
            if token in self.done and FLAW != "again is twice":
                return str(self.done[token]).encode()
            with self.of_copy:
                self.keep(name)
            self.numbers[name] = self.done[token] = self.numbers.get(name, 0) + 1
            return str(self.numbers[name]).encode()

    def keep(self, name: str) -> None:
        if self.copy is not None:
            self.copy.ask("INCR", name)


class Client:
    """Asks, again where the connection breaks; each command has a token, by which it is done once."""

    tokens = 0

    def __init__(self, address: tuple[str, int], own: str = "10.0.0.3") -> None:
        self.address, self.own = address, (own, 0)
        self.connection: Any = None

    def ask(self, command: str, name: str) -> int:
        Client.tokens += 1
        token = f"t{Client.tokens}"
        while True:
            try:
                if self.connection is None:
                    limit = None if FLAW == "no time-out" else 1.0
                    self.connection = socket.create_connection(self.address, limit, self.own)
                    self.answers = self.connection.makefile("rb")
                self.connection.sendall(f"{command} {name} {token}\n".encode())
                line = self.answers.readline()
                if line.endswith(b"\n"):
                    return int(line)
            except OSError:
                pass
            self.close()
            time.sleep(5)

    def close(self) -> None:
        if self.connection is not None:
            self.answers.close()
            self.connection.close()
            self.connection = None


@pytest.fixture
def store() -> Server:
    Server(COPY)
    return Server(STORE, COPY)


def in_threads(*functions: Callable[[], object]) -> None:
    threads = [threading.Thread(target=function, daemon=True) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive(), "somebody waits for ever"


def count(times: int) -> None:
    client = Client(STORE)
    for _ in range(times):
        client.ask("INCR", "visitors")
    client.close()


def test_all_are_counted(store: Server) -> None:
    in_threads(lambda: count(5), lambda: count(5))
    assert Client(STORE).ask("GET", "visitors") == 10


def test_all_are_counted_once_where_connections_break(store: Server) -> None:
    from overlapped import sim

    sim.set_rules(sim.Rules(reset=8))
    in_threads(lambda: count(5), lambda: count(5))
    sim.set_rules(sim.Rules())
    assert Client(STORE).ask("GET", "visitors") == 10


def test_all_are_counted_where_the_network_is_cut(store: Server) -> None:
    from overlapped import sim

    def cut() -> None:
        time.sleep(sim.random(10) / 1000)
        sim.partition(STORE[0], COPY[0])
        # Longer than TCP sends again: who waits for an answer then is never told.
        time.sleep(1000)
        sim.heal(STORE[0], COPY[0])

    threading.Thread(target=cut, daemon=True).start()
    threads = [threading.Thread(target=count, args=(5,), daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(1100)
        assert not thread.is_alive(), "somebody waits for what was lost"


def test_moves_and_counts_go_on_beside_each_other(store: Server) -> None:
    def move() -> None:
        client = Client(STORE)
        for _ in range(5):
            client.ask("MOVE", "moved")
        client.close()

    in_threads(lambda: count(5), move)
