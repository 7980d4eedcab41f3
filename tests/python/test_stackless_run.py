"""`overlapped.stackless`: schedule, run, what is told of them, and who is asked."""

from __future__ import annotations

import threading
from typing import Any

import pytest

import overlapped
from overlapped import socket, stackless
from overlapped.stackless import channel, getcurrent, getmain, getruncount, run, schedule, schedule_remove, tasklet


def test_schedule_returns_the_tasklet_or_what_it_is_given_or_what_another_has_put_there():
    me = getcurrent()
    assert schedule() is me
    assert schedule(3) == 3
    assert schedule(None) is None

    def answers() -> None:
        me.tempval = "answer"

    tasklet(answers)()
    assert schedule(3) == "answer" and me.tempval is None


def test_schedule_remove_pauses_the_caller():
    log: list[str] = []

    def body() -> None:
        log.append(schedule_remove("back"))

    made = tasklet(body)()
    run()
    assert made.paused and log == []
    made.insert()
    run()
    assert log == ["back"]


def test_run_ends_when_nobody_is_ready_and_leaves_those_that_wait_on_channels():
    meeting: channel[int] = channel()
    waiting = tasklet(meeting.receive)()
    paused = tasklet(schedule_remove)()
    assert run() is None
    assert waiting.blocked and paused.paused
    waiting.kill()
    paused.kill()


def test_run_goes_on_while_a_tasklet_waits_for_the_port(listener: socket.socket):
    log: list[Any] = []

    def accepts() -> None:
        log.append(listener.accept()[0].recv(10))

    def connects() -> None:
        overlapped.sleep(0.005)
        with socket.create_connection(listener.getsockname()) as connection:
            connection.sendall(b"hello")

    tasklet(accepts)()
    tasklet(connects)()
    tasklet(lambda: log.append(overlapped.offload(lambda: "offloaded")))()
    run()
    assert sorted(map(str, log)) == ["b'hello'", "offloaded"]


def test_getruncount_counts_the_queue_and_the_one_that_runs():
    assert getruncount() == 1
    made = [tasklet(schedule)() for _ in range(3)]
    assert getruncount() == 4 == stackless.runcount
    made[0].remove()
    assert getruncount() == 3
    counts: list[int] = []
    tasklet(lambda: counts.append(getruncount()))()
    run()
    assert counts == [3], "main is in run(), and no more in the queue; one has left it"
    made[0].kill()


def test_the_module_has_what_is_asked_often_as_attributes():
    assert stackless.current is getcurrent() and stackless.main is getmain()
    assert stackless.threads[0] == threading.get_ident()
    assert stackless.getcurrentid() == id(getcurrent())
    assert (
        stackless.get_thread_info() == (getmain(), getcurrent(), 1) == stackless.get_thread_info(threading.get_ident())
    )
    with pytest.raises(RuntimeError, match="Thread id not found"):
        stackless.get_thread_info(1)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        stackless.nonsense  # noqa: B018
    assert stackless.enable_softswitch(True) is False


def test_what_has_nothing_to_do_here_is_kept_for_programs_that_ask():
    assert stackless.getdebug() is stackless.debug is False
    assert stackless.getuncollectables() == stackless.uncollectables == []
    assert stackless.getthreads() == stackless.threads
    assert stackless.stackless is stackless
    assert stackless.pickle_with_tracing_state is False


@pytest.mark.parametrize("flags", [stackless.pickle_flags, stackless.pickle_flags_default])
def test_the_flags_of_pickling_are_kept_and_those_that_are_none_are_refused(flags: Any):
    context, tracing = stackless.PICKLEFLAGS_PICKLE_CONTEXT, stackless.PICKLEFLAGS_PRESERVE_TRACING_STATE
    both = stackless.PICKLEFLAGS_PRESERVE_AG_FINALIZER | stackless.PICKLEFLAGS_RESET_AG_FINALIZER
    assert (context, tracing, both) == (8, 1, 2 | 4)
    assert flags() == 0 and flags(context | tracing) == 0 and flags() == 9
    assert flags(0, tracing) == 9 and flags() == context
    for wrong in ((16,), (-2,), (0, 16), (0, -2)):
        with pytest.raises(ValueError, match="pickle flags"):
            flags(*wrong)
    assert flags(0) == context and flags() == 0


