"""Whole programs, and tests, in simulated worlds."""

from __future__ import annotations

import os
import re
import subprocess
import textwrap
from pathlib import Path

import pytest
import trustme

from conftest import ROOT, needs_library, unix_only
from worlds import python

pytestmark = unix_only("there is no simulated world yet")

PROGRAM = """
import asyncio, datetime, os, random, sys, tempfile, threading, time
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"hello")
    def log_message(self, *_):
        pass

server = ThreadingHTTPServer(("127.0.0.1", 8000), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()

def ask(number):
    client = HTTPConnection("localhost", 8000, timeout=5)
    client.request("GET", "/")
    assert client.getresponse().read() == b"hello"
    print(number, time.time(), threading.current_thread().name)

threads = [threading.Thread(target=ask, args=(number,)) for number in range(5)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
server.shutdown()

async def main():
    async def shout(reader, writer):
        writer.write((await reader.readline()).upper())
        await writer.drain()
        writer.close()
    async with await asyncio.start_server(shout, "10.0.0.1", 7):
        reader, writer = await asyncio.open_connection("10.0.0.1", 7)
        writer.write(b"hello\\n")
        print(await reader.read(), asyncio.get_running_loop().time())
        writer.close()
        await asyncio.sleep(3600)
        loop = asyncio.get_running_loop()
        heard = loop.create_future()
        class Protocol(asyncio.DatagramProtocol):
            def datagram_received(self, data, source):
                heard.set_result(data)
        await loop.create_datagram_endpoint(Protocol, local_addr=("10.0.0.2", 53))
        sender, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, remote_addr=("10.0.0.2", 53))
        sender.sendto(b"datagram")
        print(await heard)

asyncio.run(main())
print(random.random(), datetime.datetime.now(), datetime.date.today(), hash("text"), set("abcdef"))
assert isinstance(datetime.datetime.now(), datetime.date) and type(datetime.datetime.now()) is datetime.datetime
with tempfile.TemporaryDirectory() as folder:
    open(os.path.join(folder, "file"), "w").write("text")
for refused in (lambda: os.system("true"), lambda: open("here", "w"), lambda: os.mkdir("there"), os.fork):
    try:
        refused()
    except PermissionError as error:
        print(type(error).__name__, file=sys.stderr)
"""


def test_a_program_is_the_same_each_time(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    first, second, other = (
        python("-m", "overlapped", "--sim", seed, "program.py", cwd=tmp_path) for seed in ("7", "7", "8")
    )
    assert first.returncode == 0, first.stderr
    assert (first.stdout, first.stderr) == (second.stdout, second.stderr)
    assert first.stderr.count("PermissionError") == 4
    assert re.search(r"^overlapped: simulated with 7: 36\d\d\.\d{6} s passed, hash [0-9a-f]{16}$", first.stderr, re.M)
    assert other.returncode == 0 and other.stdout != first.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["program.py"]


HTTPS = """
import ssl, sys, threading, time
from http.client import HTTPSConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "200000")
        self.end_headers()
        self.wfile.write(bytes(200000))
    def log_message(self, *_):
        pass

certificate, authority = sys.argv[1:]
server = ThreadingHTTPServer(("127.0.0.1", 443), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate)
server.socket = context.wrap_socket(server.socket, server_side=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
trusting = ssl.create_default_context(cafile=authority)

def ask(number):
    client = HTTPSConnection("localhost", context=trusting, timeout=50)
    for _ in range(3):
        client.request("GET", "/")
        assert len(client.getresponse().read()) == 200000
    print(number, time.time(), client.sock.cipher())
    client.close()

threads = [threading.Thread(target=ask, args=(number,)) for number in range(3)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
server.shutdown()
"""


def test_a_program_speaks_tls_in_a_world(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(HTTPS)
    authority = trustme.CA(key_type=trustme.KeyType.RSA)
    issued = authority.issue_cert("localhost", key_type=trustme.KeyType.RSA)
    issued.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "certificate"))
    authority.cert_pem.write_to_path(str(tmp_path / "authority"))
    first, second, other = (
        python("-m", "overlapped", "--sim", seed, "program.py", "certificate", "authority", cwd=tmp_path)
        for seed in ("7", "7", "8")
    )
    assert (first.returncode, len(first.stdout.splitlines())) == (0, 3), first.stderr
    assert (first.stdout, first.stderr) == (second.stdout, second.stderr)
    assert other.returncode == 0 and other.stdout != first.stdout


