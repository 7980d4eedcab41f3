"""Tasklets: spawn, join, results, exceptions, cancelling, context variables, names, numbers of them."""

from __future__ import annotations

import contextlib
import contextvars
import gc
import threading
import time
import weakref
from typing import Any

import greenlet
import pytest

import overlapped
from overlapped import Channel, Event, TaskletExit, sleep, spawn


def test_spawn_runs_when_its_maker_waits():
    order = []
    tasklet = spawn(order.append, "tasklet")
    order.append("main")
    tasklet.join()
    assert order == ["main", "tasklet"]


def test_tasklets_run_in_the_order_of_their_start():
    order = []
    tasklets = [spawn(order.append, number) for number in range(100)]
    for tasklet in tasklets:
        tasklet.join()
    assert order == list(range(100))


def test_result_of_positional_and_keyword_arguments():
    assert spawn(lambda *args, **kwargs: (args, kwargs), 1, 2, name="three").result() == ((1, 2), {"name": "three"})


def test_a_tasklet_has_its_name_before_it_begins():
    seen = spawn(lambda: overlapped.current().name)
    seen.name = "reader"
    assert seen.result() == "reader"


def test_result_is_told_to_each_who_asks():
    tasklet = spawn(lambda: sleep(0.01) or object())
    askers = [spawn(tasklet.result) for _ in range(5)]
    results = {id(asker.result()) for asker in askers}
    assert results == {id(tasklet.result())}


def test_spawn_needs_something_to_call():
    with pytest.raises(TypeError, match="not int"):
        spawn(3)
    with pytest.raises(TypeError):
        spawn()


def test_spawn_with_wrong_arguments_fails_in_the_tasklet(capsys):
    tasklet = spawn(lambda: None, "one too many")
    with pytest.raises(TypeError):
        tasklet.result()
    assert "TypeError" in capsys.readouterr().err


def test_exception_is_raised_by_result_and_returned_by_exception(capsys):
    def fail():
        raise LookupError("what was looked for")

    tasklet = spawn(fail)
    tasklet.join()
    assert not tasklet.alive
    with pytest.raises(LookupError, match="what was looked for"):
        tasklet.result()
    assert isinstance(tasklet.exception(), LookupError)
    assert spawn(int).exception() is None
    capsys.readouterr()


def test_exception_is_printed_with_its_traceback(capsys):
    def fail_with_purpose():
        raise LookupError("what was looked for")

    tasklet = spawn(fail_with_purpose)
    tasklet.name = "searcher"
    tasklet.join()
    printed = capsys.readouterr().err
    assert printed.startswith("Exception in tasklet searcher:\nTraceback (most recent call last):\n")
    assert "in fail_with_purpose" in printed
    assert printed.endswith("LookupError: what was looked for\n")


def test_exception_goes_through_excepthook(monkeypatch):
    seen = []
    monkeypatch.setattr("sys.excepthook", lambda *caught: seen.append(caught))
    tasklet = spawn(lambda: 1 / 0)
    tasklet.join()
    ((kind, value, traceback),) = seen
    assert kind is ZeroDivisionError
    assert value is tasklet.exception()
    assert traceback is value.__traceback__


def test_an_exception_cause_and_context_survive(capsys):
    def fail():
        try:
            raise KeyError("first")
        except KeyError as error:
            sleep(0.001)
            raise ValueError("second") from error

    error = spawn(fail).exception()
    assert isinstance(error.__cause__, KeyError)
    assert "direct cause" in capsys.readouterr().err


@pytest.mark.parametrize("ending", [TaskletExit, SystemExit])
def test_exits_end_a_tasklet_silently(ending, capsys):
    def leave():
        raise ending

    tasklet = spawn(leave)
    assert isinstance(tasklet.exception(), ending)
    assert capsys.readouterr().err == ""