def test_a_part_of_stacklesss_own_inside_is_absent_and_it_says_why():
    for name, instead in (("bomb", "send_throw"), ("cframe", r"tasklet\.frame")):
        assert not hasattr(stackless, name)
        with pytest.raises(AttributeError, match=instead):
            getattr(stackless, name)


def test_runs_nest_and_the_innermost_ends_first():
    log: list[str] = []

    def inner() -> None:
        log.append("inner")
        schedule()
        log.append("inner again")

    def outer() -> None:
        tasklet(inner)()
        run()
        log.append("outer")

    tasklet(outer)()
    run()
    assert log == ["inner", "inner again", "outer"]


@pytest.mark.parametrize("how", ["insert", "run", "switch"])
def test_whoever_is_in_run_is_paused_and_who_inserts_or_runs_it_ends_that(how: str):
    log: list[str] = []
    main = getmain()

    def ends() -> None:
        assert main.paused and not main.blocked and not main.scheduled
        getattr(main, how)()
        log.append("after")

    made = tasklet(ends)()
    tasklet(log.append)("other")
    run()
    assert log == {"insert": ["after", "other"], "run": [], "switch": []}[how]
    if how == "switch":
        made.insert()
    run()
    assert sorted(log) == ["after", "other"]


def test_who_ends_a_run_ends_those_inside_of_it():
    log: list[str] = []
    main = getmain()

    def ends() -> None:
        main.run()
        log.append("ends")

    def inner() -> None:
        tasklet(ends)()
        run()
        log.append("inner")

    tasklet(inner)()
    run()
    assert log == [], "the main one ran at once"
    run()
    assert sorted(log) == ["ends", "inner"]


def test_a_run_of_main_leaves_one_of_a_tasklet_that_waits_for_it():
    log: list[str] = []

    def inner() -> None:
        run()
        log.append("inner")

    made = tasklet(inner)()
    schedule()
    run()
    run()
    assert log == [] and made.alive and made.paused, "main was ready all the time, or in a run inside of that"
    made.kill()
    assert not made.alive


def test_of_several_runs_whose_time_is_up_the_outermost_is_told():
    log: list[int] = []
    stop: list[bool] = []

    def turns() -> None:
        while not stop:
            schedule()

    def watches(depth: int) -> None:
        if depth < 3:
            tasklet(watches)(depth + 1)
        run(0.02, soft=True)
        log.append(depth)
        stop.append(True)

    tasklet(turns)()
    tasklet(watches)(0)
    run()
    assert log[0] == 0 and sorted(log) == [0, 1, 2, 3]


def test_an_error_reaches_the_innermost_run():
    log: list[str] = []

    def fails() -> None:
        raise ValueError("inside")

    def outer() -> None:
        tasklet(fails)()
        with pytest.raises(ValueError, match="inside"):
            run()
        log.append("caught")

    tasklet(outer)()
    run()
    assert log == ["caught"]


def test_a_count_of_instructions_is_refused_with_what_to_do():
    with pytest.raises(ValueError, match=r"run\(0\.05\)"):
        run(10000)
    assert run(0) is None


def busy(seconds: float) -> None:
    until = threading.TIMEOUT_MAX if seconds < 0 else seconds
    import time

    begun = time.monotonic()
    while time.monotonic() - begun < until:
        pass


