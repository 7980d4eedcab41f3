"""overlapped.handoff: sockets in the hands of workers, some of which are killed."""

from __future__ import annotations

import os
import random
import re
import signal
import socket as std_socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable

import pytest

import overlapped
from conftest import ROOT, WINDOWS, patience_with_the_killed, rust_example, unix_only
from load import crowd
from overlapped import _channel, _channel_frames, handoff, sleep, socket, spawn
from overlapped._journal import Journal, NotYours

ANSWERS = """
import contextlib, os, overlapped
from overlapped import handoff, socket
def answer(given):
    with given.take() as connection, contextlib.suppress(ConnectionError):
        connection.sendall(b"%d %b" % (os.getpid(), given.context))
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(100): pass
tasklets = [overlapped.spawn(answer, given) for given in handoff.Worker()]
for tasklet in tasklets: tasklet.join()
"""

KINDS = """
from overlapped import handoff, socket
for given in handoff.Worker():
    with given.take() as taken:
        if taken.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
            connection, _ = taken.accept()
            connection.sendall(b"listener")
            connection.close()
        elif taken.type == socket.SOCK_DGRAM:
            taken.sendto(b"datagram", taken.recvfrom(100)[1])
        else:
            taken.sendall(taken.family.name.encode())
"""

TALKS = """
import overlapped
from overlapped import handoff
def talk(given):
    with given.take() as connection:
        while said := connection.recv(100): connection.sendall(b"You said: " + said)
tasklets = [overlapped.spawn(talk, given) for given in handoff.Worker()]
for tasklet in tasklets: tasklet.join()
"""

HEARS_NOTHING = "import overlapped; from overlapped import handoff; w = handoff.Worker(); overlapped.sleep(60)"
WANTS_NOTHING = "from overlapped import handoff\nfor given in handoff.Worker(): given.refuse()"
FORGETS = "from overlapped import handoff\nfor given in handoff.Worker(): del given"
DIES_OF_EACH = "import os; from overlapped import handoff\nfor given in handoff.Worker(): os._exit(9)"

KILL = getattr(signal, "SIGKILL", signal.SIGTERM)
"""What ends a process at once: on Windows each signal does (TerminateProcess)."""
KILLED = "signal 9 (SIGKILL)" if KILL != signal.SIGTERM else f"exit status {signal.SIGTERM:d}"
CONNECTIONS = int(os.environ.get("HANDOFF_SCENE", "60" if WINDOWS else "200"))
"""``HANDOFF_SCENE=10000`` is for more, which wants some descriptors (``ulimit -n 16384``). Fewer under Wine, where a
process takes its time to start."""


def worker(script: str) -> list[str]:
    return [sys.executable, "-c", script]


def speaks(data: bytes) -> list[str]:
    """A worker that says these bytes, whatever they mean."""
    return [sys.executable, "-S", "-c", f"import os, time; os.write(0, {data!r}); time.sleep(60)"]


