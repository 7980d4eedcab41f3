"""Simulated worlds in Python: scenes, in which what waits and what is asked without waiting is the world's."""

from __future__ import annotations

import textwrap

from conftest import unix_only
from worlds import python

pytestmark = unix_only("there is no simulated world yet")

BEGIN = """
import errno, os, socket as std, time, traceback
import overlapped
from overlapped import select, sim, socket

ADDRESS = ("10.0.0.1", 80)

def serve(answer, times=1):
    listener = socket.create_server(ADDRESS)
    def accept():
        with listener:
            for _ in range(times):
                connection, _ = listener.accept()
                overlapped.spawn(answer, connection)
    overlapped.spawn(accept)

def hello(connection):
    with connection:
        connection.sendall(b"hello")

def echo(connection):
    with connection:
        while data := connection.recv(100):
            connection.sendall(data)

def cut_off():
    # A connection whose link is down, and through which the server has sent something since.
    listener = socket.create_server(ADDRESS)
    client = socket.create_connection(ADDRESS, source_address=("10.0.0.2", 0))
    server, _ = listener.accept()
    sim.partition("10.0.0.1", "10.0.0.2")
    server.sendall(b"hello")
    return listener, client, server

def raised(kind, function, *args):
    try:
        function(*args)
    except kind as error:
        return error
    raise AssertionError(f"{kind} was not raised")
"""


def in_worlds(code: str, is_silent: bool = True, begin: str = BEGIN) -> None:
    """Run a program that begins worlds itself; it says that it has come to its end."""
    done = python("-c", begin + textwrap.dedent(code) + "\nprint('done')")
    assert (done.stdout.splitlines()[-1:], done.returncode) == (["done"], 0), done.stdout + done.stderr
    assert done.stderr == "" or not is_silent


def test_a_scene_is_run_and_returns() -> None:
    in_worlds(
        """
        def scene():
            assert sim.is_simulated() and overlapped.backend() == "sim"
            serve(hello)
            with socket.create_connection(ADDRESS, timeout=5) as client:
                assert client.getpeername() == ADDRESS and client.getsockname()[0] == "10.0.0.1"
                received = b""
                while data := client.recv(5):
                    received += data
            overlapped.sleep(86_400)
            return received, sim.elapsed()

        begun = time.perf_counter()
        received, passed = sim.run(7, scene)
        assert received == b"hello" and 86_400 <= passed < 86_401
        assert time.perf_counter() - begun < 86_400 and not sim.is_simulated()
        assert overlapped.backend() != "sim"
        """
    )


def test_what_fails_is_found_made_short_and_run_again() -> None:
    in_worlds(
        """
        def scene():
            serve(hello)
            with socket.create_connection(ADDRESS) as client:
                got = client.recv(5)
                assert got == b"hello", got

        failure = raised(sim.Failure, sim.explore, range(200), scene)
        assert isinstance(failure.__cause__, AssertionError) and failure.decisions in str(failure)
        again = raised(AssertionError, sim.run, failure.decisions, scene)
        assert str(again) == str(failure.__cause__)
        assert raised(AssertionError, sim.run, int(failure.origin.removeprefix("seed ")), scene)
        # A receive that is cut is the one decision that matters.
        numbers = [number for part in failure.decisions[1:].split(",") if (number := part.split("*")[0]) != "0"]
        assert numbers == ["1"] or numbers == ["1", "1"], failure.decisions
        """
    )


def test_the_same_seeds_do_the_same() -> None:
    in_worlds(
        """
        def scene():
            serve(echo, 2)
            def ask(number):
                with socket.create_connection(ADDRESS) as client:
                    for _ in range(5):
                        client.sendall(b"%d" % number)
                        assert client.recv(1)
            for asking in [overlapped.spawn(ask, number) for number in range(2)]:
                asking.result()

        first = sim.explore(range(20), scene)
        assert first == sim.explore(range(20), scene)
        assert first.runs == 20 and first.elapsed > 0
        assert sim.explore(range(20, 40), scene).hash != first.hash
        """
    )


