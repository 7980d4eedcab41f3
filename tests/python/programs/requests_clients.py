"""A plain program: an HTTP server, and 100 clients at once with requests, each over one connection that is kept."""

import http.server
import sys
import threading
from typing import ClassVar

import requests

count = int(sys.argv[1])


class Echo(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    connections: ClassVar[set[tuple[str, int]]] = set()

    def do_GET(self) -> None:
        self.connections.add(self.client_address)
        if self.path.startswith("/moved"):
            self.send_response(302)
            self.send_header("Location", "/found")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif self.path.startswith("/chunked"):
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for number in range(20):
                piece = b"piece %d;" % number
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\n\r\n")
        else:
            self.answer({"path": self.path})

    def do_POST(self) -> None:
        self.answer({"length": len(self.rfile.read(int(self.headers["Content-Length"])))})

    def answer(self, body: dict[str, object]) -> None:
        text = repr(body).replace("'", '"').encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 1024


server = Server(("127.0.0.1", 0), Echo)
address = f"http://127.0.0.1:{server.server_address[1]}"
threading.Thread(target=server.serve_forever, daemon=True).start()

answers = []
together = threading.Barrier(count)


def client(number: int) -> None:
    with requests.Session() as session:
        session.trust_env = False
        together.wait(30)
        answers.append(session.get(f"{address}/{number}", timeout=30).json() == {"path": f"/{number}"})
        answers.append(session.post(address, data=bytes(300_000), timeout=30).json() == {"length": 300_000})
        answers.append(session.get(f"{address}/moved", timeout=30).json() == {"path": "/found"})
        with session.get(f"{address}/chunked", stream=True, timeout=30) as response:
            text = b"".join(response.iter_content(7))
        answers.append(text == b"".join(b"piece %d;" % number for number in range(20)))


clients = [threading.Thread(target=client, args=(number,)) for number in range(count)]
for thread in clients:
    thread.start()
for thread in clients:
    thread.join()
server.shutdown()
server.server_close()
assert len(Echo.connections) == count, len(Echo.connections)
print(sum(answers), "answers")
