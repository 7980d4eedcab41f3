"""``requests`` against ``http.server``: tests for ``pytest --overlapped-sim``, in which ``FLAW`` plants a mistake."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests

FLAW = os.environ.get("FLAW")
BODY = b"0123456789" * 2_000


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    counts: dict[str, int]

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        if FLAW == "send is no sendall":
            self.connection.send(BODY)
        else:
            self.wfile.write(BODY)

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        body = self.rfile.read1(length) if FLAW == "read1 is no read" else self.rfile.read(length)
        self.send_response(200)
        self.send_header("Content-Length", str(len(str(len(body)))))
        self.end_headers()
        self.wfile.write(str(len(body)).encode())


@pytest.fixture
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("10.0.0.1", 80), Handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever).start()
        yield "http://10.0.0.1"
        server.shutdown()


def test_what_is_fetched_is_whole(server: str) -> None:
    answers: list[bytes] = []

    def fetch() -> None:
        with requests.Session() as session:
            answers.extend(session.get(server, timeout=30).content for _ in range(2))

    threads = [threading.Thread(target=fetch) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [BODY] * 4


def test_what_is_posted_is_whole(server: str) -> None:
    assert requests.post(server, data=BODY, timeout=30).text == str(len(BODY))
