"""`overlapped.stackless`: the channel, each name of it and each rule of who runs on."""

from __future__ import annotations

import pickle
import sys
import threading
from typing import Any

import pytest

import overlapped
from overlapped import stackless
from overlapped.stackless import channel, getcurrent, run, schedule, tasklet


def receiver(log: list[Any], where: channel[Any], name: str = "") -> tasklet:
    """One that receives for ever."""

    def receive() -> None:
        while True:
            log.append((name, where.receive()) if name else where.receive())

    return tasklet(receive)()


def test_a_send_waits_for_a_receive_and_a_receive_for_a_send():
    log: list[Any] = []
    meeting: channel[int] = channel()
    sender = tasklet(meeting.send)(1)
    run()
    assert meeting.balance == 1 and sender.blocked and meeting.queue is sender
    assert meeting.receive() == 1 and meeting.balance == 0 and meeting.queue is None
    run()
    assert not sender.alive
    waiting = receiver(log, meeting)
    run()
    assert meeting.balance == -1 and meeting.queue is waiting
    meeting.send(2)
    assert log == [2]
    waiting.kill()
    assert meeting.balance == 0 and meeting.queue is None


def test_the_receiver_runs_at_once_by_default_and_the_sender_after_all_others():
    log: list[Any] = []
    meeting: channel[int] = channel()
    assert meeting.preference == -1
    waiting = receiver(log, meeting)
    run()
    tasklet(log.append)("other")
    meeting.send(1)
    assert log == [1, "other"]
    waiting.kill()


def test_with_preference_1_the_sender_runs_on():
    log: list[Any] = []
    meeting: channel[int] = channel()
    meeting.preference = 1
    waiting = receiver(log, meeting)
    run()
    tasklet(log.append)("other")
    meeting.send(1)
    assert log == []
    run()
    assert log == ["other", 1]
    waiting.kill()

    def sends() -> None:
        meeting.send(2)
        log.append("sender")

    tasklet(sends)()
    run()
    tasklet(log.append)("another")
    log.append(meeting.receive())
    assert log == ["other", 1, "sender", "another", 2]


def test_with_preference_0_whoever_came_second_runs_on():
    log: list[Any] = []
    meeting: channel[int] = channel()
    meeting.preference = 0
    waiting = receiver(log, meeting)
    run()
    meeting.send(1)
    assert log == []
    run()
    assert log == [1]
    waiting.kill()
    sender = tasklet(meeting.send)(2)
    run()
    assert meeting.receive() == 2 and sender.alive
    run()
    assert not sender.alive


@pytest.mark.parametrize("preference", [-1, 0, 1])
def test_schedule_all_lets_all_others_run_whatever_the_preference(preference: int):
    log: list[Any] = []
    meeting: channel[int] = channel()
    meeting.preference, meeting.schedule_all = preference, True
    waiting = receiver(log, meeting)
    run()
    tasklet(log.append)("other")
    meeting.send(1)
    assert log == ["other", 1] and meeting.preference == preference
    waiting.kill()
    tasklet(meeting.send)(2)
    run()
    tasklet(log.append)("another")
    assert meeting.receive() == 2
    assert log == ["other", 1, "another"]


def test_who_needs_not_wait_runs_on_however_often():
    """An engine's channel lets others run now and then; a program for Stackless counts on the order."""
    log: list[Any] = []
    meeting: channel[int] = channel()
    meeting.preference = 1
    for _ in range(200):
        tasklet(lambda: log.append(meeting.receive()))()
    run()
    for number in range(200):
        meeting.send(number)
    assert log == []
    run()
    assert log == list(range(200))


def test_the_queue_is_in_the_order_of_their_coming_and_goes_on_by_next():
    meeting: channel[int] = channel()
    waiting = [tasklet(meeting.receive)() for _ in range(3)]
    run()
    one, two, three = waiting
    assert meeting.queue is one and (one.next, two.next, three.next) == (two, three, None)
    assert (one.prev, two.prev, three.prev) == (None, one, two)
    two.kill()
    assert one.next is three and meeting.balance == -2
    meeting.send(1)
    assert not one.alive and meeting.queue is three
    meeting.send(2)


