"""A chat server on stacklesssocket: what one says, the others hear. Clients in the same program hear it out.

python -m overlapped --stackless examples/stackless/chat.py
"""

import stackless
import stacklesssocket

stacklesssocket.install()
import socket  # noqa: E402  after install(), as programs for Stackless had it

GUESTS = 20


class Guest:
    """A connection: one tasklet reads what comes, another writes what others have said."""

    def __init__(self, room, connection):
        self.room = room
        self.connection = connection
        self.said = stackless.channel()
        self.writer = stackless.tasklet(self.write)()
        stackless.tasklet(self.read)()

    def read(self):
        self.name = None
        with self.connection.makefile("r") as lines:
            for line in lines:
                text = line.rstrip("\n")
                if self.name is None:
                    self.name = text
                    self.room.enter(self)
                else:
                    self.room.say(self, text)
        self.room.leave(self)
        self.writer.kill()
        self.connection.close()

    def write(self):
        for text in self.said:
            self.connection.sendall(text.encode() + b"\n")


class Room:
    def __init__(self):
        self.guests = []
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=GUESTS)
        self.address = self.listener.getsockname()
        self.tasklet = stackless.tasklet(self.welcome)()

    def welcome(self):
        while True:
            connection, _ = self.listener.accept()
            Guest(self, connection)

    def enter(self, guest):
        self.guests.append(guest)
        if len(self.guests) == GUESTS:
            for each in list(self.guests):
                each.said.send("all are here")

    def leave(self, guest):
        self.guests.remove(guest)
        if not self.guests:
            self.tasklet.kill()
            self.listener.close()

    def say(self, speaker, text):
        for guest in list(self.guests):
            if guest is not speaker:
                guest.said.send(f"{speaker.name}: {text}")


def client(address, number, hears):
    with socket.create_connection(address) as connection, connection.makefile("r") as lines:
        connection.sendall(f"guest {number}\n".encode())
        heard = [next(lines)]
        connection.sendall(b"hello\n")
        heard += [next(lines) for _ in range(GUESTS - 1)]
        hears[number] = [line.rstrip("\n") for line in heard]


hears = {}
room = Room()
for number in range(GUESTS):
    stackless.tasklet(client)(room.address, number, hears)
stackless.run()

for number in range(GUESTS):
    first, *others = hears[number]
    if first != "all are here" or sorted(others) != sorted(f"guest {n}: hello" for n in range(GUESTS) if n != number):
        raise SystemExit(f"guest {number} heard {hears[number]}")
print(f"stackless chat: {GUESTS} guests, and each heard all others: {GUESTS * (GUESTS - 1)} lines")