def test_a_program_may_write_where_it_is_told_to(tmp_path: Path) -> None:
    code = "open('here', 'w').close(); import tempfile; print(tempfile.gettempdir())"
    done = python("-m", "overlapped", "--sim=1", "--sim-tree", tmp_path, "-c", code, cwd=tmp_path)
    assert (done.stdout, (tmp_path / "here").exists()) == (f"{tmp_path}\n", True), done.stderr
    for wrong in (
        ["--sim", "seven", "-c", "0"],
        ["--sim=1", "--sim-tree=nowhere", "-c", "0"],
        ["--sim-rough", "-c", "0"],
    ):
        done = python("-m", "overlapped", *wrong, cwd=tmp_path)
        assert done.returncode == 2 and "python -m overlapped: --sim" in done.stderr, done.stderr


def test_a_bad_day_can_be_asked_for(tmp_path: Path) -> None:
    code = textwrap.dedent(
        """
        import socket, threading
        listener = socket.create_server(("10.0.0.1", 80))
        def accept():
            while True:
                listener.accept()[0].close()
        threading.Thread(target=accept, daemon=True).start()
        for _ in range(300):
            try:
                socket.create_connection(("10.0.0.1", 80)).close()
            except OSError as error:
                print(type(error).__name__)
        """
    )
    assert python("-m", "overlapped", "--sim=1", "-c", code, cwd=tmp_path).stdout == ""
    assert "ConnectionRefusedError" in python("-m", "overlapped", "--sim=1", "--sim-rough", "-c", code).stdout


def test_threads_that_never_end_are_no_success() -> None:
    code = "import threading; threading.Thread(target=threading.Event().wait).start(); print('so far')"
    done = python("-m", "overlapped", "--sim=1", "-c", code)
    assert (done.returncode, done.stdout) == (1, "so far\n"), done.stderr
    assert "every tasklet waits" in done.stderr


