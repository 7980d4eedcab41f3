"""A plain program: many clients at once with dnspython, of a name server whose answers come late or by TCP."""

import socket
import socketserver
import sys
import threading
import time

import dns.flags
import dns.message
import dns.resolver
import dns.rrset

count = int(sys.argv[1])


def answer(query: bytes, whole: bool) -> bytes:
    """To a name that begins with `long`, a datagram has no room for it."""
    asked = dns.message.from_wire(query)
    response = dns.message.make_response(asked)
    name = asked.question[0].name
    if name.labels[0].startswith(b"long") and not whole:
        response.flags |= dns.flags.TC
    else:
        response.answer.append(dns.rrset.from_text(name, 60, "IN", "TXT", name.labels[0].decode()))
    return response.to_wire()


class Datagrams(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        query, server = self.request
        time.sleep(0.05)
        server.sendto(answer(query, whole=False), self.client_address)


class Stream(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        length = int.from_bytes(self.rfile.read(2), "big")
        response = answer(self.rfile.read(length), whole=True)
        self.wfile.write(len(response).to_bytes(2, "big") + response)


class TCPServer(socketserver.ThreadingTCPServer):
    request_queue_size = 1024


def listen() -> tuple[TCPServer, socketserver.ThreadingUDPServer]:
    """Both on one number, which another program's datagrams may have."""
    while True:
        stream = TCPServer(("127.0.0.1", 0), Stream)
        try:
            return stream, socketserver.ThreadingUDPServer(stream.server_address, Datagrams)
        except OSError:
            stream.server_close()


stream, datagrams = listen()
datagrams.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
datagrams.max_packet_size = 4096
for server in (stream, datagrams):
    threading.Thread(target=server.serve_forever, daemon=True).start()
answers: list[bytes] = []


def client(number: int) -> None:
    resolver = dns.resolver.Resolver(configure=False)
    resolver.nameservers, resolver.port, resolver.lifetime = ["127.0.0.1"], stream.server_address[1], 60
    for kind in ("short", "long"):
        (found,) = resolver.resolve(f"{kind}{number}.test", "TXT")
        answers.extend(found.strings)


clients = [threading.Thread(target=client, args=(number,)) for number in range(count)]
for thread in clients:
    thread.start()
for thread in clients:
    thread.join()
for server in (stream, datagrams):
    server.shutdown()
    server.server_close()
assert sorted(answers) == sorted(b"%s%d" % (kind, number) for kind in (b"short", b"long") for number in range(count))
print(len(answers), "answers")
