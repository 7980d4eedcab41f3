"""Threads, as plain Python has them: `preemption.py costs|echo|beside [READ_SIZE] [--whole-turns]`.

`costs` prints, in nanoseconds, `spawn_join` (batches of a thousand) and `switch` (a yield while one other yields too).
`echo` serves, and so does `beside`, while one more thread computes. `--whole-turns` lets threads compute for an hour
before others have their turn, so that nobody is ever preempted.
"""

import json
import socket
import sys
import time
from threading import Thread

from measured import Laps, announce, asked

SPAWNS = 1000
SWITCHES = 10_000


def nothing() -> int:
    return 0


def spawn_join() -> Laps:
    laps = Laps(SPAWNS)
    for _ in laps:
        threads = [Thread(target=nothing) for _ in range(SPAWNS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return laps


def switch() -> Laps:
    def switches() -> None:
        for _ in range(SWITCHES // 2):
            time.sleep(0)

    laps = Laps(SWITCHES)
    for _ in laps:
        other = Thread(target=switches)
        other.start()
        switches()
        other.join()
    return laps


def compute() -> None:
    number = 0
    while True:
        number += 1


def echo(connection: socket.socket, read_size: int) -> None:
    with connection:
        while data := connection.recv(read_size):
            connection.sendall(data)


def serve(read_size: int) -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    announce(listener.getsockname()[1])
    while True:
        Thread(target=echo, args=(listener.accept()[0], read_size), daemon=True).start()


chosen = asked("what")
if chosen.whole_turns:
    sys.setswitchinterval(3600)
if chosen.what == "costs":
    print(json.dumps({"spawn_join": spawn_join().nanoseconds, "switch": switch().nanoseconds}))
else:
    if chosen.what == "beside":
        Thread(target=compute, daemon=True).start()
    serve(chosen.read_size)
