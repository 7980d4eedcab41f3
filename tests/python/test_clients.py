"""Clients that others wrote, unmodified, 100 at once on one thread under ``python -m overlapped``.

Each program in `programs/` is a plain one, with threads; it runs under plain Python too, and must say the same there.
Their servers are in the program, or started by the test.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import servers
from conftest import needs_library
from load import crowd
from servers import PROGRAMS

COUNT = 100
pytestmark = pytest.mark.parametrize(
    "under", [pytest.param([], id="plain"), pytest.param(["-m", "overlapped"], id="overlapped")]
)


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


def test_urllib_against_the_standard_librarys_server(under: list[str], tmp_path: Path) -> None:
    assert run(under, "urllib_clients.py", tmp_path, COUNT) == f"{5 * COUNT} files\n"


def test_requests_against_the_standard_librarys_server(under: list[str]) -> None:
    assert run(under, "requests_clients.py", COUNT) == f"{4 * COUNT} answers\n"


@needs_library("httpx")
def test_httpx_against_the_standard_librarys_server(under: list[str]) -> None:
    assert run(under, "httpx_clients.py", COUNT) == f"{2 * COUNT} answers\n"


def test_long_polls_of_a_queue_with_urllib3(under: list[str]) -> None:
    assert run(under, "long_polls.py", COUNT) == f"{2 * COUNT} messages\n"


def test_smtplib_against_a_server_of_mail(under: list[str]) -> None:
    assert run(under, "smtp_clients.py", COUNT) == f"{3 * COUNT} mails\n"


@needs_library("dnspython")
def test_dnspython_against_a_name_server(under: list[str]) -> None:
    assert run(under, "dns_clients.py", COUNT) == f"{2 * COUNT} answers\n"


@needs_library("websocket-client", "websockets")
def test_websocket_client_against_the_threaded_server_of_websockets(under: list[str]) -> None:
    assert run(under, "websocket_clients.py", COUNT) == f"{3 * (COUNT - 1)} answers\n"


@needs_library("pyOpenSSL", "trustme")
@pytest.mark.parametrize("seconds", [60, 0], ids=["with a time-out", "blocking"])
def test_pyopenssl_on_both_sides(under: list[str], seconds: float) -> None:
    assert run(under, "pyopenssl_clients.py", COUNT, seconds) == f"{COUNT} answers\n"


@needs_library("trio")
def test_trio_in_several_threads_and_then_in_the_main_thread(under: list[str]) -> None:
    assert run(under, "trio_threads.py", COUNT // 5) == f"{COUNT} answers\n"


@needs_library("paramiko")
def test_paramiko_on_both_sides(under: list[str]) -> None:
    assert run(under, "paramiko_clients.py", COUNT) == f"{COUNT} answers\n"


@pytest.fixture
def redis_port(tmp_path: Path) -> Iterator[int]:
    with servers.redis(tmp_path) as port:
        yield port


def test_redis_against_redis_server(under: list[str], redis_port: int) -> None:
    assert run(under, "redis_clients.py", redis_port, COUNT) == f"{COUNT} clients\n"


@needs_library("celery")
def test_celery_with_threads_on_redis(
    under: list[str], redis_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REDIS_PORT", str(redis_port))
    options = ["-A", "celery_tasks", "worker", "-P", "threads", "-c", "20", "--loglevel", "INFO"]
    command, log = [sys.executable, *under, "-m", "celery", *options], tmp_path / "celery.log"
    with servers.running(command, log, lambda text: " ready." in text, signal.SIGTERM, cwd=PROGRAMS):
        assert run(under, "celery_tasks.py", COUNT) == f"{COUNT} tasks\n"
    assert "Warm shutdown" in log.read_text() and "Traceback" not in log.read_text()


@pytest.mark.skipif(bool(servers.POSTGRES), reason=servers.POSTGRES)
@pytest.mark.parametrize(
    "driver",
    [
        pytest.param("pg8000", marks=needs_library("pg8000")),
        pytest.param("psycopg", marks=needs_library("psycopg", "psycopg-binary")),
    ],
)
def test_drivers_of_postgresql_that_wait_for_each_others_locks(under: list[str], driver: str) -> None:
    with servers.postgres() as folder:
        assert run(under, "postgres_clients.py", driver, folder, COUNT // 2) == f"{COUNT // 2} clients\n"


@needs_library("PyMySQL")
@pytest.mark.skipif(bool(servers.MARIADB), reason=servers.MARIADB)
def test_pymysql_against_mariadb(under: list[str]) -> None:
    with servers.mariadb() as path:
        assert run(under, "mysql_clients.py", path, COUNT // 2) == f"{COUNT // 2} clients\n"


@needs_library("gunicorn")
@pytest.mark.parametrize(
    "framework",
    [pytest.param("flask", marks=needs_library("Flask")), pytest.param("django", marks=needs_library("Django"))],
)
def test_gunicorns_threads_serve_an_application(under: list[str], framework: str, tmp_path: Path) -> None:
    """Twice as many clients as it has threads, each on a connection that it keeps."""
    with servers.gunicorn(under, f"{framework}_pages:application", tmp_path) as (host, port):
        assert run([], "page_clients.py", host, port, COUNT) == f"{3 * COUNT} answers\n"
