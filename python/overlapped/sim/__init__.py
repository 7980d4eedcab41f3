"""Programs in a simulated world: a network that delays, cuts and fails, time that passes without waiting, by a seed.

The program is the shipped one, on the shipped package: sockets, threads, locks and time-outs are those that run in
production. Under them, the kernel's sockets are ones that this process has in memory, and what they do beside what the
program asks for, :class:`Rules` say, and links between addresses (:func:`set_link`, :func:`partition`)::

    from overlapped import sim, socket

    def scene():
        listener = socket.create_server(("10.0.0.1", 80))
        overlapped.spawn(greet, listener)
        with socket.create_connection(("10.0.0.1", 80)) as client:
            assert client.recv(5) == b"hello"     # A mistake: a receive need not bring all.

    sim.explore(range(1000), scene)

ends with a :class:`Failure` that names the first seed with which the scene fails, and the shortest list of decisions
that was found with which it still does. :func:`run` runs one again: ``sim.run(17, scene)``, ``sim.run("d0*14,3",
scene)``.

What looks like threads is simulated too where the program is patched (:func:`overlapped.monkey.patch_all`). Whole
programs run in a world by ``python -m overlapped --sim 17 program.py``, and tests by ``pytest --overlapped-sim=1000``.

**What is simulated:** TCP and UDP by IPv4 and IPv6 (every address is there), over them :mod:`select`,
:mod:`selectors`, :mod:`asyncio` and TLS (:mod:`ssl`), time (:mod:`time`; in programs and tests :mod:`datetime` too),
names (:func:`set_name`, ``localhost``), randomness (:mod:`random`, :func:`os.urandom`, :mod:`secrets`, :mod:`uuid`), a
lack of descriptors, memory and disk, and the order of all completions. **What is not:** files, pipes and Unix sockets
are the system's, done at once and told of in any order; a program and a test write below one directory alone. Child
processes are refused there. OpenSSL's keys, and the date by which it checks a certificate, are real. Python's hash
seed is the process's: ``PYTHONHASHSEED`` (``--sim`` and the plugin see to it). The collector runs between runs and not
in them. A world has one thread of the system's, and Windows has none yet.

Rejected: to replay what a real network did, which shows it again and finds nothing; and a mode of the real sockets that
only perturbs them (that is ``--perturb``, for programs that cannot leave the real world).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

if sys.platform == "win32":
    raise ImportError("overlapped.sim: Windows has no simulated world yet; python -m overlapped --perturb works there")

from .. import _engine
from .._engine import Rules, heal_links, is_simulated, set_rules, stall
from .._engine import set_name as _set_name
from .._engine import world_note as note
from .._engine import world_random as random
from ._install import install as _install
from ._shrink import shortest as _of_fewest
from ._thread import Outcome
from ._thread import on_a_thread as _on_a_thread
from ._time import elapsed, jump

__all__ = [
    "Explored",
    "Failure",
    "Rules",
    "elapsed",
    "exhaust",
    "explore",
    "heal",
    "heal_links",
    "is_simulated",
    "jump",
    "note",
    "partition",
    "random",
    "run",
    "set_link",
    "set_name",
    "set_rules",
    "stall",
]

_R = TypeVar("_R")

LIMIT = 30.0
"""The real time that one run may take, in seconds, unless told."""


@dataclass(frozen=True)
class Explored:
    """What :func:`explore` has seen where nothing failed."""

    runs: int = 0
    """How many seeds were run."""
    elapsed: float = 0.0
    """How many seconds have passed in them, in all."""
    hash: int = 0
    """What everything that happened in them comes to: where the same seeds are run again, it is the same."""

    def _and(self, outcome: Outcome) -> Explored:
        turned = (self.hash << 5 | self.hash >> 59) & (1 << 64) - 1
        return Explored(self.runs + 1, self.elapsed + outcome.elapsed, turned ^ outcome.hash)


class Failure(AssertionError):
    """A scene has failed. What it raised is the cause."""

    origin: str
    """With what it did: the first seed, ``"seed 17"``, or the first way, ``"the way d0*3,1"``."""
    decisions: str
    """The shortest list of decisions that was found with which it does: for :func:`run`."""
    hash: int
    """What everything that happened with these comes to."""

    def __init__(self, origin: str, decisions: str, hash: int, cause: BaseException) -> None:
        super().__init__(
            f"{origin} fails: {type(cause).__name__}: {cause}\nrun it again with overlapped.sim.run({decisions!r}, …)"
        )
        self.origin, self.decisions, self.hash = origin, decisions, hash
        self.__cause__ = cause


def set_link(origin: str, to: str, *, is_down: bool = False, delay: float = 0.0, loss: int = 0) -> None:
    """What lies on the way from one address to another from now on.

    Args:
        origin: where bytes come from, an IPv4 or IPv6 address.
        to: where they go.
        is_down: nothing comes through: datagrams are lost, streams send again and again (RFC 9293), for a quarter of
            an hour.
        delay: so many seconds longer takes all that comes through.
        loss: one datagram in so many is lost; one segment of a stream in so many is sent again after a fifth of a
            second.
    """
    _engine.set_link(origin, to, is_down, delay, loss)


def partition(one: str, other: str) -> None:
    """Let nothing through between two addresses, in either direction, until :func:`heal`."""
    set_link(one, other, is_down=True)
    set_link(other, one, is_down=True)


def heal(one: str, other: str) -> None:
    """Let everything through between two addresses again."""
    set_link(one, other)
    set_link(other, one)


def set_name(name: str, *addresses: str) -> None:
    """Give addresses to a name."""
    _set_name(name.lower(), list(addresses))


def run(seed: int | str, function: Callable[[], _R], *, rules: Rules | None = None, limit: float = LIMIT) -> _R:
    """Run a function in a simulated world of its own, on a thread of its own; return what it returned.

    The calling thread waits, and all its tasklets with it. When the function has ended, tasklets that it has left are
    cancelled.

    Args:
        seed: what decides; or the decisions of an earlier run, as :class:`Failure` has them.
        function: what is to be run.
        rules: what happens in the world beside; :class:`Rules` () unless told.
        limit: how many seconds of real time it may take.

    Raises:
        RuntimeError: every tasklet waits for what can never come, or time does not pass; the thread is in a world
        already.
        TimeoutError: it has not ended within the limit.
    """
    _install()
    outcome = _on_a_thread(str(seed), rules or Rules(), function, limit)
    if outcome.error is not None:
        raise outcome.error
    return outcome.result  # type: ignore[no-any-return]


def explore(
    seeds: Iterable[int], scene: Callable[[], object], *, rules: Rules | None = None, limit: float = LIMIT
) -> Explored:
    """Run a scene under each of many seeds, until it fails with one.

    Args:
        seeds: the seeds, as ``range(1000)``.
        scene: what is to be run, each time in a world of its own: see :func:`run`.
        rules: as for :func:`run`.
        limit: as for :func:`run`, of each.

    Raises:
        Failure: it raised something, or every tasklet waits for what can never come.
    """
    _install()
    attempt = partial(_on_a_thread, rules=rules or Rules(), function=scene, limit=limit)
    explored = Explored()
    for seed in seeds:
        explored = _looked_at(f"seed {seed}", attempt(str(seed)), attempt, explored)
    return explored


def exhaust(
    scene: Callable[[], object], deviations: int = 1, *, rules: Rules | None = None, limit: float = LIMIT
) -> Explored:
    """Run a scene in every way that differs from the plain one in at most so many decisions, until it fails with one.

    In the plain way everything is told at once, in the order in which it happened, and nothing fails. What is drawn at
    random is always the same. The number of runs grows fast: with one deviation it is that of the decisions in a run,
    each as often as it can go another way (:meth:`Rules.steady`, the default here, has few), with two half of its
    square. (Bounding the deviations: Emmi, Qadeer, Rakamarić, "Delay-bounded scheduling", 2011.)

    Args:
        scene: as for :func:`explore`.
        deviations: in how many decisions.
        rules: as for :func:`run`; :meth:`Rules.steady` unless told.
        limit: as for :func:`explore`.

    Raises:
        Failure: as for :func:`explore`.
    """
    _install()
    attempt = partial(_on_a_thread, rules=rules or Rules.steady(), function=scene, limit=limit)
    explored = Explored()
    ways = [("d", deviations)]
    while ways:
        way, left = ways.pop()
        outcome = attempt(way, look_for_others=left > 0)
        explored = _looked_at(f"the way {way}", outcome, attempt, explored)
        ways += ((other, left - 1) for other in outcome.other_ways)
    return explored


def _looked_at(origin: str, outcome: Outcome, attempt: Callable[[str], Outcome], explored: Explored) -> Explored:
    """Count a run, where it has not failed."""
    if outcome.error is not None:
        raise _shortest(origin, outcome, attempt)
    return explored._and(outcome)


def _shortest(origin: str, outcome: Outcome, attempt: Callable[[str], Outcome]) -> Failure:
    """Look for fewer decisions with which it fails."""
    if isinstance(outcome.error, Exception) and not outcome.is_late:
        outcome = _of_fewest(outcome, attempt, lambda tried: tried.error is not None)
    assert outcome.error is not None
    return Failure(origin, outcome.decisions, outcome.hash, outcome.error)
