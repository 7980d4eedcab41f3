"""The costs of structure, in nanoseconds: `structure.py overlapped|gevent|trio|threads`.

Prints `group` (one of a hundred members that return at once: begun, waited for, left), `first` (a wait for the first of
two events, of which another sets one) and `condition` (a turn of two that hand it on through one condition).
What a library does not have is left out: threads cannot wait for the first of two things. With gevent the condition is
that of threading over gevent's locks, as a patched program has it.
"""

import json
import sys
from collections.abc import Callable

from measured import Laps

MEMBERS = 100
FIRSTS = 1000
TURNS = 2000


def nothing() -> int:  # in Python, as a real one is: a builtin would need no frame
    return 0


def groups(members: Callable[[], None]) -> Laps:
    laps = Laps(MEMBERS)
    for _ in laps:
        members()
    return laps


def firsts(spawn: Callable, event: Callable, first: Callable, end: Callable) -> Laps:
    """`first` waits for the first of two events, `end` for what `spawn` has started."""

    def sets() -> None:
        for number in range(FIRSTS):
            begun[number].wait()
            pairs[number][number % 2].set()

    laps = Laps(FIRSTS)
    for _ in laps:
        pairs = [(event(), event()) for _ in range(FIRSTS)]
        begun = [event() for _ in range(FIRSTS)]
        other = spawn(sets)
        for number, pair in enumerate(pairs):
            begun[number].set()
            first(*pair)
            assert pair[number % 2].is_set()
        end(other)
    return laps


def conditions(spawn: Callable, condition: Callable, end: Callable) -> Laps:
    def turns(mine: int) -> None:
        with shared:
            for _ in range(TURNS // 2):
                while whose[0] != mine:
                    shared.wait()
                whose[0] = 1 - mine
                shared.notify()

    laps = Laps(TURNS)
    for _ in laps:
        shared, whose = condition(), [0]
        other = spawn(lambda: turns(1))
        turns(0)
        end(other)
    return laps


def overlapped() -> dict[str, Laps]:
    import overlapped

    def members() -> None:
        with overlapped.Group() as group:
            for _ in range(MEMBERS):
                group.spawn(nothing)

    end = overlapped.Tasklet.join
    return {
        "group": groups(members),
        "first": firsts(overlapped.spawn, overlapped.Event, overlapped.first_of, end),
        "condition": conditions(overlapped.spawn, overlapped.Condition, end),
    }


def gevent() -> dict[str, Laps]:
    from gevent import monkey

    monkey.patch_all()
    import threading

    import gevent
    from gevent.event import Event
    from gevent.pool import Group

    def members() -> None:
        group = Group()
        for _ in range(MEMBERS):
            group.spawn(nothing)
        group.join()

    end = gevent.Greenlet.join
    return {
        "group": groups(members),
        "first": firsts(gevent.spawn, Event, lambda *events: gevent.wait(events, count=1), end),
        "condition": conditions(gevent.spawn, threading.Condition, end),
    }


def threads() -> dict[str, Laps]:
    import threading

    def spawn(function: Callable[[], object]) -> threading.Thread:
        made = threading.Thread(target=function)
        made.start()
        return made

    def members() -> None:
        for member in [spawn(nothing) for _ in range(MEMBERS)]:
            member.join()

    end = threading.Thread.join
    return {"group": groups(members), "condition": conditions(spawn, threading.Condition, end)}


def trio() -> dict[str, Laps]:
    import trio

    async def nothing() -> int:
        return 0

    async def group() -> Laps:
        laps = Laps(MEMBERS)
        for _ in laps:
            async with trio.open_nursery() as nursery:
                for _ in range(MEMBERS):
                    nursery.start_soon(nothing)
        return laps

    async def first() -> Laps:
        async def sets() -> None:
            for number in range(FIRSTS):
                await begun[number].wait()
                pairs[number][number % 2].set()

        async def ends(event: trio.Event, scope: trio.CancelScope) -> None:
            await event.wait()
            scope.cancel()

        laps = Laps(FIRSTS)
        for _ in laps:
            pairs = [(trio.Event(), trio.Event()) for _ in range(FIRSTS)]
            begun = [trio.Event() for _ in range(FIRSTS)]
            async with trio.open_nursery() as others:
                others.start_soon(sets)
                for number, pair in enumerate(pairs):
                    begun[number].set()
                    # It has nothing of the kind: this is how its documentation has it done.
                    async with trio.open_nursery() as nursery:
                        for event in pair:
                            nursery.start_soon(ends, event, nursery.cancel_scope)
                    assert pair[number % 2].is_set()
        return laps

    async def condition() -> Laps:
        async def turns(mine: int) -> None:
            async with shared:
                for _ in range(TURNS // 2):
                    while whose[0] != mine:
                        await shared.wait()
                    whose[0] = 1 - mine
                    shared.notify()

        laps = Laps(TURNS)
        for _ in laps:
            shared, whose = trio.Condition(), [0]
            async with trio.open_nursery() as nursery:
                nursery.start_soon(turns, 1)
                await turns(0)
        return laps

    async def all_of_it() -> dict[str, Laps]:
        return {"group": await group(), "first": await first(), "condition": await condition()}

    return trio.run(all_of_it)


CONTENDERS = {"overlapped": overlapped, "gevent": gevent, "trio": trio, "threads": threads}
if sys.argv[1] not in CONTENDERS:
    sys.exit(f"no such contender: {sys.argv[1]}")
print(json.dumps({name: laps.nanoseconds for name, laps in CONTENDERS[sys.argv[1]]().items()}))
