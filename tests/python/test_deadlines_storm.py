"""A storm of deadlines in one another, shields, kills and values on their way: nothing is left, lost or doubled."""

from __future__ import annotations

import random

import pytest

from overlapped import Channel, Event, Queue, TaskletExit, shield, sleep, spawn, timeout, uncancellable
from seeds import with_a_seed


class Kill(Exception):
    """Thrown into a tasklet, which lives on."""


class Step:
    """What a tasklet of the storm does, at random: waits within deadlines that lie in one another."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.channel: Channel[int] = Channel()
        self.queue: Queue[int] = Queue(2)
        self.never = Event()
        self.numbers = iter(range(1 << 30))
        self.given: list[int] = []
        self.taken: list[int] = []
        self.fired = 0
        self.kills = 0

    def wait(self) -> None:
        """One wait; what it gives or takes is noted where it has."""
        kind = self.chance.randrange(5)
        if kind == 0:
            number = next(self.numbers)
            self.channel.send(number)
            self.given.append(number)
        elif kind == 1:
            self.taken.append(self.channel.receive())
        elif kind == 2:
            number = next(self.numbers)
            self.queue.put(number)
            self.given.append(number)
        elif kind == 3:
            self.taken.append(self.queue.get())
        else:
            self.never.wait(self.chance.choice([0, 0.0005]))

    def nest(self, depth: int) -> None:
        """Waits, within so many deadlines more; here and there sheltered from those outside, and from kills."""
        if depth == 0:
            try:
                for _ in range(self.chance.randrange(4)):
                    self.wait()
            except BaseException:
                # Who makes nothing of it is out of time all the same.
                if self.chance.randrange(4):
                    raise
            return
        match self.chance.randrange(6):
            case 0:
                with uncancellable():
                    self.limit(depth)
            case 1:
                shield(self.limit, depth, True)
            case _:
                self.limit(depth)

    def limit(self, depth: int, is_sheltered: bool = False) -> None:
        """A ``TimeoutError`` is of the deadline whose body it ends, and no other says so."""
        limit = timeout(self.chance.choice([0.0002, 0.001, 0.003]))
        try:
            with limit:
                self.nest(depth - 1)
        except TimeoutError as error:
            assert limit.expired and str(error) == f"timed out after {limit.seconds} s"
            self.fired += 1
        except BaseException as error:
            assert not limit.expired, "what ends it is of an outer one"
            assert isinstance(error, AssertionError) or not is_sheltered, "a kill is of the one that it was thrown into"
            raise
        else:
            assert not limit.expired

    def work(self) -> None:
        for _ in range(6):
            try:
                self.nest(3)
            except Kill:
                self.kills += 1


def storm(seed: int) -> None:
    chance = random.Random(seed)
    step = Step(chance)
    tasklets = [spawn(step.work) for _ in range(8)]
    while any(tasklet.alive for tasklet in tasklets):
        sleep(0.0003)
        match chance.randrange(6):
            case 0:
                chance.choice(tasklets).cancel()
            case 1 | 2:
                chance.choice(tasklets).throw(Kill)
    for tasklet in tasklets:
        failure = tasklet.exception()
        # One that is killed before it has begun has nobody to take it.
        assert failure is None or isinstance(failure, TaskletExit | Kill), failure
    left = [step.queue.get_nowait() for _ in range(step.queue.qsize())]
    assert step.channel.balance == 0 and step.fired > 0
    assert sorted(step.given) == sorted(step.taken + left), set(step.given) ^ set(step.taken + left)


@pytest.mark.parametrize("round", range(20))
def test_storm(round: int) -> None:
    with_a_seed(storm)
