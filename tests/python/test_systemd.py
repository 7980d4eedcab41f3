"""overlapped.systemd: services, and a stand-in for their manager: a socket that hears what it is told, and a shell that
passes descriptors."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import unix_only
from overlapped import prefork, socket, subprocess, systemd

pytestmark = unix_only("there is no systemd there")

LINUX = sys.platform == "linux"
LONG = 60

TAKES = """
import sys
from overlapped import socket, systemd
def kind(one):
    if isinstance(one, int): return "other"
    listens = one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    return f"{one.family.name} {one.type.name}" + " listens" * listens
print(", ".join(f"{name}={kind(one)}" for name, one in systemd.listen_fds()))
assert systemd.listen_fds() == [], "they are taken once"
"""
IS_REFUSED = """
import errno
from overlapped import systemd
try:
    systemd.listen_fds()
except OSError as error:
    assert error.errno == errno.EINVAL
    print(error.strerror)
"""
TAKES_NO_FILE = IS_REFUSED.replace("listen_fds", "listeners")
SERVES = """
from overlapped import systemd
for name, listener in systemd.listeners():
    connection, _ = listener.accept()
    connection.sendall(name.encode())
"""
STARTS_CHILDREN = """
import subprocess, sys
from overlapped import systemd
assert len(systemd.listen_fds()) == 2
script = '''
import os
assert not [name for name in os.environ if name.startswith("LISTEN_")], os.environ
for number in (3, 4):
    try: os.fstat(number)
    except OSError: pass
    else: raise SystemExit(f"{number} is open")
'''
for options in ({}, {"close_fds": False}):
    subprocess.run([sys.executable, "-c", script], check=True, **options)
"""
TELLS = """
from overlapped import systemd
assert all([systemd.ready(), systemd.reloading(), systemd.status("three of four: \\u00fcnderway"),
    systemd.main_process(77), systemd.watchdog(), systemd.notify("READY=1\\nSTATUS=again"), systemd.stopping()])
"""
STORES = """
from overlapped import socket, systemd
listener = socket.create_server(("127.0.0.1", 0))
datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
assert systemd.store_limit() == 2
assert systemd.store("lines of mine", [listener, datagrams.fileno()])
assert systemd.unstore("lines of mine")
"""
WORKS = """
import os
from overlapped import prefork
def answer(connection):
    request = bytearray()
    while not request.endswith(b"\\n"):
        match connection.read_more(request):
            case prefork.More.END: return
            case prefork.More.MOVE: return connection.give(request)
    connection.sendall(f"{os.getpid()} {connection.listener}\\n".encode())
prefork.Worker().serve(answer)
"""
NEVER_READY = "import overlapped; from overlapped import prefork; w = prefork.Worker(); overlapped.sleep(60)"
IS_A_SERVER = """
import contextlib, signal, sys
import overlapped
from overlapped import prefork, systemd
old, new, limit = sys.argv[1:]
signals = overlapped.Channel()
for number in (signal.SIGHUP, signal.SIGTERM):
    signal.signal(number, lambda number, _: overlapped.spawn(signals.send, number) and None)
command = [sys.executable, "-c"]
supervisor = prefork.Supervisor(2, [*command, old], systemd.listeners(), tell_systemd=True)
def upgrade():
    with contextlib.suppress(OSError): supervisor.upgrade([*command, new])
while signals.receive() == signal.SIGHUP:
    overlapped.spawn(upgrade)
with contextlib.suppress(TimeoutError):
    supervisor.stop(float(limit))