@pytest.fixture
def connection():
    """Makes connections: the client's end and the server's."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def connect() -> tuple[socket.socket, socket.socket]:
            client = socket.create_connection(listener.getsockname())
            return client, listener.accept()[0]

        yield connect


def everything(client: socket.socket) -> bytes:
    said = b""
    with client:
        while data := client.recv(4096):
            said += data
    return said


def wait_for(what: str, holds: Callable[[], object]) -> None:
    for _ in range(20_000):
        if holds():
            return
        sleep(0.002)
    raise AssertionError(f"never: {what}")


def descriptors() -> int:
    """How many this process has open; not counted on Windows, where the Rust tests do."""
    return 0 if WINDOWS else len(os.listdir("/dev/fd"))


def test_a_connection_goes_on_in_a_worker_with_what_was_read_and_the_server_keeps_nothing(connection):
    client, ours = connection()
    before = descriptors() - 2 * (not WINDOWS)
    server = handoff.Server(1, worker(ANSWERS))
    process = server.give(ours, b"read already").wait(60)
    assert process == server.workers()[0].process
    assert ours.fileno() == -1
    assert everything(client) == b"%d read already" % process
    assert (server.workers()[0].taken, server.workers()[0].unconfirmed) == (1, 0)
    server.stop(60)
    assert descriptors() == before
    assert server.workers()[0].last_end == "exit status 0"


def test_sockets_of_every_kind_are_given_and_keep_their_kind(connection, tmp_path):
    server = handoff.Server(2, worker(KINDS))

    client, ours = connection()
    server.give(ours).wait(60)
    assert everything(client) == b"AF_INET"

    listener = socket.create_server(("127.0.0.1", 0))
    address = listener.getsockname()
    server.give(listener).wait(60)
    assert everything(socket.create_connection(address)) == b"listener"

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        answering = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        answering.bind(("127.0.0.1", 0))
        address = answering.getsockname()
        server.give(answering).wait(60)
        asking.sendto(b"?", address)
        assert asking.recv(100) == b"datagram"

    if WINDOWS:
        return server.stop(60)
    client, ours = socket.socketpair()
    server.give(ours).wait(60)
    assert everything(client) == b"AF_UNIX"

    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "socket"))
    listener.listen()
    server.give(listener).wait(60)
    client = socket.socket(socket.AF_UNIX)
    client.connect(str(tmp_path / "socket"))
    assert everything(client) == b"listener"
    server.stop(60)


def test_a_client_of_five_threads_talks_to_workers_that_the_server_gave_its_connections_to():
    heard: dict[int, list[bytes]] = {}

    def client(number: int, address: tuple[str, int]) -> None:
        with std_socket.create_connection(address, 60) as connection:
            heard[number] = []
            for words in (b"Hello, I am thread-%d" % number, b"Goodbye Server!"):
                connection.sendall(words)
                heard[number].append(connection.recv(100))

    server = handoff.Server(2, worker(TALKS))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threads = [threading.Thread(target=client, args=(number, listener.getsockname())) for number in range(5)]
        for thread in threads:
            thread.start()
        for _ in threads:
            server.give(listener.accept()[0]).wait(60)
    wait_for("all have said goodbye", lambda: not any(thread.is_alive() for thread in threads))
    said = [[b"You said: Hello, I am thread-%d" % number, b"You said: Goodbye Server!"] for number in range(5)]
    assert [heard[number] for number in range(5)] == said
    server.stop(60)


@pytest.mark.time_limit(60 * max(CONNECTIONS // 200, 1))
def test_of_many_connections_through_4_workers_of_which_each_is_killed_every_one_is_answered_once_or_closed(connection):
    def answer(client: socket.socket) -> bytes:
        try:
            return everything(client)
        except (ConnectionError, TimeoutError):
            return b""

    before = descriptors()
    server = handoff.Server(4, worker(ANSWERS), limit=16, attempts=100)
    clients = []
    for number in range(CONNECTIONS):
        client, ours = connection()
        client.settimeout(patience_with_the_killed())
        clients.append((spawn(answer, client), server.give(ours, b"connection %d;" % number)))
        if number % (CONNECTIONS // 5) == CONNECTIONS // 5 - 1:
            process = server.workers()[number // (CONNECTIONS // 5) % 4].process
            if process is not None:
                os.kill(process, KILL)
    answered = 0
    for number, (said, giving) in enumerate(clients):
        # Whatever became of it, somebody had taken it over.
        whole = b"%d connection %d;" % (giving.wait(60), number)
        # A worker that was killed in the middle has said the beginning of it, and nobody else anything.
        assert whole.startswith(said.result())
        answered += said.result() == whole
    workers = server.workers()
    assert answered > CONNECTIONS // 2, workers
    assert sum(one.taken for one in workers) == CONNECTIONS
    server.stop(60)
    assert all(one.ended > 0 for one in server.workers())
    assert descriptors() == before


def test_what_a_worker_had_and_did_not_take_over_when_it_was_killed_is_served_by_the_next(connection):
    scripts = iter([HEARS_NOTHING])
    server = handoff.Server(1, lambda place: worker(next(scripts, ANSWERS)), limit=3)
    first = server.workers()[0].process
    assert first is not None
    clients = [connection() for _ in range(3)]
    givings = [server.give(ours, b"%d" % number) for number, (_, ours) in enumerate(clients)]
    wait_for("all three are its", lambda: server.workers()[0].unconfirmed == 3)
    os.kill(first, KILL)
    for number, giving in enumerate(givings):
        second = giving.wait(60)
        assert second != first
        assert everything(clients[number][0]) == b"%d %d" % (second, number)
    assert server.workers()[0].last_end == KILLED
    server.stop(60)


def test_giving_waits_while_workers_hold_as_many_as_they_may_and_the_socket_stays_the_givers(connection):
    server = handoff.Server(1, worker(HEARS_NOTHING), limit=2)
    givings = [server.give(connection()[1]) for _ in range(2)]
    client, ours = connection()
    with pytest.raises(TimeoutError), overlapped.timeout(0.02):
        server.give(ours)
    waiting = spawn(server.give, ours)
    sleep(0)
    assert waiting.alive, "there was no room"
    stopping = spawn(server.stop, 60)
    assert isinstance(waiting.exception(60), BrokenPipeError)
    assert stopping.alive
    # Ended at once: what was given comes back.
    server.close()
    stopping.join(60)
    ours.sendall(b"still open")
    ours.close()
    assert everything(client) == b"still open"
    for giving in givings:
        assert giving.known
        with pytest.raises(handoff.NotTaken, match="the server has stopped") as not_taken:
            giving.wait()
        not_taken.value.socket.close()


@pytest.mark.parametrize("script", [WANTS_NOTHING, FORGETS, DIES_OF_EACH], ids=["refused", "forgotten", "died"])
def test_what_no_worker_wants_or_what_kills_each_comes_back_with_its_bytes(connection, script):
    client, ours = connection()
    with handoff.Server(2, worker(script), attempts=3) as server:
        with pytest.raises(handoff.NotTaken, match="no worker has taken it over") as not_taken:
            server.give(ours, b"its bytes").wait(60)
        assert not_taken.value.context == b"its bytes"
        with not_taken.value.socket as back:
            back.sendall(b"still open")
        assert everything(client) == b"still open", "and nobody has another copy"


def test_what_nobody_claims_is_closed_where_nobody_waits_for_it(connection):
    client, ours = connection()
    with handoff.Server(1, worker(WANTS_NOTHING), attempts=1) as server:
        server.give(ours)
        assert everything(client) == b""


HELLO = b"\0\0\0\x18\x01overlapped hand-off\0\x01\0\x01"


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (b"\xff\xff\xff\xff", f"{9 + _channel.End.TOLD + handoff.CONTEXT_LIMIT} are allowed"),
        (b"\0\0\0\0", "it has no kind"),
        (b"\0\0\0\x01\x02", "not as its kind's"),
        (b"\0\0\0\x09\x05" + bytes(8), "the first message is no hello"),
        (HELLO[:-4] + b"\0\x02\0\x03", "versions 2 to 3, the server 1 to 1"),
        (HELLO + b"\0\0\0\x09\x05" + bytes(7) + b"c", "took number 99, which it does not have"),
        (HELLO + b"\0\0\0\x09\x06" + bytes(7) + b"c", "gave back number 99"),
        (HELLO + HELLO, "of kind 1 came from a worker"),
        (HELLO + b"\0\0\0\x01\x09", "a kind that there is not"),
        (HELLO + b"\0\0\0\x01\x07", "of kind 7 came from a worker"),
        # On Windows the frame tells of the socket.
        (HELLO + b"\0\0\0\x0a\x04" + bytes(8) + b"x", "not as its kind's" if WINDOWS else "without its descriptor"),
    ],
)
def test_a_worker_that_breaks_the_rules_is_ended_and_it_is_said_why(connection, said, why):
    commands = iter([speaks(said)])
    client, ours = connection()
    with handoff.Server(1, lambda place: next(commands, worker(ANSWERS))) as server:
        process = server.give(ours, b"safe").wait(60)
        assert everything(client) == b"%d safe" % process
        assert why in str(server.workers()[0].last_end)


@unix_only("no socket pair is a channel there")
def test_noise_is_an_error_or_waits_for_more():
    chance = random.Random(9)
    for _ in range(500):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            noise = chance.randbytes(chance.randrange(40))
            if chance.random() < 0.7:
                # A length that is about right lets more of them past the first check.
                noise = struct.pack("!IB", len(noise) + chance.randrange(3), chance.randrange(9)) + noise
            ours.sendall(noise)
            ours.shutdown(socket.SHUT_WR)
            channel = _channel.Channel(_channel.End(theirs, 0))
            try:
                while (message := channel.receive()) is not None:
                    assert _channel_frames.frame(*message[:2]) in noise
            except handoff.ProtocolError:
                pass


def test_a_worker_that_ends_before_it_was_of_use_is_started_again_after_a_delay_in_which_no_process_is_named():
    with handoff.Server(1, [sys.executable, "-S", "-c", "raise SystemExit(3)"]) as server:
        wait_for("none runs", lambda: server.workers()[0].process is None)
        wait_for("three have ended", lambda: server.workers()[0].ended >= 3)
        assert server.workers()[0].last_end == "exit status 3"


def test_stopping_ends_after_its_limit_and_gives_back_what_was_not_taken_over(connection):
    client, ours = connection()
    server = handoff.Server(1, worker(HEARS_NOTHING))
    giving = server.give(ours)
    with pytest.raises(TimeoutError, match="1 sockets were not taken over"):
        server.stop(0.02)
    with pytest.raises(handoff.NotTaken) as not_taken:
        giving.wait()
    not_taken.value.socket.close()
    assert everything(client) == b""


def test_only_a_worker_has_a_channel_and_only_once():
    with pytest.raises(RuntimeError, match="OVERLAPPED_HANDOFF is not set"):
        handoff.Worker()
    twice = """
