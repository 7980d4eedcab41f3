"""A plain program: many threads at once with one client of httpx, and a body that is sent and read in pieces."""

import http.server
import sys
import threading
from collections.abc import Iterator

import httpx

count = int(sys.argv[1])


class Echo(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = b""
        while length := int(self.rfile.readline(), 16):
            body += self.rfile.read(length)
            self.rfile.readline()
        self.rfile.readline()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.upper())

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 1024


server = Server(("127.0.0.1", 0), Echo)
threading.Thread(target=server.serve_forever, daemon=True).start()
limits = httpx.Limits(max_connections=count // 2)
answers: list[bool] = []


def pieces(number: int) -> Iterator[bytes]:
    for _ in range(20):
        yield b"piece of %d " % number * 500


def post(client: httpx.Client, number: int) -> None:
    for _ in range(2):
        with client.stream("POST", f"http://127.0.0.1:{server.server_address[1]}/", content=pieces(number)) as response:
            answers.append(b"".join(response.iter_bytes(1000)) == b"".join(pieces(number)).upper())


with httpx.Client(limits=limits, timeout=60, trust_env=False) as client:
    threads = [threading.Thread(target=post, args=(client, number)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
server.shutdown()
server.server_close()
print(sum(answers), "answers")
