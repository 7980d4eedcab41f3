"""A user's program that says what the package has in the place of the standard library's: checked, never run."""

from __future__ import annotations

import sys
from pathlib import Path

from overlapped import asyncio, handoff, io, monkey, select, socket, ssl, subprocess


def sockets(path: Path) -> None:
    listener: socket.socket = socket.create_server(("127.0.0.1", 0), backlog=5)
    connection: socket.socket = socket.create_connection(("host", 80), timeout=2)
    accepted: socket.socket = listener.accept()[0]
    data: bytes = connection.recv(10) + accepted.recv(10)
    first, second = socket.socketpair()
    families: list[int] = [info[0] for info in socket.getaddrinfo("host", 80)]
    names: tuple[str, str] = socket.getnameinfo(("127.0.0.1", 80), 0)
    host: str = socket.gethostbyname("host") + socket.gethostbyname_ex("host")[0] + socket.getfqdn()
    host += socket.gethostbyaddr("host")[0]
    again: socket.socket = socket.fromfd(first.fileno(), socket.AF_INET, socket.SOCK_STREAM)
    both: bool = socket.has_dualstack_ipv6()
    print(listener, data, second, families, names, host, again, both, path)


def records(connection: socket.socket) -> bytes:
    context: ssl.SSLContext = ssl.create_default_context()
    wrapped: ssl.SSLSocket = context.wrap_socket(connection, server_hostname="host")
    certificate: str = ssl.get_server_certificate(("host", 443))
    return wrapped.recv(10) + certificate.encode()


def readiness(connection: socket.socket) -> None:
    readable, _writable, _urgent = select.select([connection], [], [], 1.0)
    for number, bits in select.poll().poll(1):
        descriptor: int = number | bits
        print(descriptor, readable)
    with select.epoll() as epoll:
        events: list[tuple[int, int]] = epoll.poll(1)
        print(events)


def files(path: Path) -> str:
    with io.open(path, "rb") as reading:
        data: bytes = reading.read()
    raw: io.FileIO = io.FileIO(path)
    both: io.BufferedRWPair = io.BufferedRWPair(raw, raw)
    buffer: io.BufferedReader = io.BufferedReader(raw)
    text: str = io.TextIOWrapper(buffer).read() + both.read().decode()
    return text + data.decode()


def children() -> bytes:
    child: subprocess.Popen[bytes] = subprocess.Popen(["true"], stdout=subprocess.PIPE)
    with child:
        status: int = child.wait(timeout=1) + subprocess.call(["true"]) + subprocess.check_call(["true"])
    code, said = subprocess.getstatusoutput("true")
    text: str = said + subprocess.getoutput("true")
    whole: subprocess.CompletedProcess[bytes] = subprocess.run(["true"], capture_output=True)
    tied: subprocess.Child = subprocess.Child(["true"], own_tree=True, kill_on_parent_exit=True)
    tied.kill_tree()
    if sys.platform != "win32":
        with subprocess.Pty() as pty:
            pty.resize(24, 80)
            rows, columns = pty.size()
            print(rows, columns, pty.terminal(), subprocess.Child(["true"], pty=pty), pty.read(10))
    print(status, code, text)
    return whole.stdout + subprocess.check_output(["true"])


def server(given: socket.socket) -> None:
    choice: handoff.Choice = "least busy"
    serving = handoff.Server(2, ["worker"], choice=choice)
    giving: handoff.Giving = serving.give(given, b"context", key=3)
    try:
        process: int = 0 if giving.known else giving.wait(timeout=1)
    except handoff.NotTaken as refused:
        back: socket.socket = refused.socket
        context: bytes = refused.context
        raise ValueError(back, context) from refused
    except handoff.ProtocolError:
        raise
    statuses: list[handoff.WorkerStatus] = serving.workers()
    told: str | None = statuses[0].last_end
    count: int = statuses[0].ended + statuses[0].taken + statuses[0].unconfirmed + (statuses[0].process or 0)
    serving.stop(1.0)
    serving.close()
    print(process, told, count, handoff.CONTEXT_LIMIT, handoff.VARIABLE)


def worker() -> None:
    here = handoff.Worker()
    while (given := here.next()) is not None:
        one: handoff.Given = given
        context: bytes = one.context
        if context:
            connection: socket.socket = one.take()
            connection.close()
        else:
            one.refuse()


async def awaits(path: Path) -> int:
    async with asyncio.open(path) as file:
        opened: asyncio.AsyncFile = file
        await file.write("text")
        await file.writelines(["one", "two"])
        lines: list[str] = [await file.readline(), await file.read(3), *await file.readlines()]
        await file.flush()
        place: int = await file.seek(0) + await file.tell() + await file.truncate()
        got: int | None = await file.readinto(bytearray(3))
        await file.close()
    print(opened.closed, opened.raw, lines, got)
    return place


def loops(path: Path) -> int:
    loop: asyncio.EventLoop = asyncio.new_event_loop()
    if sys.version_info < (3, 14):
        policy = asyncio.EventLoopPolicy()
        policy.set_event_loop(None)
    loop.close()
    number: int = asyncio.result_of(awaits(path))
    return number + asyncio.run(awaits(path))


def patched() -> None:
    monkey.patch_all()
    monkey.patch_asyncio()
    monkey.patch_blocking("socket", "gethostbyaddr")
    monkey.patch_files()
    monkey.patch_libraries()
    monkey.patch_multiprocessing()
    monkey.patch_os()
    monkey.patch_preemption()
    monkey.patch_queue()
    monkey.patch_select()
    monkey.patch_signal()
    monkey.patch_socket()
    monkey.patch_sqlite()
    monkey.patch_interpreters()
    monkey.patch_ssl()
    monkey.patch_stdin()
    monkey.patch_stdout()
    monkey.patch_thread()
    monkey.patch_time()
    yes: bool = monkey.is_patched("socket", "socket")
    before: object = monkey.original("time", "sleep")
    print(yes, before, monkey.MonkeyPatchWarning)
