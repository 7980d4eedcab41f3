"""The first of several things is taken, and nothing of the others; and queues that are closed."""

from __future__ import annotations

import contextlib
import gc
import queue
import random
import threading
import weakref

import pytest

import overlapped
from overlapped import (
    Channel,
    Event,
    Full,
    LifoQueue,
    PriorityQueue,
    Queue,
    Semaphore,
    ShutDown,
    TaskletExit,
    after,
    first_of,
    putting,
    readable,
    sending,
    sleep,
    socket,
    spawn,
    ssl,
    writable,
)
from seeds import with_a_seed

QUEUES = [Queue, LifoQueue, PriorityQueue]


def test_each_kind_of_branch_is_first_when_it_comes_and_brings_what_it_has():
    channel, items, event, places = Channel(), Queue(), Event(), Semaphore(0)
    full = Queue(1)
    full.put(0)
    go = Event()
    tasklet = spawn(lambda: (go.wait(), "ended")[1])
    branches = [channel, items, event, places, tasklet, putting(full, 1)]
    for number, (make_ready, brings) in enumerate(
        [
            (lambda: channel.send("sent"), "sent"),
            (lambda: items.put("item"), "item"),
            (event.set, None),
            (places.release, None),
            (go.set, "ended"),
            (full.get, None),
        ]
    ):
        waiting = spawn(first_of, *branches)
        sleep(0)
        assert waiting.alive
        spawn(make_ready)
        assert waiting.result() == (number, brings)
        event.clear()
        if number == 4:
            branches[4] = Event()
    assert full.get_nowait() == 1
    assert places.value == 0
    assert channel.balance == 0


def test_of_several_that_are_ready_the_first_is_taken_and_the_others_keep_what_they_have():
    items, places, event = Queue(), Semaphore(1), Event()
    items.put("item")
    event.set()
    assert first_of(event, items, places) == (0, None)
    assert (items.qsize(), places.value) == (1, 1)
    assert first_of(items, places) == (0, "item")
    assert first_of(items, places) == (1, None)
    assert places.value == 0


def test_a_time_is_a_branch_and_a_timeout_is_an_error():
    event = Event()
    assert first_of(event, after(0.005)) == (1, None)
    assert first_of(after(60), event, after(0)) == (2, None)
    with pytest.raises(TimeoutError, match="none of 1"):
        first_of(event, timeout=0.001)


def test_what_a_branch_raises_is_raised():
    channel, closed = Channel(), Queue()
    closed.close()
    spawn(channel.send_exception, KeyError)
    with pytest.raises(KeyError):
        first_of(Event(), channel)
    channel.close()
    with pytest.raises(ValueError, match="closed"):
        first_of(Event(), channel)
    for branch in (closed, putting(closed, 1)):
        with pytest.raises(ShutDown):
            first_of(Event(), branch)
    with pytest.raises(ValueError, match="no branches"):
        first_of()
    with pytest.raises(TypeError, match="cannot wait for 'this'"):
        first_of("this")  # type: ignore[arg-type]


def test_who_is_cancelled_takes_nothing_and_leaves_nobody_waiting():
    channel, items, places = Channel(), Queue(), Semaphore(0)
    go = Event()
    tasklet = spawn(go.wait)
    waiting = spawn(first_of, channel, items, places, tasklet)
    sleep(0)
    assert channel.balance == -1
    waiting.cancel()
    assert isinstance(waiting.exception(), TaskletExit)
    assert channel.balance == 0
    items.put(1)
    places.release()
    assert (items.get_nowait(), places.acquire(False)) == (1, True)
    assert tasklet._watch(lambda _: None) == 1, "who has left is asked no more"
    go.set()
    tasklet.join()


def test_a_value_is_sent_by_the_branch_that_is_first_and_by_no_other():
    for which in range(3):
        one, other, event = Channel(), Channel(), Event()
        waiting = spawn(first_of, sending(one, "one"), sending(other, "other"), event)
        sleep(0)
        assert (one.balance, other.balance) == (1, 1)
        if which == 2:
            event.set()
        else:
            assert [one, other][which].receive() == ["one", "other"][which]
        assert waiting.result() == (which, None)
        assert (one.balance, other.balance) == (0, 0)


