"""An accept that times out; then a thousand connections at once, each greeted and disconnected, under stackless.run().

python -m overlapped --stackless examples/stackless/sockets.py
"""

import sys
import time

import stackless
import stacklesssocket

stacklesssocket.install()
import socket  # noqa: E402  after install(), as programs for Stackless had it

CONNECTIONS = 1000
MESSAGE = b"Disconnecting you.."


class Server:
    def __init__(self):
        self.listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(CONNECTIONS)
        self.address = self.listener.getsockname()
        self.waited = 0.0
        self.tasklet = stackless.tasklet(self.run)()

    def run(self):
        try:
            self.time_out()
            while True:
                connection, _ = self.listener.accept()
                stackless.tasklet(self.greet)(connection)
        finally:
            self.listener.close()

    def time_out(self):
        self.listener.settimeout(0.05)
        begun = time.perf_counter()
        try:
            self.listener.accept()
            raise SystemExit("nobody connects, yet accept gave a connection")
        except TimeoutError:
            self.waited = time.perf_counter() - begun
        self.listener.settimeout(None)
        ready.send(None)

    def greet(self, connection):
        connection.sendall(MESSAGE)
        connection.close()


def client(address):
    connection = socket.create_connection(address)
    text = b""
    while True:
        piece = connection.recv(4096)
        if not piece:
            break
        text += piece
    connection.close()
    heard.send(text)


def scene():
    ready.receive()
    begun = time.perf_counter()
    for _ in range(CONNECTIONS):
        stackless.tasklet(client)(server.address)
    for _ in range(CONNECTIONS):
        text = heard.receive()
        if text != MESSAGE:
            raise SystemExit(f"a client was told {text!r}")
    seconds = time.perf_counter() - begun
    server.tasklet.kill()
    print(
        f"stackless sockets: accept timed out after {server.waited * 1000:.0f} ms; then {CONNECTIONS} connections at"
        f' once, each told "{MESSAGE.decode()}" and disconnected, in {seconds:.3f} s'
    )


if sys.platform != "win32":
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

ready, heard = stackless.channel(), stackless.channel()
server = Server()
stackless.tasklet(scene)()
stackless.run()
