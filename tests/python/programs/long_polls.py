"""A plain program: many workers at once that ask a queue for messages over HTTP, as boto3 asks SQS: with urllib3, a
pool of connections, and requests that the server answers when there is a message."""

import http.server
import json
import queue
import sys
import threading

import urllib3

count = int(sys.argv[1])
messages: queue.Queue[int] = queue.Queue()
waiting = threading.Semaphore(0)


class Queue(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        waiting.release()
        try:
            found = [messages.get(timeout=asked["WaitTimeSeconds"])]
        except queue.Empty:
            found = []
        body = json.dumps({"Messages": found}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 1024


server = Server(("127.0.0.1", 0), Queue)
threading.Thread(target=server.serve_forever, daemon=True).start()
pool = urllib3.PoolManager(maxsize=count, block=True, retries=False)
together = threading.Barrier(count)
received: list[int] = []
empty: list[int] = []


def receive(seconds: float) -> list[int]:
    url = f"http://127.0.0.1:{server.server_address[1]}/"
    body = json.dumps({"WaitTimeSeconds": seconds})
    response = pool.request("POST", url, body=body, timeout=urllib3.Timeout(connect=60, read=seconds + 60))
    found: list[int] = response.json()["Messages"]
    return found


def work() -> None:
    """Two messages, and then none in time."""
    for _ in range(2):
        received.extend(receive(60))
    # Else one that is fast would take what is another's.
    together.wait(60)
    empty.extend(receive(0.01))


workers = [threading.Thread(target=work) for _ in range(count)]
for thread in workers:
    thread.start()
for _ in range(count):
    waiting.acquire()
for number in range(2 * count):
    messages.put(number)
for thread in workers:
    thread.join()
pool.clear()
server.shutdown()
server.server_close()
assert not empty
print(len(set(received)), "messages")
