"""Connections handed to four workers, one after the other of which is killed: none is forgotten, none answered twice.

python examples/handoff.py                    # this program is its own worker
python examples/handoff.py PROGRAM ARGUMENT…  # another one is, in Python or Rust
"""

import contextlib
import os
import signal
import sys
import time

import overlapped
from overlapped import handoff, socket

CONNECTIONS = 1000
WORKERS = 4
KILLS = 100
"""So many connections after each other kill."""
KILL = getattr(signal, "SIGKILL", signal.SIGTERM)
"""What ends a process at once; on Windows each signal does (TerminateProcess)."""


def answer(given: handoff.Given) -> None:
    """Answers with this process's number and what came along."""
    with given.take() as connection, contextlib.suppress(ConnectionError):
        connection.sendall(b"%d %b" % (os.getpid(), given.context))
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(4096):
            pass


def work() -> None:
    begun: list[overlapped.Tasklet[None]] = []
    for given in handoff.Worker():
        begun = [one for one in begun if one.alive]
        begun.append(overlapped.spawn(answer, given))
    for one in begun:
        one.join()


def client(connection: socket.socket, line: bytes) -> bytes:
    """Says a line, and returns the answer; nothing where the connection was closed before one came.

    It waits for a while, not for ever: Wine does not close the connection of a process that is killed in the middle of
    a send.
    """
    said = b""
    connection.settimeout(30)
    with connection, contextlib.suppress(ConnectionError, TimeoutError):
        connection.sendall(line)
        while data := connection.recv(4096):
            said += data
    return said


def serve(command: list[str]) -> None:
    workers = handoff.Server(WORKERS, command, attempts=100)
    begun, clients = time.perf_counter(), []
    killed: list[int] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        for number in range(CONNECTIONS):
            line = b"connection %d\n" % number
            said = overlapped.spawn(client, socket.create_connection(listener.getsockname()), line)
            connection, _ = listener.accept()
            context = connection.recv(len(line), socket.MSG_WAITALL)
            clients.append((line, said, workers.give(connection, context)))
            if number % KILLS == KILLS - 1:
                process = None
                while process is None:
                    overlapped.sleep(0.001)
                    # The place whose turn it is may have no process now, or one that is about to end: then the next.
                    places = workers.workers() * 2
                    running = (one.process for one in places[len(killed) % WORKERS :] if one.process is not None)
                    process = next((one for one in running if one not in killed), None)
                os.kill(process, KILL)
                killed.append(process)
    answered = closed = 0
    for line, said, giving in clients:
        whole = b"%d %b" % (giving.wait(), line)
        if said.result() == whole:
            answered += 1
        elif whole.startswith(said.result()):
            closed += 1
        else:
            raise SystemExit(f"{said.result()!r} was the answer, and not {whole!r}")
    workers.stop(30)
    print(
        f"handoff: {answered + closed} connections through {WORKERS} workers in {time.perf_counter() - begun:.3f} s; "
        f"{answered} answered once, {len(killed)} workers killed and {closed} connections with them"
    )


if handoff.VARIABLE in os.environ:
    work()
else:
    serve(sys.argv[1:] or [sys.executable, __file__])