def test_one_that_keeps_its_turn_for_too_long_is_paused_and_returned():
    log: list[str] = []

    def quick() -> None:
        for _ in range(3):
            schedule()
        log.append("quick")

    def slow() -> None:
        busy(0.06)
        schedule()
        log.append("slow")

    tasklet(quick)()
    made = tasklet(slow)()
    # The machine may hold others up for as long: they are put back.
    victims = []
    while (victim := run(0.05)) is not None:
        victims.append(victim)
        assert victim.paused
        victim.insert()
    assert made in victims and sorted(log) == ["quick", "slow"]


def test_one_that_is_atomic_is_left_alone_by_the_time_out():
    def slow() -> None:
        with stackless.atomic():
            busy(0.01)
            schedule()

    tasklet(slow)()
    assert run(0.001) is None


def test_one_that_computes_and_never_leaves_its_turn_is_stopped_and_goes_on_where_it_was():
    counted = 0
    stop: list[bool] = []

    def computes() -> int:
        nonlocal counted
        while not stop:
            counted += 1
        return counted

    made = tasklet(computes)()
    for _ in range(3):
        before = counted
        assert run(0.01) is made and made.paused
        assert counted > before
        made.insert()
    assert run(0.02, totaltimeout=True) is made
    made.insert()
    stop.append(True)
    assert run(0.01) is None and not made.alive


def test_the_others_have_their_turns_beside_one_that_computes():
    log: list[str] = []

    def computes() -> None:
        while len(log) < 5:
            pass

    def quick() -> None:
        for _ in range(5):
            log.append("quick")
            schedule()

    tasklet(computes)()
    tasklet(quick)()
    while (victim := run(0.005)) is not None:
        victim.insert()
    assert log == ["quick"] * 5


def test_one_that_is_atomic_is_not_stopped_where_it_computes():
    log: list[str] = []

    def computes() -> None:
        busy(0.02)
        log.append("whole")
        stackless.getcurrent().set_atomic(False)
        busy(-1)

    made = tasklet(computes)
    made.set_atomic(True)
    made.setup()
    assert run(0.002) is made
    assert log == ["whole"]
    made.kill()


def test_a_soft_time_out_stops_nobody_in_the_middle():
    log: list[str] = []

    def computes() -> None:
        busy(0.02)
        log.append("whole")

    tasklet(computes)()
    assert run(0.002, soft=True) is None
    assert log == ["whole"]


def test_a_total_time_out_ends_the_run_at_the_next_switch():
    stop: list[bool] = []

    def turns() -> None:
        while not stop:
            schedule()

    made = tasklet(turns)()
    victim = run(0.02, totaltimeout=True)
    assert victim is made and victim.paused
    victim.insert()
    assert run(0.02, soft=True) is None and made.scheduled and not made.paused
    stop.append(True)
    run()
    assert not made.alive


def test_a_total_time_out_ends_the_run_also_where_all_wait_for_the_port():
    made = tasklet(overlapped.sleep)(60)
    assert run(0.01, totaltimeout=True) is None and made.blocked
    made.kill()


def test_run_with_threadblock_waits_for_what_another_thread_sends():
    meeting: channel[str] = channel()
    log: list[str] = []
    ready = overlapped.Event()

    def other_thread() -> None:
        ready.wait()
        meeting.send("from there")

    thread = threading.Thread(target=other_thread)
    thread.start()
    tasklet(lambda: (ready.set(), log.append(meeting.receive())))()
    run(threadblock=True)
    thread.join()
    assert log == ["from there"]


def test_the_schedule_callback_is_told_of_switches():
    log: list[tuple[Any, Any]] = []
    main = getmain()

    def told(before: tasklet | None, after: tasklet | None) -> None:
        assert after is getcurrent()
        log.append((before, after))

    one, two = tasklet(schedule)(), tasklet(schedule)()
    assert stackless.set_schedule_callback(told) is None
    try:
        assert stackless.get_schedule_callback() is told
        schedule()
    finally:
        assert stackless.set_schedule_callback(None) is told
    run()
    assert [pair for pair in log if pair[0] is not None][-2:] == [(one, two), (two, main)]