def test_who_waits_for_ever_is_told() -> None:
    in_worlds(
        """
        def waits():
            socket.create_server(ADDRESS).accept()

        def spins():
            def spin():
                while True:
                    overlapped.sleep(0)
            overlapped.spawn(spin)
            overlapped.Event().wait()

        def computes():
            while True:
                pass

        assert "every tasklet waits" in str(raised(RuntimeError, sim.run, 1, waits))
        assert "no time passes" in str(raised(RuntimeError, sim.run, 1, spins))
        assert "real time" in str(raised(TimeoutError, lambda: sim.run(1, computes, limit=0.3)))
        failure = raised(sim.Failure, sim.explore, range(3), waits)
        assert failure.decisions.startswith("d") and "main: accept" in str(failure)
        """
    )


def test_what_a_scene_leaves_is_ended() -> None:
    in_worlds(
        """
        ended = []
        def left():
            try:
                overlapped.sleep(1000)
            finally:
                ended.append(True)

        def scene():
            overlapped.spawn(left)
            overlapped.sleep(0)

        descriptors = lambda: len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
        sim.run(1, scene)
        before = descriptors()
        sim.explore(range(10), scene)
        assert ended == [True] * 11 and descriptors() == before

        def stays():
            try:
                overlapped.sleep(1000)
            except overlapped.TaskletExit:
                with overlapped.uncancellable():
                    overlapped.sleep(1000)

        def keeps():
            overlapped.spawn(stays)
            overlapped.sleep(0)

        assert "did not end" in str(raised(RuntimeError, sim.run, 1, keeps))
        assert "not nested" in str(raised(RuntimeError, sim.run, 1, lambda: sim.run(2, scene)))
        """,
        is_silent=False,
    )


def test_time_chance_and_names_are_the_worlds() -> None:
    in_worlds(
        """
        import random, secrets, threading, uuid
        before = random.getstate()

        def seen():
            sim.set_name("Example.org", "10.1.1.1", "fd00::1")
            return [
                time.time(), time.monotonic(), time.perf_counter_ns(), time.ctime(), time.gmtime(), time.strftime("%Y"),
                time.clock_gettime(time.CLOCK_REALTIME), random.random(), random.Random().random(), os.urandom(8),
                secrets.token_hex(), uuid.uuid4(), uuid.uuid1(), threading.Thread().name, sim.random(1000),
                [found[4] for found in socket.getaddrinfo("example.ORG", 80, type=socket.SOCK_STREAM)],
                socket.gethostbyname("localhost"), socket.gethostbyname_ex("example.org"), socket.getfqdn("10.9.9.9"),
            ]

        first = sim.run(5, seen)
        assert sim.run(5, seen) == first != sim.run(6, seen)
        assert first[0] == 1_700_000_000 and first[3].endswith("2023")
        assert first[-4] == [("10.1.1.1", 80), ("fd00::1", 80, 0, 0)]
        assert random.getstate() == before and time.time() > first[0] + 1_000_000
        assert len(os.urandom(8)) == 8

        def jumps():
            sim.jump(-3600)
            begun = time.time(), time.monotonic()
            time.sleep(1.5)
            return time.time() - begun[0], time.monotonic() - begun[1], begun[0] - first[0]

        assert sim.run(5, jumps) == (1.5, 1.5, -3600)

        def limits():
            condition = overlapped.Condition()
            with condition:
                assert not condition.wait(100)
            assert sim.elapsed() == 100
            raised(TimeoutError, waits_long)
            assert sim.elapsed() == 300
            left = list(zip(range(3), overlapped.every(50)))
            assert 400 <= sim.elapsed() <= 450
            sleeping = overlapped.spawn(overlapped.sleep, 1000)
            ended = overlapped.wait([sleeping], timeout=10)
            assert not ended.done and 410 <= sim.elapsed() <= 460
            a, b = overlapped.Queue(), overlapped.Semaphore(0)
            raised(overlapped.Empty, a.get, True, 5)
            assert not b.acquire(timeout=5) and 420 <= sim.elapsed() <= 470

        def waits_long():
            with overlapped.timeout(200):
                overlapped.sleep(1000)

        sim.run(5, limits, limit=5)

        def stalls():
            sleeping = [overlapped.spawn(time.sleep, seconds) for seconds in (1, 2, 3)]
            overlapped.sleep(0)
            sim.stall(10)
            for one in sleeping:
                one.result()
            return sim.elapsed()

        assert sim.run(5, stalls) == 10
        slow = sim.Rules(slow_names=100)
        assert len({sim.run(seed, lambda: (socket.gethostbyname("localhost"), sim.elapsed()), rules=slow)
                    for seed in range(9)}) > 3
        unknown = raised(socket.gaierror, sim.run, 5, lambda: socket.getaddrinfo("nobody.example", 80))
        assert unknown.errno == std.EAI_NONAME
        asked = lambda: [socket.gethostbyname("localhost") for _ in range(99)]
        later = raised(socket.gaierror, lambda: sim.run(5, asked, rules=sim.Rules(no_names=3)))
        assert later.errno == std.EAI_AGAIN
        raised(RuntimeError, sim.elapsed)
        raised(RuntimeError, sim.set_name, "x", "10.0.0.1")
        """
    )


