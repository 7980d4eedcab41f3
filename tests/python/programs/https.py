"""A plain program: an HTTPS server and 50 clients at once, each in a thread."""

import http.server
import ssl
import sys
import threading
import urllib.request

folder = sys.argv[1]


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = self.path.encode() * 1000
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128

    def finish_request(self, request: object, client_address: object) -> None:
        # The handshake belongs to the connection's own thread.
        super().finish_request(context.wrap_socket(request, server_side=True), client_address)  # type: ignore


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(f"{folder}/server.pem")
trusting = ssl.create_default_context(cafile=f"{folder}/authority.pem")
server = Server(("127.0.0.1", 0), Page)
threading.Thread(target=server.serve_forever, daemon=True).start()
pages = []


def fetch(number: int) -> None:
    url = f"https://localhost:{server.server_address[1]}/{number}"
    with urllib.request.urlopen(url, context=trusting, timeout=20) as response:
        pages.append(response.read() == f"/{number}".encode() * 1000)


clients = [threading.Thread(target=fetch, args=(number,)) for number in range(50)]
for client in clients:
    client.start()
for client in clients:
    client.join()
server.shutdown()
print(sum(pages), "pages")