def test_exception_state_belongs_to_the_tasklet():
    import sys

    def handle(error, turns):
        for _ in range(turns):
            try:
                raise error
            except ValueError as caught:
                sleep(0)
                assert sys.exc_info()[1] is caught is error
        assert sys.exc_info()[1] is None

    tasklets = [spawn(handle, ValueError(number), 20) for number in range(10)]
    for tasklet in tasklets:
        tasklet.result()


def test_join_with_a_timeout_looks_at_alive():
    tasklet = spawn(sleep, 60)
    started = time.perf_counter()
    tasklet.join(0.01)
    assert 0.01 <= time.perf_counter() - started < 20
    assert tasklet.alive
    tasklet.cancel()
    tasklet.join()
    assert not tasklet.alive


def test_result_and_exception_with_a_timeout():
    gate = Event()
    tasklet = spawn(gate.wait)
    other = spawn(sleep, 60)
    for ask in (tasklet.result, tasklet.exception):
        with pytest.raises(TimeoutError):
            ask(0.001)
        with pytest.raises(TimeoutError):
            ask(timeout=0)
    gate.set()
    assert tasklet.result() is True
    other.cancel()
    other.join()


def test_a_tasklet_cannot_join_itself():
    def join_self():
        with pytest.raises(RuntimeError, match="itself"):
            overlapped.current().join()

    spawn(join_self).result()


def test_joins_in_a_circle_end_with_deadlock_in_main():
    tasklets = []
    first = spawn(lambda: tasklets[1].join())
    second = spawn(lambda: tasklets[0].join())
    tasklets += [first, second]
    with pytest.raises(RuntimeError, match="Deadlock"):
        first.join()
    first.cancel()
    first.join()
    second.join()


def test_cancel_before_the_start_never_starts():
    ran = []
    tasklet = spawn(ran.append, 1)
    tasklet.cancel()
    assert isinstance(tasklet.exception(), TaskletExit)
    assert ran == []


def test_cancel_runs_finally_and_can_wait_there():
    steps = []

    def work():
        try:
            sleep(60)
        finally:
            steps.append("cleaning")
            sleep(0.01)
            steps.append("clean")

    tasklet = spawn(work)
    sleep(0)
    tasklet.cancel()
    tasklet.join()
    assert steps == ["cleaning", "clean"]


def test_cancel_can_be_survived():
    def stubborn():
        try:
            sleep(60)
        except TaskletExit:
            return "still here"

    tasklet = spawn(stubborn)
    sleep(0)
    tasklet.cancel()
    assert tasklet.result() == "still here"


def test_cancel_of_an_ended_tasklet_does_nothing():
    tasklet = spawn(int)
    tasklet.join()
    tasklet.cancel()
    tasklet.throw(ValueError)
    assert tasklet.result() == 0


def test_cancel_of_a_ready_tasklet_shows_at_its_next_wait():
    steps = []

    def work():
        sleep(0)
        steps.append("ran on")
        sleep(60)

    tasklet = spawn(work)
    sleep(0)
    tasklet.cancel()
    assert isinstance(tasklet.exception(), TaskletExit)


def test_tasklet_exit_is_no_exception_that_programs_catch():
    def work():
        try:
            sleep(60)
        except Exception:
            pytest.fail("caught as an Exception")

    tasklet = spawn(work)
    sleep(0)
    tasklet.cancel()
    assert isinstance(tasklet.exception(), TaskletExit)
    assert not issubclass(TaskletExit, Exception)


def test_throw_takes_instances_and_types(capsys):
    for thrown in (KeyError("why"), KeyError):
        tasklet = spawn(sleep, 60)
        sleep(0)
        tasklet.throw(thrown)
        assert isinstance(tasklet.exception(), KeyError)
        if not isinstance(thrown, type):
            assert tasklet.exception() is thrown
    capsys.readouterr()


def test_throw_refuses_what_is_no_exception():
    tasklet = spawn(sleep, 0.01)
    for wrong in (3, "text", int):
        with pytest.raises(TypeError, match=f"not {type(wrong).__name__}$"):
            tasklet.throw(wrong)
    assert tasklet.result() is None