systemd.notify("X_ENDED=1")
"""


def service(script: str, passed: list[Any], *arguments: str, **variables: str) -> subprocess.Popen[str]:
    """A service, which the variables of sd_listen_fds(3) tell of its two descriptors, 3 and 4."""
    shell = 'export LISTEN_PID=${LISTEN_PID-$$}; exec "$@" 3<&0 4<&2 2>&1 </dev/null'
    third, fourth = passed
    # The tests may be a service themselves.
    theirs = ("LISTEN_", "WATCHDOG_", "NOTIFY_SOCKET", "FDSTORE")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(theirs)}
    return subprocess.Popen(
        ["sh", "-c", shell, "sh", sys.executable, "-c", script, *arguments],
        env={**environment, "LISTEN_FDS": "2", **variables},
        stdin=third,
        stdout=subprocess.PIPE,
        stderr=fourth,
        text=True,
    )


def says(script: str, passed: list[Any], *arguments: str, **variables: str) -> str:
    """Runs a service to its end; returns what it has written."""
    with service(script, passed, *arguments, **variables) as process:
        said, _ = process.communicate(timeout=LONG)
    assert process.returncode == 0, said
    return said.rstrip("\n")


@pytest.fixture
def folder() -> Iterator[Path]:
    # Shorter than pytest's own: the path of a socket has some hundred bytes.
    with tempfile.TemporaryDirectory() as path:
        yield Path(path)


@pytest.fixture
def opened() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.fixture
def nothing(opened: contextlib.ExitStack) -> list[Any]:
    return [opened.enter_context(open(os.devnull, "r+b", buffering=0)) for _ in range(2)]


class Manager:
    """The manager's ear."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(address.replace("@", "\0", 1) if address.startswith("@") else address)
        self.socket.settimeout(LONG)

    def hears(self) -> str:
        return self.socket.recv(4096).decode()

    def hears_news(self) -> str:
        """What it hears but for the watchdog."""
        while (said := self.hears()) == "WATCHDOG=1":
            pass
        return said


@pytest.fixture(params=["path", pytest.param("abstract", marks=pytest.mark.skipif(not LINUX, reason="Linux alone"))])
def any_manager(request: pytest.FixtureRequest, folder: Path) -> Iterator[Manager]:
    name = str(folder / "notify")
    manager = Manager(name if request.param == "path" else f"@{name}")
    with manager.socket:
        yield manager


@pytest.fixture
def manager(folder: Path) -> Iterator[Manager]:
    manager = Manager(str(folder / "notify"))
    with manager.socket:
        yield manager


def tcp() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


