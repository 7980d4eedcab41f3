"""`overlapped.offload`: a function on a thread, while only the calling tasklet waits."""

from __future__ import annotations

import os
import sys
import threading
from typing import Any

import pytest

import overlapped
from conftest import needs, wine_hangs
from overlapped import offload, sleep, spawn


def test_result_and_arguments():
    assert offload(divmod, 17, 5) == (3, 2)
    assert offload(threading.get_ident) != threading.get_ident()


def test_exception():
    with pytest.raises(ZeroDivisionError):
        offload(divmod, 1, 0)


def test_only_the_caller_blocks(ticker):
    together = threading.Barrier(4)

    def work():
        together.wait()
        ticker.let_tick(50)

    with ticker:
        for worker in [spawn(offload, work) for _ in range(4)]:
            worker.result()


def test_many_more_than_threads():
    results = [spawn(offload, pow, number, 2) for number in range(500)]
    assert [result.result() for result in results] == [number**2 for number in range(500)]


def test_from_a_thread_of_its_own():
    got = []
    thread = threading.Thread(target=lambda: got.append(offload(divmod, 7, 2)))
    thread.start()
    thread.join()
    assert got == [(3, 1)]


def test_tasklets_in_the_offloaded_function():
    """On that thread there is a port of its own, for as long as the function runs."""

    def work():
        return [spawn(lambda number=number: sleep(0.001) or number).result() for number in range(3)]

    assert offload(work) == [0, 1, 2]


def test_what_is_thrown_in_comes_at_once_and_the_function_runs_on():
    begun, go, done = threading.Event(), threading.Event(), threading.Event()

    def work():
        begun.set()
        go.wait()
        done.set()

    worker = spawn(offload, work)
    while not begun.is_set():
        sleep(0.001)
    worker.throw(LookupError)
    with pytest.raises(LookupError):
        worker.result()
    assert not done.is_set()
    go.set()
    assert offload(done.wait, 60)


def test_a_late_result_is_dropped_where_python_may_be_touched():
    """The result of a function that nobody waits for any more is destroyed on its thread, under the GIL."""
    begun, gate, destroyed = threading.Event(), threading.Event(), threading.Event()

    class Result:
        def __del__(self):
            destroyed.set()

    def work():
        begun.set()
        gate.wait(20)
        return Result()

    waiting = spawn(offload, work)
    # What no thread has begun would never run.
    while not begun.is_set():
        sleep(0.001)
    waiting.cancel()
    waiting.join()
    gate.set()
    assert offload(destroyed.wait, 20)


def test_keyword_arguments_are_refused():
    with pytest.raises(TypeError):
        offload(int, "7", base=8)


@wine_hangs("a thread of plain Python's hangs too where it overflows its stack")
def test_a_deep_recursion_in_c_has_the_stack_of_a_thread_of_pythons(run_python: Any) -> None:
    """An error in a thread, and so here; in the two megabytes of a thread of Rust's it was SIGSEGV."""
    # 3.13 overflows the stack of its own threads with more.
    limit = 3000 if sys.version_info < (3, 13) else 1000
    done = run_python(
        f"""if True:
            import sys, overlapped
            class Nested:
                def __lt__(self, other):
                    return sorted([Nested(), Nested()]) and True
            def work():
                sys.setrecursionlimit({limit})
                try:
                    return Nested() < Nested()
                except RecursionError as error:
                    return type(error).__name__
            print(overlapped.offload(work))
        """
    )
    assert (done.stdout, done.returncode) == ("RecursionError\n", 0), done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self/maps")
def test_threading_stack_size_is_that_of_offloaded_functions_too(run_python: Any) -> None:
    done = run_python(
        """if True:
            import re, threading, overlapped
            threading.stack_size(48 << 20)
            def work():
                with open("/proc/self/maps") as maps:
                    ranges = re.findall("^(\\w+)-(\\w+) rw", maps.read(), re.M)
                sizes = [int(end, 16) - int(start, 16) for start, end in ranges]
                return any(size >> 20 in (47, 48) for size in sizes)  # one page guards it
            print(overlapped.offload(work))
        """
    )
    assert done.stdout == "True\n", done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="the commands wait at a FIFO")
