"""A server of four workers that restarts under its clients: SIGHUP replaces the workers, and no connection is lost.

python examples/prefork.py         # the scene: clients, a SIGHUP, and what they saw
python examples/prefork.py serve   # the server alone: kill -HUP restarts it, Ctrl-C and kill -TERM stop it

As a service of systemd's (Type=notify-reload) it serves the sockets that systemd has opened, and tells how it is.
"""

import os
import signal
import sys

import overlapped
from overlapped import prefork, socket, systemd

CLIENTS = 100


def answer(connection: prefork.Connection) -> None:
    """Answers each line with this process's number and the line."""
    request = bytearray()
    while True:
        while (end := request.find(b"\n")) >= 0:
            connection.sendall(b"%d %b" % (os.getpid(), bytes(request[: end + 1])))
            del request[: end + 1]
        match connection.read_more(request):
            case prefork.More.END:
                return
            case prefork.More.MOVE:
                return connection.give(request)


def supervise(listeners: list[tuple[str, socket.socket]], begun: overlapped.Event, restarted: overlapped.Event) -> None:
    signals: overlapped.Channel[int] = overlapped.Channel()
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: overlapped.spawn(signals.send, number) and None)
    supervisor = prefork.Supervisor(4, [sys.executable, __file__], listeners, tell_systemd=True)
    begun.set()
    while signals.receive() == signal.SIGHUP:
        try:
            supervisor.restart()
            restarted.set()
        except OSError as error:
            print(f"the old workers go on: {error}", file=sys.stderr)
    supervisor.stop(30)


def scene() -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=CLIENTS)
    address, begun, restarted = listener.getsockname(), overlapped.Event(), overlapped.Event()
    server = overlapped.spawn(supervise, [("lines", listener)], begun, restarted)
    begun.wait()
    seen: list[tuple[bytes, bytes]] = []

    def client(number: int) -> None:
        with socket.create_connection(address) as connection, connection.makefile("rb") as answers:
            connection.sendall(b"one\n")
            before = answers.readline().split()[0]
            # Half of the next request, and the other half when its worker is no more.
            connection.sendall(b"client %d " % number)
            half_said.release()
            restarted.wait()
            connection.sendall(b"goes on\n")
            after, said = answers.readline().rstrip().split(b" ", 1)
            assert said == b"client %d goes on" % number, said
            seen.append((before, after))

    half_said = overlapped.Semaphore(0)
    clients = [overlapped.spawn(client, number) for number in range(CLIENTS)]
    for _ in clients:
        half_said.acquire()
    os.kill(os.getpid(), signal.SIGHUP)
    restarted.wait()
    for one in clients:
        one.result()
    os.kill(os.getpid(), signal.SIGTERM)
    server.result()
    old, new = {before for before, _ in seen}, {after for _, after in seen}
    print(f"prefork: {len(seen)} clients with half a request each; {len(old)} workers became {len(new)} others")


if prefork.VARIABLE in os.environ:
    prefork.Worker().serve(answer)
elif sys.argv[1:] == ["serve"]:
    listeners = systemd.listeners() or [("lines", socket.create_server(("127.0.0.1", 7007)))]
    supervise(listeners, overlapped.Event(), overlapped.Event())
elif sys.platform == "win32":
    print("prefork: not on Windows so far")
else:
    scene()