def test_throw_raises_in_the_tasklet_whatever_the_text_of_the_exception_is():
    thrown = TypeError("exceptions must derive from BaseException")
    tasklet = spawn(sleep, 60)
    sleep(0)
    tasklet.throw(thrown)
    assert tasklet.exception() is thrown


def test_throw_of_a_type_that_makes_no_exception_is_the_callers_error():
    class Disguised(Exception):
        def __new__(cls):
            return 3

    tasklet = spawn(sleep, 0.01)
    with pytest.raises(TypeError, match="should have returned an instance of BaseException, not int"):
        tasklet.throw(Disguised)
    with pytest.raises(TypeError, match="argument"):
        tasklet.throw(UnicodeDecodeError)
    assert tasklet.result() is None


def test_throw_into_oneself_raises_at_once():
    def work():
        with pytest.raises(KeyError):
            overlapped.current().throw(KeyError("here"))
        return "done"

    assert spawn(work).result() == "done"
    with pytest.raises(KeyError):
        overlapped.current().throw(KeyError)


def test_throw_into_main():
    main = overlapped.current()
    spawn(main.throw, KeyError("from below"))
    with pytest.raises(KeyError, match="from below"):
        sleep(60)


def test_several_throws_are_raised_one_at_each_wait():
    caught = []

    def work():
        for _ in range(2):
            try:
                sleep(60)
            except (KeyError, ValueError) as error:
                caught.append(type(error))

    tasklet = spawn(work)
    sleep(0)
    tasklet.throw(KeyError)
    tasklet.throw(ValueError)
    tasklet.result()
    assert caught == [KeyError, ValueError]


def test_throw_from_another_thread():
    tasklet = spawn(sleep, 60)
    sleep(0)
    thread = threading.Thread(target=tasklet.cancel)
    thread.start()
    assert isinstance(tasklet.exception(), TaskletExit)
    thread.join()


def test_context_variables_are_copied_at_spawn():
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")
    seen = []

    def work(name):
        seen.append((name, variable.get()))
        variable.set(name)
        sleep(0.001)
        seen.append((name, variable.get()))

    variable.set("main")
    tasklets = [spawn(work, name) for name in "ab"]
    variable.set("changed")
    for tasklet in tasklets:
        tasklet.result()
    assert variable.get() == "changed"
    assert seen == [("a", "main"), ("b", "main"), ("a", "a"), ("b", "b")]


def test_name_in_listing_and_repr():
    def wait():
        with contextlib.suppress(TaskletExit):
            sleep(60)

    tasklet = spawn(wait)
    assert tasklet.name.startswith("tasklet-")
    tasklet.name = "waiter"
    sleep(0)
    (entry,) = [entry for entry in overlapped.tasklets() if entry["name"] == "waiter"]
    assert entry["waits_for"] == "sleep"
    assert 0 <= entry["since"] < 60
    assert repr(tasklet) == '<Tasklet "waiter" alive>'
    tasklet.cancel()
    tasklet.join()
    assert repr(tasklet) == '<Tasklet "waiter" ended>'
    assert overlapped.current().name == "main"


def test_attributes_and_weak_references():
    tasklet = spawn(int)
    tasklet.label = "mine"
    assert tasklet.label == "mine"
    reference = weakref.ref(tasklet)
    tasklet.join()
    del tasklet
    gc.collect()
    assert reference() is None


def test_current_is_the_tasklet_itself():
    tasklet = spawn(overlapped.current)
    assert tasklet.result() is tasklet
    assert overlapped.current() is overlapped.current()


def test_run_waits_for_all():
    done = []

    def work(depth):
        sleep(0.001)
        if depth:
            spawn(work, depth - 1)
        done.append(depth)

    spawn(work, 10)
    overlapped.run()
    assert len(done) == 11


