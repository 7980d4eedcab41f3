"""A server of four workers that restarts under its clients: SIGHUP replaces the workers, and no connection is lost.

python examples/prefork.py                     # the scene: clients, two restarts, and what they saw
python examples/prefork.py PROGRAM ARGUMENT…   # as that; the first restart is an upgrade to another program
python examples/prefork.py serve               # the server alone: kill -HUP restarts it, Ctrl-C and kill -TERM stop it

As a service of systemd's (Type=notify-reload) it serves the sockets that systemd has opened, and tells how it is.
Windows has no such signals: there the scene gives the orders itself.
"""

import itertools
import os
import signal
import sys
from typing import Literal

import overlapped
from overlapped import prefork, socket, systemd

CLIENTS = 100
RESTARTS = 2
THIS = [sys.executable, __file__]

Order = Literal["restart", "stop"]
orders: overlapped.Queue[Order] = overlapped.Queue()
begun, restarted = overlapped.Event(), overlapped.Semaphore(0)


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


def supervise(listeners: list[tuple[str, socket.socket]], other: list[str]) -> None:
    """Serves until it is told to stop. Each restart is an upgrade to the other one of two programs, which may be the
    same.
    """
    signal.signal(signal.SIGINT, lambda *_: orders.put("stop"))
    signal.signal(signal.SIGTERM, lambda *_: orders.put("stop"))
    if sys.platform != "win32":
        signal.signal(signal.SIGHUP, lambda *_: orders.put("restart"))
    programs = [THIS, other]
    supervisor = prefork.Supervisor(4, programs[0], listeners, tell_systemd=True)
    begun.set()
    while orders.get() == "restart":
        programs.reverse()
        try:
            supervisor.upgrade(programs[0])
            restarted.release()
        except OSError as error:
            print(f"the old workers go on: {error}", file=sys.stderr)
    supervisor.stop(30)


def give(order: Order) -> None:
    """Gives an order: as an administrator does, where there are signals."""
    if sys.platform == "win32":
        orders.put(order)
    else:
        os.kill(os.getpid(), signal.SIGHUP if order == "restart" else signal.SIGTERM)


def scene(other: list[str]) -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=CLIENTS)
    address, half_said = listener.getsockname(), overlapped.Semaphore(0)
    server = overlapped.spawn(supervise, [("lines", listener)], other)
    begun.wait()
    generations: list[set[bytes]] = [set() for _ in range(RESTARTS + 1)]
    ended = [overlapped.Event() for _ in range(RESTARTS)]

    def client(number: int) -> None:
        with socket.create_connection(address) as connection, connection.makefile("rb") as answers:
            connection.sendall(b"one\n")
            generations[0].add(answers.readline().split()[0])
            for restart, generation in zip(ended, generations[1:], strict=True):
                # Half of the next request, and the other half when its worker is no more.
                connection.sendall(b"client %d " % number)
                half_said.release()
                restart.wait()
                connection.sendall(b"goes on\n")
                process, said = answers.readline().rstrip().split(b" ", 1)
                assert said == b"client %d goes on" % number, said
                generation.add(process)

    clients = [overlapped.spawn(client, number) for number in range(CLIENTS)]
    for restart in ended:
        for _ in clients:
            half_said.acquire()
        give("restart")
        restarted.acquire()
        restart.set()
    for one in clients:
        one.result()
    give("stop")
    server.result()
    for old, new in itertools.pairwise(generations):
        assert not old & new, "a worker outlived its restart"
    counts = ", then ".join(str(len(generation)) for generation in generations)
    print(
        f"prefork: {CLIENTS} clients with half a request each at each of {RESTARTS} restarts; "
        f"they were answered by {counts} workers"
    )


if prefork.VARIABLE in os.environ:
    prefork.Worker().serve(answer)
elif sys.argv[1:] == ["serve"]:
    supervise(systemd.listeners() or [("lines", socket.create_server(("127.0.0.1", 7007)))], THIS)
else:
    scene(sys.argv[1:] or THIS)