def test_who_would_send_meets_who_would_receive_but_not_itself():
    there, back, never = Channel(), Channel(), Event()
    waiting = spawn(first_of, back, sending(there, 1))
    sleep(0)
    assert first_of(sending(back, 2), there) == (0, None)
    assert waiting.result() == (0, 2)
    assert first_of(sending(there, 1), there, after(0.001)) == (2, None)
    there.close()
    with pytest.raises(ValueError, match="closed"):
        first_of(never, sending(there, 1))


def test_a_value_that_was_not_sent_is_let_go():
    class Value:
        pass

    value = Value()
    gone = weakref.ref(value)
    channel = Channel()
    waiting = spawn(first_of, sending(channel, value))
    del value
    sleep(0)
    assert gone() is not None
    waiting.cancel()
    waiting.join()
    del waiting
    gc.collect()
    assert gone() is None
    assert channel.balance == 0


def test_a_socket_is_a_branch_of_which_nothing_is_taken(listener, pair):
    one, other = pair
    stop = Event()
    assert first_of(readable(one), writable(one), stop) == (1, None)
    for number in range(3):
        waiting = spawn(first_of, readable(listener), readable(one), stop)
        sleep(0.001)
        assert waiting.alive
        if number == 0:
            socket.create_connection(listener.getsockname()).close()
        elif number == 1:
            other.sendall(b"hello")
        else:
            stop.set()
        assert waiting.result() == (number, None)
        if number == 0:
            listener.accept()[0].close()
        elif number == 1:
            assert one.recv(10) == b"hello"
    other.close()
    assert first_of(readable(one.fileno())) == (0, None)
    assert one.recv(10) == b""


def test_who_waits_for_a_socket_is_told_that_it_is_closed(pair):
    one, _ = pair
    waiting = spawn(first_of, Event(), readable(one))
    sleep(0.001)
    one.close()
    assert isinstance(waiting.exception(), OSError)
    with pytest.raises(OSError):
        first_of(Event(), readable(one))


def test_who_is_cancelled_waits_for_no_socket_any_more(pair):
    one, other = pair
    waiting = spawn(first_of, readable(one), readable(other))
    sleep(0.001)
    waiting.cancel()
    assert isinstance(waiting.exception(), TaskletExit)
    with pytest.raises(TimeoutError), overlapped.timeout(0.001):
        first_of(readable(one))
    assert "in flight: 0;" in overlapped.report()


def test_what_an_ssl_socket_has_decrypted_already_is_there():
    class Held:
        def pending(self):
            return 5

        def fileno(self):
            raise AssertionError("it is not asked")

    assert first_of(Event(), readable(Held())) == (1, None)
    assert hasattr(ssl.SSLSocket, "pending")


def test_an_unbounded_queue_has_room():
    items = Queue()
    assert first_of(Event(), putting(items, 5)) == (1, None)
    assert items.get() == 5


@pytest.mark.parametrize("make", QUEUES)
def test_a_closed_queue_gives_what_is_left_and_then_says_so(make):
    items = make()
    for number in range(3):
        items.put(number)
    items.close()
    items.close()
    assert items.closed
    with pytest.raises(ShutDown):
        items.put(4)
    assert sorted(items) == [0, 1, 2]
    for block in (True, False):
        with pytest.raises(ShutDown):
            items.get(block)
    assert list(items) == []


@pytest.mark.parametrize("make", QUEUES)
def test_all_that_wait_for_a_queue_are_told_that_it_is_closed(make):
    items, full = make(), make(1)
    full.put(0)
    waiting = [spawn(items.get) for _ in range(20)] + [spawn(full.put, 1) for _ in range(20)]
    sleep(0)
    items.close()
    full.close()
    assert all(isinstance(tasklet.exception(), ShutDown) for tasklet in waiting)
    assert list(full) == [0]