def test_sockets_are_asked_without_waiting() -> None:
    in_worlds(
        """
        import selectors
        from overlapped import monkey
        monkey.patch_select()

        def scene():
            listener = socket.create_server(("", 0))
            port = listener.getsockname()[1]
            assert port >= 49_152 and listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
            listener.setblocking(False)
            raised(BlockingIOError, listener.accept)
            client = socket.socket()
            client.setblocking(False)
            assert client.connect_ex(("127.0.0.1", port)) == errno.EINPROGRESS
            assert select.select([listener], [client], [], 60) != ([], [], [])
            while not select.select([listener], [], [], 60)[0]:
                pass
            server, peer = listener.accept()
            select.select([], [client], [])
            assert client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
            assert peer == client.getsockname() and client.getpeername() == server.getsockname()
            raised(BlockingIOError, client.recv, 10)
            raised(BlockingIOError, client.recv_into, bytearray(10))
            server.settimeout(0.5)
            raised(TimeoutError, server.recv, 10)
            sent = client.send(b"x" * 10)
            poll = select.poll()
            poll.register(server, select.POLLIN)
            assert poll.poll(1000) == [(server.fileno(), select.POLLIN)]
            other = server.dup()
            server.close()
            received = other.recv(100)
            while len(received) < sent:
                received += other.recv(100)
            other.shutdown(socket.SHUT_WR)
            with selectors.DefaultSelector() as selector:
                selector.register(client, selectors.EVENT_READ)
                assert selector.select(60)[0][1] == selectors.EVENT_READ
            assert client.recv(10) == b""
            if hasattr(select, "epoll"):
                epoll = select.epoll()
                epoll.register(client, select.EPOLLOUT | select.EPOLLONESHOT)
                raised(FileExistsError, epoll.register, client)
                assert epoll.poll(1) == [(client.fileno(), select.EPOLLOUT)] and epoll.poll(1) == []
                epoll.close()
            other.close()
            client.close()
            raised(OSError, client.send, b"x")
            assert raised(OSError, socket.create_connection, ("127.0.0.1", port + 1)).errno == errno.ECONNREFUSED
            raised(OverflowError, listener.bind, ("127.0.0.1", 70_000))
            assert raised(OSError, socket.create_server, ("127.0.0.1", port)).errno == errno.EADDRINUSE
            one, two = socket.socketpair()
            one.sendall(b"a pair is the system's")
            assert two.recv(100) and select.select([one], [two], [], 0) == ([], [two], [])
            one.close(), two.close(), listener.close()

        sim.explore(range(30), scene)
        """
    )


def test_datagrams_are_lost_and_doubled_where_the_rules_say_so() -> None:
    in_worlds(
        """
        def scene():
            here, there = (socket.socket(type=socket.SOCK_DGRAM) for _ in range(2))
            here.bind(("10.0.0.1", 53))
            there.bind(("10.0.0.2", 0))
            for number in range(100):
                assert there.sendto(b"%d" % number, ("10.0.0.1", 53)) == len(b"%d" % number)
            here.settimeout(10)
            numbers = []
            try:
                while True:
                    data, source = here.recvfrom(100)
                    assert source == there.getsockname()
                    numbers.append(int(data))
            except TimeoutError:
                pass
            there.connect(("10.0.0.1", 53))
            there.sendmsg([b"a", b"bc"])
            buffer = bytearray(2)
            here.settimeout(None)
            if not lossy:
                count, _, flags, _ = here.recvmsg_into([buffer])
                assert (count, bytes(buffer), flags) == (2, b"ab", socket.MSG_TRUNC)
            here.close(), there.close()
            return numbers

        lossy = False
        assert sorted(sim.run(3, scene)) == list(range(100)) != sim.run(3, scene)
        lossy = True
        numbers = sim.run(3, scene, rules=sim.Rules(loss=4, doubled=4))
        assert len(set(numbers)) < 100 and len(set(numbers)) < len(numbers)
        """
    )