def test_what_the_schedule_callback_raises_is_shown_and_goes_no_further(capsys: pytest.CaptureFixture[str]):
    import sys

    shown: list[Any] = []
    before, sys.unraisablehook = sys.unraisablehook, shown.append

    def fails(*_: object) -> None:
        raise ValueError("in the callback")

    stackless.set_schedule_callback(fails)
    try:
        tasklet(schedule)()
        schedule()
        schedule()
    finally:
        stackless.set_schedule_callback(None)
        sys.unraisablehook = before
    run()
    assert shown and all(isinstance(each.exc_value, ValueError) for each in shown)


def test_the_error_handler_gets_what_ends_a_tasklet_and_what_it_raises_reaches_main():
    log: list[Any] = []

    def handler(kind: type[BaseException], value: BaseException, traceback: Any) -> None:
        log.append((kind, str(value), traceback is not None))
        if "again" in str(value):
            raise KeyError("from the handler")

    def fails(text: str) -> None:
        raise ValueError(text)

    assert stackless.set_error_handler(handler) is None
    try:
        tasklet(fails)("once")
        run()
        tasklet(fails)("again")
        with pytest.raises(KeyError, match="from the handler"):
            run()
    finally:
        assert stackless.set_error_handler(None) is handler
    assert log == [(ValueError, "once", True), (ValueError, "again", True)]


@pytest.mark.parametrize(
    "sets", [stackless.set_schedule_callback, stackless.set_channel_callback, stackless.set_error_handler]
)
def test_what_is_called_back_must_be_callable(sets: Any):
    with pytest.raises(TypeError, match="must be callable or None, not int"):
        sets(3)
    assert sets(None) is None


def test_a_run_with_a_time_out_that_waits_in_the_port_holds_nobody(run_python: Any):
    """The watch that tells of tasklets that hold their thread has nothing to tell."""
    done = run_python(
        """
import overlapped
from overlapped import stackless
overlapped.watch(0.2)
stackless.tasklet(overlapped.sleep)(60)
assert stackless.run(0.8, soft=True) is None
print("waited")
"""
    )
    assert (done.stdout, done.stderr) == ("waited\n", "")


def test_the_switch_trap_refuses_what_would_switch():
    made = tasklet(schedule)()
    meeting: channel[int] = channel()
    assert stackless.switch_trap(1) == 0
    try:
        assert stackless.switch_trap() == 1
        for act in (schedule, schedule_remove, run, made.run, made.switch, made.kill, meeting.receive):
            with pytest.raises(RuntimeError, match="switch_trap"):
                act()
            assert made.scheduled and not made.nesting_level, "it has not had its turn"
        others: list[Any] = []
        thread = threading.Thread(target=lambda: others.append((stackless.switch_trap(), schedule(3))))
        thread.start()
        thread.join()
        assert others == [(0, 3)], "it is this thread's alone"
    finally:
        assert stackless.switch_trap(-1) == 1
    run()
    assert not made.alive


def test_each_thread_has_its_own_main_tasklet_and_queue():
    seen: list[Any] = []

    def other_thread() -> None:
        log: list[int] = []
        for number in range(3):
            tasklet(log.append)(number)
        seen.append((getmain().is_main, getmain() is getcurrent(), getruncount()))
        run()
        seen.append(log)

    thread = threading.Thread(target=other_thread)
    tasklet(seen.append)("main's")
    thread.start()
    thread.join()
    assert seen[:2] == [(True, True, 4), [0, 1, 2]]
    run()
    assert seen[2:] == ["main's"]


def test_tasklets_that_are_left_get_their_finally_at_the_end_of_the_program(run_python: Any):
    done = run_python(
        """
from overlapped import stackless
def body(where):
    try:
        where()
    finally:
        print("finally")
stackless.tasklet(body)(stackless.channel().receive)
stackless.tasklet(body)(stackless.schedule_remove)
stackless.run()
"""
    )
    assert (done.stdout, done.stderr) == ("finally\nfinally\n", "")