def test_who_waits_for_a_comparison_of_a_closed_queue_finds_an_item_or_is_told():
    compared, items = Event(), PriorityQueue()

    class Item:
        def __lt__(self, other):
            compared.wait()
            return id(self) < id(other)

    compared.set()
    for _ in range(3):
        items.put(Item())
    compared.clear()
    items.close()
    waiting = [spawn(items.get) for _ in range(4)]
    sleep(0)
    sleep(0)
    compared.set()
    assert [type(tasklet.exception()) for tasklet in waiting].count(ShutDown) == 1
    assert sum(isinstance(tasklet.exception(), type(None)) for tasklet in waiting) == 3


def test_full_is_said_before_it_is_closed_and_closed_afterwards():
    items = Queue(1)
    items.put(1)
    with pytest.raises(Full):
        items.put_nowait(2)
    items.close()
    with pytest.raises(ShutDown):
        items.put_nowait(2)


def test_shutdown_at_once_throws_away_what_is_left_as_if_it_were_done():
    items = Queue()
    items.put(1)
    items.put(2)
    items.shutdown(immediate=True)
    items.join()
    with pytest.raises(ShutDown):
        items.get()
    if hasattr(queue, "ShutDown"):
        assert ShutDown is queue.ShutDown


def test_a_queue_that_another_thread_closes_ends_the_iterations_over_it():
    items = Queue(4)
    tasklets = [spawn(list, items) for _ in range(3)]

    def produce():
        for number in range(300):
            items.put(number)
        items.close()

    thread = threading.Thread(target=produce)
    thread.start()
    taken = [tasklet.result() for tasklet in tasklets]
    overlapped.offload(thread.join)
    assert sorted(item for part in taken for item in part) == list(range(300))
    assert all(part == sorted(part) for part in taken)


def storm(seed: int) -> None:
    """Values go through channels and queues to those that wait for several at once, and are cancelled: none is lost."""
    chance = random.Random(seed)
    channels = [Channel() for _ in range(2)]
    queues = [Queue(chance.choice([0, 1, 3])) for _ in range(2)]
    sent, got, stop = [], [], Event()

    def receive():
        while True:
            if chance.randrange(4) == 0:
                with contextlib.suppress(TimeoutError):
                    got.append(channels[0].receive(timeout=chance.choice([0, 0.0005])))
            branches = [*channels, *queues]
            chance.shuffle(branches)
            if chance.randrange(4) == 0:
                branches.append(after(chance.choice([0, 0.0005])))
            which, value = first_of(*branches, stop)
            if which == len(branches):
                return
            if not isinstance(branches[which], after):
                got.append(value)

    def send(number):
        for step in range(10):
            value = (number, step)
            where = chance.choice([*channels, *queues])
            if isinstance(where, Channel):
                kind = chance.randrange(3)
                if kind == 0:
                    where.send(value)
                    sent.append(value)
                elif kind == 1:
                    with contextlib.suppress(TimeoutError):
                        where.send(value, timeout=chance.choice([0, 0.0005]))
                        sent.append(value)
                else:
                    offers = [sending(where, value), putting(chance.choice(queues), value), sending(channels[0], value)]
                    chance.shuffle(offers)
                    if first_of(*offers, after(chance.choice([0, 0.001])))[0] < 3:
                        sent.append(value)
            elif chance.randrange(2):
                where.put(value)
                sent.append(value)
            else:
                which, _ = first_of(putting(where, value), after(chance.choice([0, 0.001])))
                if which == 0:
                    sent.append(value)
            if chance.randrange(3) == 0:
                sleep(0)

    receivers = [spawn(receive) for _ in range(4)]
    senders = [spawn(send, number) for number in range(6)]
    while any(sender.alive for sender in senders):
        sleep(0.0002)
        place = chance.randrange(len(receivers))
        if chance.randrange(3) == 0:
            receivers[place].cancel()
            receivers[place] = spawn(receive)
    for sender in senders:
        sender.result()
    stop.set()
    for receiver in receivers:
        receiver.result()
    left = [where.get_nowait() for where in queues for _ in range(where.qsize())]
    assert sorted(sent) == sorted(got + left), set(sent) ^ set(got + left)


@pytest.mark.parametrize("round", range(30))
def test_storm(round):
    with_a_seed(storm)