def test_commands_that_run_hold_back_no_file_and_no_name(patched: Any) -> None:
    """More commands than the port has threads for functions; the last is ended by what was held back."""
    patched(
        """
        import os, socket, tempfile, threading
        with tempfile.TemporaryDirectory() as folder:
            end = os.path.join(folder, "end")
            os.mkfifo(end)
            threads = [threading.Thread(target=os.system, args=(f"read line < {end}",)) for _ in range(12)]
            for thread in threads:
                thread.start()
            assert socket.getaddrinfo("localhost", 80)
            with open(os.path.join(folder, "file"), "wb") as file:
                file.write(b"content")
                file.flush()
                os.fsync(file.fileno())
            with open(os.path.join(folder, "file"), "rb") as file:
                assert file.read() == b"content"
            # A shell reads its line byte by byte, and leaves the others theirs.
            writer = os.open(end, os.O_RDWR)
            os.write(writer, b"x\\n" * 12)
            for thread in threads:
                thread.join()
            os.close(writer)
        """
    )


STACK = """
import sys, threading, overlapped
def show_stack():
    import ctypes
    libc = ctypes.CDLL(None)
    size, address = ctypes.c_size_t(), ctypes.c_void_p()
    attributes = ctypes.create_string_buffer(256)
    libc.pthread_self.restype = ctypes.c_ulong
    assert libc.pthread_getattr_np(ctypes.c_ulong(libc.pthread_self()), attributes) == 0
    assert libc.pthread_attr_getstack(attributes, ctypes.byref(address), ctypes.byref(size)) == 0
    print(size.value)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="how a stack's size is asked for is Linux's own")
def test_the_stack_of_offloaded_functions_can_be_chosen(run_python: Any) -> None:
    done = run_python(STACK + "overlapped.configure(thread_stack=16 << 20)\noverlapped.offload(show_stack)")
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) >= 16 << 20


def test_the_number_of_threads_can_be_chosen(run_python: Any) -> None:
    """Before the port is made: later is refused with words."""
    done = run_python(
        """
import threading, overlapped
overlapped.configure(threads=12)
together = threading.Barrier(12)
tasklets = [overlapped.spawn(overlapped.offload, together.wait) for _ in range(12)]
print(sorted(tasklet.result(timeout=30) for tasklet in tasklets) == list(range(12)))
try:
    overlapped.configure(threads=3)
except RuntimeError as error:
    print(error)
"""
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("True\nconfigure(): this thread has its completion port already")


@pytest.mark.parametrize("wrong", [{"threads": 0}, {"thread_stack": 0}, {"cleanup": -1.0}, {"cleanup": float("nan")}])
def test_what_cannot_be_chosen(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"configure\("):
        overlapped.configure(**wrong)


@needs("resource.RLIMIT_NPROC")
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root becomes a user with no process")
def test_where_no_thread_can_be_started_what_is_short_is_called_all_the_same(run_python: Any) -> None:
    program = """
import os, resource, threading
import overlapped
from overlapped import _engine

overlapped.sleep(0)
resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
os.setuid(54321)
try:
    threading.Thread(target=int).start()
except RuntimeError:
    pass
else:
    raise SystemExit("threads can be started")

def waits():
    # Whatever Python calls may come to a wait: a finalizer, a signal's handler.
    overlapped.sleep(0.001)
    return 80

tasklets = [overlapped.spawn(_engine.offload_short, waits) for _ in range(3)]
print([tasklet.result() for tasklet in tasklets])
"""
    done = run_python(program)
    assert (done.returncode, done.stdout) == (0, "[80, 80, 80]\n"), (done.returncode, done.stdout, done.stderr)
