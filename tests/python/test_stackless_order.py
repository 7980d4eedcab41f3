"""`overlapped.stackless` beside a model of Stackless's ring: whatever tasklets do to each other, turns are the same.

Each tasklet has a script of random actions; the model says in which order they are done, who is refused and what is
received. A seed that fails replays: ``pytest -k "the_model_has and 17"``.
"""

from __future__ import annotations

import random
from typing import Any

import pytest

from overlapped import stackless
from overlapped.stackless import TaskletExit, channel, run, schedule, schedule_remove, tasklet

TASKLETS = 6
CHANNELS = 2
ACTIONS = ["schedule", "schedule", "remove_me", "insert", "insert", "remove", "run_", "switch", "kill", "send", "send"]

Script = list[tuple[str, int]]


def scripts(chance: random.Random) -> list[Script]:
    """What each tasklet does: actions, each on a tasklet or a channel."""

    def action() -> tuple[str, int]:
        name = chance.choice([*ACTIONS, "receive", "receive"])
        return name, chance.randrange(CHANNELS if name in ("send", "receive") else TASKLETS)

    return [[action() for _ in range(chance.randrange(3, 12))] for _ in range(TASKLETS)]


class Model:
    """The ring: the one that runs, and the queue. Blocked tasklets are in a channel's line, paused ones nowhere."""

    def __init__(self, scripts: list[Script], channels: list[tuple[int, bool]]) -> None:
        self.scripts = scripts
        self.preferences = channels
        self.lines: list[tuple[list[int], list[int]]] = [([], []) for _ in channels]
        """Who waits on each channel: those that send, those that receive."""
        self.queue = list(range(TASKLETS))
        self.steps = [0] * TASKLETS
        self.alive = [True] * TASKLETS
        self.gifts: dict[int, tuple[int, int]] = {}
        """What those that have received do not know yet."""
        self.log: list[Any] = []

    def run(self) -> list[Any]:
        while self.queue:
            self.me = self.queue.pop(0)
            while self.me >= 0:
                self.turn()
        return self.log

    def next(self) -> None:
        self.me = self.queue.pop(0) if self.queue else -1

    def turn(self) -> None:
        """The next action of the one that runs."""
        me = self.me
        if me in self.gifts:
            self.log.append((me, "got", self.gifts.pop(me)))
        step = self.steps[me]
        if step == len(self.scripts[me]):
            self.alive[me] = False
            self.log.append((me, "ends"))
            return self.next()
        self.steps[me] += 1
        name, on = self.scripts[me][step]
        self.log.append((me, name, on))
        if getattr(self, name)(on) is False:
            self.log.append((me, "refused"))

    def blocked(self, who: int) -> bool:
        return any(who in line for lines in self.lines for line in lines)

    def schedule(self, _: int) -> None:
        self.queue.append(self.me)
        self.next()

    def remove_me(self, _: int) -> None:
        self.next()

    def insert(self, who: int) -> bool | None:
        if not self.alive[who] or self.blocked(who):
            return False
        if who != self.me and who not in self.queue:
            self.queue.append(who)
        return None

    def remove(self, who: int) -> bool | None:
        if self.blocked(who) or who == self.me:
            return False
        if who in self.queue:
            self.queue.remove(who)
        return None

    def run_(self, who: int) -> bool | None:
        if who == self.me:
            return None
        if self.insert(who) is False:
            return False
        self.go_to(who)
        return None

    def switch(self, who: int) -> bool | None:
        if who == self.me:
            return None
        if self.insert(who) is False:
            return False
        self.go_to(who, pausing=True)
        return None

    def go_to(self, who: int, pausing: bool = False) -> None:
        at = self.queue.index(who)
        self.queue = [*self.queue[at + 1 :], *([] if pausing else [self.me]), *self.queue[:at]]
        self.me = who

    def kill(self, who: int) -> None:
        if not self.alive[who]:
            return
        self.alive[who] = False
        if who == self.me:
            self.log.append((who, "killed"))
            return self.next()
        for lines in self.lines:
            for line in lines:
                if who in line:
                    line.remove(who)
        if who not in self.queue:
            self.queue.append(who)
        self.go_to(who)
        # What it was given is lost.
        self.gifts.pop(who, None)
        if self.steps[who]:
            self.log.append((who, "killed"))
        self.next()

    def send(self, on: int) -> None:
        self.act(on, True)

    def receive(self, on: int) -> None:
        self.act(on, False)

    def act(self, on: int, sending: bool) -> None:
        senders, receivers = self.lines[on]
        preference, schedule_all = self.preferences[on]
        mine, others = (senders, receivers) if sending else (receivers, senders)
        if not others:
            mine.append(self.me)
            return self.next()
        other = others.pop(0)
        sender, receiver = (self.me, other) if sending else (other, self.me)
        self.gifts[receiver] = (sender, self.steps[sender])
        if schedule_all:
            self.queue += [other, self.me]
            self.next()
        elif preference == (-1 if sending else 1):
            self.queue.append(self.me)
            self.me = other
        else:
            self.queue.append(other)


class Real:
    """The same with tasklets."""

    def __init__(self, scripts: list[Script], channels: list[tuple[int, bool]]) -> None:
        self.log: list[Any] = []
        self.channels: list[channel[Any]] = [channel() for _ in channels]
        for each, (preference, schedule_all) in zip(self.channels, channels, strict=True):
            each.preference, each.schedule_all = preference, schedule_all
        self.tasklets = [tasklet(self.live)(me, script) for me, script in enumerate(scripts)]

    def run(self) -> list[Any]:
        run()
        log, self.log = self.log, []
        for each in self.tasklets:
            each.kill()
        assert all(each.balance == 0 and each.queue is None for each in self.channels)
        return log

    def live(self, me: int, script: Script) -> None:
        try:
            for step, (name, on) in enumerate(script, 1):
                self.log.append((me, name, on))
                try:
                    self.act(me, name, on, step)
                except RuntimeError:
                    self.log.append((me, "refused"))
            self.log.append((me, "ends"))
        except TaskletExit:
            self.log.append((me, "killed"))
            raise

    def act(self, me: int, name: str, on: int, step: int) -> None:
        if name == "schedule":
            schedule()
        elif name == "remove_me":
            schedule_remove()
        elif name == "send":
            self.channels[on].send((me, step))
        elif name == "receive":
            self.log.append((me, "got", self.channels[on].receive()))
        else:
            getattr(self.tasklets[on], name.rstrip("_"))()


@pytest.mark.parametrize("seed", range(40))
def test_the_turns_are_those_that_the_model_has(seed: int):
    chance = random.Random(seed)
    for _ in range(10):
        made = scripts(chance)
        channels = [(chance.choice([-1, 0, 1]), chance.random() < 0.2) for _ in range(CHANNELS)]
        real = Real(made, channels)
        assert stackless.getruncount() == TASKLETS + 1
        assert real.run() == Model(made, channels).run()
