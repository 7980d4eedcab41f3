"""A plain program: many clients at once with smtplib, of a server of mail that says just enough."""

import smtplib
import socketserver
import sys
import threading
from email.message import EmailMessage

count = int(sys.argv[1])
delivered: list[str] = []


class Mail(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self.say("220 stub")
        while line := self.rfile.readline():
            command = line.split(maxsplit=1)[0].upper()
            if command == b"DATA":
                self.say("354 go on")
                lines = []
                while (line := self.rfile.readline()) != b".\r\n":
                    lines.append(line)
                delivered.append(b"".join(lines).decode())
            if command == b"QUIT":
                return self.say("221 good-bye")
            self.say("250 as you wish")

    def say(self, line: str) -> None:
        self.wfile.write(f"{line}\r\n".encode())


class Server(socketserver.ThreadingTCPServer):
    request_queue_size = 1024


server = Server(("127.0.0.1", 0), Mail)
threading.Thread(target=server.serve_forever, daemon=True).start()
together = threading.Barrier(count)


def client(number: int) -> None:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "us@test", "you@test", f"number {number}"
    message.set_content("a line\n" * 5000)
    together.wait(30)
    with smtplib.SMTP("127.0.0.1", server.server_address[1], timeout=60) as connection:
        for _ in range(3):
            connection.send_message(message)


clients = [threading.Thread(target=client, args=(number,)) for number in range(count)]
for thread in clients:
    thread.start()
for thread in clients:
    thread.join()
server.shutdown()
server.server_close()
assert all(mail.count("a line") == 5000 for mail in delivered)
assert all(sum(f"number {number}\r" in mail for mail in delivered) == 3 for number in (0, count - 1))
print(len(delivered), "mails")
