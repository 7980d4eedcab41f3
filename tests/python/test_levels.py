"""A cancel and a time-out are levels: told at every wait until the tasklet has ended, or the block has been left."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading

import pytest

import overlapped
from load import crowd
from overlapped import Event, TaskletExit, sleep, spawn, timeout, uncancellable
from overlapped._engine import Lock, RLock

TIMES = 5


def test_a_cancel_that_is_swallowed_is_raised_by_every_further_wait():
    told, gate, lock = [], Event(), Lock()
    lock.acquire()

    def work():
        for wait in (lambda: sleep(60), gate.wait, lock.acquire, overlapped.Queue().get, lambda: sleep(0)):
            try:
                wait()
            except BaseException as error:
                told.append(error)
        return "ended by itself"

    tasklet = spawn(work)
    sleep(0)
    tasklet.cancel()
    assert tasklet.result() == "ended by itself"
    assert len(told) == TIMES and isinstance(told[0], TaskletExit) and len(set(map(id, told))) == 1


def test_a_swallowed_time_out_is_raised_by_every_further_wait_and_by_the_block():
    told = []
    with pytest.raises(TimeoutError), timeout(0.005) as limit:
        for _ in range(TIMES):
            try:
                sleep(60)
            except BaseException as error:
                told.append(error)
    assert limit.expired and len(told) == TIMES
    sleep(0)  # the block has been left


def test_each_nested_time_out_has_a_level_of_its_own():
    with timeout(60) as outer:
        for _ in range(2):
            with pytest.raises(TimeoutError), timeout(0.005) as inner:
                with contextlib.suppress(BaseException):
                    sleep(60)
                sleep(60)
            assert inner.expired
        sleep(0)
    assert not outer.expired
    with pytest.raises(TimeoutError), timeout(0.005) as outer, timeout(60) as inner:
        with contextlib.suppress(BaseException):
            sleep(60)
        sleep(60)
    assert outer.expired and not inner.expired


def test_an_exception_of_the_bodys_own_passes_a_time_out_that_was_told():
    with pytest.raises(KeyError), timeout(0.005) as limit:
        try:
            sleep(60)
        except BaseException:
            raise KeyError("of its own") from None
    assert limit.expired


def test_others_run_while_a_tasklet_swallows_its_cancel_without_end():
    done = []

    def stubborn():
        while not done:
            with contextlib.suppress(BaseException):
                sleep(60)

    tasklet = spawn(stubborn)
    sleep(0)
    tasklet.cancel()
    sleep(0.005)
    done.append(True)
    tasklet.join()
    assert not tasklet.alive


@contextlib.contextmanager
def goodbye(said):
    try:
        yield
    finally:
        sleep(0.001)
        said.append("context manager")


def test_what_runs_because_of_the_exception_may_wait():
    said = []

    def work():
        try:
            with goodbye(said):
                try:
                    try:
                        sleep(60)
                    finally:
                        sleep(0.001)
                        said.append("finally")
                except TaskletExit:
                    try:
                        raise KeyError("while it is handled")
                    except KeyError:
                        sleep(0.001)
                        said.append("except in except")
                    raise
        except TaskletExit:
            for _ in range(TIMES):
                sleep(0.001)
            said.append("except")
        sleep(60)

    tasklet = spawn(work)
    sleep(0)
    tasklet.cancel()
    sleep(0)
    tasklet.cancel()  # changes nothing
    assert isinstance(tasklet.exception(), TaskletExit)
    assert said == ["finally", "except in except", "context manager", "except"]


def test_whoever_handles_the_exit_of_another_tasklet_can_be_cancelled():
    def work():
        other = spawn(sleep, 60)
        sleep(0)
        other.cancel()
        try:
            other.result()
        except TaskletExit:
            sleep(60)

    tasklet = spawn(work)
    sleep(0.005)
    tasklet.cancel()
    assert isinstance(tasklet.exception(2), TaskletExit)  # sooner than the cleanup limit


def test_cleanup_for_a_time_out_is_told_of_a_cancel():
    def work():
        with timeout(0.001):
            try:
                sleep(60)
            finally:
                sleep(60)

    tasklet = spawn(work)
    sleep(0.01)
    tasklet.cancel()
    assert isinstance(tasklet.exception(2), TaskletExit)


def test_uncancellable_code_waits_and_is_told_behind_it():
    steps = []

    def work():
        with uncancellable():
            with uncancellable():
                sleep(0.001)
            sleep(0.001)
            steps.append("masked")
            with pytest.raises(TimeoutError), timeout(0.001):
                sleep(60)
            steps.append("a time-out inside counts")
        sleep(60)
        steps.append("never")

    tasklet = spawn(work)
    sleep(0)
    tasklet.cancel()
    assert isinstance(tasklet.exception(), TaskletExit)
    assert steps == ["masked", "a time-out inside counts"]


def test_an_uncancellable_block_is_left_by_whoever_entered_it():
    block = uncancellable()
    spawn(block.__enter__).join()
    with pytest.raises(RuntimeError, match="the tasklet that entered it"):
        block.__exit__(None, None, None)


def test_finalizers_at_the_end_of_a_cancelled_tasklet_may_wait():
    said = []

    class Waits:
        def __call__(self):
            with contextlib.suppress(TaskletExit):
                sleep(60)

        def __del__(self):
            sleep(0.001)
            said.append("finalizer")

    tasklet = spawn(Waits())
    sleep(0)
    tasklet.cancel()
    tasklet.join()
    assert said == ["finalizer"]


@pytest.mark.parametrize("kind", [Lock, RLock])
def test_a_condition_is_left_with_its_lock_taken(kind):
    """By the standard library's own code, which takes the lock again whatever came: here another has it by then."""
    condition, said = threading.Condition(kind()), []

    def swallow_and_wait():
        with condition:
            saved = condition._release_save()
            with contextlib.suppress(TaskletExit):
                sleep(60)
            condition._acquire_restore(saved)
            said.append(condition._is_owned())

    tasklet = spawn(swallow_and_wait)
    sleep(0)
    condition.acquire()
    tasklet.cancel()
    sleep(0.005)
    assert not said and tasklet.alive
    condition.release()
    tasklet.join()
    assert said == [True] and condition.acquire(False)