def test_send_exception_and_send_throw_raise_in_the_receiver():
    meeting: channel[int] = channel()
    tasklet(meeting.send_exception)(KeyError, 1, 2)
    with pytest.raises(KeyError) as caught:
        meeting.receive()
    assert caught.value.args == (1, 2)
    with pytest.raises(TypeError):
        meeting.send_exception(3)  # type: ignore[arg-type]

    def raises() -> None:
        raise ValueError("sent")

    def sends() -> None:
        try:
            raises()
        except ValueError:
            meeting.send_throw(*sys.exc_info())

    tasklet(sends)()
    with pytest.raises(ValueError, match="sent") as thrown:
        meeting.receive()
    assert "raises" in [entry.name for entry in thrown.traceback]
    tasklet(meeting.send_throw)(KeyError, "value")
    with pytest.raises(KeyError, match="value"):
        meeting.receive()


def test_send_sequence_sends_each_and_says_how_many():
    counts: list[int] = []
    meeting: channel[int] = channel()
    tasklet(lambda: counts.append(meeting.send_sequence(n * n for n in range(4))))()
    assert [meeting.receive() for _ in range(4)] == [0, 1, 4, 9]
    run()
    assert counts == [4]


def test_iteration_receives_until_the_channel_is_closed_and_nobody_waits():
    meeting: channel[int] = channel()

    def sends() -> None:
        meeting.send_sequence(range(3))
        meeting.close()

    meeting.preference = 1
    tasklet(sends)()
    assert list(meeting) == [0, 1, 2]


def test_a_closed_channel_lets_nobody_wait_and_those_that_do_can_be_met():
    meeting: channel[int] = channel()
    waiting = tasklet(meeting.send)(1)
    run()
    assert not meeting.closing and not meeting.closed
    meeting.close()
    assert meeting.closing and not meeting.closed
    assert meeting.receive() == 1 and meeting.closed
    run()
    assert not waiting.alive
    for act in (meeting.receive, lambda: meeting.send(1)):
        with pytest.raises(ValueError, match="closed"):
            act()
    meeting.open()
    assert not meeting.closing and not meeting.closed


def test_main_that_nobody_can_meet_is_told_of_the_deadlock():
    meeting: channel[int] = channel()
    waiting = receiver([], meeting)
    run()
    for act in (channel().receive, lambda: channel().send(1)):
        with pytest.raises(RuntimeError, match="Deadlock: the last runnable tasklet cannot be blocked"):
            act()
    waiting.kill()


def test_the_callback_is_told_of_each_action_before_it():
    log: list[Any] = []
    meeting: channel[int] = channel()

    def told(where: channel[int], who: tasklet, sending: bool, willblock: bool) -> None:
        assert where is meeting and who is getcurrent()
        log.append((sending, willblock))

    assert stackless.set_channel_callback(told) is None
    try:
        assert stackless.get_channel_callback() is told
        tasklet(meeting.send)(1)
        run()
        meeting.receive()
        run()
    finally:
        assert stackless.set_channel_callback(None) is told
    assert log == [(True, True), (False, False)]


def test_a_subclass_may_have_a_constructor_of_its_own():
    class Named(channel[int]):
        def __init__(self, name: str) -> None:
            self.name = name

    named = Named("line")
    tasklet(named.send)(1)
    assert named.name == "line" and named.receive() == 1
    run()


def test_a_channel_on_which_nobody_waits_can_be_pickled():
    meeting: channel[int] = channel()
    meeting.preference, meeting.schedule_all = 1, True
    meeting.close()
    copy = pickle.loads(pickle.dumps(meeting))
    assert (copy.preference, copy.schedule_all, copy.closing) == (1, True, True)
    meeting.open()
    tasklet(meeting.send)(1)
    run()
    with pytest.raises(TypeError, match="when nobody waits"):
        pickle.dumps(meeting)
    meeting.receive()
    run()


def test_a_channel_carries_between_threads():
    there: channel[int] = channel()
    back: channel[int] = channel()

    def other_thread() -> None:
        for number in there:
            back.send(number * number)
        back.close()

    thread = threading.Thread(target=other_thread)
    thread.start()
    squares = []
    for number in range(50):
        there.send(number)
        squares.append(back.receive())
    there.close()
    there.open()
    tasklet(lambda: (there.close(), there.send_exception(StopIteration)) if there.balance else there.close())()
    run()
    thread.join()
    assert squares == [number * number for number in range(50)]


def test_the_others_run_while_one_waits_for_the_port_and_one_on_a_channel():
    log: list[str] = []
    meeting: channel[str] = channel()

    def sleeps() -> None:
        overlapped.sleep(0.01)
        meeting.send("slept")

    def counts() -> None:
        for _ in range(3):
            log.append("tick")
            schedule()

    tasklet(lambda: log.append(meeting.receive()))()
    tasklet(sleeps)()
    tasklet(counts)()
    run()
    assert log == ["tick", "tick", "tick", "slept"]
