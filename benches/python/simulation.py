"""What a schedule of two clients and ten echoes costs in Overlapped's simulated worlds: `simulation.py`."""

import json

from measured import Laps

import overlapped
from overlapped import sim, socket

SCHEDULES = 100
ECHOES = 10
SERVER = ("10.0.0.1", 80)


def scene() -> None:
    listener = socket.create_server(SERVER)

    def serve() -> None:
        while True:
            overlapped.spawn(echo, listener.accept()[0])

    def echo(connection: socket.socket) -> None:
        with connection:
            while data := connection.recv(64):
                connection.sendall(data)

    def ask() -> None:
        with socket.create_connection(SERVER) as client:
            for _ in range(ECHOES):
                client.sendall(b"question")
                answer = b""
                while len(answer) < 8:
                    answer += client.recv(8 - len(answer))
                assert answer == b"question"

    overlapped.spawn(serve)
    for client in [overlapped.spawn(ask), overlapped.spawn(ask)]:
        client.result()


def main() -> None:
    laps = Laps(SCHEDULES)
    seed = 0
    passed = 0.0
    for _ in laps:
        passed += sim.explore(range(seed, seed + SCHEDULES), scene).elapsed
        seed += SCHEDULES
    schedule = laps.nanoseconds
    print(json.dumps({"schedule": schedule, "faster": passed / seed / (schedule / 1e9)}))


if __name__ == "__main__":
    main()
