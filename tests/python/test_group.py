"""Groups and pools: whose members end before the block does, whatever happens to either."""

from __future__ import annotations

import random
import threading
from contextlib import suppress

import pytest

import overlapped
from overlapped import Channel, Event, Group, Pool, TaskletExit, sleep, spawn, timeout
from seeds import with_a_seed


class Wrong(Exception):
    pass


def fail(*args):
    raise Wrong(*args)


def test_the_block_ends_when_its_members_have():
    ended = []
    with Group() as group:
        members = [group.spawn(lambda n: (sleep(0), ended.append(n), n)[-1], number) for number in range(10)]
        assert len(group) == 10
        assert not ended
    assert sorted(ended) == list(range(10))
    assert [member.result() for member in members] == list(range(10))
    assert len(group) == 0
    assert not group.cancelled


def test_a_group_without_members_is_left_at_once():
    with Group():
        pass


def test_members_may_spawn_more_and_those_are_waited_for():
    seen = []

    def grow(depth):
        seen.append(depth)
        if depth:
            sleep(0)
            group.spawn(grow, depth - 1)
            group.spawn(grow, depth - 1)

    with Group() as group:
        group.spawn(grow, 4)
    assert len(seen) == 31


def test_a_member_that_fails_cancels_the_others_and_the_block(capsys):
    left, never = [], Event()

    def wait():
        try:
            never.wait()
        finally:
            left.append("member")

    with pytest.raises(ExceptionGroup) as caught, Group() as group:
        group.spawn(wait)
        group.spawn(fail, 7)
        try:
            never.wait()
        finally:
            left.append("block")
    assert [error.args for error in caught.value.exceptions] == [(7,)]
    assert sorted(left) == ["block", "member"]
    assert group.cancelled
    assert capsys.readouterr().err == "", "the group raises it: it is not shown as well"


def test_the_failure_of_a_block_cancels_the_members_and_is_in_the_group():
    never = Event()
    with pytest.raises(ExceptionGroup) as caught, Group() as group:
        member = group.spawn(never.wait)
        sleep(0)
        raise Wrong
    assert len(caught.value.exceptions) == 1
    assert isinstance(member.exception(), TaskletExit)


def test_failures_of_several_are_all_raised():
    never = Event()

    def worse():
        try:
            never.wait()
        finally:
            raise KeyError

    with pytest.raises(ExceptionGroup) as caught, Group() as group:
        group.spawn(worse)
        group.spawn(fail)
    assert {type(error) for error in caught.value.exceptions} == {Wrong, KeyError}


def test_a_failure_that_the_block_asked_for_is_raised_once():
    never = Event()
    with pytest.raises(ExceptionGroup) as caught, Group() as group:
        member = group.spawn(fail)
        try:
            never.wait()
        finally:
            member.result()
    assert len(caught.value.exceptions) == 1


def test_a_member_that_ends_by_tasklet_exit_is_no_failure():
    never = Event()
    with Group() as group:
        member = group.spawn(never.wait)
        other = group.spawn(sleep, 0.001)
        sleep(0)
        member.cancel()
    assert isinstance(member.exception(), TaskletExit)
    assert other.exception() is None


def test_a_members_system_exit_is_raised_as_it_is():
    def leave():
        raise SystemExit(3)

    never = Event()
    with pytest.raises(SystemExit, match="3"), Group() as group:
        group.spawn(leave)
        group.spawn(never.wait)


def test_a_cancel_of_the_one_that_waits_cancels_the_members_and_waits_for_them():
    log, never, clean = [], Event(), Channel()

    def member():
        try:
            never.wait()
        finally:
            clean.receive()
            log.append("member")

    def owner():
        try:
            with Group() as group:
                group.spawn(member)
                group.spawn(member)
        finally:
            log.append("owner")

    for waits_in_block in (False, True):
        log.clear()
        tasklet = spawn(owner)
        sleep(0)
        sleep(0)
        tasklet.cancel()
        sleep(0)
        sleep(0)
        assert log == [], waits_in_block
        for _ in range(2):
            clean.send(None)
        assert isinstance(tasklet.exception(), TaskletExit)
        assert log == ["member", "member", "owner"]