def test_run_with_a_timeout():
    tasklet = spawn(sleep, 60)
    started = time.perf_counter()
    overlapped.run(0.02)
    assert 0.02 <= time.perf_counter() - started < 20
    assert tasklet.alive
    tasklet.cancel()
    overlapped.run()


def test_run_is_for_main():
    with pytest.raises(RuntimeError, match="main tasklet"):
        spawn(lambda: overlapped.run()).result()


def test_sleep_times():
    for seconds in (0.001, 0.01, 0.05):
        started = time.perf_counter()
        sleep(seconds)
        assert seconds <= time.perf_counter() - started < seconds + 20
    with pytest.raises(ValueError, match="non-negative"):
        sleep(-1)
    with pytest.raises(ValueError, match="NaN"):
        sleep(float("nan"))
    with pytest.raises(TypeError):
        sleep("1")


def test_sleepers_wake_in_the_order_of_their_deadlines():
    order = []

    def work(number):
        sleep(number / 20)
        order.append(number)

    for number in (5, 1, 4, 2, 3, 0):
        spawn(work, number)
    overlapped.run()
    assert order == [0, 1, 2, 3, 4, 5]


def test_ten_thousand_sleepers():
    started = time.perf_counter()
    tasklets = [spawn(sleep, 0.2) for _ in range(10_000)]
    for tasklet in tasklets:
        tasklet.join()
    assert time.perf_counter() - started < 20


def test_ten_thousand_parked_each_started_by_another():
    gate, depth = Event(), 10_000
    reached = []

    def nest(left):
        if left:
            spawn(nest, left - 1)
        else:
            reached.append(True)
        gate.wait()

    spawn(nest, depth)
    while not reached:
        sleep(0)
    assert sum(tasklet["waits_for"] == "event" for tasklet in overlapped.tasklets()) == depth + 1
    gate.set()
    overlapped.run()


def test_ten_thousand_ended_each_waiting_for_the_next():
    def nest(left):
        return 0 if not left else spawn(nest, left - 1).result() + 1

    assert spawn(nest, 10_000).result() == 10_000


def test_spawn_from_a_deep_stack():
    def dive(left):
        return spawn(sleep, 0.001) if not left else dive(left - 1)

    tasklets = [dive(800) for _ in range(100)]
    for tasklet in tasklets:
        assert tasklet.result() is None


def test_recursion_depth_belongs_to_the_tasklet():
    def deep(left):
        return deep(left - 1) if left else sleep(0.005)

    tasklets = [spawn(deep, 700) for _ in range(50)]
    for tasklet in tasklets:
        assert tasklet.result() is None


def test_recursion_error_in_a_tasklet_is_its_own(capsys):
    def forever():
        forever()

    assert isinstance(spawn(forever).exception(), RecursionError)
    assert spawn(int).result() == 0
    capsys.readouterr()


def test_worker_greenlets_are_used_again():
    workers = set()

    def work():
        workers.add(id(greenlet.getcurrent()))

    for _ in range(200):
        spawn(work).join()
    assert len(workers) <= 2


def test_a_finished_tasklet_keeps_nothing_of_its_arguments():
    class Big:
        pass

    argument = Big()
    reference = weakref.ref(argument)
    tasklet = spawn(lambda given: None, argument)
    tasklet.join()
    del argument
    gc.collect()
    assert reference() is None
    assert tasklet.result() is None


def test_many_generations_of_tasklets_free_their_memory():
    def generation():
        for _ in range(2000):
            spawn(sleep, 0)
        overlapped.run()
        gc.collect()
        return len(gc.get_objects())

    generation()
    after_some = generation()
    for _ in range(5):
        generation()
    assert generation() < after_some + 1000


def test_each_thread_has_tasklets_of_its_own():
    results = {}

    def thread(number):
        channel = Channel()
        tasklet = spawn(lambda: [channel.send((number, count)) for count in range(100)])
        results[number] = [channel.receive() for _ in range(100)]
        tasklet.join()
        results[number, "alive"] = len(overlapped.tasklets())

    threads = [threading.Thread(target=thread, args=(number,)) for number in range(4)]
    for started in threads:
        started.start()
    for started in threads:
        started.join()
    for number in range(4):
        assert results[number] == [(number, count) for count in range(100)]
        assert results[number, "alive"] == 1


