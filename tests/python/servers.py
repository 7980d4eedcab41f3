"""Servers that others wrote, started by a test on a free port or a socket in a folder of its own, and ended with it."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from load import crowd


def find(name: str) -> str | None:
    """A program; Debian has those of a database in folders that are on no path."""
    folders = [*Path("/usr/lib/postgresql").glob("*/bin"), "/usr/sbin"]
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *map(str, folders)]))


def lacks(package: str, *programs: str) -> str:
    """Why a test is skipped that needs these programs; nothing where they are all there."""
    return "" if all(map(find, programs)) else f"not on this machine: {', '.join(programs)} (Debian: {package})"


POSTGRES = lacks("postgresql", "initdb", "postgres")
MARIADB = lacks("mariadb-server", "mariadb-install-db", "mariadbd")


def other_user() -> str | None:
    """Whom a database's server runs as: it refuses to run as root."""
    return "nobody" if os.getuid() == 0 else None


@contextlib.contextmanager
def folder_of(user: str | None) -> Iterator[Path]:
    """A folder of that user's with a short name, as a socket's path must have."""
    with tempfile.TemporaryDirectory(prefix="db", dir="/tmp") as folder:
        if user is not None:
            shutil.chown(folder, user)
        yield Path(folder)


@contextlib.contextmanager
def running(command: list[str], log: Path, ready: Callable[[str], bool], end: int, **options: object) -> Iterator[None]:
    """A server, from when it is ready, as that tells of what it has written, until the signal has ended it."""
    with log.open("w") as file:
        server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, **options)  # type: ignore
    try:
        deadline = time.monotonic() + 60 * crowd()
        while not ready(log.read_text()):
            assert server.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
        yield
    finally:
        server.send_signal(end)
        try:
            server.wait(30 * crowd())
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()
            raise


def answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def redis(folder: Path) -> Iterator[int]:
    """A redis server's port."""
    command = find("redis-server")
    assert command, "redis-server is missing (Debian's package of that name): make test installs it"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(folder)]
    with running([command, *options], folder / "redis.log", lambda _: answers(port), signal.SIGTERM):
        yield port


@contextlib.contextmanager
def postgres() -> Iterator[str]:
    """The folder with a PostgreSQL server's socket; its user is postgres."""
    initdb, server, user = find("initdb"), find("postgres"), other_user()
    assert initdb and server
    with folder_of(user) as folder:
        data = str(folder / "data")
        subprocess.run(
            [initdb, "--auth=trust", "--username=postgres", "--no-sync", "--no-locale", "-D", data],
            check=True, stdout=subprocess.DEVNULL, user=user, cwd=folder,
        )  # fmt: skip
        settings = ["listen_addresses=", "fsync=off", "dynamic_shared_memory_type=posix", "max_connections=200"]
        command = [server, "-D", data, "-k", str(folder), *(word for setting in settings for word in ("-c", setting))]
        log = folder / "log"
        # SIGINT is its fast shutdown.
        with running(command, log, lambda text: "ready to accept" in text, signal.SIGINT, user=user, cwd=folder):
            yield str(folder)


@contextlib.contextmanager
def mariadb() -> Iterator[str]:
    """A MariaDB server's socket; its user is root, and its database test."""
    install, server, user = find("mariadb-install-db"), find("mariadbd"), other_user()
    assert install and server
    with folder_of(user) as folder:
        data = [f"--basedir={Path(server).parent.parent}", f"--datadir={folder / 'data'}"]
        subprocess.run(
            [install, "--no-defaults", "--auth-root-authentication-method=normal", *data],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, user=user, cwd=folder,
        )  # fmt: skip
        path = str(folder / "socket")
        options = [f"--socket={path}", "--skip-networking", "--max-connections=200", f"--pid-file={folder / 'pid'}"]
        command = [server, "--no-defaults", *data, *options]
        log = folder / "log"
        with running(command, log, lambda text: "ready for connections" in text, signal.SIGTERM, user=user, cwd=folder):
            yield path


@contextlib.contextmanager
def gunicorn(under: list[str], application: str, folder: Path) -> Iterator[tuple[str, int]]:
    """The address of gunicorn, which serves the application with a worker of 50 threads."""
    options = ["-k", "gthread", "--threads", "50", "--bind", "127.0.0.1:0", "--no-control-socket", application]
    command = [sys.executable, *under, "-m", "gunicorn", *options]
    log, address = folder / "gunicorn.log", re.compile(r"Listening at: http://(127\.0\.0\.1):(\d+)")
    with running(command, log, lambda text: "Booting worker" in text, signal.SIGTERM, cwd=PROGRAMS):
        found = address.search(log.read_text())
        assert found
        yield found[1], int(found[2])
    assert "Traceback" not in log.read_text(), log.read_text()


PROGRAMS = Path(__file__).with_name("programs")
