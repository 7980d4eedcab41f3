"""Random programs on pairs of sockets, of `overlapped.socket` and of the standard library's: what comes is the same.

That is what each call returns or raises and, after it, each socket's time-out and mode, how much there is to be read,
and what it is ready for. See differential.py. No program waits for ever: a socket in blocking mode gets a time-out
before a call for which nothing is there. What is sent fits into the kernel's buffers: how much of more they take,
depends on the pieces in which it comes.
"""

from __future__ import annotations

import array
import contextlib
import errno
import os
import random
import select
import socket as std_socket
import struct
import sys
import time
from typing import Any

from conftest import WINDOWS
from differential import Program, Trace, compare, failed, into
from overlapped import socket

PAIRS = ["tcp", "tcp", "udp", "udp apart", "listener"]
if hasattr(std_socket, "AF_UNIX"):
    PAIRS += ["stream", "stream", "datagram", "packets"]
WRONG = ["None", "'x'", "2.5", "[]", "-1", "1 << 63", "1 << 70", "True"]
SIZES = ["0", "1", "2", "3", "10", "100", "4096", "70_000", "1 << 20"]
FLAGS = ["0", "M.MSG_PEEK", "1 << 33", "'x'"]
if not WINDOWS:
    FLAGS += ["M.MSG_OOB", "M.MSG_DONTWAIT", "M.MSG_PEEK | M.MSG_DONTWAIT"]
# A blocking receive of urgent data, for which there is none, never ends under Wine 8, whatever SO_RCVTIMEO says.
# None is sent out of band: such a byte makes a Unix socket readable, and a receive waits all the same.
SEND_FLAGS = [flag for flag in FLAGS if "MSG_OOB" not in flag]
OPTIONS = [
    "SO_TYPE",
    "SO_ERROR",
    "SO_REUSEADDR",
    "SO_KEEPALIVE",
    "SO_ACCEPTCONN",
    "SO_BROADCAST",
    "SO_LINGER",
    "SO_DOMAIN",
]

# MSG_ERRQUEUE is left out: with a time-out, theirs waits for other things before it looks at the flag. So is MSG_TRUNC:
# theirs shows memory that nobody has filled.

HAS_MESSAGES = hasattr(std_socket.socket, "recvmsg")

BRIEF = 0.002
"""Seconds of the time-out where a call would wait for ever."""


def alike(step: str, theirs: Any, ours: Any) -> bool:
    """Whether they may differ so."""
    if failed(ours) and "MSG_OOB" in step and ours[1] == errno.EAGAIN:
        # Nobody waits for urgent data, which no readiness tells of.
        return True
    if "connect" in step and {number_of(theirs), number_of(ours)} == {0, errno.EISCONN}:
        # Who waits for a connection outside of connect(2) is told of it by another connect(2), once.
        return True
    if not failed(theirs):
        # Wine's select(2) takes the reset away that the receive would tell of.
        return WINDOWS and is_empty(theirs) and number_of(ours) == errno.ECONNRESET
    if theirs[1] == TRUNCATED and not failed(ours):
        return True
    if failed(ours) and theirs[0] in WRONG_ARGUMENTS and ours[0] in WRONG_ARGUMENTS:
        # Each method has words of its own for wrong arguments, and of two names the one that it looks at first.
        return True
    # With a time-out, theirs asks whether the socket is ready, and calls only then. Ours calls at once: what the call
    # refuses is told at once, and a datagram socket that is shut for reading is at its end, as it is in blocking mode.
    if failed(ours):
        timed_out = theirs[0] == "TimeoutError" or theirs[-1] == "cannot read from timed out object"
        return (timed_out or (WINDOWS and theirs[1] in REFUSED)) and ours[1] in REFUSED
    return theirs[0] in AT_THE_END and is_empty(ours)


def number_of(came: Any) -> Any:
    """The number of the error that a connect, or a connect_ex, ended with."""
    return came[1] if failed(came) else came or 0


def is_empty(result: Any) -> bool:
    """Whether a receive has brought nothing."""
    return is_empty(result[0]) if isinstance(result, list) else result in (0, b"", "")


TRUNCATED = getattr(errno, "WSAEMSGSIZE", -1)
"""What Windows raises of a datagram that is longer than the buffer: ours brings its beginning, as on every system."""
AT_THE_END = ["TimeoutError", "BlockingIOError"]
"""What theirs raises, with a time-out, where it is shut for reading."""
if WINDOWS:
    AT_THE_END += ["BrokenPipeError"]
