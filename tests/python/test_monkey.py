"""The standard library after :func:`overlapped.monkey.patch_all`; each test is a program of its own."""

from __future__ import annotations

import pytest

from conftest import PATCHED, RunPython, needs, unix_only


class TestPatching:
    def test_what_was_patched_is_told(self, patched: RunPython) -> None:
        patched("""
            import builtins, io, queue, select, signal, socket, threading, time, os
            for part in "socket ssl files time thread queue select os signal multiprocessing".split():
                assert monkey.is_patched(part), part
            assert not monkey.is_patched("stdin")
            assert monkey.is_patched("time", "sleep") and not monkey.is_patched("time", "monotonic")
            for module, name in (
                (builtins, "open"), (io, "open"), (io, "FileIO"), (queue, "SimpleQueue"), (select, "epoll"),
                (select, "select"), (signal, "signal"), (socket, "socket"), (socket, "getaddrinfo"), (time, "sleep"),
                (os, "read"), (os, "waitpid"),
            ):
                assert not hasattr(module, name) or monkey.is_patched(module.__name__, name), name
                assert not hasattr(module, name) or monkey.original(module.__name__, name) is not getattr(module, name)
            assert monkey.original("math", "pi") == __import__("math").pi
        """)

    def test_in_any_order_and_again(self, patched: RunPython) -> None:
        names = ["thread", "queue", "time", "select", "os", "multiprocessing", "signal", "files", "socket", "ssl"]
        check = """
            import selectors, threading, time, queue, concurrent.futures, logging, functools, overlapped
            if hasattr(selectors, "EpollSelector"):
                assert selectors.EpollSelector._selector_cls is __import__("select").epoll
            assert threading.Lock is __import__("_thread").allocate_lock is overlapped._engine.Lock
            assert functools.RLock is threading._CRLock is overlapped._engine.RLock
            assert type(threading._active_limbo_lock) is type(logging._lock) is overlapped._engine.RLock
            together = threading.Barrier(4)
            with concurrent.futures.ThreadPoolExecutor(4) as pool:
                assert sorted(pool.map(lambda n: together.wait(), range(4))) == [0, 1, 2, 3]
            assert len(overlapped.tasklets()) == 1
        """
        for order in (names, names[::-1], names * 2):
            imported = "import logging, selectors, concurrent.futures.thread\nfrom overlapped import monkey\n"
            before = imported + "".join(f"monkey.patch_{name}()\n" for name in order)
            patched(check, before=before)

    def test_a_part_alone(self, patched: RunPython) -> None:
        patched(
            """
            import socket, threading, time
            assert monkey.is_patched("time") and not monkey.is_patched("thread") and not monkey.is_patched("socket")
            assert monkey.original("threading", "Lock") is threading.Lock
            """,
            before="from overlapped import monkey\nmonkey.patch_time()\n",
        )

    def test_a_switched_off_part_is_left(self, patched: RunPython) -> None:
        patched(
            "assert monkey.is_patched('socket') and not monkey.is_patched('thread')",
            before="from overlapped import monkey\nmonkey.patch_all(thread=False)\n",
        )

    def test_what_was_opened_before_passes_for_an_instance(self, patched: RunPython) -> None:
        patched("""
            import io, os, sys
            for file in (open(os.__file__), sys.__stdout__):
                assert isinstance(file, io.TextIOWrapper) and not isinstance(file, (io.FileIO, io.BufferedRandom))
                assert isinstance(file.buffer, (io.BufferedReader, io.BufferedWriter, io.FileIO))
                assert isinstance(getattr(file.buffer, "raw", file.buffer), io.FileIO)
            class Mine(io.TextIOWrapper): pass
            assert isinstance(Mine(io.BytesIO()), io.TextIOWrapper) and not isinstance(sys.__stdout__, Mine)
        """)

    def test_too_late_is_told(self, patched: RunPython) -> None:
        patched(
            "go.set(); thread.join()",
            before="import threading\ngo = threading.Event()\n"
            "thread = threading.Thread(target=go.wait, name='early'); thread.start()\n" + PATCHED,
            errors="MonkeyPatchWarning: overlapped.monkey: threads that were started before stay the system's: early",
        )

    def test_our_ssl_may_be_imported_before_the_standard_librarys(self, run_python: RunPython) -> None:
        for imports in ("import overlapped.ssl, ssl", "import ssl, overlapped.ssl"):
            for order in (("monkey.patch_ssl()", imports), (imports, "monkey.patch_ssl()")):
                check = "assert ssl.SSLContext.sslsocket_class is overlapped.ssl.SSLSocket"
                done = run_python("\n".join(("from overlapped import monkey", *order, check)))
                assert done.returncode == 0, done.stderr

    def test_real_threads_can_still_be_had(self, patched: RunPython) -> None:
        patched("""
            import _thread, threading, time
            here, seen = threading.get_native_id(), []
            lock = threading.Lock()
            lock.acquire()
            def run():
                seen.append(threading.get_native_id())
                time.sleep(0.01)
                lock.release()
            monkey.original("_thread", "start_new_thread")(run, ())
            lock.acquire()
            assert seen[0] != here
        """)


