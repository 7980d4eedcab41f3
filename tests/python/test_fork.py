"""After os.fork() the child has a port of its own, and the parent's is undisturbed."""

from __future__ import annotations

import os
import signal
import socket as std_socket
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

import pytest

import overlapped
from load import crowd
from overlapped import Channel, Event, io, sleep, socket, spawn

# From 3.12 on Python warns of what is tested here: the pool of the poll backend has threads.
pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")


def in_child(work: Callable[[], None]) -> int:
    """Runs `work` in a forked process; returns its status: 0 where it returned."""
    process = os.fork()
    if not process:
        status = 1
        try:
            signal.alarm(20)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            work()
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)
    return wait_for(process)


def wait_for(process: int) -> int:
    while True:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        sleep(0.002)


def talk() -> None:
    """Uses everything: tasklets, timers, sockets, files."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _address = listener.accept()
            with connection:
                connection.sendall(connection.recv(100).upper())

        server = spawn(serve)
        with socket.create_connection(listener.getsockname()) as client:
            client.sendall(b"hello")
            assert client.recv(100) == b"HELLO"
        server.result()
    sleep(0.005)
    with io.open(__file__, "rb") as file:
        assert file.read(10)
    channel: Channel[int] = Channel()
    spawn(channel.send, 3)
    assert channel.receive() == 3


def test_the_child_works(backend: str) -> None:
    def work() -> None:
        assert overlapped.backend() == backend
        assert overlapped.current().name == "main"
        assert len(overlapped.tasklets()) == 1
        talk()

    assert in_child(work) == 0
    talk()


def test_the_parents_waits_go_on(pair: Any) -> None:
    client, server = pair
    event = Event()
    waiting = [spawn(client.recv, 10), spawn(event.wait), spawn(sleep, 0.05)]
    sleep(0.001)
    assert in_child(talk) == 0
    assert waiting[0].alive
    server.sendall(b"undisturbed")
    assert waiting[0].result() == b"undisturbe"
    event.set()
    for tasklet in waiting:
        tasklet.join()


def test_nothing_of_the_parents_happens_in_the_child(pair: Any, tmp_path: Any) -> None:
    """Its tasklets are not run there, its receives take nothing there."""
    client, server = pair
    path = tmp_path / "ran"

    def trace() -> None:
        try:
            client.recv(10)
        finally:
            with open(path, "a") as file:
                file.write(f"{os.getpid()} ")

    waiting = spawn(trace)
    sleep(0.001)
    assert in_child(lambda: sleep(0.02)) == 0
    server.sendall(b"x")
    waiting.result()
    assert path.read_text().split() == [str(os.getpid())]


def test_fork_in_a_tasklet(pair: Any) -> None:
    client, server = pair
    waiting = spawn(client.recv, 10)
    sleep(0.001)

    def fork() -> int:
        def work() -> None:
            assert overlapped.current().name == "main" or overlapped.current() is me
            talk()

        me = overlapped.current()
        return in_child(work)

    assert spawn(fork).result() == 0
    server.sendall(b"parent")
    assert waiting.result() == b"parent"


def test_a_tasklet_that_forked_and_returns_ends_the_child(tmp_path: Any) -> None:
    """As a thread that forks does: its end is the process's."""
    path = tmp_path / "end"

    def fork() -> int:
        process = os.fork()
        if not process:
            signal.alarm(20)
            path.write_text(str(os.getpid()))
        return process

    process = spawn(fork).result()
    assert process
    assert wait_for(process) == 0
    assert path.read_text() == str(process)


def test_a_connection_shared_with_the_child(pair: Any) -> None:
    client, server = pair

    def work() -> None:
        server.sendall(b"from the child: " + server.recv(100))

    answer = spawn(in_child, work)
    client.sendall(b"question")
    assert client.recv(100) == b"from the child: question"
    assert answer.result() == 0
    server.sendall(b"and the parent")
    assert client.recv(100) == b"and the parent"


def test_a_prefork_server(listener: Any) -> None:
    """Several processes accept on one listener."""

    def serve() -> None:
        served = 0
        while served < 5:
            connection, _address = listener.accept()
            with connection:
                connection.sendall(b"%d" % os.getpid())
            served += 1

    children = [spawn(in_child, serve) for _ in range(3)]
    sleep(0.01)
    answers = []
    for _ in range(15):
        with socket.create_connection(listener.getsockname()) as client:
            answers.append(int(client.recv(100)))
    assert [child.result() for child in children] == [0, 0, 0]
    assert os.getpid() not in answers
    assert len(set(answers)) == 3


def test_grandchildren() -> None:
    def work() -> None:
        talk()
        assert in_child(lambda: (talk(), None)[1]) == 0
        talk()

    assert in_child(work) == 0