WRONG_ARGUMENTS = ("TypeError", "OverflowError", "BufferError")
REFUSED = {errno.EINVAL, errno.EPIPE, errno.ENOTCONN, errno.EOPNOTSUPP, errno.EDESTADDRREQ}
if WINDOWS:
    # To send without a connection is WSAENOTCONN on Windows, and under Wine 8 a reset. What is sent after a shutdown is
    # a broken pipe on every system, and not WSAESHUTDOWN, which is one as well.
    REFUSED |= {errno.ECONNRESET, errno.ESHUTDOWN}


class Author:
    """Writes programs."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.one_of = rng.choice

    def program(self) -> Program:
        self.pair = self.one_of(PAIRS)
        steps = [f"{on}.settimeout({self.one_of(['0', '0', 'None', '0.002'])})" for on in "ab"]
        for _ in range(self.rng.randrange(1, 22)):
            steps.append(self.step())
        return Program({"pair": self.pair}, tuple(steps))

    def some(self, *values: str) -> str:
        """One of these, now and then a wrong one."""
        return self.one_of(WRONG) if self.rng.random() < 0.05 else self.one_of(values)

    def data(self) -> str:
        some = f"b'{self.one_of('abc')}' * {self.one_of([0, 1, 1, 2, 5, 10, 100, 1000, 3000])}"
        shapes = [
            f"bytearray({some})",
            f"memoryview({some})[1:]",
            f"memoryview({some})[::2]",
            "array.array('h', [1, 2])",
        ]
        return self.some(some, some, some, "b'line\\nof\\nlines\\n'", *shapes)

    def buffer(self) -> str:
        size = self.one_of([0, 1, 3, 10, 100, 5000, 70_000])
        shapes = ["memoryview(bytearray(6))[::2]", "b'ro'", "memoryview(bytearray(6)).cast('B', (2, 3))"]
        return self.some(*[f"bytearray({size})"] * 3, f"array.array('h', [0] * {size})", *shapes)

    def buffers(self, one: Any) -> str:
        items = ", ".join(one() for _ in range(self.rng.randrange(4)))
        return self.some(*[f"[{items}]"] * 8, f"iter([{items}])", "5")

    def step(self) -> str:
        on = self.one_of("ab" * 12 + "c")
        first = self.one_of("ab")
        match self.rng.randrange(26):
            case 0 | 1 | 2 | 3:
                return f"there({on}).recv({self.some(*SIZES)}{self.flags()})"
            case 4 | 5:
                more = self.one_of(["", "", f", {self.some('0', '1', '4', '100')}{self.flags()}"])
                return f"into(there({on}).{self.one_of(['recv_into', 'recvfrom_into'])}, {self.buffer()}{more})"
            case 6:
                return f"there({on}).recvfrom({self.some(*SIZES)}{self.flags()})"
            case 7 if HAS_MESSAGES:
                more = self.one_of(["", f", {self.some('0', '64', '-1')}{self.flags()}"])
                return f"control(there({on}).recvmsg({self.some(*SIZES)}{more}))"
            case 8 if HAS_MESSAGES:
                more = self.one_of(["", f", {self.some('0', '64', '-1')}{self.flags()}"])
                return f"into_all(there({on}).recvmsg_into, {self.buffers(self.buffer)}{more})"
            case 9 | 10 | 11 | 12 | 13:
                return f"room({on}).{self.one_of(['send', 'sendall'])}({self.data()}{self.flags(0.1, SEND_FLAGS)})"
            case 14:
                to = self.one_of(
                    ["at_a", "at_b", "at_b", "None", "('127.0.0.1', -1)", "('127.0.0.1',)", "5", "'x' * 200"]
                )
                return f"room({on}).sendto({self.data()}{self.flags(0.1, SEND_FLAGS)}, {to})"
            case 15 if HAS_MESSAGES:
                more = self.one_of(
                    ["", "", "", ", []", ", [(1, 77, b'x')]", ", 5", ", [], 0, at_b", ", (), M.MSG_DONTWAIT"]
                )
                return f"room({on}).sendmsg({self.buffers(self.data)}{more})"
            case 16:
                return f"{on}.shutdown({self.some('M.SHUT_RD', 'M.SHUT_WR', 'M.SHUT_RDWR', '7')})"
            case 17 | 18:
                times = ["0", "None", "0.002", "0.002", "0.0", "1e-6", "1e300", "-1", "'x'", "1 << 70"]
                return self.one_of(
                    [
                        f"{on}.settimeout({self.one_of(times)})",
                        f"{on}.setblocking({self.some('True', 'False', '0', '1')})",
                        f"({on}.gettimeout(), {on}.getblocking(), {on}.timeout)",
                    ]
                )
            case 19 | 20:
                return self.file_step(on)
            case 21:
                option = self.one_of(OPTIONS)
                size = self.one_of(["", "", f", {self.some('0', '4', '8', '100', '2000')}"])
                value = self.some("0", "1", "b''", "b'1234'", "b'\\1\\0\\0\\0'", "None, 4")
                call = self.one_of(
                    [f"getsockopt(M.SOL_SOCKET, M.{option}{size})", f"setsockopt(M.SOL_SOCKET, M.{option}, {value})"]
                )
                # The kernel keeps a linger for the end, which waits in close; what else is set stays with the pair.
                return f"{on}.{call}" if "SO_LINGER" not in call or call.startswith("get") else f"{on}.fileno() > 2"
            case 22:
                return self.one_of(
                    [
                        f"{on}.getpeername()",
                        f"{on}.getsockname()",
                        f"({on}.family, {on}.type, {on}.proto)",
                        f"{on}.get_inheritable()",
                        f"there({on}).accept()",
                        f"{on}.listen(3)",
                        f"{on}.bind(at_a or 5)",
                        f"dial({first}, {first}.connect, at_a)",
                        f"dial({first}, {first}.connect_ex, at_b)",
                        f"{first}.connect_ex(('127.0.0.1', 1 << 20))",
                        f"{first}.connect(5)",
                        f"dial({first}, {first}.connect, at_a)",
                        f"{on}.sendfile({self.one_of(['a', 'b'])})",
                        f"{on}._accept(1)",
                    ]
                )
            case 23:
                return self.one_of(
                    [
                        f"let('c', {on}.dup())",
                        f"let('c', M.socket(fileno={on}.detach()))",
                        f"let('c', M.fromfd({on}.fileno(), {on}.family, {on}.type))",
                        f"M.send_fds({on}, [b'fds'], [0, 1])",
                        f"control(M.recv_fds(there({on}), 10, 2))",
                        f"copy.copy({on})",
                        f"pickle.dumps({on})",
                        f"{on}.recv()",
                        f"{on}.recv(1, 2, 3)",
                        f"{on}.send()",
                        f"{on}.recv_into(buffer=bytearray(3), nbytes=3, flags=M.MSG_DONTWAIT)",
                        f"{on}.recv_into(bytearray(3), size=3)",
                        f"{on}.no_such",
                        f"{on}.__enter__() is {on}",
                    ]
                )
            case 24:
                return self.one_of([f"{on}.close()", f"lose({on})", f"{on}.fileno() > 2", f"{on}.__exit__()"])
            case _:
                return self.one_of(["let('c', there(a).accept()[0])", "room(b).sendall(b'0123456789' * 100)"])

    def flags(self, often: float = 0.25, flags: list[str] = FLAGS) -> str:
        return f", {self.one_of(flags)}" if self.rng.random() < often else ""

    def file_step(self, on: str) -> str:
        if self.rng.random() < 0.3:
            mode = self.one_of(["r", "rb", "rb", "rwb", "w", "wb", "rw", "z", ""])
            more = self.one_of(["", "", ", 0", ", 1", ", 10", ", encoding='utf-8', newline=''"])
            return f"files.append({on}.makefile({mode!r}{more}))"
        data = self.one_of(["b'x' * 10", "'text\\n'"])
        call = self.one_of(
            [
                f"read({self.some('1', '5', '100')})",
                "read()",
                "readline()",
                "readline(3)",
                f"write({data})",
                "flush()",
                "close()",
                "peek()",
                "read1(10)",
                "readable()",
                "writable()",
                "seekable()",
                "tell()",
                "name == -1",
                "mode",
            ]
        )
        return f"brief(a, b) and files[-1].{call}"


class Pair:
    """Two sockets of a module's, and what programs do with them."""

    def __init__(self, kind: str, module: Any) -> None:
        self.kind, self.module, self.kept, self.lost = kind, module, [], []
        loopback = ("127.0.0.1", 0)
        match kind:
            case "stream" | "datagram" | "packets":
                types = {"stream": "SOCK_STREAM", "datagram": "SOCK_DGRAM", "packets": "SOCK_SEQPACKET"}
                a, b = module.socketpair(module.AF_UNIX, getattr(module, types[kind]))
            case "tcp":
                with module.create_server(loopback) as listener:
                    a = module.create_connection(listener.getsockname())
                    b = listener.accept()[0]
            case "udp" | "udp apart":
                a, b = (module.socket(module.AF_INET, module.SOCK_DGRAM) for _ in "ab")
                a.bind(loopback)
                b.bind(loopback)
                if kind == "udp":
                    a.connect(b.getsockname())
                    b.connect(a.getsockname())
            case _:
                a, b = module.create_server(loopback), module.socket()
        for sock in (a, b):
            # Should a call wait in the system all the same.
            for option in (module.SO_RCVTIMEO, module.SO_SNDTIMEO):
                sock.setsockopt(module.SOL_SOCKET, option, 2000 if WINDOWS else struct.pack("ll", 2, 0))
        # One that has no address yet says so on Windows by an error.
        self.at = {"a": a.getsockname(), "b": b.getsockname() if kind != "listener" else ("0.0.0.0", 0)}
        self.names = {
            "a": a,
            "b": b,
            "M": module,
            "files": [],
            "array": array,
            "at_a": self.at["a"],
            "at_b": self.at["b"],
        }
        self.names |= {
            name: getattr(self, name)
            for name in ("there", "room", "brief", "into_all", "control", "dial", "let", "lose")
        }
        self.names |= {name: __import__(name) for name in ("copy", "pickle")} | {"into": into}

    # What the steps call.

    def there(self, sock: Any) -> Any:
        """The socket, which gets a time-out where it would wait for ever for something to be there."""
        return self.ready(sock, IN)

    def room(self, sock: Any) -> Any:
        """The same, for room to send into."""
        return self.ready(sock, OUT)

    def ready(self, sock: Any, events: int) -> Any:
        if sock.gettimeout() is None and sock.fileno() >= 0 and not polled(sock, events):
            sock.settimeout(BRIEF)
        return sock

    def brief(self, *sockets: Any) -> bool:
        """Sees to it that the sockets do not wait for ever."""
        for sock in sockets:
            if sock.fileno() >= 0 and sock.gettimeout() is None:
                sock.settimeout(BRIEF)
        return True

    def into_all(self, method: Any, buffers: Any, *more: Any) -> Any:
        buffers = list(buffers)
        return self.control(method(buffers, *more)), [bytes(memoryview(buffer).cast("B")) for buffer in buffers]

    def control(self, result: Any) -> Any:
        """What a receive of control data brought, with the number of descriptors in place of these."""
        data, control, *rest = result
        numbers = array.array("i")
        for item in control:
            if isinstance(item, tuple):
                numbers.frombytes(item[2][: len(item[2]) // 4 * 4])
            else:
                numbers.append(item)
        for number in numbers:
            os.close(number)
        return data, len(control), len(numbers), *rest

    def dial(self, sock: Any, connect: Any, address: Any) -> Any:
        """Connects; loses a socket that was refused, for what that is afterwards depends on how it waited."""
        try:
            result = connect(address)
        except ConnectionRefusedError:
            self.lose(sock)
            raise
        if result == errno.ECONNREFUSED:
            self.lose(sock)
        return result

    def lose(self, sock: Any) -> bool:
        number = sock.detach()
        if number >= 0:
            self.lost.append(number)
        return number >= 0

    def let(self, name: str, sock: Any) -> None:
        """Gives a socket a name."""
        self.kept.append(self.names.get(name))
        self.names[name] = sock

    # What is seen of it.

    def sockets(self) -> list[Any]:
        return [self.names[name] for name in "abc" if name in self.names]

    def state(self, step: str) -> Any:
        """What is so after a step, when all that was sent has arrived, as far as it does."""
        if self.kind in ("tcp", "udp", "udp apart", "listener"):
            deadline = time.monotonic() + 0.02
            while not self.is_settled(step) and time.monotonic() < deadline:
                time.sleep(0)
        return [self.state_of(sock) for sock in self.sockets()]

    def is_settled(self, step: str) -> bool:
        """Whether nothing is under way between the two, as far as the system tells."""
        ends = [sock for sock in (self.names["a"], self.names["b"]) if sock.fileno() >= 0]
        for sock in ends:
            with contextlib.suppress(OSError, AttributeError):
                # What has arrived is acknowledged at once.
                sock.setsockopt(std_socket.IPPROTO_TCP, std_socket.TCP_QUICKACK, 1)
        if any(unsent(sock) and not polled(sock, 0) for sock in ends):
            return False
        if "connect" in step and self.kind == "listener":
            return all(polled(sock, IN | OUT) for sock in ends)
        if self.kind == "tcp" and any(word in step for word in ("close", "shutdown", "__exit__", "lose")):
            return all(polled(sock, ENDED) for sock in ends)
        return True

    def state_of(self, sock: Any) -> Any:
        number = sock.fileno()
        if number < 0:
            return "closed", sock.gettimeout()
        # Windows tells nobody of a socket's mode.
        blocks = sock.getblocking() if WINDOWS else os.get_blocking(number)
        return sock.gettimeout(), blocks, unread(sock), polled(sock, READY)

    def place(self, value: Any) -> Any:
        """An address by whose it is: ports are other ones each time."""
        if isinstance(value, (list, tuple)):
            name = next((name for name, address in self.at.items() if address and address == tuple(value)), None)
            if not name and len(value) == 2 and value[0] in ("127.0.0.1", "0.0.0.0"):
                return "elsewhere"
            return name or [self.place(item) for item in value]
        return value

    def close(self) -> None:
        for thing in (*self.names["files"], *self.sockets(), *self.kept):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                thing.close()
        for number in self.lost:
            std_socket.close(number)


# What the system tells of a socket, on Windows less: nothing of what is under way, and of an end what select(2) does.
if sys.platform == "win32":
    import ctypes

    IN, OUT, ERROR = 1, 2, 4
    ENDED, READY = IN, IN | OUT | ERROR
    FIONREAD = 0x4004667F

    def polled(sock: Any, events: int) -> int:
        wanted = [[sock] if events & event else [] for event in (IN, OUT, ERROR)]
        try:
            found = select.select(*wanted, 0)
        except OSError:
            return -1
        return sum(event for event, ready in zip((IN, OUT, ERROR), found, strict=True) if ready)

    def unread(sock: Any) -> int | None:
        count = ctypes.c_ulong()
        status = ctypes.windll.ws2_32.ioctlsocket(ctypes.c_size_t(sock.fileno()), FIONREAD, ctypes.byref(count))
        return None if status else count.value

    def unsent(sock: Any) -> int:
        return 0

else:
    import fcntl
    import termios

    IN, OUT, ENDED = select.POLLIN, select.POLLOUT, select.POLLRDHUP
    READY = IN | OUT | ENDED | select.POLLHUP | select.POLLERR | select.POLLPRI

    def polled(sock: Any, events: int) -> int:
        """What a socket is ready for."""
        poll = select.poll()
        poll.register(sock.fileno(), events)
        return sum(found for _, found in poll.poll(0))

    def asked(sock: Any, request: int) -> int | None:
        with contextlib.suppress(OSError):
            return int.from_bytes(fcntl.ioctl(sock.fileno(), request, bytes(4)), sys.byteorder)
        return None

    def unread(sock: Any) -> int | None:
        """How many bytes there are to be read, None where the system does not tell (tcp(7), udp(7))."""
        return asked(sock, termios.FIONREAD)

    def unsent(sock: Any) -> int:
        """How many bytes that were sent have not arrived, or not been taken, as the system has it (tcp(7), udp(7))."""
        return asked(sock, termios.TIOCOUTQ) or 0 if sock.family == std_socket.AF_INET else 0


def run(program: Program, module: Any) -> Trace:
    """Runs a program with the names of a module."""
    pair = Pair(program.begin["pair"], module)
    try:
        trace = Trace(shown=pair.place)
        for step in program.steps:
            trace.step(step, pair.names, lambda step=step: pair.state(step))
        return trace
    finally:
        pair.close()


def test_random_programs() -> None:
    compare(
        100 if WINDOWS else 400,
        lambda rng: Author(rng).program(),
        lambda program: run(program, std_socket),
        lambda program: run(program, socket),
        alike,
        times=3,
    )
