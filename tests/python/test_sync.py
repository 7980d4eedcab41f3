"""Events, semaphores and locks: between tasklets, between threads, and left early."""

from __future__ import annotations

import threading
import time

import pytest

import overlapped
from overlapped import Event, Semaphore, TaskletExit, sleep, spawn
from overlapped._engine import Lock, RLock


def test_event_wakes_all_that_wait():
    event = Event()
    waiters = [spawn(event.wait) for _ in range(100)]
    sleep(0)
    assert not any(not waiter.alive for waiter in waiters)
    assert not event.is_set()
    event.set()
    assert all(waiter.result() for waiter in waiters)
    assert event.is_set()
    assert event.wait()


def test_event_with_a_timeout():
    event = Event()
    started = time.perf_counter()
    assert event.wait(0.02) is False
    assert time.perf_counter() - started >= 0.02
    assert event.wait(timeout=0) is False
    spawn(event.set)
    assert event.wait(10) is True
    assert time.perf_counter() - started < 20


def test_event_cleared_and_set_again():
    event, passed = Event(), []

    def walker():
        for lap in range(3):
            event.wait()
            event.clear()
            passed.append(lap)

    tasklet = spawn(walker)
    for lap in range(3):
        sleep(0)
        assert len(passed) == lap
        event.set()
        sleep(0)
    tasklet.result()


def test_event_from_another_thread():
    event = Event()
    thread = threading.Timer(0.02, event.set)
    thread.start()
    assert event.wait(10)
    thread.join()


def test_event_sets_of_many_threads_are_never_lost():
    there, back = Event(), Event()

    def answer():
        for _ in range(2000):
            there.wait()
            there.clear()
            back.set()

    thread = threading.Thread(target=answer)
    thread.start()
    for _ in range(2000):
        there.set()
        assert back.wait(20)
        back.clear()
    thread.join()


def test_semaphore_counts():
    semaphore = Semaphore(2)
    assert semaphore.acquire()
    assert semaphore.acquire(False)
    assert not semaphore.acquire(False)
    assert not semaphore.acquire(blocking=False)
    assert not semaphore.acquire(timeout=0.01)
    assert semaphore.value == 0
    semaphore.release()
    assert semaphore.value == 1
    semaphore.release(3)
    assert semaphore.value == 4


def test_semaphore_refuses_nonsense():
    with pytest.raises(ValueError, match=">= 0"):
        Semaphore(-1)
    with pytest.raises(ValueError, match="one or more"):
        Semaphore().release(0)
    with pytest.raises(ValueError, match="non-blocking"):
        Semaphore().acquire(False, 1.0)


def test_semaphore_serves_in_order():
    semaphore, order = Semaphore(0), []

    def work(number):
        with semaphore:
            order.append(number)
            sleep(0)

    for number in range(20):
        spawn(work, number)
    sleep(0)
    semaphore.release()
    overlapped.run()
    assert order == list(range(20))


def test_semaphore_bounds_what_runs_at_once():
    semaphore, now, most = Semaphore(3), 0, 0

    def work():
        nonlocal now, most
        with semaphore:
            now += 1
            most = max(most, now)
            sleep(0.001)
            now -= 1

    for _ in range(30):
        spawn(work)
    overlapped.run()
    assert most == 3
    assert semaphore.value == 3


def test_a_cancelled_waiter_takes_nothing():
    semaphore = Semaphore(0)
    waiters = [spawn(semaphore.acquire) for _ in range(3)]
    sleep(0)
    waiters[0].cancel()
    semaphore.release(2)
    assert isinstance(waiters[0].exception(), TaskletExit)
    assert waiters[1].result()
    assert waiters[2].result()
    assert semaphore.value == 0


def test_lock_excludes():
    lock, inside = Lock(), []

    def work(number):
        with lock:
            assert not inside
            inside.append(number)
            sleep(0.0005)
            inside.remove(number)

    tasklets = [spawn(work, number) for number in range(50)]
    for tasklet in tasklets:
        tasklet.result()
    assert not lock.locked()


def test_lock_has_the_interface_of_threading():
    lock = Lock()
    assert lock.acquire()
    assert lock.locked()
    assert not lock.acquire(False)
    assert not lock.acquire(True, 0.01)
    assert not lock.acquire(timeout=0)
    lock.release()
    with pytest.raises(RuntimeError, match="unlocked"):
        lock.release()
    with pytest.raises(ValueError, match="non-blocking"):
        lock.acquire(False, 1)
    with pytest.raises(ValueError, match="non-negative"):
        lock.acquire(timeout=-2)
    with pytest.raises(OverflowError):
        lock.acquire(timeout=1e12)
    assert lock.acquire(timeout=-1)
    assert repr(lock).startswith("<locked overlapped.Lock object")
    lock._at_fork_reinit()
    assert not lock.locked()


def test_lock_may_be_released_by_another_tasklet():
    lock = Lock()
    lock.acquire()
    waiter = spawn(lock.acquire)
    spawn(lock.release)
    assert waiter.result()
    assert lock.locked()


def test_lock_under_a_standard_condition():
    """`threading.Condition` over our locks: what `queue` and `concurrent.futures` stand on under the patches."""
    for make in (Lock, RLock):
        condition, items, got = threading.Condition(make()), [], []

        def consume(condition=condition, items=items, got=got):
            # Its own waiter lock is the standard library's: only a notify that comes first lets it not block.
            with condition:
                got.append(items.pop())

        with condition:
            items.append("item")
            condition.notify()
        spawn(consume).result()
        assert got == ["item"]