def test_fairness_a_busy_tasklet_that_yields_lets_timers_run(ticker):
    with ticker:
        while ticker.ticks < 3:
            sleep(0)


def test_a_thread_that_ends_cancels_its_tasklets():
    steps = []

    def work():
        try:
            sleep(60)
        finally:
            sleep(0.001)
            steps.append("clean")

    def thread():
        spawn(work)
        spawn(steps.append, "ran on")
        sleep(0)
        spawn(steps.append, "never started")

    threads = [threading.Thread(target=thread) for _ in range(3)]
    for started in threads:
        started.start()
        started.join()
    assert steps == ["ran on", "clean"] * 3


def test_a_thread_that_ends_says_which_tasklets_would_not(run_python):
    done = run_python(
        """
import threading, overlapped

def stubborn():
    while True:
        try:
            overlapped.sleep(60)
        except overlapped.TaskletExit:
            pass

def thread():
    overlapped.spawn(stubborn)
    overlapped.sleep(0)

started = threading.Thread(target=thread)
started.start()
started.join()
print("joined")
"""
    )
    assert done.stdout == "joined\n"
    assert done.stderr == "overlapped: a thread has ended, 1 of its tasklets have not: they never will\n"
    assert done.returncode == 0


def test_what_a_tasklet_leaves_goes_with_it(capsys):
    """Its outcome may lead back to it, through a traceback or by what it returns."""

    class Owner:
        def __init__(self, fails):
            self.fails = fails
            self.tasklet = spawn(self.run)

        def run(self):
            if self.fails:
                raise ValueError("on purpose")
            return self

    for fails in (False, True):
        owner = Owner(fails)
        owner.tasklet.join()
        gone = weakref.ref(owner)
        del owner
        gc.collect()
        assert gone() is None
    capsys.readouterr()


def test_what_was_thrown_and_never_raised_is_dropped():
    """The first ends the tasklet; the second comes too late."""

    class Thrown(overlapped.TaskletExit):
        pass

    tasklet = spawn(sleep, 10)
    sleep(0)
    first, second = Thrown("first"), Thrown("second")
    tasklet.throw(first)
    tasklet.throw(second)
    with pytest.raises(Thrown, match="first"):
        tasklet.result()
    gone = weakref.ref(second)
    del second
    assert gone() is None


def test_garbage_is_collected_while_tasklets_are_made():
    threshold = gc.get_threshold()
    gc.set_threshold(1)
    try:
        tasklets = [spawn(sleep, 0) for _ in range(300)]
    finally:
        gc.set_threshold(*threshold)
    for tasklet in tasklets:
        tasklet.join()


def test_tasklets_without_a_name_are_numbered_from_1(run_python):
    done = run_python("from overlapped import spawn\nprint(spawn(int).name, spawn(int).name)")
    assert done.stdout == "tasklet-1 tasklet-2\n"


def test_a_name_given_by_another_thread_is_that_tasklets_own() -> None:
    """And nobody else's, who has the same number on the other thread."""
    tasklet = overlapped.spawn(overlapped.sleep, 60)
    overlapped.sleep(0)
    others: list[Any] = []

    def elsewhere() -> None:
        mine = overlapped.spawn(overlapped.sleep, 60)
        overlapped.sleep(0)
        mine.name = "mine"
        tasklet.name = "named from outside"
        others.extend(listed["name"] for listed in overlapped.tasklets())
        mine.cancel()
        mine.join()

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert others == ["main", "mine"]
    overlapped.sleep(0.001)
    assert tasklet.name == "named from outside"
    assert "named from outside" in [listed["name"] for listed in overlapped.tasklets()]
    tasklet.cancel()
    tasklet.join()