def test_a_throw_is_raised_once():
    def work():
        with contextlib.suppress(KeyError):
            sleep(60)
        sleep(0.001)
        return "went on"

    tasklet = spawn(work)
    sleep(0)
    tasklet.throw(KeyError)
    assert tasklet.result() == "went on"


def test_the_main_tasklet_is_cancelled_once():
    spawn(overlapped.current().cancel)
    with pytest.raises(TaskletExit):
        sleep(60)
    sleep(0.001)


def test_a_tasklet_that_cancels_itself_is_told_at_once():
    steps = []

    def work():
        with uncancellable():
            overlapped.current().cancel()
            steps.append("masked")
        for _ in range(2):
            try:
                overlapped.current().cancel()
            except TaskletExit:
                steps.append("told")

    spawn(work).join()
    assert steps == ["masked", "told", "told"]


def test_a_time_out_taken_back_by_another_thread_stands_no_longer():
    def limited():
        with contextlib.suppress(TimeoutError), timeout(0.001):
            yield

    generator = limited()
    next(generator)
    with pytest.raises(BaseException, match="a generator was suspended in it"):
        sleep(60)
    thread = threading.Thread(target=generator.close)
    thread.start()
    thread.join()
    for _ in range(TIMES):
        sleep(0.001)


LATE = """
import time, overlapped
overlapped.configure(cleanup=0.05)
def work(how):
    try:
        overlapped.sleep(60)
    finally:
        if how == "masked":
            with overlapped.uncancellable():
                overlapped.sleep(60)
        overlapped.sleep(60)
for how in "handled", "masked":
    tasklet = overlapped.spawn(work, how)
    overlapped.sleep(0)
    tasklet.cancel()
    print(type(tasklet.exception(20)).__name__)
"""


def test_past_the_cleanup_limit_cleanup_is_told_too():
    done = subprocess.run([sys.executable, "-c", LATE], capture_output=True, text=True, timeout=60 * crowd())
    assert done.stdout.split() == ["TaskletExit", "TaskletExit"], done.stderr
