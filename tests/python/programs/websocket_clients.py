"""A plain program: many clients at once with websocket-client, of the threaded server of websockets."""

import sys
import threading

import websocket
from websockets.sync.server import ServerConnection, serve

count = int(sys.argv[1])
came = threading.Barrier(count)


def talk(connection: ServerConnection) -> None:
    """Answers when all have come, and then whatever they say."""
    came.wait(60)
    connection.send("all are here")
    for message in connection:
        assert isinstance(message, str)
        connection.send(message.upper())


server = serve(talk, "127.0.0.1", 0, backlog=1024)
threading.Thread(target=server.serve_forever).start()
answers: list[str] = []
pongs: list[str] = []


def client(number: int) -> None:
    connection = websocket.create_connection(f"ws://127.0.0.1:{server.socket.getsockname()[1]}", timeout=60)
    assert connection.recv() == "all are here"
    for length in (1, 1000, 100_000):
        connection.send("a" * length + str(number))
        answers.append(connection.recv() == "A" * length + str(number))
    connection.close()


def application() -> None:
    """Its other face, which calls back, and pings from a thread of its own."""

    def opened(it: websocket.WebSocket) -> None:
        threading.Thread(target=it.send, args=("a",)).start()

    def heard(it: websocket.WebSocket, message: str) -> None:
        pongs.append(message)
        if message == "A":
            it.close()

    address = f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
    websocket.WebSocketApp(address, on_open=opened, on_message=heard).run_forever(ping_interval=50)


clients = [threading.Thread(target=client, args=(number,)) for number in range(count - 1)]
clients.append(threading.Thread(target=application))
for thread in clients:
    thread.start()
for thread in clients:
    thread.join()
server.shutdown()
assert pongs == ["all are here", "A"]
print(sum(answers), "answers")
