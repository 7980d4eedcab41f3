"""A client and a server on a simulated bad network, under many seeds; and the mistake that it finds."""

from __future__ import annotations

import overlapped
from overlapped import sim, socket

ADDRESS = ("10.0.0.1", 7000)


def greet(connection: socket.socket) -> None:
    with connection:
        connection.sendall(b"hello, and how do you do?")


def scene(careful: bool) -> None:
    """Ask once, and look whether the answer is whole."""
    listener = socket.create_server(ADDRESS)
    overlapped.spawn(lambda: greet(listener.accept()[0]))
    with socket.create_connection(ADDRESS, timeout=60) as client:
        answer = client.recv(100)
        while careful and (more := client.recv(100)):
            answer += more
    listener.close()
    assert answer.endswith(b"?"), f"half of an answer: {answer!r}"


def main() -> None:
    explored = sim.explore(range(200), lambda: scene(careful=True))
    try:
        sim.explore(range(200), lambda: scene(careful=False))
    except sim.Failure as failure:
        print(failure)
    print(f"simulation: {explored.runs} worlds, {explored.elapsed:.1f} s passed in them")


if __name__ == "__main__":
    main()