def test_links_are_cut_and_healed() -> None:
    in_worlds(
        """
        def scene():
            listener, client, server = cut_off()
            client.settimeout(30)
            raised(TimeoutError, client.recv, 5)
            sim.heal("10.0.0.1", "10.0.0.2")
            client.settimeout(None)
            assert client.recv(1) == b"h"
            sim.set_link("10.0.0.1", "10.0.0.2", delay=100)
            begun = sim.elapsed()
            server.close()
            while client.recv(10):
                pass
            assert sim.elapsed() - begun >= 100
            sim.heal_links()
            raised(ValueError, sim.partition, "a name", "10.0.0.1")
            client.close(), listener.close()

        sim.explore(range(20), scene)
        """
    )


def test_what_was_lost_for_good_nobody_is_told() -> None:
    in_worlds(
        """
        def scene():
            listener, client, server = cut_off()
            overlapped.sleep(2000)
            assert raised(OSError, server.recv, 1).errno == errno.ETIMEDOUT
            sim.heal("10.0.0.1", "10.0.0.2")
            client.settimeout(1000)
            raised(TimeoutError, client.recv, 5)
            # Who speaks is told.
            client.sendall(b"?")
            raised(ConnectionResetError, client.recv, 5)
            client.close(), server.close(), listener.close()

        sim.explore(range(20), scene)
        """
    )


def test_all_ways_are_gone_with_few_deviations() -> None:
    in_worlds(
        """
        def order():
            listener = socket.create_server(ADDRESS)
            pairs = [(socket.create_connection(ADDRESS), listener.accept()[0]) for _ in range(2)]
            seen = []
            def receive(server, name):
                server.recv(1)
                seen.append(name)
            receiving = []
            for (client, server), name in zip(pairs, "ab"):
                receiving.append(overlapped.spawn(receive, server, name))
                client.send(b"x")
            for one in receiving:
                one.result()
            return "".join(seen)

        orders = set()
        none = sim.exhaust(lambda: orders.add(order()), 0)
        assert none.runs == 1 and orders == {"ab"}
        one = sim.exhaust(lambda: orders.add(order()))
        assert one.runs > 5 and orders == {"ab", "ba"}
        assert one == sim.exhaust(order)

        def wrong():
            assert order() == "ab"

        failure = raised(sim.Failure, sim.exhaust, wrong)
        assert failure.origin.startswith("the way d")
        raised(AssertionError, lambda: sim.run(failure.decisions, wrong, rules=sim.Rules.steady()))
        sim.explore(range(20), order, rules=sim.Rules(priorities=10))
        """
    )


def test_rules_say_what_they_are() -> None:
    in_worlds(
        """
        rules = sim.Rules(latency=0.25, loss=3)
        assert (rules.latency, rules.loss, rules.window) == (0.25, 3, 65_536)
        assert sim.Rules.rough().reset > 0 and sim.Rules.rough(reset=0).reset == 0
        assert "latency: 250ms" in repr(rules)
        assert "latency" in str(raised(TypeError, lambda: sim.Rules(latencies=1)))
        raised(ValueError, lambda: sim.Rules(latency=-1))
        raised(AttributeError, lambda: rules.latencies)
        assert "neither a seed" in str(raised(ValueError, sim.run, "seven", print))
        """
    )


TLS = f"""{BEGIN}
from overlapped import ssl
import trustme

authority = trustme.CA()
context, trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
authority.issue_cert("localhost").configure_cert(context)
authority.configure_trust(trusting)

def connections():
    # Two ends of a connection, without TLS.
    listener = socket.create_server(ADDRESS)
    client = socket.create_connection(ADDRESS)
    server, _ = listener.accept()
    listener.close()
    return client, server

def wrapped(**options):
    client, server = connections()
    taking = overlapped.spawn(lambda: context.wrap_socket(server, server_side=True, **options))
    client = trusting.wrap_socket(client, server_hostname="localhost", **options)
    return client, taking.result()
"""


