"""Echo in blocking style, one tasklet, greenlet or thread a connection.

`echo_blocking.py overlapped|gevent|threads [READ_SIZE] [UNIX_PATH] [--lines|--once]`; `threads` is the plain program
that `python -m overlapped` runs. The same lines serve all; only the import differs.
"""

import sys
from functools import partial
from typing import Any

from measured import announce, asked

if sys.argv[1] == "gevent":
    from gevent import socket, spawn
elif sys.argv[1] == "overlapped":
    from overlapped import socket, spawn
else:
    import socket
    from threading import Thread

    def spawn(function: Any, *arguments: Any) -> None:
        Thread(target=function, args=arguments, daemon=True).start()


def echo(connection: socket.socket) -> None:
    with connection:
        while data := connection.recv(serving.read_size):
            connection.sendall(data)


def echo_once(connection: socket.socket) -> None:
    with connection:
        connection.sendall(connection.recv(serving.read_size))


def echo_lines(connection: socket.socket) -> None:
    with connection, connection.makefile("rwb") as stream:
        while line := stream.readline():
            stream.write(line)
            stream.flush()


def serve() -> None:
    if serving.path:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(serving.path)
    else:
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
    listener.listen(1024)
    announce(serving.path or listener.getsockname()[1])
    serve_one = partial(spawn, echo_once if serving.once else echo_lines if serving.lines else echo)
    while True:
        serve_one(listener.accept()[0])


serving = asked("contender")
serve()