def test_a_timeout_round_a_group_ends_it_and_is_a_timeout_error():
    never = Event()
    with pytest.raises(TimeoutError), timeout(0.01) as limit, Group() as group:
        member = group.spawn(never.wait)
    assert limit.expired
    assert isinstance(member.exception(), TaskletExit)


def test_a_failure_while_the_members_leave_goes_before_the_cancel():
    never = Event()

    def worse():
        try:
            never.wait()
        finally:
            raise Wrong

    def owner():
        with Group() as group:
            group.spawn(worse)

    tasklet = spawn(owner)
    sleep(0)
    sleep(0)
    tasklet.cancel()
    with pytest.raises(ExceptionGroup):
        tasklet.result()


@pytest.mark.parametrize("who", ["block", "member", "other", "waiting block"])
def test_cancel_ends_the_members_and_the_block_and_is_no_failure(who):
    never, behind = Event(), []
    with Group() as group:
        member = group.spawn(never.wait)
        if who == "other":
            spawn(group.cancel)
        elif who != "block":
            caller = group.spawn(group.cancel)
        sleep(0)
        if who == "block":
            group.cancel()
        if who != "waiting block":
            never.wait()
            behind.append("in the block")
    assert behind == []
    assert group.cancelled
    assert isinstance(member.exception(), TaskletExit)
    if who == "member":
        assert isinstance(caller.exception(), TaskletExit)


def test_a_block_that_has_come_to_its_end_is_not_told_behind_it():
    """Both in one turn: what the block waits for comes, and then a member fails."""
    go, ready = Event(), Event()

    def fail_soon():
        go.wait()
        ready.set()
        raise Wrong

    with pytest.raises(ExceptionGroup), Group() as group:
        group.spawn(fail_soon)
        sleep(0)
        go.set()
        with suppress(BaseException):
            ready.wait()
    sleep(0)
    sleep(0.001)


def test_a_block_that_does_not_listen_is_told_at_every_wait():
    waits, never = 0, Event()
    with pytest.raises(ExceptionGroup), Group() as group:
        group.spawn(fail)
        while waits < 5:
            with suppress(BaseException):
                never.wait()
            waits += 1
    sleep(0)


def test_what_is_spawned_in_a_cancelled_group_never_begins():
    begun, never = [], Event()

    def late():
        try:
            never.wait()
        finally:
            group.spawn(begun.append, 1)

    with Group() as group:
        group.spawn(late)
        sleep(0)
        group.cancel()
    assert not begun


def test_groups_nest_and_each_takes_its_own_cancel():
    never, log = Event(), []
    with Group() as outer:
        with Group() as inner:
            inner.spawn(inner.cancel)
            never.wait()
        log.append("inner")
        with Group() as inner:
            inner.spawn(outer.cancel)
            never.wait()
        log.append("not here")
    assert log == ["inner"]


def test_members_on_other_threads_are_waited_for():
    done = []

    def elsewhere():
        group.spawn(lambda: (sleep(0.01), done.append(threading.get_ident())))
        overlapped.run()

    with Group() as group:
        thread = threading.Thread(target=elsewhere)
        thread.start()
        overlapped.offload(thread.join)
    assert done
    assert done[0] != threading.get_ident()


def test_a_group_is_entered_once_and_spawns_while_its_block_runs():
    group = Group()
    with pytest.raises(RuntimeError, match="while its block runs"):
        group.spawn(sleep)
    with group:
        with pytest.raises(RuntimeError, match="once"):
            group.__enter__()
        assert group.spawn(sleep, 0, name="ada").name == "ada"
    with pytest.raises(RuntimeError, match="while its block runs"):
        group.spawn(sleep)


def test_a_pool_runs_so_many_at_a_time_and_holds_back_who_spawns():
    now, most, begun = 0, 0, []

    def work(number):
        nonlocal now, most
        begun.append(number)
        now += 1
        most = max(most, now)
        sleep(0)
        now -= 1

    with Pool(3) as pool:
        for number in range(20):
            pool.spawn(work, number)
            assert number - len(begun) < 3
    assert most == 3
    assert begun == list(range(20))


