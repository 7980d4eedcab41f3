"""Ten shells at once, each driven through a terminal of its own as a person would do it, on one thread.

A line is typed, what the shell shows is read until it waits for the next, the size changes, and a command is
interrupted by ``^C``.

python examples/terminal.py
"""

import os
import time

import overlapped
from overlapped import subprocess

SHELLS = 10
PROMPT = "what? "
"""What the shell shows when it waits for a line."""
ENVIRONMENT = {**os.environ, "PS1": PROMPT, "TERM": "dumb", "ENV": ""}


def until(pty: subprocess.Pty, wanted: str) -> str:
    """Reads until the shell has shown ``wanted`` last; returns all before."""
    shown = b""
    while not shown.endswith(wanted.encode()):
        piece = pty.read(1024)
        assert piece, f"the shell has ended after {shown!r}"
        shown += piece
    return shown.decode().removesuffix(wanted)


def ask(pty: subprocess.Pty, line: str) -> str:
    """Types a line; returns what the shell answers."""
    pty.write(f"{line}\n".encode())
    shown = until(pty, PROMPT)
    # The terminal shows what is typed, and ends lines its own way.
    assert shown.startswith(f"{line}\r\n"), shown
    return shown.removeprefix(f"{line}\r\n").replace("\r\n", "\n")


def drive(number: int) -> None:
    with subprocess.Pty() as pty:
        pty.resize(24, 80 + number)
        shell = subprocess.Child(["sh", "-i"], pty=pty, env=ENVIRONMENT)
        until(pty, PROMPT)
        assert ask(pty, "stty size") == f"24 {80 + number}\n"
        pty.resize(50, 80 + number)
        assert ask(pty, "stty size") == f"50 {80 + number}\n"
        # That the command itself says so tells that it is in the foreground, where ^C goes.
        pty.write(b"sh -c 'echo begun; exec sleep 60'\n")
        until(pty, "begun\r\n")
        pty.write(b"\x03")
        until(pty, PROMPT)
        pty.write(b"exit 7\n")
        pty.readall()
        assert shell.wait() == 7


def main() -> None:
    begun = time.perf_counter()
    with overlapped.timeout(30), overlapped.Group() as shells:
        for number in range(SHELLS):
            shells.spawn(drive, number)
    seconds = time.perf_counter() - begun
    print(f"terminal: {SHELLS} shells at once, each on a terminal of its own, in {seconds:.2f} s")


main()
