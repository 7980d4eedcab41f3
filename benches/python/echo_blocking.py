"""Echo in blocking style, one tasklet or greenlet a connection: `echo_blocking.py overlapped|gevent`.

The same lines serve both; only the import differs.
"""

import sys

from measured import READ_SIZE, announce

if sys.argv[1] == "gevent":
    from gevent import socket, spawn
else:
    from overlapped import socket, spawn


def echo(connection: socket.socket) -> None:
    with connection:
        while data := connection.recv(READ_SIZE):
            connection.sendall(data)


def serve() -> None:
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(1024)
    announce(listener.getsockname()[1])
    while True:
        connection, _ = listener.accept()
        spawn(echo, connection)


serve()
