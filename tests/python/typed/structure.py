"""A user's program that says every public name of `overlapped` and what else the package has: checked, never run."""

from __future__ import annotations

import overlapped


def double(number: int) -> float:
    return 2.0 * number


def named(number: int, *, text: str) -> str:
    return text * number


def tasklets() -> None:
    one: overlapped.Tasklet[float] = overlapped.spawn(double, 2)
    other: overlapped.Tasklet[str] = overlapped.spawn(named, 2, text="x")
    one.name = "one"
    number: float = one.result(timeout=1.0)
    text: str = other.result()
    failure: BaseException | None = one.exception(timeout=1)
    one.join(timeout=0.5)
    if one.alive:
        one.throw(KeyError("thrown"))
        one.cancel()
    me: str = overlapped.current().name
    try:
        overlapped.sleep(0.1)
    except overlapped.TaskletExit:
        raise
    saved: float = overlapped.shield(double, 2)
    read: float = overlapped.offload(double, 3)
    with overlapped.uncancellable(), overlapped.no_preempt():
        overlapped.run(timeout=1.0)
    print(number, text, failure, me, saved, read)


def ends(members: list[overlapped.Tasklet[float]]) -> float:
    waited: overlapped.Waited[float] = overlapped.wait(members, timeout=1, count=2)
    done: list[overlapped.Tasklet[float]] = waited.done
    still: list[overlapped.Tasklet[float]] = waited.pending
    total = overlapped.first_completed(members).result() + len(done) + len(still)
    return total + sum(each.result() for each in overlapped.as_completed(members, timeout=3))


def groups() -> None:
    with overlapped.Group() as group:
        member: overlapped.Tasklet[float] = group.spawn(double, 2, name="member")
        group.cancel()
        print(member)
    was: bool = group.cancelled
    with overlapped.Pool(3) as pool:
        pool.spawn(double, 1).join()
        ordered: list[float] = list(pool.map(double, [1, 2]))
        unordered: set[float] = set(pool.map_unordered(double, [1, 2]))
        print(ordered, unordered)
    print(was, pool.limit, pool.cancelled, pool.cancel)


def times() -> None:
    with overlapped.timeout(2.5) as limit:
        limit.reschedule(None)
        left: float | None = limit.remaining
        given: float | None = limit.seconds
    for tick in overlapped.every(0.5):
        missed: int = tick
        print(missed, overlapped.every(1).interval)
    print(limit.expired, left, given)


def meetings(numbers: overlapped.Channel[int]) -> int:
    numbers.preference = 1
    numbers.send(1)
    numbers.send_exception(ValueError, "sent")
    numbers.throw(ValueError("thrown"))
    if numbers.balance or numbers.closing or numbers.closed:
        numbers.close()
        numbers.open()
    numbers.send(2, timeout=1.5)
    return numbers.receive() + numbers.receive(timeout=0.5) + sum(numbers)


def queues(orders: overlapped.Queue[str]) -> str:
    urgent: overlapped.PriorityQueue[tuple[int, str]] = overlapped.PriorityQueue(maxsize=3)
    last: overlapped.LifoQueue[str] = overlapped.LifoQueue()
    urgent.put((1, "order"), timeout=1)
    try:
        orders.put_nowait("order")
        last.put(orders.get_nowait(), block=False)
    except (overlapped.Empty, overlapped.Full, overlapped.ShutDown):
        raise
    while not orders.empty() and not orders.full() and not orders.closed:
        orders.task_done()
    orders.join()
    orders.close()
    orders.shutdown(immediate=True)
    for order in orders:
        print(order.upper(), orders.qsize(), orders.maxsize)
    return urgent.get()[1] + last.get(timeout=1)


def locks(condition: overlapped.Condition) -> None:
    lock, again = overlapped.Lock(), overlapped.RLock()
    with lock, again, condition, overlapped.Semaphore(3):
        held: bool = lock.locked()
        got: bool = condition.wait(timeout=1.0)
        length: int = condition.wait_for(lambda: len("text"), timeout=1)
        condition.notify(2)
        condition.notify_all()
    taken: bool = lock.acquire(timeout=1) and again.acquire(blocking=False) and condition.acquire()
    lock.release()
    again.release()
    condition.release()
    permits = overlapped.Semaphore(2)
    if permits.acquire(timeout=0.5) and permits.value == 1:
        permits.release(1)
    ready = overlapped.Event()
    if not ready.is_set():
        ready.set()
        ready.clear()
    in_time: bool = ready.wait(timeout=1)
    print(held, got, length, taken, in_time, overlapped.Condition(lock))


def barriers(barrier: overlapped.Barrier) -> None:
    try:
        place: int = barrier.wait(timeout=1)
        print(place, barrier.parties, barrier.n_waiting)
    except overlapped.BrokenBarrierError:
        barrier.reset()
    if not barrier.broken:
        barrier.abort()


def firsts(orders: overlapped.Queue[str], numbers: overlapped.Channel[int], one: overlapped.Tasklet[float]) -> None:
    stop, permits = overlapped.Event(), overlapped.Semaphore(1)
    which, value = overlapped.first_of(orders, numbers, one, stop, permits, overlapped.after(1), timeout=2)
    place: int = which
    overlapped.first_of(overlapped.putting(orders, "order"), overlapped.sending(numbers, 1))
    overlapped.first_of(overlapped.readable(0), overlapped.writable(1))
    offer = overlapped.sending(numbers, 2)
    print(offer.channel, offer.value, overlapped.readable(0).socket)
    print(place, value, overlapped.after(2).seconds, overlapped.putting(orders, "item").item)


def told() -> None:
    overlapped.configure(threads=4, cleanup=0.5)
    overlapped.watch(0.2)
    text: str = overlapped.explain() + overlapped.report() + overlapped.backend()
    waits: list[str] = [status["waits_for"] for status in overlapped.tasklets()]
    mine = overlapped.local()
    mine.value = 3
    print(text, waits)
