"""`stacklesssocket`, and programs under ``python -m overlapped --stackless``."""

from __future__ import annotations

import socket as std
import subprocess
import sys
from pathlib import Path

import pytest

import overlapped
from load import crowd
from overlapped import socket, stackless
from overlapped.stackless import stacklessfile, stacklesssocket


@pytest.fixture
def installed():
    stacklesssocket.install()
    yield
    stacklesssocket.uninstall()


def test_install_has_the_module_make_sockets_that_block_their_tasklet_alone(installed: None) -> None:
    log: list[bytes] = []
    with std.create_server(("127.0.0.1", 0)) as listener:
        assert type(listener) is socket.socket

        def serves() -> None:
            with listener.accept()[0] as connection:
                log.append(connection.recv(10))

        def connects() -> None:
            with std.create_connection(listener.getsockname()) as connection:
                log.append(b"connected")
                connection.sendall(b"hello")

        stackless.tasklet(serves)()
        stackless.tasklet(connects)()
        stackless.run()
    assert log == [b"connected", b"hello"]


def test_a_second_install_is_refused_and_uninstall_takes_it_back() -> None:
    before = std.socket, std.getaddrinfo
    stacklesssocket.uninstall()
    stacklesssocket.install(0.05)
    with pytest.raises(RuntimeError, match="Still installed"):
        stacklesssocket.install()
    assert std.socket is socket.socket
    stacklesssocket.uninstall()
    assert (std.socket, std.getaddrinfo) == before


def test_a_blocking_socket_is_the_standard_librarys_whatever_is_installed(installed: None) -> None:
    with stacklesssocket.make_blocking_socket(std.AF_INET, std.SOCK_DGRAM) as made:
        assert not isinstance(made, socket.socket) and made.type == std.SOCK_DGRAM


def test_it_can_be_used_in_the_place_of_socket() -> None:
    with stacklesssocket.socket(stacklesssocket.AF_INET, stacklesssocket.SOCK_STREAM) as made:
        assert isinstance(made, socket.socket)
    assert stacklesssocket.can_timeout()
    stacklesssocket.ready_to_schedule(True)


def test_without_the_manager_run_ends_though_somebody_waits_for_the_port() -> None:
    log: list[bytes] = []
    # What is sent by a plain socket needs no turn of the port.
    client, other = std.socketpair()
    server = socket.socket(fileno=other.detach())
    made = stackless.tasklet(lambda: log.append(server.recv(10)))()
    stacklesssocket.StopManager()
    try:
        stackless.run()
        assert made.blocked and log == []
        client.sendall(b"hello")
        while made.blocked:
            stacklesssocket.pump()
        assert made.scheduled and log == []
        stackless.run()
        assert log == [b"hello"]
    finally:
        stacklesssocket.StartManager()
        client.close()
        server.close()
    sleeper = stackless.tasklet(overlapped.sleep)(0.001)
    stackless.run()
    assert not sleeper.alive


def test_a_kill_returns_when_one_that_waits_for_a_socket_is_dead(pair: tuple[socket.socket, socket.socket]) -> None:
    log: list[str] = []
    client, server = pair

    def receives() -> None:
        try:
            server.recv(10)
        finally:
            log.append("finally")

    made = stackless.tasklet(receives)()
    stackless.schedule()
    assert made.blocked
    made.kill()
    assert log == ["finally"] and not made.alive
    client.sendall(b"kept")
    assert server.recv(10) == b"kept"


def test_a_throw_returns_when_one_that_waits_for_a_socket_has_raised_it_and_that_may_go_on(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    log: list[str] = []
    server = pair[1]

    def receives() -> None:
        for _ in range(2):
            try:
                server.recv(10)
            except KeyError as error:
                log.append(str(error.args[0]))

    made = stackless.tasklet(receives)()
    stackless.schedule()
    made.throw(KeyError("first"))
    assert log == ["first"] and made.alive
    made.throw(KeyError("second"), pending=True)
    assert log == ["first"]
    stackless.run()
    assert log == ["first", "second"] and not made.alive


def test_a_kill_that_waits_for_the_port_can_itself_be_ended_and_has_been_told_all_the_same(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    log: list[str] = []

    def kills() -> None:
        try:
            made.kill()
            log.append("killed")
        except KeyError:
            log.append("told to leave")

    made = stackless.tasklet(pair[1].recv)(10)
    stackless.schedule()
    killer = stackless.tasklet(kills)()
    stackless.schedule()
    at_once = not killer.alive  # where nothing is in flight, as over epoll, the port lets go at once
    if not at_once:
        assert made.alive and killer.blocked
        killer.throw(KeyError)
    stackless.run()
    assert log == ["killed" if at_once else "told to leave"] and not made.alive


def test_stacklessfile_stands_in_for_file(tmp_path: Path) -> None:
    file = stacklessfile.stacklessfile
    with file(tmp_path / "name", "wb") as writing:
        writing.write(b"contents")
    with file(tmp_path / "name", "rb") as reading:
        assert reading.read() == b"contents"


def run(program: str, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "overlapped", *options, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, timeout=50 * crowd())


def test_a_program_for_stackless_imports_what_it_did() -> None:
    done = run(
        """
import stackless, stacklesssocket, threading, time
from stacklessfile import stacklessfile
import overlapped.stackless
assert stackless is overlapped.stackless and TaskletExit is stackless.TaskletExit

log = []
def ticks():
    for _ in range(3):
        log.append("tick")
        stackless.schedule()
def sleeps():
    time.sleep(0.02)
    log.append("slept")
stackless.tasklet(sleeps)()
stackless.tasklet(ticks)()
stackless.run()
print(log)

# Threads stay threads, each with tasklets of its own.
def there():
    print(stackless.getmain().is_current, stackless.getruncount())
thread = threading.Thread(target=there)
thread.start()
thread.join()
assert thread.ident != threading.get_ident() and len(stackless.threads) == 1
""",
        "--stackless",
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert done.stdout == "['tick', 'tick', 'tick', 'slept']\nTrue 1\n"


def test_without_the_option_there_is_no_stackless() -> None:
    done = run("import stackless")
    assert done.returncode == 1 and "ModuleNotFoundError: No module named 'stackless'" in done.stderr


def test_an_uncaught_error_ends_the_program_with_the_tasklets_own_traceback() -> None:
    done = run("import stackless\ndef fails(): 1/0\nstackless.tasklet(fails)()\nstackless.run()", "--stackless")
    assert done.returncode == 1
    assert "in fails" in done.stderr and "ZeroDivisionError" in done.stderr