class TestWaiting:
    def test_sleep(self, patched: RunPython) -> None:
        patched("""
            import fractions, math, sys, threading, time
            for wrong, error in ((-1, ValueError), (math.nan, ValueError), (1e300, OverflowError)):
                try:
                    time.sleep(wrong)
                except error: pass
                else: assert False, wrong
            for wrong in "1", [], fractions.Fraction(1, 100):
                try: time.sleep(wrong)
                except TypeError as error:
                    assert "as an integer" + " or float" * (sys.version_info >= (3, 14)) in str(error), error
                else: assert False, wrong
            class Zero:
                def __index__(self): return 0
            time.sleep(Zero()); time.sleep(False)
            asleep, all_sleep = [], threading.Event()
            def sleep():
                asleep.append(1)
                while not all_sleep.is_set():
                    begun = time.perf_counter()
                    time.sleep(0.01)
                    assert time.perf_counter() - begun >= 0.01
            threads = [threading.Thread(target=sleep) for _ in range(50)]
            for thread in threads: thread.start()
            while len(asleep) < 50: time.sleep(0.001)
            all_sleep.set()
            for thread in threads: thread.join()
        """)

    def test_select(self, patched: RunPython) -> None:
        patched("""
            import select, socket, threading, time
            a, b = socket.socketpair()
            begun = time.perf_counter()
            threading.Timer(0.02, b.send, [b"!"]).start()
            assert select.select([a], [], [], 600) == ([a], [], [])
            assert 0.01 < time.perf_counter() - begun
            assert a.recv(1) == b"!"
            begun = time.perf_counter()
            assert select.select([a], [], [a], 0.02) == ([], [], [])
            assert select.select([a, b], [], [], 0.02) == ([], [], [])
            assert 0.04 <= time.perf_counter() - begun
            assert select.select([a], [a, b], [])[1] == [a, b]
            copy = a.dup(); closed = copy.fileno(); copy.close()
            for wrong, error in (
                (([closed], [], [], 1), OSError), (([-1], [], []), ValueError), ((["x"], [], []), TypeError),
                (([], [], [], -1), ValueError), (([], [], [], "1"), TypeError), ((1, [], []), TypeError),
            ):
                try:
                    select.select(*wrong)
                except error: pass
                else: assert False, wrong
            a.close(); b.close()
        """)

    @needs("select.epoll")
    def test_select_and_poll(self, patched: RunPython) -> None:
        patched("""
            import os, select, socket, threading, time
            a, b = socket.socketpair()
            later = lambda: threading.Timer(0.02, b.send, [b"!"]).start()
            waits = {
                "select": lambda: select.select([a], [], [], 600) == ([a], [], []),
                "poll": lambda: poll.poll(600_000) == [(a.fileno(), select.POLLIN)],
                "epoll": lambda: epoll.poll(600) == [(a.fileno(), select.EPOLLIN)],
            }
            poll, epoll = select.poll(), select.epoll()
            poll.register(a, select.POLLIN)
            epoll.register(a, select.EPOLLIN)
            for name, wait in waits.items():
                begun = time.perf_counter()
                later()
                assert wait(), name
                assert 0.01 < time.perf_counter() - begun
                assert a.recv(1) == b"!"
            begun = time.perf_counter()
            assert select.select([a], [], [a], 0.02) == ([], [], [])
            assert poll.poll(20) == [] and epoll.poll(0.02) == []
            assert 0.055 < time.perf_counter() - begun
            with open(os.devnull) as file:
                assert select.select([file], [], [], 5)[0] == [file]
            epoll.close()
            assert epoll.closed
            a.close(); b.close()
        """)

    def test_a_select_on_what_is_closed_meanwhile_ends(self, patched: RunPython) -> None:
        patched("""
            import select, socket, threading
            a, b = socket.socketpair()
            threading.Timer(0.02, a.close).start()
            try:
                select.select([a.fileno()], [], [], 5)
            except OSError: pass
            else: assert False
            b.close()
        """)

    @needs("select.poll")
    def test_a_hang_up_alone_is_seen(self, patched: RunPython) -> None:
        patched("""
            import select, socket, threading
            with socket.create_server(("127.0.0.1", 0)) as listener:
                a = socket.create_connection(listener.getsockname())
                b, _ = listener.accept()
            b.send(b"unread")
            poll = select.poll()
            poll.register(a, select.POLLRDHUP)
            threading.Timer(0.05, b.close).start()
            [(_, events)] = poll.poll(5000)
            assert events & select.POLLRDHUP
            a.close()
        """)

    def test_a_loop_that_asks_without_waiting_lets_others_run(self, patched: RunPython) -> None:
        patched("""
            import select, socket, threading
            a, b = socket.socketpair()
            threading.Thread(target=b.send, args=(b"!",)).start()
            threading.Timer(0.01, b.send, (b"!",)).start()
            while not select.select([a], [], [], 0)[0]: pass
            a.recv(1)
            if hasattr(select, "poll"):
                poll = select.poll()
                poll.register(a, select.POLLIN)
                while not poll.poll(0): pass
            while not select.select([a], [], [], 0)[0]: pass
            a.close(); b.close()
        """)

    def test_queues(self, patched: RunPython) -> None:
        patched("""
            import queue, threading, time
            for kind in queue.Queue, queue.LifoQueue, queue.PriorityQueue, queue.SimpleQueue:
                items = kind()
                threading.Timer(0.01, items.put, (1,)).start()
                assert items.get(timeout=5) == 1
                try:
                    items.get(timeout=0.01)
                except queue.Empty: pass
                else: assert False
                assert items.empty() and items.qsize() == 0
            simple = queue.SimpleQueue()
            for wrong in (lambda: simple.get(timeout=-1), lambda: simple.get(True, -1)):
                try:
                    wrong()
                except ValueError: pass
                else: assert False
            got = []
            threads = [threading.Thread(target=lambda: got.append(simple.get())) for _ in range(10)]
            for thread in threads: thread.start()
            for number in range(10): simple.put(number)
            for thread in threads: thread.join()
            assert sorted(got) == list(range(10))
        """)

    def test_pipes_and_processes(self, patched: RunPython) -> None:
        patched("""
            import os, shutil, subprocess, sys, tempfile, threading, time
            r, w = os.pipe()
            threading.Timer(0.02, os.write, (w, b"pipe")).start()
            assert os.read(r, 100) == b"pipe"
            # More than a pipe holds: a blocking write goes on until all is written.
            whole, got = os.urandom(1 << 20), bytearray()
            def drain():
                while len(got) < len(whole): got.extend(os.read(r, 65536))
            thread = threading.Thread(target=drain)
            thread.start()
            assert os.write(w, whole) == len(whole)
            thread.join()
            assert got == whole
            for wrong in (lambda: os.read(r, -1), lambda: os.read(10 ** 6, 1), lambda: os.write(10 ** 6, b"x")):
                try:
                    wrong()
                except OSError: pass
                else: assert False
            os.close(r); os.close(w)
            folder = tempfile.mkdtemp()
            go = os.path.join(folder, "go")
            waits = f"import os, time\\nwhile not os.path.exists({go!r}): time.sleep(0.01)"
            sleep = [sys.executable, "-S", "-c", waits]
            def wait_for_handle():
                process = subprocess.Popen(sleep)
                assert os.waitpid(int(process._handle), 0)[1] == 0
            threads = [
                threading.Thread(target=f) for f in (
                    lambda: subprocess.run(sleep, check=True),
                    lambda: subprocess.run(sleep, capture_output=True, timeout=30),
                    lambda: subprocess.Popen(sleep).wait(30),
                    *([wait_for_handle] if os.name == "nt" else [
                        lambda: os.waitpid(subprocess.Popen(sleep).pid, 0),
                        lambda: os.wait4(subprocess.Popen(sleep).pid, 0),
                        lambda: os.waitid(os.P_PID, subprocess.Popen(sleep).pid, os.WEXITED),
                        lambda: os.system(f"until test -e {go}; do sleep 0.01; done"),
                    ]),
                )
            ]
            for thread in threads: thread.start()
            for tick in range(15): time.sleep(0.01)
            assert all(thread.is_alive() for thread in threads)
            open(go, "w").close()
            for thread in threads: thread.join()
            shutil.rmtree(folder)
            assert os.system("exit 3") == (3 if os.name == "nt" else 3 << 8)
            command = [sys.executable, "-c", "print(input())"]
            done = subprocess.run(command, input="in\\n", capture_output=True, text=True)
            assert done.stdout == "in\\n"
            try:
                os.waitpid(os.getpid(), 0)
            except ChildProcessError: pass
            else: assert False
        """)

    @needs("os.fork")
    def test_fork(self, patched: RunPython) -> None:
        patched("""
            import os, threading
            def child():
                assert threading.current_thread() is threading.main_thread()
                assert threading.current_thread().ident == threading.get_ident()
                assert threading.active_count() == 1
                thread = threading.Thread(target=lambda: None)
                thread.start(); thread.join()
                with lock: pass
                held.release()
            lock, held = threading.Lock(), threading.RLock()
            other = threading.Thread(target=lambda: end.wait())
            end = threading.Event()
            other.start()
            def fork():
                with held:
                    pid = os.fork()
                    if not pid:
                        try:
                            child()
                            os._exit(7)
                        except BaseException:
                            import traceback; traceback.print_exc()
                            os._exit(1)
                assert os.waitpid(pid, 0)[1] >> 8 == 7
                done.append(1)
            done = []
            fork()
            thread = threading.Thread(target=fork)
            thread.start(); thread.join()
            end.set()
            assert done == [1, 1]
        """)

    def test_locks_between_processes(self, patched: RunPython) -> None:
        patched("""
            import multiprocessing, os, threading, time
            context = multiprocessing.get_context("fork" if hasattr(os, "fork") else "spawn")
            lock, recursive, slots = context.Lock(), context.RLock(), context.Semaphore(1)
            for shared in lock, recursive, slots:
                shared.acquire()
                taken = []
                thread = threading.Thread(target=lambda: (shared.acquire(), taken.append(1), shared.release()))
                thread.start()
                time.sleep(0.01)
                assert not taken
                shared.release()
                thread.join()
                assert taken
                thread = threading.Thread(target=shared.acquire)
                thread.start(); thread.join()
                assert shared is slots or "SomeOtherThread" in repr(shared), shared
                if shared is not recursive: shared.release()
            recursive = context.RLock()
            with recursive, recursive: pass
            assert lock.acquire() and not lock.acquire(timeout=0.01) and not lock.acquire(False)
        """)


