"""overlapped.prefork: workers of one server that are replaced and killed, under clients that keep their connections."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import struct
import subprocess
import sys
from collections.abc import Callable

import pytest

import overlapped
from conftest import ROOT, WINDOWS, patience_with_the_killed, rust_example, unix_only
from overlapped import _delay, prefork, sleep, socket, spawn
from overlapped._channel_frames import End
from overlapped._prefork_book import Book, NotYours
from overlapped._prefork_channel import Channel

ANSWERS = """
import os, sys, time
from overlapped import prefork
def answer(connection):
    request = bytearray()
    while True:
        while (end := request.find(b"\\n")) >= 0:
            line = bytes(request[:end + 1])
            del request[:end + 1]
            if line == b"hang\\n": time.sleep(60)
            if line == b"which?\\n": line = connection.listener.encode() + b"\\n"
            connection.sendall(b"%d %b" % (os.getpid(), line))
        match connection.read_more(request):
            case prefork.More.END: return
            case prefork.More.MOVE: return connection.give(request)
prefork.Worker().serve(answer)
"""
RETIRES_AFTER_THREE = ANSWERS.replace(
    "prefork.Worker().serve(answer)", "w = prefork.Worker(); w.retire_after(3); w.serve(answer)"
)
OBEYS_SIGNALS = """
import sys
from overlapped import prefork, socket, sleep, spawn
def tell():
    said = None
    while True:
        workers = supervisor.workers()
        if said != (said := f"{len(workers)} of generation {workers[-1].generation}"): print(said, flush=True)
        sleep(0.002)
supervisor = prefork.Supervisor(2, sys.argv[1:], {"lines": socket.create_server(("127.0.0.1", 0))})
telling = spawn(tell)
supervisor.obey_signals()
telling.cancel()
print("it has stopped", flush=True)
"""
FAILS = "raise SystemExit(9)"
NEVER_READY = "import overlapped; from overlapped import prefork; w = prefork.Worker(); overlapped.sleep(60)"
DOES_NOT_DRAIN = ANSWERS.replace("return connection.give(request)", "connection.give(request); overlapped.sleep(60)")
DOES_NOT_DRAIN = "import overlapped" + DOES_NOT_DRAIN
GIVES_BACK_WHAT_IT_GETS = """
from _socket import close
from overlapped._prefork_channel import *
channel = Channel.inherited()
channel.hello()
channel.send(READY)
given = 0
while given < 20:
    kind, body, descriptor = channel.receive()
    if kind == CONNECTION:
        close(descriptor)
        channel.send(BACK, body[:NUMBER.size])
        given += 1
