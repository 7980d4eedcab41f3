"""Channels have Stackless's semantics: rendezvous, balance, preference, close, exceptions, deadlock."""

from __future__ import annotations

import threading
import weakref

import pytest

import overlapped
from overlapped import Channel, TaskletExit, sleep, spawn


def test_send_waits_for_a_receiver():
    channel, order = Channel(), []

    def sender():
        order.append("sending")
        channel.send("value")
        order.append("sent")

    spawn(sender)
    sleep(0)
    assert order == ["sending"]
    assert channel.balance == 1
    assert channel.receive() == "value"
    assert channel.balance == 0
    overlapped.run()
    assert order == ["sending", "sent"]


def test_a_time_that_is_up_has_sent_nothing_and_taken_nothing():
    channel = Channel()
    for seconds in (0.001, 0, -1):
        with pytest.raises(TimeoutError, match="no receiver has come"):
            channel.send("late", timeout=seconds)
        with pytest.raises(TimeoutError, match="no sender has come"):
            channel.receive(seconds)
        assert channel.balance == 0
    receiver = spawn(channel.receive, timeout=60)
    sleep(0)
    channel.send("in time", 60)
    assert receiver.result() == "in time"
    sender = spawn(channel.send, "there", timeout=60)
    sleep(0)
    assert channel.receive(timeout=0) == "there"
    sender.result()
    with pytest.raises(ValueError, match="NaN"):
        channel.receive(float("nan"))


def test_who_is_out_of_time_leaves_the_others_in_their_order():
    channel = Channel()
    patient = [spawn(channel.receive) for _ in range(2)]
    hasty = spawn(channel.receive, timeout=0.001)
    last = spawn(channel.receive, timeout=60)
    assert isinstance(hasty.exception(), TimeoutError)
    for number in range(3):
        channel.send(number)
    assert [tasklet.result() for tasklet in [*patient, last]] == [0, 1, 2]


def test_receive_waits_for_a_sender():
    channel = Channel()
    receivers = [spawn(channel.receive) for _ in range(3)]
    sleep(0)
    assert channel.balance == -3
    for value in "abc":
        channel.send(value)
    assert [receiver.result() for receiver in receivers] == ["a", "b", "c"]
    assert channel.balance == 0


def test_values_are_passed_not_copied():
    channel, value = Channel(), object()
    spawn(channel.send, value)
    assert channel.receive() is value


@pytest.mark.parametrize("waits_first", ["receiver", "sender"])
@pytest.mark.parametrize("preference", [-1, 0, 1])
def test_preference_tells_who_runs_on(preference, waits_first):
    """-1: the receiver, 1: the sender, 0: nobody is switched to, so whoever came second runs on."""
    channel, order = Channel(), []
    channel.preference = preference

    def sender():
        channel.send(None)
        order.append("sender")

    def receiver():
        channel.receive()
        order.append("receiver")

    first, second = (receiver, sender) if waits_first == "receiver" else (sender, receiver)
    spawn(first)
    sleep(0)
    spawn(second)
    spawn(order.append, "bystander")
    overlapped.run()
    runs_on = {-1: "receiver", 1: "sender", 0: second.__name__}[preference]
    assert order[0] == runs_on
    assert sorted(order) == ["bystander", "receiver", "sender"]


def test_preferred_receiver_runs_at_once_and_the_sender_after_the_ready():
    channel, order = Channel(), []

    def receiver():
        channel.receive()
        order.append("receiver")

    spawn(receiver)
    sleep(0)
    spawn(order.append, "bystander")
    channel.send(None)
    order.append("sender")
    assert order == ["receiver", "bystander", "sender"]


def test_preference_is_clamped():
    channel = Channel()
    assert channel.preference == -1
    for given, kept in ((7, 1), (-7, -1), (0, 0)):
        channel.preference = given
        assert channel.preference == kept
    with pytest.raises(TypeError):
        channel.preference = "receiver"


def test_close_refuses_both_sides():
    channel = Channel()
    channel.close()
    assert channel.closing
    assert channel.closed
    with pytest.raises(ValueError, match="closed"):
        channel.send(1)
    with pytest.raises(ValueError, match="closed"):
        channel.receive()


def test_closing_lets_those_that_wait_be_met():
    channel = Channel()
    senders = [spawn(channel.send, number) for number in range(3)]
    sleep(0)
    channel.close()
    assert channel.closing
    assert not channel.closed
    with pytest.raises(ValueError, match="closed"):
        channel.send("too late")
    assert [channel.receive() for _ in range(3)] == [0, 1, 2]
    assert channel.closed
    for sender in senders:
        sender.result()
    with pytest.raises(ValueError, match="closed"):
        channel.receive()


def test_open_again():
    channel = Channel()
    channel.close()
    channel.open()
    assert not channel.closing
    assert not channel.closed
    spawn(channel.send, 1)
    assert channel.receive() == 1


def test_iteration_ends_when_the_channel_is_closed():
    channel = Channel()
    channel.preference = 1  # else the receiver is back, and waits, before the close

    def sender():
        for number in range(5):
            channel.send(number)
        channel.close()

    spawn(sender)
    assert list(channel) == [0, 1, 2, 3, 4]
    assert list(channel) == []


def test_iteration_is_ended_by_a_stop_that_is_sent():
    channel = Channel()

    def sender():
        for number in range(5):
            channel.send(number)
        channel.send_exception(StopIteration)

    spawn(sender)
    assert list(channel) == [0, 1, 2, 3, 4]
    spawn(sender)
    assert list(channel) == [0, 1, 2, 3, 4]


