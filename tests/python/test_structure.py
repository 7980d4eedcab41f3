"""Waiting for some of many tasklets, shields, conditions, barriers, ticks, and data of a tasklet's own."""

from __future__ import annotations

import threading

import pytest

import overlapped
from overlapped import (
    Barrier,
    BrokenBarrierError,
    Channel,
    Condition,
    Event,
    Lock,
    RLock,
    TaskletExit,
    as_completed,
    every,
    first_completed,
    shield,
    sleep,
    spawn,
    timeout,
    wait,
)


class Gate:
    """Tasklets that end when they are let, with their number."""

    def __init__(self, many):
        self.events = [Event() for _ in range(many)]
        self.tasklets = [spawn(self.run, number) for number in range(many)]

    def run(self, number):
        self.events[number].wait()
        return number

    def let(self, *numbers):
        for number in numbers:
            self.events[number].set()
            self.tasklets[number].join()

    def end(self):
        self.let(*range(len(self.events)))


def test_wait_returns_those_that_have_ended_in_order_and_the_others():
    gate = Gate(4)
    gate.let(2, 0)
    spawn(gate.let, 1)
    done, pending = wait(gate.tasklets, count=3)
    assert [tasklet.result() for tasklet in done] == [0, 2, 1]
    assert pending == [gate.tasklets[3]]
    assert wait(gate.tasklets, 0).pending == pending
    gate.end()
    assert not wait(gate.tasklets).pending
    assert wait([]) == ([], [])


def test_wait_with_a_timeout_leaves_nothing_behind():
    gate = Gate(3)
    assert wait(gate.tasklets, timeout=0.005) == ([], gate.tasklets)
    tasklet = spawn(wait, gate.tasklets)
    sleep(0)
    tasklet.cancel()
    assert isinstance(tasklet.exception(), TaskletExit)
    assert [tasklet._watch(lambda _: None) for tasklet in gate.tasklets] == [1, 1, 1], "who has left is asked no more"
    gate.end()


def test_as_completed_gives_each_as_it_ends():
    gate = Gate(3)
    tasklets = as_completed(gate.tasklets)
    for number in (1, 2, 0):
        spawn(gate.let, number)
        assert next(tasklets).result() == number
    assert list(tasklets) == []


def test_as_completed_gives_those_that_have_ended_and_then_is_out_of_time():
    gate = Gate(2)
    gate.let(1)
    tasklets = as_completed(gate.tasklets, timeout=0)
    assert next(tasklets).result() == 1
    with pytest.raises(TimeoutError, match="1 tasklets have not ended after 0 s"):
        next(tasklets)
    gate.end()


def test_the_first_to_complete_is_returned_and_the_others_run_on():
    gate = Gate(3)
    with pytest.raises(TimeoutError, match="none of 3"):
        first_completed(gate.tasklets, 0.001)
    spawn(gate.let, 1)
    assert first_completed(gate.tasklets) is gate.tasklets[1]
    assert gate.tasklets[0].alive
    gate.end()
    with pytest.raises(ValueError, match="no tasklets"):
        first_completed([])


def test_a_shielded_function_runs_to_its_end_and_then_the_caller_leaves():
    channel, log = Channel(), []

    def save(what):
        log.append(channel.receive())
        sleep(0.001)
        log.append(what)

    def work():
        shield(save, "saved")
        log.append("not here")

    tasklet = spawn(work)
    sleep(0)
    sleep(0)
    for _ in range(3):
        tasklet.cancel()
        sleep(0)
    assert log == []
    channel.send("first")
    assert isinstance(tasklet.exception(), TaskletExit)
    assert log == ["first", "saved"]


def test_a_shield_round_what_is_not_disturbed_is_a_call():
    assert shield(divmod, 7, 3) == (2, 1)
    with pytest.raises(ZeroDivisionError):
        shield(divmod, 1, 0)
    with pytest.raises(TimeoutError), timeout(0.001):
        shield(sleep, 0.02)


def test_a_shielded_failure_goes_before_a_cancel(capsys):
    event = Event()

    def save():
        event.wait()
        raise KeyError

    def work():
        shield(save)

    tasklet = spawn(work)
    sleep(0)
    sleep(0)
    tasklet.cancel()
    sleep(0)
    event.set()
    assert isinstance(tasklet.exception(), KeyError)


def test_a_shield_holds_past_the_cleanup_limit(run_python):
    done = run_python(
        """
import overlapped
overlapped.configure(cleanup=0.01)
def save():
    overlapped.sleep(0.1)
    print("saved")
def work():
    try:
        overlapped.shield(save)
    finally:
        print("left")
tasklet = overlapped.spawn(work)
overlapped.sleep(0)
tasklet.cancel()
tasklet.join()
"""
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "saved\nleft\n", "")


@pytest.mark.parametrize("make", [lambda: None, Lock, RLock])
def test_those_that_wait_for_a_condition_are_notified_in_order(make):
    condition, log = Condition(make()), []

    def work(number):
        with condition:
            assert condition.wait()
            log.append(number)

    tasklets = [spawn(work, number) for number in range(6)]
    sleep(0)
    with condition:
        condition.notify(2)
        sleep(0)
        assert not log, "the lock is held"
    sleep(0)
    sleep(0)
    assert log == [0, 1]
    tasklets[2].cancel()
    tasklets[2].join()
    with condition:
        condition.notify()
        condition.notify_all()
    for tasklet in tasklets[3:]:
        tasklet.result()
    assert log == [0, 1, 3, 4, 5]


