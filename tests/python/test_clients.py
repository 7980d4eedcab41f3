"""Clients that others wrote, unmodified, 100 at once on one thread under ``python -m overlapped``.

Each program in `programs/` is a plain one, with threads; it runs under plain Python too, and must say the same there.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from load import crowd

PROGRAMS = Path(__file__).parent / "programs"
COUNT = 100
UNDER = [pytest.param([], id="plain"), pytest.param(["-m", "overlapped"], id="overlapped")]


def run(under: list[str], program: str, *arguments: object) -> str:
    """What a program prints; it must end well, in time, and without warnings."""
    done = subprocess.run(
        [sys.executable, *under, str(PROGRAMS / program), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=100 * crowd(),
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout


@pytest.mark.parametrize("under", UNDER)
def test_urllib_against_the_standard_librarys_server(under: list[str], tmp_path: Path) -> None:
    assert run(under, "urllib_clients.py", tmp_path, COUNT) == f"{5 * COUNT} files\n"


@pytest.mark.parametrize("under", UNDER)
def test_requests_against_the_standard_librarys_server(under: list[str]) -> None:
    assert run(under, "requests_clients.py", COUNT) == f"{4 * COUNT} answers\n"


@pytest.fixture
def redis_port(tmp_path: Path) -> Iterator[int]:
    """A redis server of the test's own on a free port; it is ended with the test."""
    command = shutil.which("redis-server")
    assert command, "redis-server is missing (Debian's package of that name): make test installs it"
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(tmp_path)]
    with (tmp_path / "redis.log").open("w") as log:
        server = subprocess.Popen([command, *options], stdout=log, stderr=log)
    try:
        deadline = time.perf_counter() + 20 * crowd()
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert server.poll() is None and time.perf_counter() < deadline, (tmp_path / "redis.log").read_text()
                time.sleep(0.05)
        yield port
    finally:
        server.terminate()
        server.wait(20)


@pytest.mark.parametrize("under", UNDER)
def test_redis_against_redis_server(under: list[str], redis_port: int) -> None:
    assert run(under, "redis_clients.py", redis_port, COUNT) == f"{COUNT} clients\n"