class TestSignals:
    def test_handlers_are_what_was_set(self, patched: RunPython) -> None:
        patched("""
            import signal
            def handler(number, frame): seen.append((number, frame.f_code))
            seen = []
            assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
            number = signal.SIGTERM
            assert signal.signal(number, handler) is signal.SIG_DFL
            assert signal.getsignal(number) is handler
            assert signal.signal(number, handler) is handler
            signal.raise_signal(number)
            assert seen[0][0] == number
            assert signal.signal(number, signal.SIG_IGN) is handler
            try:
                signal.signal(number, "x")
            except TypeError: pass
            else: assert False
        """)

    @needs("signal.setitimer")
    def test_what_they_raise_is_the_main_threads(self, patched: RunPython) -> None:
        patched("""
            import os, signal, threading, time
            class Rang(Exception): pass
            def ring(number, frame): raise Rang
            signal.signal(signal.SIGALRM, ring)
            def busy():
                while not stop: pass
                ended.append(1)
            stop, ended = [], []
            thread = threading.Thread(target=busy)
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            try:
                thread.start()
                thread.join()
            except Rang: pass
            else: assert False
            assert not ended
            stop.append(1)
            # A join that was interrupted has taken the thread for ended, up to Python 3.12.
            while not ended: time.sleep(0.01)
            # To a thread by its identifier.
            threading.Timer(0.01, lambda: signal.pthread_kill(threading.get_ident(), signal.SIGALRM)).start()
            try:
                time.sleep(5)
            except Rang: pass
            else: assert False
            # A wait that brings something after all: the exception comes right behind it.
            r, w = os.pipe()
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            try:
                os.write(w, bytes(1 << 20))
                after = True
            except Rang: pass
            assert "after" not in globals()
        """)