def unix(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen()
    return listener


def test_what_the_manager_passes_comes_as_what_it_is_with_its_name(folder, opened, nothing):
    def enter(one: socket.socket) -> socket.socket:
        return opened.enter_context(one)

    udp = enter(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    stream, peer = (enter(one) for one in socket.socketpair())
    for passed, names, expected in [
        (
            [enter(tcp()), enter(unix(folder / "a"))],
            "web:lines",
            "web=AF_INET SOCK_STREAM listens, lines=AF_UNIX SOCK_STREAM listens",
        ),
        ([udp, stream], ":b", "=AF_INET SOCK_DGRAM, b=AF_UNIX SOCK_STREAM"),
        ([nothing[0], peer], None, "unknown=other, unknown=AF_UNIX SOCK_STREAM"),
    ]:
        variables = {} if names is None else {"LISTEN_FDNAMES": names}
        assert says(TAKES, passed, **variables) == expected


def test_what_is_meant_for_another_process_is_not_taken(nothing):
    assert says(TAKES, nothing, LISTEN_PID="1") == ""
    assert says(TAKES, nothing, LISTEN_FDS="0") == ""
    assert systemd.listen_fds() == []


@pytest.mark.parametrize(
    ("variable", "value", "why"),
    [
        ("LISTEN_PID", "me", "LISTEN_PID is 'me', and no number"),
        ("LISTEN_FDS", "-1", "LISTEN_FDS is '-1', and no number"),
        ("LISTEN_FDS", "2147483648", "LISTEN_FDS is '2147483648', and no number that it can be"),
        ("LISTEN_FDNAMES", "one", "LISTEN_FDNAMES has 1 names for 2 descriptors"),
        ("LISTEN_FDS", "1000000", "is passed"),
    ],
)
def test_what_no_manager_has_set_is_refused(nothing, variable, value, why):
    assert why in says(IS_REFUSED, nothing, **{variable: value})


def test_a_descriptor_that_was_not_inherited_is_refused(nothing):
    opens = "import os; assert os.open(os.devnull, os.O_RDONLY) == 5\n"
    said = says(opens + IS_REFUSED, nothing, LISTEN_FDS="3")
    assert said == "systemd: descriptor 5 is passed, and was opened by this process"


def test_a_server_that_wants_listeners_refuses_a_file(nothing):
    assert "'unknown' is passed, which is no listener" in says(TAKES_NO_FILE, nothing)


def test_a_listener_that_was_passed_serves_those_who_waited_in_its_line(folder, opened):
    listeners = [opened.enter_context(one) for one in (tcp(), unix(folder / "lines"))]
    clients = [socket.socket(listener.family) for listener in listeners]
    for client, listener in zip(clients, listeners, strict=True):
        opened.enter_context(client).connect(listener.getsockname())
    assert says(SERVES, listeners, LISTEN_FDNAMES="web:lines") == ""
    assert [client.recv(100) for client in clients] == [b"web", b"lines"]


def test_children_get_neither_the_descriptors_nor_the_variables(nothing):
    assert says(STARTS_CHILDREN, nothing, LISTEN_FDNAMES="a:b", LISTEN_PIDFDID="7") == ""


def test_the_manager_hears_what_it_is_told(any_manager, nothing):
    assert says(TELLS, nothing, NOTIFY_SOCKET=any_manager.address) == ""
    assert any_manager.hears() == "READY=1"
    word, time = any_manager.hears().split("\nMONOTONIC_USEC=")
    assert (word, int(time) > 0) == ("RELOADING=1", True)
    for said in ["STATUS=three of four: ünderway", "MAINPID=77", "WATCHDOG=1", "READY=1\nSTATUS=again", "STOPPING=1"]:
        assert any_manager.hears() == said


def test_what_is_no_assignment_and_no_name_is_refused_before_it_is_said(monkeypatch, manager):
    monkeypatch.setenv("NOTIFY_SOCKET", manager.address)
    for wrong in ["", "READY", "=1", "READY=1\n\nSTATUS=x"]:
        with pytest.raises(ValueError, match="a line each"):
            systemd.notify(wrong)
    with pytest.raises(ValueError, match="several lines"):
        systemd.status("one\nMAINPID=1")
    monkeypatch.setenv("FDSTORE", "2")
    for name in ["", "a:b", "ü", "a\nREADY=1", "a" * 256]:
        with pytest.raises(ValueError, match="is no name for a descriptor"):
            systemd.store(name, [0])
        with pytest.raises(ValueError, match="is no name for a descriptor"):
            systemd.unstore(name)
    for descriptors in ([], [0, 1, 2]):
        with pytest.raises(ValueError, match="where 1 to 2 can be"):
            systemd.store("a", descriptors)
    manager.socket.setblocking(False)
    with pytest.raises(BlockingIOError):
        manager.hears()


def test_who_has_no_manager_tells_nobody_and_one_that_is_gone_is_an_error(monkeypatch, manager):
    for name in ("NOTIFY_SOCKET", "FDSTORE", "WATCHDOG_USEC", "WATCHDOG_PID"):
        monkeypatch.delenv(name, raising=False)
    assert not systemd.ready()
    assert not systemd.store("a", [0])
    assert systemd.watchdog_interval() is systemd.store_limit() is None
    manager.socket.close()
    for address, error in [
        (manager.address, ConnectionRefusedError),
        (manager.address + "-not", FileNotFoundError),
        ("run/notify", OSError),
        ("vsock:2:1234", OSError),
    ]:
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        with pytest.raises(error):
            systemd.ready()


def test_a_watchdog_has_the_interval_that_the_manager_says_for_this_process(monkeypatch):
    monkeypatch.setenv("WATCHDOG_USEC", "3000000")
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    assert systemd.watchdog_interval() == 3.0
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    assert systemd.watchdog_interval() == 3.0
    monkeypatch.setenv("WATCHDOG_PID", "1")
    assert systemd.watchdog_interval() is None
    monkeypatch.delenv("WATCHDOG_PID")
    for wrong in ("0", "soon"):
        monkeypatch.setenv("WATCHDOG_USEC", wrong)
        with pytest.raises(OSError, match="WATCHDOG_USEC is"):
            systemd.watchdog_interval()


def test_what_is_stored_goes_to_the_manager_under_its_name_and_to_the_next_process(manager, nothing, opened):
    assert says(STORES, nothing, NOTIFY_SOCKET=manager.address, FDSTORE="2") == ""
    said, stored, _, _ = socket.recv_fds(manager.socket, 4096, 8)
    for number in stored:
        opened.callback(os.close, number)
    assert (said, len(stored)) == (b"FDSTORE=1\nFDNAME=lines of mine", 2)
    assert manager.hears() == "FDSTOREREMOVE=1\nFDNAME=lines of mine"
    names = "lines of mine:lines of mine"
    expected = "lines of mine=AF_INET SOCK_STREAM listens, lines of mine=AF_INET SOCK_DGRAM"
    assert says(TAKES, stored, LISTEN_FDNAMES=names) == expected


def ask(client: socket.socket) -> bytes:
    with client:
        client.sendall(b"who?\n")
        with client.makefile("rb") as answer:
            return answer.read()


def test_a_server_takes_its_listeners_from_the_manager_and_tells_how_it_is(manager, folder, opened):
    web, lines = (opened.enter_context(one) for one in (tcp(), tcp()))
    # Two with one name: an address for each family, as a unit has it.
    variables = {"NOTIFY_SOCKET": manager.address, "LISTEN_FDNAMES": "web:web", "WATCHDOG_USEC": "20000"}
    server = opened.enter_context(service(IS_A_SERVER, [web, lines], WORKS, WORKS, str(LONG), **variables))
    opened.callback(server.kill)
    assert manager.hears_news() == "READY=1"
    before = ask(socket.create_connection(web.getsockname()))
    assert before.endswith(b" web\n")
    assert ask(socket.create_connection(lines.getsockname())).endswith(b" web\n")
    server.send_signal(signal.SIGHUP)
    assert manager.hears_news().startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert manager.hears_news() == "READY=1"
    assert ask(socket.create_connection(web.getsockname())) != before, "all workers are others"
    for _ in range(3):
        # It is heard again and again.
        while manager.hears() != "WATCHDOG=1":
            pass
    server.send_signal(signal.SIGTERM)
    assert manager.hears_news() == "STOPPING=1"
    assert manager.hears_news() == "X_ENDED=1"
    said, _ = server.communicate(timeout=LONG)
    assert (server.returncode, said) == (0, "")


def test_a_server_that_stops_while_it_reloads_says_nothing_more_than_that(manager, opened):
    listeners = [opened.enter_context(tcp()) for _ in range(2)]
    server = service(IS_A_SERVER, listeners, WORKS, NEVER_READY, "0.05", NOTIFY_SOCKET=manager.address)
    opened.enter_context(server)
    opened.callback(server.kill)
    assert manager.hears() == "READY=1"
    server.send_signal(signal.SIGHUP)
    assert manager.hears().startswith("RELOADING=1\n")
    server.send_signal(signal.SIGTERM)
    assert manager.hears() == "STOPPING=1"
    assert manager.hears() == "X_ENDED=1"
    said, _ = server.communicate(timeout=LONG)
    assert (server.returncode, said) == (0, "")


def test_a_server_that_cannot_tell_its_manager_does_not_start(monkeypatch, folder):
    monkeypatch.setenv("NOTIFY_SOCKET", str(folder / "nobody"))
    listener = tcp()
    with pytest.raises(FileNotFoundError):
        prefork.Supervisor(1, [sys.executable, "-c", WORKS], {"web": listener}, tell_systemd=True)
    assert listener.fileno() == -1