def test_a_notification_of_one_that_is_cancelled_goes_to_the_next():
    condition = Condition()

    def work():
        with condition:
            return condition.wait()

    first, second = spawn(work), spawn(work)
    sleep(0)
    with condition:
        condition.notify()
    first.cancel()
    assert isinstance(first.exception(), TaskletExit)
    assert second.result() is True
    with condition:
        pass


def test_a_wait_for_a_condition_ends_with_the_lock():
    condition = Condition(Lock())
    with condition:
        assert condition.wait(0.001) is False
        assert condition._lock.locked()
        assert condition.wait_for(lambda: False, 0.001) is False
        spawn(lambda: condition.acquire() and (items.append(1), condition.notify(), condition.release()))
        items = []
        assert condition.wait_for(lambda: items) == [1]
        assert condition._lock.locked()
    for call in (condition.wait, condition.notify, condition.notify_all):
        with pytest.raises(RuntimeError, match="holds its lock"):
            call()
    assert repr(condition) == "<Condition waiting=0>"


def test_a_condition_between_threads():
    condition, items, got, many = Condition(), [], [], 500

    def consume():
        for _ in range(many):
            with condition:
                condition.wait_for(lambda: items)
                got.append(items.pop(0))

    thread = threading.Thread(target=consume)
    thread.start()
    tasklet = spawn(consume)
    for number in range(2 * many):
        with condition:
            items.append(number)
            condition.notify()
        if number % 16 == 0:
            sleep(0)
    tasklet.result()
    overlapped.offload(thread.join)
    assert got == list(range(2 * many))


def test_a_barrier_lets_all_go_when_the_last_has_come():
    actions = []
    barrier = Barrier(3, lambda: actions.append(barrier.n_waiting))

    def work():
        return [barrier.wait() for _ in range(4)]

    tasklets = [spawn(work) for _ in range(3)]
    places = [tasklet.result() for tasklet in tasklets]
    assert [sorted(place) for place in zip(*places, strict=True)] == [[0, 1, 2]] * 4
    assert len(actions) == 4
    assert barrier.n_waiting == 0


def test_who_is_cancelled_at_a_barrier_takes_its_place_back():
    barrier = Barrier(2)
    first = spawn(barrier.wait)
    sleep(0)
    assert barrier.n_waiting == 1
    first.cancel()
    first.join()
    assert barrier.n_waiting == 0
    second = spawn(barrier.wait)
    assert {barrier.wait(), second.result()} == {0, 1}


def test_a_wait_that_is_out_of_time_breaks_the_barrier():
    barrier = Barrier(3, timeout=0.005)
    patient = spawn(barrier.wait, 60)
    with pytest.raises(BrokenBarrierError):
        barrier.wait()
    assert isinstance(patient.exception(), BrokenBarrierError)
    assert barrier.broken
    with pytest.raises(BrokenBarrierError):
        barrier.wait()
    barrier.reset()
    assert not barrier.broken


def test_a_barrier_that_is_aborted_or_reset_or_whose_action_fails_tells_those_that_wait():
    barrier = Barrier(2, lambda: 1 // 0)
    waiting = spawn(barrier.wait)
    sleep(0)
    with pytest.raises(ZeroDivisionError):
        barrier.wait()
    assert isinstance(waiting.exception(), BrokenBarrierError)
    assert barrier.broken
    for end in (barrier.abort, barrier.reset):
        barrier.reset()
        waiting = spawn(barrier.wait)
        sleep(0)
        end()
        assert isinstance(waiting.exception(), BrokenBarrierError)
    assert not barrier.broken
    with pytest.raises(ValueError, match="> 0"):
        Barrier(0)


def test_ticks_do_not_drift_and_say_how_many_were_missed(monkeypatch):
    """On a clock of the test's own: each round of the loop takes so long."""
    now = 100.0

    def pass_time(seconds):
        nonlocal now
        now += seconds

    monkeypatch.setattr("overlapped._every.clock", lambda: now)
    monkeypatch.setattr("overlapped._every.sleep", pass_time)
    ticks, seen = every(2), []
    for work in (0, 0.5, 0, 3, 0, 7.5, 1):
        seen.append((next(ticks), round(now - 100, 6)))
        now += work
    assert [missed for missed, _ in seen] == [0, 0, 0, 0, 0, 0, 2]
    assert [when for _, when in seen] == [0, 2, 4, 6, 9, 10, 17.5]
    assert [next(ticks), now, next(ticks), now] == [0, 118.5, 0, 120]


def test_ticks_let_others_run():
    count = 0

    def work():
        nonlocal count
        count += 1

    for missed in every(0.001):
        assert missed >= 0
        if count == 3:
            break
        spawn(work)
    with pytest.raises(ValueError, match="more than 0"):
        every(0)


def test_a_local_is_each_tasklets_own():
    mine = overlapped.local()
    mine.name = "main"

    def work(name):
        assert not hasattr(mine, "name")
        mine.name = name
        sleep(0)
        return mine.name

    tasklets = [spawn(work, str(number)) for number in range(3)]
    assert [tasklet.result() for tasklet in tasklets] == ["0", "1", "2"]
    assert mine.name == "main"
