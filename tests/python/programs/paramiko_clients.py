"""A plain program: an SSH server of paramiko's, and many clients of it at once, that each have a command run."""

import logging
import socket
import sys
import threading

import paramiko

# Of a client that has gone, the server is told by a reset.
logging.getLogger("paramiko").setLevel(logging.CRITICAL)
count = int(sys.argv[1])
key = paramiko.ECDSAKey.generate()


class Server(paramiko.ServerInterface):
    def get_allowed_auths(self, username: str) -> str:
        return "password"

    def check_auth_password(self, username: str, password: str) -> int:
        return paramiko.AUTH_SUCCESSFUL if password == "secret" else paramiko.AUTH_FAILED

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        threading.Thread(target=answer, args=(channel, command)).start()
        return True


def answer(channel: paramiko.Channel, command: bytes) -> None:
    """What it was sent, in capitals, and then the command."""
    while data := channel.recv(65536):
        channel.sendall(data.upper())
    channel.sendall(command)
    channel.send_exit_status(len(command))
    channel.close()


def serve() -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        transport = paramiko.Transport(connection)
        transport.add_server_key(key)
        transport.start_server(event=threading.Event(), server=Server())


listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
accepting = threading.Thread(target=serve, daemon=True)
accepting.start()
answers: list[bool] = []


def client(number: int) -> None:
    client = paramiko.SSHClient()
    client.set_missing_host_key_policy(paramiko.AutoAddPolicy())
    port = listener.getsockname()[1]
    client.connect(
        "127.0.0.1", port, "us", "secret", look_for_keys=False, allow_agent=False, timeout=60, banner_timeout=60,
        auth_timeout=60,
    )  # fmt: skip
    stdin, stdout, _ = client.exec_command(f"run {number}", timeout=60)
    stdin.write("x" * 100_000)
    stdin.channel.shutdown_write()
    answers.append(stdout.read() == b"X" * 100_000 + b"run %d" % number)
    assert stdout.channel.recv_exit_status() == len(f"run {number}")
    client.close()


threads = [threading.Thread(target=client, args=(number,)) for number in range(count)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
listener.shutdown(socket.SHUT_RDWR)
listener.close()
print(sum(answers), "answers")
