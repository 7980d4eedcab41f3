"""`overlapped.timeout` around any wait: nesting, catching, many at once."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from typing import Any

import pytest

import overlapped
from overlapped import Channel, sleep, spawn, timeout


def test_ends_a_wait():
    started = time.perf_counter()
    with pytest.raises(TimeoutError, match=r"timed out after 0\.02 s"), timeout(0.02):
        sleep(60)
    assert 0.02 <= time.perf_counter() - started < 20


def test_leaves_a_body_in_time_alone():
    with timeout(60) as limit:
        sleep(0.001)
    assert not limit.expired
    with timeout(0.02) as limit:
        pass
    sleep(0.04)
    assert not limit.expired


def test_none_sets_none():
    with timeout(None) as limit:
        sleep(0.01)
    assert not limit.expired


def test_expired_tells_which():
    with pytest.raises(TimeoutError), timeout(10) as outer, timeout(0.01) as inner:
        sleep(60)
    assert inner.expired
    assert not outer.expired


def test_the_outer_one_goes_through_the_inner():
    caught = []
    with pytest.raises(TimeoutError, match=r"0\.01"), timeout(0.01) as outer:
        try:
            with timeout(10) as inner:
                sleep(60)
        except TimeoutError:
            caught.append("inner")
    assert outer.expired
    assert not inner.expired
    assert caught == []


def test_the_inner_can_be_caught_and_the_outer_still_holds():
    started = time.perf_counter()
    with pytest.raises(TimeoutError, match=r"0\.2 s"), timeout(0.2):
        for _ in range(1000):
            with pytest.raises(TimeoutError, match=r"0\.01 s"), timeout(0.01):
                sleep(60)
    assert time.perf_counter() - started < 20


def test_both_due_at_once():
    with pytest.raises(TimeoutError), timeout(0.01), timeout(0.01):
        sleep(60)
    sleep(0.02)


def test_due_but_never_waited():
    with timeout(0.001) as limit:
        until = time.perf_counter() + 0.01
        while time.perf_counter() < until:
            pass
    assert not limit.expired
    sleep(0.01)


def test_a_zero_timeout_ends_the_first_wait():
    with pytest.raises(TimeoutError), timeout(0):
        sleep(60)


def test_is_not_caught_as_an_exception_in_the_body():
    with pytest.raises(TimeoutError), timeout(0.01):
        try:
            sleep(60)
        except Exception:
            pytest.fail("a time-out of the caller's was caught by the body")


def test_finally_in_the_body_can_wait():
    steps = []
    with pytest.raises(TimeoutError), timeout(0.01):
        try:
            sleep(60)
        finally:
            sleep(0.02)
            steps.append("clean")
    assert steps == ["clean"]


def test_another_exception_of_the_body_passes():
    with pytest.raises(KeyError), timeout(0.01):
        raise KeyError


def test_no_cause_or_context_of_ours_is_shown():
    with pytest.raises(TimeoutError) as caught, timeout(0.001):
        sleep(60)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_entered_once_at_a_time_but_again_later():
    limit = timeout(5)
    with limit, pytest.raises(RuntimeError, match="once"):
        limit.__enter__()
    with limit:
        sleep(0)


def test_ends_waits_of_other_kinds():
    channel, event, other = Channel(), overlapped.Event(), spawn(sleep, 0.2)
    for wait in (
        channel.receive,
        lambda: channel.send(1),
        event.wait,
        overlapped.Queue().get,
        other.join,
        other.result,
    ):
        with pytest.raises(TimeoutError), timeout(0.005):
            wait()
    assert channel.balance == 0
    other.join()


def test_ten_thousand_at_once():
    def work():
        with timeout(0.05) as limit:
            try:
                sleep(60)
            finally:
                seen.append(True)
        return limit

    seen: list[bool] = []
    tasklets = [spawn(work) for _ in range(10_000)]
    expired = sum(isinstance(tasklet.exception(), TimeoutError) for tasklet in tasklets)
    assert expired == len(seen) == 10_000


def test_a_tasklet_that_ends_with_a_timeout_fails_with_it(capsys):
    def work():
        with timeout(0.01):
            sleep(60)

    assert isinstance(spawn(work).exception(), TimeoutError)
    assert "TimeoutError: timed out after 0.01 s" in capsys.readouterr().err


def test_is_used_again():
    limit = timeout(0.01)
    with pytest.raises(TimeoutError), limit:
        sleep(60)
    assert limit.expired
    with limit:
        assert not limit.expired


def test_a_time_is_moved_and_says_what_is_left() -> None:
    with timeout(0.01) as limit:
        assert limit.remaining is not None
        assert limit.remaining <= 0.01
        limit.reschedule(None)
        assert limit.remaining is None
        sleep(0.03)
        limit.reschedule(60)
        assert limit.remaining > 30
    assert not limit.expired
    assert limit.remaining is None
    with pytest.raises(TimeoutError, match=r"0\.001 s"), timeout(None) as limit:
        limit.reschedule(0.001)
        sleep(60)
    assert limit.expired
    assert limit.seconds is None, "the next time it begins as it was made"


def test_a_time_that_is_up_is_not_moved_and_none_is_outside_of_the_body() -> None:
    with pytest.raises(TimeoutError), timeout(0.001) as limit:
        with pytest.raises(BaseException, match="timed out"):
            sleep(60)
        limit.reschedule(60)
        sleep(60)
    with pytest.raises(RuntimeError, match="while its body runs"):
        limit.reschedule(1)


def test_a_generator_that_is_suspended_in_the_body_is_told_of() -> None:
    """Whoever runs then is the tasklet that entered: there is no other to tell."""

    def suspended() -> Iterator[int]:
        with overlapped.timeout(0.005):
            yield 1

    generator = suspended()
    next(generator)
    with pytest.raises(BaseException, match="outside of the body: a generator was suspended in it"):
        overlapped.sleep(60)
    del generator


def test_a_timeout_that_the_collector_finds_is_taken_back() -> None:
    class Cycle:
        def __init__(self) -> None:
            self.me, self.timeout = self, overlapped.timeout(0.005)
            self.timeout.__enter__()

    Cycle()
    gc.collect()
    overlapped.sleep(0.02)


def test_a_timeout_may_be_dropped_and_taken_back_by_another_thread(run_python: Any) -> None:
    done = run_python(
        """
import gc, threading, overlapped
gc.disable()
class Cycle:
    def __init__(self):
        self.me, self.timeout = self, overlapped.timeout(0.005)
        self.timeout.__enter__()
def suspended():
    with overlapped.timeout(0.005):
        yield
Cycle()
generator = suspended()
next(generator)
for drop in (gc.collect, generator.close):
    thread = threading.Thread(target=drop)
    thread.start()
    thread.join()
overlapped.sleep(0.02)
print("goes on")
"""
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "goes on\n", "")
