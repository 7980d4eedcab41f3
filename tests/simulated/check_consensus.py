"""Three nodes that agree on a value (single-decree Paxos: Lamport, "Paxos made simple", 2001) by datagrams, in plain
threads: a test for ``pytest --overlapped-sim``, in which ``FLAW`` plants a mistake."""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import threading
import time
from typing import Any

import pytest

from overlapped import sim

FLAW = os.environ.get("FLAW")
PORT = 5000
NODES = ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
MAJORITY = 1 if FLAW == "one is a majority" else 2


class Node:
    def __init__(self, index: int) -> None:
        self.index = index
        self.socket = socket.socket(type=socket.SOCK_DGRAM)
        self.socket.bind((NODES[index], PORT))
        self.promised = 0
        self.accepted: tuple[int, str] | None = None
        self.decided: str | None = None
        self.answers: dict[int, list[Any]] = {}
        self.changed = threading.Condition()
        threading.Thread(target=self.listen, daemon=True).start()
        threading.Thread(target=self.propose, daemon=True).start()

    def send(self, to: int, **message: Any) -> None:
        text = json.dumps({"of": self.index, **message}).encode()
        with contextlib.suppress(OSError):
            self.socket.sendto(text, (NODES[to], PORT))

    def listen(self) -> None:
        while True:
            message = json.loads(self.socket.recvfrom(1000)[0])
            with self.changed:
                self.take(**message)
                self.changed.notify_all()

    def take(self, of: int, what: str, ballot: int = 0, value: Any = None) -> None:
        if what == "prepare":
            if ballot > self.promised:
                self.promised = ballot
                self.send(of, what="answer", ballot=ballot, value=self.accepted)
        elif what == "accept":
            if ballot >= self.promised or FLAW == "a promise is forgotten":
                self.promised, self.accepted = ballot, (ballot, value)
                self.send(of, what="answer", ballot=-ballot, value=value)
        elif what == "answer":
            senders = self.answers.setdefault(ballot, [])
            if FLAW == "an answer counts twice" or all(other != of for other, _ in senders):
                senders.append((of, value))
        else:
            self.decided = value

    def gather(self, ballot: int) -> list[Any] | None:
        """What a majority answers, within a while."""
        with self.changed:
            enough = self.changed.wait_for(lambda: len(self.answers.get(ballot, ())) >= MAJORITY, 0.05)
            return self.answers[ballot] if enough else None

    def propose(self) -> None:
        ballot = self.index + 1
        while self.decided is None:
            time.sleep(random.random() / 10)
            ballot += len(NODES)
            for other in range(len(NODES)):
                self.send(other, what="prepare", ballot=ballot)
            promises = self.gather(ballot)
            if promises is None:
                continue
            value = f"of {self.index}"
            before = [tuple(accepted) for _, accepted in promises if accepted is not None]
            if before and FLAW != "what was accepted is not asked":
                value = max(before)[1]
            for other in range(len(NODES)):
                self.send(other, what="accept", ballot=ballot, value=value)
            if self.gather(-ballot) is not None:
                for other in range(len(NODES)):
                    self.send(other, what="decided", value=value)


@pytest.mark.overlapped_sim(rules=sim.Rules(loss=5, doubled=4, jitter=0.03))
def test_all_agree() -> None:
    nodes = [Node(index) for index in range(len(NODES))]
    decided: set[str] = set()
    for _ in range(1000):
        if random.random() < 0.2:
            sim.partition(*random.sample(NODES, 2))
        if random.random() < 0.2:
            sim.heal_links()
        time.sleep(0.05)
        decided |= {node.decided for node in nodes if node.decided is not None}
        assert len(decided) < 2, decided
        if all(node.decided is not None for node in nodes):
            return
    sim.heal_links()
    time.sleep(60)
    assert all(node.decided is not None for node in nodes), "nobody gets on"