def pytest_in_worlds(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    options = ["-p", "no:cacheprovider", "-p", "pytest_overlapped", f"--rootdir={folder}", "-c", os.devnull]
    return python("-m", "pytest", "-q", *options, *arguments, cwd=folder, **environment)


TESTS = """
import socket, threading, time
import pytest

@pytest.fixture(scope="session")
def server():
    listener = socket.create_server(("10.0.0.1", 80))
    def serve():
        while True:
            with listener.accept()[0] as connection:
                connection.sendall(b"hello")
    threading.Thread(target=serve, daemon=True).start()
    return listener.getsockname()

def test_short(server):
    with socket.create_connection(server) as client:
        assert client.recv(5) == b"hello"

def test_whole(server, tmp_path):
    (tmp_path / "file").write_text("text")
    time.sleep(86_400)
    with socket.create_connection(server) as client, client.makefile("rb") as file:
        assert file.read() == b"hello"

def test_stuck():
    threading.Event().wait()

@pytest.mark.overlapped_sim(False)
def test_real():
    assert time.time() > 1_750_000_000

def test_skipped():
    pytest.skip("not now")
"""


def test_tests_run_in_worlds(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(TESTS)
    # pytest writes the process's number into a file of the session's folder.
    (tmp_path / "conftest.py").write_text("import os\nos.getpid = lambda: int(os.environ.get('NUMBER', '7'))")
    first, second = (
        pytest_in_worlds(tmp_path, "--overlapped-sim=40", "test_it.py", NUMBER=number) for number in ("123", "45678")
    )
    assert first.returncode == 1, first.stderr
    assert re.search("2 failed, 2 passed, 1 skipped in", first.stdout), "without a warning of threads that were left"
    hashes = [re.findall(r"^simulated: \d+ runs, .*, hash [0-9a-f]{16}$", run.stdout, re.M) for run in (first, second)]
    assert len(hashes[0]) == 1 and hashes[0] == hashes[1]
    again = dict(re.findall(r"Again: pytest --overlapped-sim='(d\S*)' 'test_it.py::(\w+)'", first.stdout))
    assert set(again.values()) == {"test_short", "test_stuck"}, first.stdout
    for decisions, name in again.items():
        once = pytest_in_worlds(tmp_path, f"--overlapped-sim={decisions}", f"test_it.py::{name}")
        assert "1 failed" in once.stdout and "simulated: 1 runs" in once.stdout, once.stdout
    plain = pytest_in_worlds(tmp_path, "--overlapped-sim=0..2", "test_it.py::test_whole", "test_it.py::test_real")
    assert "2 passed" in plain.stdout and "simulated: 2 runs" in plain.stdout, plain.stdout
    assert "Again" not in pytest_in_worlds(tmp_path, "test_it.py::test_real").stdout
    # Who asks for no world does not get the package either.
    (tmp_path / "test_it.py").write_text("import sys\ndef test_none(): assert 'overlapped' not in sys.modules")
    assert "1 passed" in (none := pytest_in_worlds(tmp_path, "test_it.py")).stdout, none.stdout


def test_a_thread_that_computes_for_ever_fails_its_test(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        textwrap.dedent(
            """
            import threading
            def spin():
                while True:
                    pass
            def test_spin():
                spinning = threading.Thread(target=spin)
                spinning.start()
                spinning.join()
            """
        )
    )
    done = pytest_in_worlds(tmp_path, "--overlapped-sim=3", "--overlapped-sim-limit=0.5", "test_it.py")
    assert done.returncode == 1 and "1 failed" in done.stdout, done.stdout + done.stderr
    assert "has not ended after 0.5 seconds of real time" in done.stdout


FLAWS = {
    "check_http.py": {"": 20, "send is no sendall": 60, "read1 is no read": 20},
    "check_store.py": {
        "": 10,
        "a receive is a line": 10,
        "read, wait, write": 10,
        "again is twice": 20,
        "locks cross": 10,
        "no time-out": 30,
        "the end is not seen": 1,
    },
    "check_consensus.py": {
        "": 40,
        "one is a majority": 40,
        "a promise is forgotten": 40,
        "an answer counts twice": 60,
        "what was accepted is not asked": 20,
    },
}


@needs_library("requests")
@pytest.mark.time_limit(300)
@pytest.mark.parametrize("name", FLAWS)
def test_planted_flaws_are_found_in_programs_that_know_nothing_of_it(name: str) -> None:
    folder = ROOT / "tests" / "simulated"
    for flaw, seeds in FLAWS[name].items():
        done = pytest_in_worlds(folder, f"--overlapped-sim={seeds}", "--exitfirst", name, FLAW=flaw)
        assert ("Again: pytest" in done.stdout, done.returncode) == (bool(flaw), int(bool(flaw))), (flaw, done.stdout)


@pytest.mark.time_limit(120)
def test_the_page_about_a_bad_network_tells_the_truth(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "bad_network.md").read_text()
    files = dict(re.findall(r"^```python\n# (\w+\.py)\n(.*?)^```", page, re.M | re.S))
    assert files
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    for command, expected in re.findall(r"^```console\n\$ (.*?)\n(.*?)^```", page, re.M | re.S):
        done = python(*command.split()[1:], cwd=tmp_path)
        for line in expected.splitlines():
            assert line == "…" or line in done.stdout + done.stderr, (command, line, done.stdout, done.stderr)
