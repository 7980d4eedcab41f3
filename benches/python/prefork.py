"""A server of four worker processes that echo lines.

It prints its port; for each line on stdin it replaces all workers, one after the other, and says so; it ends when stdin
closes.
"""

import os
import sys

from overlapped import io, prefork, socket

WORKERS = 4


def echo(connection: prefork.Connection) -> None:
    request = bytearray()
    while True:
        if end := request.rfind(b"\n") + 1:
            connection.sendall(request[:end])
            del request[:end]
        match connection.read_more(request):
            case prefork.More.END:
                return
            case prefork.More.MOVE:
                return connection.give(request)


def supervise() -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    port = listener.getsockname()[1]
    with prefork.Supervisor(WORKERS, [sys.executable, __file__], {"lines": listener}) as supervisor:
        print(port, flush=True)
        for _ in io.open(0):
            supervisor.restart()
            print("restarted", flush=True)


if prefork.VARIABLE in os.environ:
    prefork.Worker().serve(echo)
else:
    supervise()