def test_lock_between_threads():
    lock, total, each = Lock(), 0, 3000

    def work():
        nonlocal total
        for _ in range(each):
            with lock:
                total, seen = total + 1, total
                assert total == seen + 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    tasklets = [spawn(work) for _ in range(2)]
    for tasklet in tasklets:
        tasklet.result()
    for thread in threads:
        thread.join()
    assert total == 6 * each


def test_rlock_counts_and_belongs_to_a_tasklet():
    lock = RLock()
    assert lock.acquire()
    assert lock.acquire()
    assert lock._is_owned()
    assert lock._recursion_count() == 2

    def other():
        assert not lock._is_owned()
        assert not lock.acquire(False)
        with pytest.raises(RuntimeError, match="un-acquired"):
            lock.release()
        return lock.acquire()

    tasklet = spawn(other)
    sleep(0)
    lock.release()
    sleep(0)
    assert tasklet.alive
    lock.release()
    assert tasklet.result()
    assert not lock._is_owned()
    with pytest.raises(RuntimeError, match="un-acquired"):
        lock.release()


def test_rlock_release_save_and_restore():
    lock = RLock()
    with lock, lock, lock:
        count = lock._release_save()
        assert count == 3
        assert spawn(lambda: lock.acquire(False) and (lock.release() or True)).result()
        lock._acquire_restore(count)
        assert lock._recursion_count() == 3
    assert not lock._is_owned()
    with pytest.raises(RuntimeError, match="un-acquired"):
        lock._release_save()


def test_rlock_between_threads():
    lock, log = RLock(), []

    def work(name):
        for _ in range(200):
            with lock, lock:
                log.append(name)
                assert log[-1] is name

    threads = [threading.Thread(target=work, args=(object(),)) for _ in range(3)]
    for thread in threads:
        thread.start()
    spawn(work, object()).result()
    for thread in threads:
        thread.join()
    assert len(log) == 800


@pytest.mark.parametrize("make", [Lock, RLock])
def test_a_cancelled_waiter_leaves_the_lock(make):
    lock = make()
    lock.acquire()
    waiter = spawn(lock.acquire)
    sleep(0)
    waiter.cancel()
    assert isinstance(waiter.exception(), TaskletExit)
    lock.release()
    assert spawn(lambda: lock.acquire(False) and (lock.release() or True)).result()


@pytest.mark.parametrize("make", [Lock, RLock])
def test_a_condition_has_its_lock_again_when_it_is_left_early(make, monkeypatch):
    """Cancelled in `Condition.wait`, whose `finally` takes the lock again while another tasklet holds it."""
    monkeypatch.setattr(threading, "_allocate_lock", Lock)
    condition, held = threading.Condition(make()), []

    def wait():
        with condition:
            try:
                condition.wait()
            finally:
                held.append(not spawn(condition.acquire, False).result())

    waiter = spawn(wait)
    sleep(0)
    with condition:
        waiter.cancel()
        sleep(0)
        waiter.cancel()
        sleep(0.001)
        assert waiter.alive
    assert isinstance(waiter.exception(), TaskletExit)
    assert held == [True]
    with condition:
        pass


def test_a_lock_that_was_handed_to_a_cancelled_waiter_is_not_lost():
    """Released to a waiter and the waiter cancelled in the same turn: somebody must still be able to take it."""
    lock = Lock()
    lock.acquire()

    def work():
        with lock:
            sleep(60)

    waiter = spawn(work)
    sleep(0)
    lock.release()
    waiter.cancel()
    assert isinstance(waiter.exception(), TaskletExit)
    assert lock.acquire(timeout=5)


def test_plain_threads_without_a_port_wait_too():
    """A thread that only waits for an event gets a port of its own, and leaves nothing behind."""
    event = Event()
    results = []
    threads = [threading.Thread(target=lambda: results.append(event.wait(10))) for _ in range(8)]
    for thread in threads:
        thread.start()
    sleep(0.02)
    event.set()
    for thread in threads:
        thread.join()
    assert results == [True] * 8


def test_repr():
    event = Event()
    assert repr(event) == "<Event set=False>"
    assert repr(Semaphore(3)) == "<Semaphore value=3>"
    lock = RLock()
    assert repr(lock).startswith("<unlocked overlapped.RLock object owner=0 count=0 at 0x")


def test_who_was_notified_and_is_told_to_leave_before_its_turn_has_the_next_notified() -> None:
    condition, log = overlapped.Condition(), list[str]()

    def waits(name: str) -> None:
        with condition:
            log.append(f"{name}: {condition.wait()}")

    first, second = overlapped.spawn(waits, "first"), overlapped.spawn(waits, "second")
    overlapped.sleep(0)
    with condition:
        condition.notify()
        first.cancel()
    first.join()
    second.join(timeout=20)
    assert log == ["second: True"]


def test_an_action_that_fails_breaks_the_barrier_until_it_is_reset() -> None:
    barrier = overlapped.Barrier(1, action=lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        barrier.wait()
    assert barrier.broken
    with pytest.raises(overlapped.BrokenBarrierError):
        barrier.wait()
    barrier.reset()
    assert not barrier.broken


def test_notify_all_has_all_that_wait_go_on_and_none_that_comes_later() -> None:
    condition, log = overlapped.Condition(), list[int]()

    def waits(number: int) -> None:
        with condition:
            if condition.wait(timeout=20):
                log.append(number)

    waiting = [overlapped.spawn(waits, number) for number in range(3)]
    overlapped.sleep(0)
    with condition:
        condition.notify_all()
    late = overlapped.spawn(waits, 3)
    for each in waiting:
        each.join()
    assert log == [0, 1, 2] and late.alive
    late.cancel()
    late.join()