"""
BEGINS_WHEN_TOLD = """
import sys
from overlapped import prefork, socket
gate = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
gate.recv(1)
worker = prefork.Worker()
worker.ready()
gate.sendall(b"serves" if worker.next() else b"has drained")
"""
SPEAKS_OUT_OF_TURN = """
import os, time
os.write(0, b"\\0\\0\\0\\x17\\x01overlapped prefork\\0\\x01\\0\\x01" + b"\\0\\0\\0\\x09\\x08" + bytes(7) + b"\\7")
time.sleep(60)
"""


KILL = getattr(signal, "SIGKILL", signal.SIGTERM)
"""What ends a process at once: on Windows each signal does (TerminateProcess)."""


def worker(script: str) -> list[str]:
    return [sys.executable, "-c", script]


def serve(workers: int, command: prefork.Command | None = None, **options: float) -> tuple[prefork.Supervisor, tuple]:
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    address = listener.getsockname()
    try:
        return prefork.Supervisor(workers, command or worker(ANSWERS), {"lines": listener}, **options), address
    except BaseException:
        assert listener.fileno() == -1
        raise


def answer_of(client: socket.socket) -> bytes:
    said = b""
    while not said.endswith(b"\n"):
        data = client.recv(65536)
        if not data:
            raise ConnectionAbortedError("closed")
        said += data
    assert said.count(b"\n") == 1, "one answer at a time"
    return said


def ask(client: socket.socket, word: bytes) -> int:
    """Says a line, and returns the process that answered it."""
    client.sendall(word + b"\n")
    return answered_by(client, word)


def answered_by(client: socket.socket, word: bytes) -> int:
    process, said = answer_of(client).rstrip().split(b" ", 1)
    assert said == word
    return int(process)


def wait_for(what: str, holds: Callable[[], object], times: int = 1) -> None:
    for _ in range(20_000 * times):
        if holds():
            return
        sleep(0.002)
    raise AssertionError(f"never: {what}")


def processes(supervisor: prefork.Supervisor) -> list[int]:
    return [one.process for one in supervisor.workers() if one.process is not None]


def descriptors(process: int | str = "self") -> int:
    """How many a process has open, this or a worker; not counted on Windows, where the Rust tests do."""
    return len(os.listdir(f"/proc/{process}/fd")) if sys.platform == "linux" else 0


def test_an_idle_connection_and_one_with_half_a_request_go_to_the_new_worker_with_their_bytes():
    before = descriptors()
    supervisor, address = serve(1)
    (old,) = processes(supervisor)
    with socket.create_connection(address) as idle, socket.create_connection(address) as half:
        assert (ask(idle, b"one"), ask(half, b"first")) == (old, old)
        half.sendall(b"begun by the old, ")
        supervisor.restart()
        (new,) = processes(supervisor)
        assert new != old
        assert ask(idle, b"two") == new
        half.sendall(b"ended by the new\n")
        assert answered_by(half, b"begun by the old, ended by the new") == new
    assert supervisor.moves() == prefork.Moves(taken=2)
    assert supervisor.workers() == [prefork.WorkerStatus(new, 2, True, 0, 1, "exit status 0")]
    supervisor.stop(60)
    assert descriptors() == before


def test_a_new_worker_that_fails_or_is_not_ready_in_time_changes_nothing():
    scripts = [ANSWERS]
    supervisor, address = serve(2, lambda place: worker(scripts[0]))
    old = processes(supervisor)
    with socket.create_connection(address) as client:
        process = ask(client, b"before")
        scripts[0] = FAILS
        with pytest.raises(ChildProcessError, match="ended before it was ready: exit status 9"):
            supervisor.restart()
        with pytest.raises(FileNotFoundError):
            supervisor.upgrade(["/no/such/worker"])
        with pytest.raises(TimeoutError), overlapped.timeout(0.05):
            supervisor.upgrade(worker(NEVER_READY))
        assert processes(supervisor) == old
        assert ask(client, b"after") == process
        supervisor.upgrade(worker(ANSWERS))
        assert ask(client, b"as ever") in processes(supervisor)
    supervisor.stop(60)


def test_a_server_that_cannot_start_says_so_and_leaves_no_worker():
    for script, error, why in [
        (NEVER_READY, TimeoutError, "a worker was not ready after"),
        (FAILS, ChildProcessError, "exit status 9"),
        (SPEAKS_OUT_OF_TURN, ChildProcessError, "number 7, which it does not have"),
    ]:
        with pytest.raises(error, match=why):
            serve(2, worker(script), ready_limit=0.05 if script == NEVER_READY else 60)
    with pytest.raises(ValueError, match="at least one worker"):
        prefork.Supervisor(1, worker(ANSWERS), {})
    with pytest.raises(RuntimeError, match="OVERLAPPED_PREFORK is not set"):
        prefork.Worker()


def test_a_worker_that_does_not_drain_within_the_limit_is_ended():
    # Time enough to give a connection away, on a busy machine too.
    supervisor, address = serve(1, worker(DOES_NOT_DRAIN), drain_limit=2)
    with socket.create_connection(address) as client:
        old = ask(client, b"word")
        supervisor.restart()
        assert ask(client, b"word") != old
        assert supervisor.workers()[0].last_end == "ended by the supervisor"
    supervisor.stop(60)


def test_a_connection_that_no_worker_has_room_for_waits_until_one_has():
    supervisor, address = serve(1)
    with supervisor, socket.create_connection(address) as client:
        ask(client, b"before")
        # The new one leaves, and the one that comes in its place takes it.
        commands = [worker(ANSWERS), worker(GIVES_BACK_WHAT_IT_GETS)]
        supervisor.upgrade(lambda place: commands.pop())
        assert [ask(client, b"after")] == processes(supervisor)
        # It may have answered before it is heard of.
        wait_for("it is told that it was taken", lambda: supervisor.moves().taken == 1)
        assert supervisor.moves().lost == 0


def test_stopping_answers_what_is_begun_and_ends_idle_connections():
    supervisor, address = serve(2)
    with socket.create_connection(address) as idle, socket.create_connection(address) as begun:
        ask(idle, b"idle")
        process = ask(begun, b"first")
        begun.sendall(b"be")
        stopping = spawn(supervisor.stop, 60)
        assert idle.recv(10) == b"", "the server has ended it"
        assert stopping.alive
        begun.sendall(b"gun\n")
        assert answered_by(begun, b"begun") == process
        stopping.result()
    with pytest.raises(BrokenPipeError):
        supervisor.restart()


def test_a_worker_that_is_to_drain_before_it_has_said_anything_does_so_as_soon_as_it_can():
    supervisor, address = serve(1)
    with socket.create_server(("127.0.0.1", 0)) as gate, socket.create_connection(address) as held:
        (old,) = processes(supervisor)
        assert ask(held, b"served by the old") == old
        upgrade = spawn(supervisor.upgrade, [*worker(BEGINS_WHEN_TOLD), str(gate.getsockname()[1])])
        fresh, _ = gate.accept()
        stop = spawn(supervisor.stop, 60)
        assert held.recv(1) == b"", "the old one drains, so the new one has been told as well"
        fresh.sendall(b"!")
        assert fresh.recv(64) == b"has drained"
        stop.join()
        upgrade.join()


def test_what_fails_is_counted_until_a_worker_has_served_also_where_none_can_be_started_after_one_that_had():
    command = [worker(ANSWERS)]
    supervisor, address = serve(1, lambda place: command[0])

    def serves() -> int:
        with socket.create_connection(address) as client:
            return ask(client, b"word")

    def failures() -> int:
        return supervisor.workers()[0].failures

    with supervisor:
        for times, broken in (2, ["/no/such/worker"]), (3, worker(FAILS)):
            process = serves()
            # Longer than what counts as service.
            sleep(1.1)
            command[0] = broken
            os.kill(process, KILL)
            wait_for("it has failed so often", lambda times=times: failures() == times)
            command[0] = worker(ANSWERS)
        last = serves()
        assert failures() == 3
        sleep(1.1)
        os.kill(last, KILL)
        wait_for("it is replaced", lambda: processes(supervisor) not in ([], [last]) and supervisor.workers()[0].ready)
        assert failures() == 0


def test_a_worker_that_holds_its_thread_is_ended_within_the_limit_and_replaced_and_others_are_not():
    supervisor, address = serve(2, hang_limit=3)
    with supervisor:
        with socket.create_connection(address) as client:
            hanging = ask(client, b"word")
            place = processes(supervisor).index(hanging)
            (other,) = set(processes(supervisor)) - {hanging}
            client.settimeout(patience_with_the_killed())
            client.sendall(b"hang\n")
            with pytest.raises((ConnectionError, TimeoutError)):
                answer_of(client)
        wait_for(
            "it is replaced",
            lambda: supervisor.workers()[place].ready and supervisor.workers()[place].process != hanging,
        )
        assert supervisor.workers()[place].last_end == "ended by the supervisor: it did not answer for 3 s"
        # It has been asked as often.
        assert (supervisor.workers()[1 - place].process, supervisor.workers()[1 - place].ended) == (other, 0)
        with socket.create_connection(address) as client:
            ask(client, b"word")


def test_a_worker_that_has_had_its_number_of_requests_is_replaced_and_its_connections_go_on():
    script = [RETIRES_AFTER_THREE]
    supervisor, address = serve(1, lambda place: worker(script[0]))
    with supervisor, socket.create_connection(address) as client, socket.create_connection(address) as idle:
        first = ask(idle, b"one")
        assert ask(client, b"two") == first
        assert processes(supervisor) == [first], "it has had two"
        # As long as no other becomes ready it serves on.
        script[0] = FAILS
        assert ask(client, b"three") == first
        wait_for("others have failed", lambda: supervisor.workers()[0].failures >= 3)
        assert ask(client, b"four") == first
        script[0] = ANSWERS
        wait_for("it is replaced", lambda: processes(supervisor) not in ([], [first]))
        wait_for("it has ended", lambda: supervisor.workers()[0].last_end == "exit status 0")
        (new,) = processes(supervisor)
        assert (ask(client, b"five"), ask(idle, b"six")) == (new, new)
        assert (supervisor.moves().taken, supervisor.workers()[0].generation) == (2, 1)


def test_there_are_more_workers_and_fewer_while_it_serves_and_connections_stay():
    script = [ANSWERS]
    supervisor, address = serve(1, lambda place: worker(script[0]))
    with supervisor, contextlib.ExitStack() as clients:

        def connected() -> list[socket.socket]:
            return [clients.enter_context(socket.create_connection(address)) for _ in range(8)]

        first, early = processes(supervisor), connected()
        assert [ask(client, b"one") for client in early] == first * 8
        supervisor.resize(3)
        three = processes(supervisor)
        assert (len(three), three[:1]) == (3, first)
        # Those that are added are kept as the others are, and are restarted with them.
        supervisor.restart()
        os.kill(processes(supervisor)[2], KILL)
        wait_for("it is replaced", lambda: supervisor.workers()[2].ready and supervisor.workers()[2].ended == 2)
        script[0] = FAILS
        with pytest.raises(ChildProcessError, match="ended before it was ready"):
            supervisor.resize(5)
        assert len(supervisor.workers()) == 3
        with pytest.raises(ValueError, match="at least one"):
            supervisor.resize(0)
        late = connected()
        for client in late:
            ask(client, b"two")
        supervisor.resize(1)
        one = processes(supervisor)
        assert len(one) == 1
        assert [ask(client, b"three") for client in late] == one * 8


@unix_only("there are no such signals")
def test_signals_restart_the_server_change_the_number_of_its_workers_and_stop_it():
    program = [sys.executable, "-c", OBEYS_SIGNALS, *worker(ANSWERS)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as server:

        def hear(what: str) -> None:
            assert server.stdout is not None
            assert any(line.rstrip() == what for line in server.stdout), f"never: {what}"

        hear("2 of generation 1")
        for number, what in [
            (signal.SIGTTIN, "3 of generation 1"),
            (signal.SIGHUP, "3 of generation 2"),
            (signal.SIGTTOU, "2 of generation 2"),
            (signal.SIGTTOU, "1 of generation 2"),
        ]:
            server.send_signal(number)
            hear(what)
        # One stays.
        server.send_signal(signal.SIGTTOU)
        server.send_signal(signal.SIGHUP)
        hear("1 of generation 3")
        server.send_signal(signal.SIGTERM)
        hear("it has stopped")
        assert server.wait() == 0


def test_listeners_are_known_by_their_names():
    listeners = {name: socket.create_server(("127.0.0.1", 0)) for name in ("one", "other")}
    clients = {name: socket.create_connection(listener.getsockname()) for name, listener in listeners.items()}
    with prefork.Supervisor(1, worker(ANSWERS), listeners) as supervisor:
        for _ in range(2):
            for name, client in clients.items():
                client.sendall(b"which?\n")
                answered_by(client, name.encode())
            supervisor.restart()
    for client in clients.values():
        client.close()


@unix_only("there are no Unix sockets")
def test_unix_sockets_are_listened_on_and_move_as_those_of_tcp(tmp_path):
    tcp, unix = socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_UNIX)
    unix.bind(str(tmp_path / "socket"))
    unix.listen()
    address = tcp.getsockname()
    with (
        prefork.Supervisor(1, worker(ANSWERS), {"tcp": tcp, "unix": unix}) as supervisor,
        socket.create_connection(address) as one,
        socket.socket(socket.AF_UNIX) as other,
    ):
        other.connect(str(tmp_path / "socket"))
        for _ in range(2):
            for client, name in ((one, b"tcp"), (other, b"unix")):
                client.sendall(b"which?\n")
                answered_by(client, name)
            supervisor.restart()


@unix_only("AcceptEx blocks in neither mode")
def test_listeners_that_workers_share_do_not_block_whoever_comes_too_late_for_a_connection():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        handle = os.dup(listener.fileno())
        try:
            assert os.get_blocking(handle)
            with prefork.Supervisor(2, worker(ANSWERS), {"lines": listener}):
                assert not os.get_blocking(handle), (
                    "a worker would set it for its own calls, and take it from another's"
                )
        finally:
            os.close(handle)


CONNECTIONS, ROUNDS = map(int, os.environ.get("PREFORK_SCENE", "30 4" if WINDOWS else "200 10").split())
"""How many connections, and how many restarts and kills. ``PREFORK_SCENE="10000 100"`` is for more, which wants as many
descriptors here, a part of them in each worker, and some to spare (``ulimit -n 16384``). Under Wine, where a process
takes its time to start, fewer."""
TIMES = max(CONNECTIONS // 200, 1)
"""How many times as many connections as usual: so much longer may all take, and so much longer clients pause."""
WORKERS = 4 if "PREFORK_SCENE" in os.environ else 2


class Scene:
    """Clients that ask again and again, each on one connection, in pieces, and check each answer."""

    def __init__(self, address: tuple, clients: int) -> None:
        self.address, self.answered, self.over = address, 0, False
        self.closed: list[int | None] = []
        self.clients = [spawn(self.keep_asking, number) for number in range(clients)]

    def keep_asking(self, number: int) -> None:
        chance, request = random.Random(number), 0
        while not self.over:
            # Nobody is refused.
            with socket.create_connection(self.address) as client:
                client.settimeout(patience_with_the_killed())
                last = None
                while not self.over:
                    request += 1
                    word = b"client %d asks %d" % (number, request)
                    cut = chance.randrange(len(word))
                    try:
                        client.sendall(word[:cut])
                        sleep(chance.random() * TIMES / 25)
                        client.sendall(word[cut:] + b"\n")
                        last = answered_by(client, word)
                    except (ConnectionError, TimeoutError):
                        self.closed.append(last)
                        break
                    self.answered += 1

    def wait_for_answers(self, count: int) -> None:
        enough = self.answered + count
        wait_for("answers", lambda: self.answered >= enough or not all(one.alive for one in self.clients), TIMES)
        assert all(one.alive for one in self.clients), "a client has failed"


@pytest.mark.time_limit(300 * TIMES * max(ROUNDS // 10, 1))
def test_under_keep_alive_connections_restarts_lose_nothing_and_kills_close_what_the_dead_had():
    before = descriptors()
    supervisor, address = serve(WORKERS, ready_limit=30 * TIMES, drain_limit=30 * TIMES)
    idle, idle_workers = descriptors(), max(map(descriptors, processes(supervisor)))
    scene = Scene(address, CONNECTIONS)
    scene.wait_for_answers(CONNECTIONS)
    for _ in range(ROUNDS):
        supervisor.restart()
        scene.wait_for_answers(CONNECTIONS // 4)
    assert scene.closed == []
    assert supervisor.moves().taken >= CONNECTIONS
    for kill in range(ROUNDS):
        process = processes(supervisor)[kill % WORKERS]
        os.kill(process, KILL)

        def replaced(place: int = kill % WORKERS, process: int = process) -> bool:
            one = supervisor.workers()[place]
            return one.process != process and one.ready

        wait_for("it is replaced", replaced, TIMES)
        scene.wait_for_answers(CONNECTIONS // 4)
    assert scene.closed
    assert not set(scene.closed) & set(processes(supervisor)), "the living close none"
    scene.over = True
    for client in scene.clients:
        client.result()
    assert supervisor.moves().lost == 0
    wait_for(
        "no descriptor is left",
        lambda: descriptors() == idle and all(descriptors(one) <= idle_workers for one in processes(supervisor)),
        TIMES,
    )
    supervisor.stop(60 * TIMES)
    assert descriptors() == before


@pytest.fixture(scope="module")
def rust() -> str:
    """The Rust program of this scene, a supervisor and a worker as examples/prefork.py is. On Windows a variable says
    where it is, for there is no cargo there.
    """
    return rust_example("prefork")


@pytest.mark.time_limit(600)
@pytest.mark.parametrize("supervisor", ["Rust", "Python"])
def test_connections_move_from_workers_in_one_language_to_the_others_and_back(rust, supervisor):
    python = [sys.executable, str(ROOT / "examples" / "prefork.py")]
    command = [rust, *python] if supervisor == "Rust" else [*python, rust]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert (done.returncode, done.stderr) == (0, "")
    assert "100 clients with half a request each at each of 2 restarts" in done.stdout, done.stdout


@unix_only("no socket pair is a channel there")
def test_noise_is_an_error_or_waits_for_more():
    chance = random.Random(9)
    for _ in range(500):
        ours, theirs = socket.socketpair()
        with ours, theirs:
            noise = chance.randbytes(chance.randrange(40))
            if chance.random() < 0.7:
                # A length that is about right lets more of them past the first check.
                noise = struct.pack("!IB", len(noise) + chance.randrange(3), chance.randrange(14)) + noise
            ours.sendall(noise)
            ours.shutdown(socket.SHUT_WR)
            channel = Channel(End(theirs, 64))
            try:
                while (message := channel.receive()) is not None:
                    assert message.body in noise
            except prefork.ProtocolError:
                pass


def test_the_newest_get_what_waits_and_nobody_confirms_what_he_does_not_have():
    book: Book[str] = Book(2)
    for name in "abcdef":
        book.add(name, 9)
    takers = {1: 1, 2: 2, 3: 2}
    sent = list(iter(lambda: book.send(takers), None))
    assert [(one[0], one[2]) for one in sent] == [(2, "a"), (3, "b"), (2, "c"), (3, "d"), (1, "e"), (1, "f")]
    with pytest.raises(NotYours):
        book.taken(1, 0)
    assert book.taken(2, 0) == "a"
    assert book.ended(3) == []
    assert [one[2] for one in iter(lambda: book.send({4: 3}), None)] == ["b", "d"]
    assert len(book) == 5


def test_who_comes_later_gets_what_those_before_have_got_already():
    book: Book[str] = Book(9)
    for name in "ab":
        book.add(name, 9)
    assert [book.send({1: 2}), book.send({1: 2})] == [(1, 0, "a"), (1, 1, "b")]
    for number in range(2):
        book.taken(1, number)
    for name in "cdef":
        book.add(name, 9)
    both = {1: 2, 2: 2}
    assert [one[::2] for one in iter(lambda: book.send(both), None)] == [(2, "c"), (2, "d"), (1, "e"), (2, "f")]
    # What was given back does not count.
    book.back(2, 5)
    book.add("g", 9)
    assert [one[::2] for one in iter(lambda: book.send(both), None)] == [(1, "f"), (2, "g")]


def test_what_comes_back_goes_to_somebody_else_first_and_is_never_given_up():
    book: Book[str] = Book(9)
    book.add("a", 9)
    been = []
    for _ in range(100):
        sent = book.send({1: 1, 2: 2})
        assert sent is not None
        been.append(sent[0])
        book.back(sent[0], sent[1])
    assert (been, len(book), book.clear()) == ([2, 1] * 50, 1, ["a"])


def test_what_eight_workers_have_died_with_comes_out():
    book: Book[str] = Book(9)
    book.add("a", 9)
    outs = []
    for worker in range(8):
        assert book.send({worker: 1}) is not None
        outs.append(book.ended(worker))
    assert (outs, len(book)) == ([[]] * 7 + [["a"]], 0)


def test_who_was_ready_for_a_second_is_replaced_at_once_and_others_after_a_delay_that_doubles():
    delay = _delay.Delay()
    assert [delay.after(of_use=False) for _ in range(10)] == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10]
    assert delay.after(of_use=True) == 0
    assert delay.after(of_use=False) == 0.05
    assert [_delay.has_served(ready_for) for ready_for in (None, 0.9, 1.0, 60.0)] == [False, False, True, True]
