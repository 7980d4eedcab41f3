"""A plain program: the standard library's file server, and 100 clients at once that each fetch files with urllib."""

import functools
import hashlib
import http.server
import random
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

folder, count = Path(sys.argv[1]), int(sys.argv[2])


class Files(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 1024


sizes = [0, 10, 5_000, 100_000, 1_000_000]
contents = {}
for number, size in enumerate(sizes):
    data = random.Random(number).randbytes(size)
    (folder / f"file{number}").write_bytes(data)
    contents[f"file{number}"] = hashlib.sha256(data).hexdigest()

server = Server(("127.0.0.1", 0), functools.partial(Files, directory=str(folder)))
address = f"http://127.0.0.1:{server.server_address[1]}/"
threading.Thread(target=server.serve_forever, name="server").start()

# No proxy that this machine may have is to be asked.
urllib.request.install_opener(urllib.request.build_opener(urllib.request.ProxyHandler({})))
fetched, missing = [], []
together = threading.Barrier(count)


def client(number: int) -> None:
    together.wait(30)
    for turn in range(len(sizes)):
        name = f"file{(number + turn) % len(sizes)}"
        with urllib.request.urlopen(address + name, timeout=30) as response:
            data = response.read()
        if hashlib.sha256(data).hexdigest() == contents[name] and response.headers["Content-Length"] == str(len(data)):
            fetched.append(name)
    try:
        urllib.request.urlopen(address + "not%20there", timeout=30)
    except urllib.error.HTTPError as error:
        with error:
            missing.append(error.code)


clients = [threading.Thread(target=client, args=(number,)) for number in range(count)]
started = time.perf_counter()
for thread in clients:
    thread.start()
for thread in clients:
    thread.join()
server.shutdown()
server.server_close()
assert missing == [404] * count, missing
print(len(fetched), "files")
print(f"{time.perf_counter() - started:.2f} s", file=sys.stderr)