def test_iteration_takes_what_waits_after_the_close():
    channel = Channel()
    for number in range(4):
        spawn(channel.send, number)
    sleep(0)
    channel.close()
    assert list(channel) == [0, 1, 2, 3]


def test_a_receiver_that_waits_in_an_iteration_is_met_after_the_close():
    channel = Channel()
    taken = spawn(list, channel)
    sleep(0)
    channel.close()
    assert channel.closing
    assert not channel.closed
    channel.send("last")
    assert channel.closed
    assert taken.result() == ["last"]


def test_send_exception_raises_in_the_receiver():
    channel = Channel()
    spawn(channel.send_exception, LookupError, "what", 2)
    with pytest.raises(LookupError) as caught:
        channel.receive()
    assert caught.value.args == ("what", 2)


def test_send_exception_waits_as_send_does():
    channel = Channel()
    tasklet = spawn(channel.send_exception, KeyError)
    sleep(0)
    assert channel.balance == 1
    with pytest.raises(KeyError):
        channel.receive()
    tasklet.result()


def test_send_exception_needs_an_exception():
    for wrong in (int, str, 3):
        with pytest.raises(TypeError, match="exception"):
            Channel().send_exception(wrong)


def test_deadlock_in_receive_and_send():
    channel = Channel()
    with pytest.raises(RuntimeError, match="Deadlock"):
        channel.receive()
    assert channel.balance == 0
    with pytest.raises(RuntimeError, match="Deadlock"):
        channel.send(1)
    assert channel.balance == 0


def test_deadlock_is_told_to_main_alone():
    channel, other = Channel(), Channel()
    tasklet = spawn(channel.receive)
    with pytest.raises(RuntimeError, match="Deadlock"):
        other.receive()
    assert tasklet.alive
    channel.send("still waiting")
    assert tasklet.result() == "still waiting"


def test_what_a_thread_has_left_that_has_ended_is_no_deadlock():
    semaphore = overlapped.Semaphore(0)
    tasklet = spawn(semaphore.acquire)
    sleep(0)
    thread = threading.Thread(target=semaphore.release)
    thread.start()
    thread.join()
    assert tasklet.result()


def test_no_deadlock_while_a_timer_runs():
    channel = Channel()

    def later():
        sleep(0.01)
        channel.send("in time")

    spawn(later)
    assert channel.receive() == "in time"


@pytest.mark.parametrize("method", ["send", "receive"])
def test_a_cancelled_waiter_leaves_the_channel(method):
    channel = Channel()
    tasklet = spawn(channel.send, 1) if method == "send" else spawn(channel.receive)
    sleep(0)
    assert abs(channel.balance) == 1
    tasklet.cancel()
    assert isinstance(tasklet.exception(), TaskletExit)
    assert channel.balance == 0


def test_a_value_that_was_met_is_not_lost_by_a_cancel():
    """A rendezvous that has happened stands: the receiver has its value, and the cancel comes at its next wait."""
    channel, got = Channel(), []

    def receiver():
        got.append(channel.receive())
        sleep(60)

    channel.preference = 1
    tasklet = spawn(receiver)
    sleep(0)
    channel.send("value")
    tasklet.cancel()
    assert isinstance(tasklet.exception(), TaskletExit)
    assert got == ["value"]


def test_a_chain_of_a_thousand_channels():
    first = source = Channel()

    def forward(source, target):
        for value in source:
            target.send(value + 1)
        target.send_exception(StopIteration)

    for _ in range(1000):
        target = Channel()
        spawn(forward, source, target)
        source = target

    def feed():
        for number in range(5):
            first.send(number)
        first.send_exception(StopIteration)

    spawn(feed)
    assert list(source) == [1000, 1001, 1002, 1003, 1004]


def test_ping_pong_many_times():
    ping, pong = Channel(), Channel()

    def player():
        for number in ping:
            pong.send(number)

    spawn(player)
    for number in range(20_000):
        ping.send(number)
        assert pong.receive() == number
    ping.send_exception(StopIteration)


def test_subclass_weak_reference_and_repr():
    class Pipe(Channel):
        def put(self, value):
            self.send(value)

    pipe = Pipe()
    spawn(pipe.put, 3)
    assert pipe.receive() == 3
    assert weakref.ref(pipe)() is pipe
    assert repr(pipe) == "<Channel balance=0 closing=False>"
    assert Channel[int] is not None


@pytest.mark.parametrize("direction", ["to the main thread", "from the main thread"])
def test_between_threads(direction):
    channel, count = Channel(), 2000

    def send():
        for number in range(count):
            channel.send(number)

    def receive():
        got.extend(channel.receive() for _ in range(count))

    got: list[int] = []
    here, there = (receive, send) if direction == "to the main thread" else (send, receive)
    thread = threading.Thread(target=there)
    thread.start()
    here()
    thread.join()
    assert got == list(range(count))
    assert channel.balance == 0


def test_many_threads_on_one_channel():
    channel, threads, each = Channel(), 8, 300
    got = []
    started = [
        threading.Thread(target=lambda base=number * each: [channel.send(base + n) for n in range(each)])
        for number in range(threads)
    ]
    for thread in started:
        thread.start()
    receivers = [spawn(lambda: [channel.receive() for _ in range(each)]) for _ in range(threads)]
    for receiver in receivers:
        got += receiver.result()
    for thread in started:
        thread.join()
    assert sorted(got) == list(range(threads * each))
