"""Queues, with the interface of the standard library's."""

from __future__ import annotations

import queue
import threading
import time

import pytest

import overlapped
from overlapped import LifoQueue, PriorityQueue, Queue, TaskletExit, sleep, spawn


def test_order_of_each_kind():
    for kind, expected in ((Queue, [3, 1, 2]), (LifoQueue, [2, 1, 3]), (PriorityQueue, [1, 2, 3])):
        items = kind()
        for item in (3, 1, 2):
            items.put(item)
        assert [items.get() for _ in range(3)] == expected


def test_get_waits_for_put_and_put_for_room():
    items, log = Queue(2), []

    def produce():
        for number in range(6):
            items.put(number)
            log.append(("put", number))

    tasklet = spawn(produce)
    sleep(0)
    assert log == [("put", 0), ("put", 1)]
    assert items.full()
    assert items.qsize() == 2
    assert [items.get() for _ in range(6)] == list(range(6))
    tasklet.result()
    assert items.empty()


def test_full_and_empty_are_the_standard_ones():
    assert overlapped.Empty is queue.Empty
    assert overlapped.Full is queue.Full
    items = Queue(1)
    with pytest.raises(queue.Empty):
        items.get_nowait()
    with pytest.raises(queue.Empty):
        items.get(timeout=0.01)
    with pytest.raises(queue.Empty):
        items.get(False)
    items.put_nowait(1)
    with pytest.raises(queue.Full):
        items.put_nowait(2)
    with pytest.raises(queue.Full):
        items.put(2, timeout=0.01)
    with pytest.raises(queue.Full):
        items.put(2, False)
    for wait in (items.get, lambda timeout: items.put(1, timeout=timeout)):
        with pytest.raises(ValueError, match="non-negative"):
            wait(timeout=-1)
    assert items.get() == 1


def test_join_and_task_done():
    items, done = Queue(), []
    items.join()

    def consume():
        while True:
            item = items.get()
            sleep(0.001)
            done.append(item)
            items.task_done()

    consumers = [spawn(consume) for _ in range(3)]
    for number in range(10):
        items.put(number)
    items.join()
    assert sorted(done) == list(range(10))
    with pytest.raises(ValueError, match="too many"):
        items.task_done()
    for consumer in consumers:
        consumer.cancel()
        consumer.join()


def test_a_cancelled_getter_takes_no_item():
    items = Queue()
    getters = [spawn(items.get) for _ in range(2)]
    sleep(0)
    getters[0].cancel()
    items.put("item")
    assert isinstance(getters[0].exception(), TaskletExit)
    assert getters[1].result() == "item"


def test_deadlock_of_a_queue_that_nobody_fills():
    with pytest.raises(RuntimeError, match="Deadlock"):
        Queue().get()


@pytest.mark.parametrize("maxsize", [0, 1, 7])
def test_between_threads_and_tasklets(maxsize):
    items, each = Queue(maxsize), 500

    def produce(base):
        for number in range(each):
            items.put(base + number)

    threads = [threading.Thread(target=produce, args=(number * each,)) for number in range(3)]
    for thread in threads:
        thread.start()
    spawn(produce, 3 * each)
    got = [items.get(timeout=20) for _ in range(4 * each)]
    for thread in threads:
        thread.join()
    overlapped.run()
    assert sorted(got) == list(range(4 * each))
    for base in range(4):
        ours = [item for item in got if base * each <= item < (base + 1) * each]
        assert ours == sorted(ours)


def test_priority_queue_between_threads():
    class Item:
        def __init__(self, number):
            self.number = number

        def __lt__(self, other):
            # Of whatever is called in the middle of a change, another thread may come.
            time.sleep(0)
            return self.number < other.number

    items, each = PriorityQueue(), 200
    putting = lambda first: [items.put(Item(number)) for number in range(first + each, first, -1)]  # noqa: E731
    threads = [threading.Thread(target=putting, args=(first * each,)) for first in range(3)]
    for thread in threads:
        thread.start()
    early = [items.get(timeout=20).number for _ in range(each)]
    for thread in threads:
        thread.join()
    late = [items.get_nowait().number for _ in range(2 * each)]
    assert late == sorted(late)
    assert sorted(early + late) == list(range(1, 3 * each + 1))


def test_a_thousand_waiting_getters_are_served_in_order():
    items = Queue()
    getters = [spawn(items.get) for _ in range(1000)]
    sleep(0)
    for number in range(1000):
        items.put(number)
    assert [getter.result() for getter in getters] == list(range(1000))


def test_timeout_of_get_is_kept():
    started = time.perf_counter()
    other = spawn(sleep, 60)
    with pytest.raises(queue.Empty):
        Queue().get(timeout=0.03)
    assert 0.03 <= time.perf_counter() - started < 20
    other.cancel()
    overlapped.run()


def test_an_item_that_cannot_be_put_takes_no_room():
    items = PriorityQueue(2)
    items.put(1)
    with pytest.raises(TypeError):
        items.put("not a number")
    assert items.qsize() == 1
    items.put_nowait(2)
    assert [items.get(), items.get_nowait()] == [1, 2]
    assert items.empty()
    items.task_done()
    items.task_done()
    with overlapped.timeout(10):
        items.join()


def test_a_comparison_may_wait_while_others_put_and_get():
    class Item:
        def __init__(self, number):
            self.number = number

        def __lt__(self, other):
            sleep(0)
            return self.number < other.number

    items, got = PriorityQueue(), []
    numbers = [(place * 37) % 200 for place in range(200)]
    putters = [spawn(lambda part: [items.put(Item(number)) for number in part], numbers[k::4]) for k in range(4)]
    getters = [spawn(lambda: [got.append(items.get().number) for _ in range(40)]) for _ in range(4)]
    for tasklet in putters + getters:
        tasklet.result()
    left = [items.get_nowait().number for _ in range(items.qsize())]
    assert left == sorted(left)
    assert sorted(got + left) == sorted(numbers)
    assert items.empty()


@pytest.mark.parametrize("call", ["put", "get"])
@pytest.mark.parametrize("after", range(6))
def test_a_comparison_that_is_cancelled_leaves_the_queue_as_it_was(call, after):
    class Item:
        left = None

        def __init__(self, number):
            self.number = number

        def __lt__(self, other):
            if Item.left is not None:
                Item.left -= 1
                if Item.left < 0:
                    waiting.wait()
            return self.number < other.number

    waiting, items = overlapped.Event(), PriorityQueue(101)
    numbers = [(place * 37) % 100 for place in range(100)]
    for number in numbers:
        items.put(Item(number))
    Item.left = after
    half_way = spawn(items.put, Item(-1)) if call == "put" else spawn(items.get)
    sleep(0)
    assert half_way.alive
    half_way.cancel()
    assert isinstance(half_way.exception(), TaskletExit)
    Item.left = None
    assert items.qsize() == 100
    items.put_nowait(Item(100))
    assert items.full()
    assert [items.get_nowait().number for _ in range(101)] == [*sorted(numbers), 100]
    assert items.empty()
    with pytest.raises(queue.Empty):
        items.get_nowait()
