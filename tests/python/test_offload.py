"""`overlapped.offload`: a function on a thread, while only the calling tasklet waits."""

from __future__ import annotations

import threading
import time

import pytest

import overlapped
from overlapped import offload, sleep, spawn


def test_result_and_arguments():
    assert offload(divmod, 17, 5) == (3, 2)
    assert offload(threading.get_ident) != threading.get_ident()


def test_exception():
    with pytest.raises(ZeroDivisionError):
        offload(divmod, 1, 0)


def test_only_the_caller_blocks(ticker):
    with ticker:
        started = time.perf_counter()
        sleepers = [spawn(offload, time.sleep, 0.5) for _ in range(4)]
        for sleeper in sleepers:
            sleeper.result()
    assert time.perf_counter() - started < 1.9
    assert ticker.ticks >= 50


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
    done = threading.Event()

    def work():
        time.sleep(1)
        done.set()

    started = time.perf_counter()
    with pytest.raises(TimeoutError), overlapped.timeout(0.01):
        offload(work)
    assert time.perf_counter() - started < 0.9
    assert not done.is_set()
    assert offload(done.wait, 5)


def test_a_late_result_is_dropped_where_python_may_be_touched():
    """The result of a function that nobody waits for any more is destroyed on its thread, under the GIL."""
    destroyed = threading.Event()

    class Result:
        def __del__(self):
            destroyed.set()

    def work():
        time.sleep(0.02)
        return Result()

    with pytest.raises(TimeoutError), overlapped.timeout(0.005):
        offload(work)
    assert offload(destroyed.wait, 5)


def test_keyword_arguments_are_refused():
    with pytest.raises(TypeError):
        offload(int, "7", base=8)