def test_tls_on_sockets_carries_everything_both_ways() -> None:
    in_worlds(
        """
        MESSAGE = bytes(range(256)) * 1000

        def take(connection):
            data = b""
            while len(data) < len(MESSAGE):
                data += connection.recv(100_000)
            return data

        def scene():
            client, server = wrapped()
            assert client.version() == "TLSv1.3" and client.getpeercert()["subjectAltName"]
            # Nobody could go on if a send that has no room kept its own side from receiving.
            sending = [overlapped.spawn(end.sendall, MESSAGE) for end in (client, server)]
            taking = [overlapped.spawn(take, end) for end in (client, server)]
            assert [task.result() for task in taking] == [MESSAGE] * 2
            [task.result() for task in sending]
            # Down to the plain connection, and on with it.
            ending = overlapped.spawn(server.unwrap)
            plain = client.unwrap()
            ending.result()
            plain.sendall(b"x")
            assert server.recv(1) == b"x" and plain is client
            plain.close(), server.close()

        for rules in (sim.Rules(), sim.Rules(window=1000)):
            seen = [sim.explore(range(15), scene, rules=rules) for _ in range(2)]
            assert seen[0].elapsed == seen[1].elapsed > 0
        """,
        begin=TLS,
    )


def test_tls_fails_in_a_world_as_it_does_over_a_network() -> None:
    in_worlds(
        """
        def stranger():
            client, server = connections()
            error = overlapped.spawn(raised, ssl.SSLError, lambda: context.wrap_socket(server, server_side=True))
            raised(ssl.SSLCertVerificationError, lambda: trusting.wrap_socket(client, server_hostname="elsewhere"))
            return error.result().reason

        assert "ALERT" in sim.run(1, stranger)

        def not_tls():
            client, server = connections()
            client.sendall(b"GET / HTTP/1.1\\r\\n\\r\\n")
            return raised(ssl.SSLError, lambda: context.wrap_socket(server, server_side=True)).reason

        assert sim.run(2, not_tls) == "HTTP_REQUEST"

        def silence():
            client, server = connections()
            client.settimeout(10)
            raised(TimeoutError, lambda: trusting.wrap_socket(client, server_hostname="localhost"))
            return sim.elapsed()

        assert 10 <= sim.run(3, silence) < 11

        def end(suppress):
            client, server = wrapped(suppress_ragged_eofs=suppress)
            server.sendall(b"all")
            # The connection ends, and not what is said in it.
            socket.socket(fileno=server.detach()).close()
            assert client.recv(3) == b"all"
            return client.recv(1) if suppress else raised(ssl.SSLEOFError, client.recv, 1)

        assert sim.run(4, lambda: end(True)) == b""
        # Some Pythons take the end of a connection for that of what is said in it, as Debian 12's does.
        if not trusting.options & ssl.OP_IGNORE_UNEXPECTED_EOF:
            sim.run(5, lambda: end(False))

        def cut():
            client, server = wrapped()
            sim.set_rules(sim.Rules(reset=1))
            raised(ConnectionError, lambda: [client.sendall(b"x" * 1000) for _ in range(100)])

        sim.run(6, cut)
        """,
        begin=TLS,
    )


def test_tls_is_seen_by_select_record_by_record() -> None:
    in_worlds(
        """
        def scene():
            client, server = connections()
            taking = overlapped.spawn(lambda: context.wrap_socket(server, server_side=True))
            client.setblocking(False)
            client = trusting.wrap_socket(client, server_hostname="localhost", do_handshake_on_connect=False)
            while True:
                try:
                    client.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    select.select([client], [], [])
                except ssl.SSLWantWriteError:
                    select.select([], [client], [])
            server = taking.result()
            for number in range(3):
                server.sendall(b"%d" % number)
            seen = b""
            while len(seen) < 3:
                # What has come already must still be seen.
                assert select.select([client], [], [], 60)[0]
                try:
                    seen += client.recv(100)
                except ssl.SSLWantReadError:
                    pass
            assert seen == b"012"
            raised(ssl.SSLWantReadError, client.recv, 1)

        sim.explore(range(20), scene, rules=sim.Rules(short=2))
        """,
        begin=TLS,
    )


def test_tls_of_a_program_that_is_not_patched_is_refused_in_words() -> None:
    in_worlds(
        """
        import ssl
        def scene():
            listener = socket.create_server(ADDRESS)
            with socket.create_connection(ADDRESS) as client:
                error = raised(OSError, ssl.create_default_context().wrap_socket, client, False, True, True, "x")
            listener.close()
            return str(error)

        assert "overlapped.ssl" in sim.run(1, scene)
        """
    )