def test_locks_of_the_parent_are_free_in_the_child() -> None:
    with io.open(os.devnull, "wb") as file:
        reading, writing = os.pipe()
        source = io.open(reading, "rb")
        waiting = spawn(source.read, 1)
        sleep(0.001)

        def work() -> None:
            file.write(b"x")
            file.flush()

        assert in_child(work) == 0
        os.write(writing, b"x")
        assert waiting.result() == b"x"
        source.close()
        os.close(writing)


def test_fork_in_a_program_that_then_ends(run_python: Any) -> None:
    """Both processes end by themselves, with their exit handlers, and say nothing."""
    done = run_python(
        """
import atexit, os, sys, overlapped
from overlapped import socket, sleep, spawn
one, other = socket.socketpair()
waiting = spawn(one.recv, 10)
sleep(0)
process = os.fork()
if process == 0:
    sleep(0.01)
    atexit.register(lambda: os.write(1, b"child "))
else:
    os.waitpid(process, 0)
    other.sendall(b"x")
    waiting.join()
    os.write(1, b"parent")
"""
    )
    assert (done.stdout, done.stderr, done.returncode) == ("child parent", "", 0)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(method: str, tmp_path: Any) -> None:
    """Our sockets and tasklets in processes of each kind."""
    program = tmp_path / "program.py"
    program.write_text(
        """
import multiprocessing, sys
import overlapped
from overlapped import socket, spawn, sleep

def work(port, number):
    def talk():
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"%d" % number)
            return client.recv(100)
    return spawn(talk).result()

def serve(listener, count):
    for _ in range(count):
        connection, _ = listener.accept()
        with connection:
            connection.sendall(b"answer to " + connection.recv(100))

def main():
    context = multiprocessing.get_context(sys.argv[1])
    with socket.create_server(("127.0.0.1", 0)) as listener, context.Pool(3) as pool:
        server = spawn(serve, listener, 9)
        port = listener.getsockname()[1]
        results = [pool.apply_async(work, (port, number)) for number in range(9)]
        server.join()
        assert [result.get(20) for result in results] == [b"answer to %d" % number for number in range(9)]
        pool.close()
        pool.join()
    print("done")

if __name__ == "__main__":
    main()
"""
    )
    import subprocess

    done = subprocess.run([sys.executable, str(program), method], capture_output=True, text=True, timeout=60 * crowd())
    assert (done.stdout, done.stderr, done.returncode) == ("done\n", "", 0)


def test_fork_exec(pair: Any) -> None:
    """A child that executes another program inherits none of our descriptors."""
    ours = [name for name in os.listdir("/proc/self/fd") if not inheritable(int(name))]
    assert len(ours) > 5
    code = "import os; print(*os.listdir('/proc/self/fd'))"
    reading, writing = os.pipe()
    process = os.fork()
    if not process:
        os.dup2(writing, 1)
        os.execv(sys.executable, [sys.executable, "-I", "-S", "-c", code])
    os.close(writing)
    with io.open(reading) as file:
        # One of them is the program's own, for the listing.
        inherited = file.read().split()
    assert wait_for(process) == 0
    assert len(set(inherited) & set(ours)) <= 1


def inheritable(descriptor: int) -> bool:
    try:
        return os.get_inheritable(descriptor)
    except OSError:
        return False


def test_a_busy_port_survives_many_forks(pair: Any) -> None:
    client, server = pair
    stop = False

    def chatter() -> int:
        rounds = 0
        while not stop:
            client.sendall(b"ping")
            assert server.recv(100) == b"ping"
            rounds += 1
        return rounds

    tasklet = spawn(chatter)
    started = time.perf_counter()
    for _ in range(10):
        assert in_child(lambda: sleep(0.001)) == 0
    stop = True
    assert tasklet.result() > 10
    assert time.perf_counter() - started < 30


def test_a_standard_socket_in_the_child(pair: Any) -> None:
    client, server = pair

    def work() -> None:
        with std_socket.socket(fileno=os.dup(server.fileno())) as plain:
            plain.sendall(b"plain")

    assert in_child(work) == 0
    assert client.recv(100) == b"plain"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/fd")
def test_generations_of_children_pile_up_no_descriptors(run_python: Any) -> None:
    """Each generation keeps those of its own port, and none of its ancestors'."""
    done = run_python(
        """if True:
            import os, sys, overlapped
            def descriptors():
                names = (f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd"))
                return sum("anon_inode" in os.readlink(name) for name in names if os.path.islink(name))
            def generation(number, first):
                overlapped.sleep(0.001)
                count = descriptors()
                first = first or count
                if number == 8:
                    print(count - first)
                    return
                child = os.fork()
                if not child:
                    generation(number + 1, first)
                    sys.stdout.flush()
                    os._exit(0)
                else:
                    os.waitpid(child, 0)
            generation(0, 0)
        """
    )
    assert done.stdout == "0\n", done.stdout + done.stderr