from overlapped import handoff
first = handoff.Worker()
try: handoff.Worker()
except RuntimeError as error: raise SystemExit(7 if "not started as a worker: descriptor 0" in str(error) else 8)
"""
    with handoff.Server(1, worker(twice)) as server:
        wait_for("it has ended", lambda: server.workers()[0].ended)
        assert server.workers()[0].last_end == "exit status 7"


def test_a_server_that_cannot_start_says_so():
    with pytest.raises(FileNotFoundError):
        handoff.Server(1, ["/no/such/worker"])
    with pytest.raises(ValueError, match="at least one worker"):
        handoff.Server(0, worker(ANSWERS))


@pytest.fixture(scope="module")
def rust() -> str:
    """The Rust program of this scene, which is a server and a worker as examples/handoff.py is. On Windows a variable
    says where it is, for there is no cargo there.
    """
    return rust_example("handoff")


@pytest.mark.time_limit(600)
@pytest.mark.parametrize("server", ["Rust", "Python"])
def test_a_server_in_one_language_and_workers_in_the_other_work_together(rust, server):
    python = [sys.executable, str(ROOT / "examples" / "handoff.py")]
    command = [rust, *python] if server == "Rust" else [*python, rust]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500 * crowd())
    assert (done.returncode, done.stderr) == (0, "")
    assert re.match(r"handoff: 1000 connections through 4 workers .* 10 workers killed", done.stdout), done.stdout


def journal(places: int, choice: str = "round robin", limit: int = 10) -> Journal[str]:
    made: Journal[str] = Journal(places, choice, limit, 3)  # type: ignore[arg-type]
    for place in made.places:
        place.ready = True
    return made


def assigned(journal: Journal[str]) -> list[int]:
    return list(iter(journal.assign, None))


def sent(journal: Journal[str], place: int) -> list[tuple[int, str]]:
    return list(iter(lambda: journal.send(place), None))


def test_what_a_dead_worker_had_not_confirmed_goes_to_the_others_in_its_order_before_what_came_later():
    book = journal(2)
    for given in "abcde":
        book.add(given, None)
    assert assigned(book) == [0, 1, 0, 1, 0]
    assert [book.send(0), book.send(0)] == [(0, "a"), (2, "c")]
    assert book.taken(0, 0) == "a"
    book.add("f", None)
    assert book.ended(0) == []
    assert assigned(book) == [1, 1, 1]
    assert sent(book, 1) == [(1, "b"), (3, "d"), (2, "c"), (4, "e"), (5, "f")]


def test_nobody_confirms_what_he_does_not_have():
    book = journal(2)
    book.add("a", None)
    assert assigned(book) == [0]
    for place, number in [(0, 0), (1, 0), (0, 9)]:
        with pytest.raises(NotYours):
            book.taken(place, number)
    book.send(0)
    assert book.taken(0, 0) == "a"
    with pytest.raises(NotYours):
        book.back(0, 0)


def test_the_least_busy_worker_with_room_is_chosen_and_a_key_waits_for_its_own():
    book = journal(3, "least busy", limit=1)
    book.ended(2)
    book.add("keyed", 5)
    for given in "abc":
        book.add(given, None)
    assert sorted(assigned(book)) == [0, 1]
    book.send(1)
    book.taken(1, next(iter(sent(book, 1)), (2, ""))[0])
    assert assigned(book) == [1]
    book.places[2].ready = True
    assert assigned(book) == [2]
    assert sent(book, 2) == [(0, "keyed")]


def test_what_is_given_back_goes_to_somebody_else_first_and_out_after_the_last_attempt():
    book = journal(2, "least busy")
    book.add("a", None)
    been: list[int] = []
    out: list[str] = []
    while not out:
        been += assigned(book)
        ((number, _),) = sent(book, been[-1])
        out = book.back(been[-1], number)
    assert (out, len(been), len(book)) == (["a"], 3, 0)
    assert been[0] != been[1] != been[2]