def test_map_is_in_order_and_takes_from_an_endless_input_no_more_than_it_needs():
    taken = []

    def numbers():
        while True:
            taken.append(len(taken))
            yield len(taken) - 1

    def double(number):
        for _ in range(5 - number % 5):
            sleep(0)
        return 2 * number

    with Pool(4) as pool:
        results = pool.map(double, numbers())
        assert not taken
        assert [next(results) for _ in range(10)] == [2 * number for number in range(10)]
        assert len(taken) <= 15
        results.close()
    assert not pool.cancelled


def test_map_goes_over_several_iterables_side_by_side():
    with Pool(2) as pool:
        assert list(pool.map(pow, [2, 3, 4], [3, 2])) == [8, 9]
        assert list(pool.map(pow, [], [])) == []


def test_map_unordered_gives_each_result_as_it_comes():
    gates = [Event() for _ in range(3)]

    def wait(number):
        gates[number].wait()
        return number

    with Pool(3) as pool:
        results = pool.map_unordered(wait, range(3))
        for number in (2, 0, 1):
            spawn(gates[number].set)
            assert next(results) == number
        assert list(results) == []


@pytest.mark.parametrize("name", ["map", "map_unordered"])
def test_a_failure_in_a_map_ends_the_pool(name):
    with pytest.raises(ExceptionGroup) as caught, Pool(3) as pool:
        list(getattr(pool, name)(lambda number: fail(number) if number == 5 else number, range(100)))
    assert [error.args for error in caught.value.exceptions] == [(5,)]


@pytest.mark.parametrize("name", ["map", "map_unordered"])
def test_a_pool_that_is_cancelled_in_a_map_goes_on_behind_its_block(name):
    def work(number):
        if number == 5:
            pool.cancel()
        sleep(0)
        return number

    with Pool(3) as pool:
        list(getattr(pool, name)(work, range(100)))
        pytest.fail("the block was cancelled")
    assert pool.cancelled


def test_the_exit_of_a_member_of_a_map_does_not_pass_for_that_of_the_block():
    never = Event()
    with Pool(2) as pool:
        pool.spawn(pool.cancel)
        try:
            never.wait()
        finally:
            list(pool.map(fail, range(3)))
    assert pool.cancelled


def test_a_pool_has_places():
    with pytest.raises(ValueError, match="one place"):
        Pool(0)


def storm(seed: int) -> None:
    """Groups in pools in groups, of which some fail, some cancel, some are cancelled: in the end nobody is left."""
    chance, alive, begun = random.Random(seed), set(), 0

    def member(depth):
        nonlocal begun
        begun += 1
        me = object()
        alive.add(me)
        try:
            for _ in range(chance.randrange(4)):
                sleep(chance.choice([0, 0, 0.0005]))
            match chance.randrange(12):
                case 0:
                    raise Wrong
                case 1 | 2 | 3 | 4 if depth:
                    crowd(depth - 1)
                case 5:
                    overlapped.current().cancel()
            return depth
        finally:
            # The sleep may be told of another cancel.
            try:
                if chance.randrange(3) == 0:
                    sleep(0)
            finally:
                alive.discard(me)

    def crowd(depth):
        limit = chance.choice([None, None, 0.002])
        members = []
        try:
            with timeout(limit), Pool(chance.randrange(1, 5)) if chance.randrange(2) else Group() as group:
                for _ in range(chance.randrange(8)):
                    members.append(group.spawn(member, depth))
                if isinstance(group, Pool) and chance.randrange(2):
                    list(group.map_unordered(member, [depth] * 5))
                if chance.randrange(6) == 0:
                    group.cancel()
                sleep(chance.choice([0, 0.0005]))
        except (ExceptionGroup, TimeoutError):
            pass
        finally:
            assert not any(tasklet.alive for tasklet in members), "a member outlives its block"

    tasklets = [spawn(crowd, 3) for _ in range(6)]
    sleep(0.001)
    tasklets[0].cancel()
    for tasklet in tasklets:
        failure = tasklet.exception()
        assert failure is None or isinstance(failure, TaskletExit), repr(failure)
    assert not alive
    assert begun


@pytest.mark.parametrize("round", range(40))
def test_storm(round):
    with_a_seed(storm)


def test_a_pool_that_refuses_a_member_gives_its_place_back() -> None:
    pool = overlapped.Pool(1)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="while its block runs"):
            pool.spawn(print)
    with pool:
        assert pool.spawn(divmod, 7, 2).result() == (3, 1)