class TestLibraries:
    def test_asyncio(self, patched: RunPython) -> None:
        patched("""
            import asyncio, sys, threading
            async def echo(reader, writer):
                writer.write(await reader.readline())
                await writer.drain()
                writer.close()
            async def main(name):
                server = await asyncio.start_server(echo, "127.0.0.1", 0)
                async with server:
                    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
                    writer.write(name + b"\\n")
                    await asyncio.sleep(0.01)
                    assert await reader.readline() == name + b"\\n"
                    writer.close()
                await asyncio.to_thread(together.wait)
                process = await asyncio.create_subprocess_exec(sys.executable, "-c", "pass")
                assert await process.wait() == 0
            together = threading.Barrier(6)
            threads = [threading.Thread(target=asyncio.run, args=(main(b"%d" % n),)) for n in range(5)]
            for thread in threads: thread.start()
            asyncio.run(main(b"main"))
            for thread in threads: thread.join()
        """)

    @unix_only("asyncio's default loop there has pipes and child processes, which ours has not")
    @pytest.mark.parametrize(
        "order", ["import asyncio", "import asyncio, overlapped.asyncio", "import overlapped.asyncio"]
    )
    def test_asyncios_default_loop_is_ours(self, patched: RunPython, order: str) -> None:
        program = """
            import asyncio, overlapped
            async def main():
                return type(asyncio.get_running_loop())
            assert asyncio.run(main()).__module__.startswith(LOOP)
            loop = asyncio.new_event_loop()
            assert type(loop).__module__.startswith(LOOP)
            loop.close()
        """
        for before in (f"{PATCHED}{order}\n", f"{order}\n{PATCHED}"):
            patched(program.replace("LOOP", "'overlapped.asyncio'"), before=before)
        without = "from overlapped import monkey\nmonkey.patch_all(asyncio=False)\n"
        patched(program.replace("LOOP", "'asyncio.'"), before=without)

    def test_executors(self, patched: RunPython) -> None:
        patched("""
            import concurrent.futures, threading
            with concurrent.futures.ThreadPoolExecutor(5) as pool:
                turns = [threading.Event() for _ in range(5)]
                futures = [pool.submit(lambda n=n: turns[n].wait() and n) for n in (3, 1, 2)]
                for future in futures:
                    future.add_done_callback(lambda future: turns[future.result() + 1].set())
                turns[1].set()
                assert [future.result() for future in concurrent.futures.as_completed(futures)] == [1, 2, 3]
                failing = pool.submit(lambda: 1 / 0)
                assert isinstance(failing.exception(), ZeroDivisionError)
                slow = pool.submit(turns[0].wait)
                try:
                    slow.result(timeout=0.01)
                except TimeoutError: pass
                else: assert False
                turns[0].set()
            with concurrent.futures.ProcessPoolExecutor(2) as pool:
                assert list(pool.map(abs, [-1, -2, -3])) == [1, 2, 3]
        """)

    def test_a_thousand_clients_of_a_threading_server(self, patched: RunPython) -> None:
        patched("""
            import socket, socketserver, threading
            class Handler(socketserver.StreamRequestHandler):
                def handle(self):
                    for line in self.rfile: self.wfile.write(line.upper())
            class Server(socketserver.ThreadingTCPServer):
                request_queue_size = 1000
                daemon_threads = True
            with Server(("127.0.0.1", 0), Handler) as server:
                threading.Thread(target=server.serve_forever).start()
                def client(number):
                    with socket.create_connection(server.server_address) as connection:
                        file = connection.makefile("rw", newline="")
                        for word in "one", "two":
                            file.write(f"{word} {number}\\n"); file.flush()
                            assert file.readline() == f"{word} {number}\\n".upper()
                    done.append(number)
                done = []
                threads = [threading.Thread(target=client, args=(number,)) for number in range(1000)]
                for thread in threads: thread.start()
                for thread in threads: thread.join()
                server.shutdown()
            assert sorted(done) == list(range(1000))
        """)

    def test_logging_from_threads(self, patched: RunPython) -> None:
        said = patched(
            """
            import threading
            def run():
                for number in range(20): logging.warning("%s %s", threading.current_thread().name, number)
            threads = [threading.Thread(target=run, name=name) for name in "ab"]
            for thread in threads: thread.start()
            for thread in threads: thread.join()
            """,
            before="import logging, sys\nlogging.basicConfig(stream=sys.stdout, format='%(threadName)s|%(message)s')\n"
            + PATCHED,
        )
        lines = said.splitlines()
        assert sorted(lines) == sorted(f"{name}|{name} {number}" for name in "ab" for number in range(20))
