"""`overlapped.stackless`: the tasklet, each name of it and each rule."""

from __future__ import annotations

import contextvars
import gc
import pickle
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any

import pytest

import overlapped
from overlapped import stackless
from overlapped.stackless import channel, getcurrent, getmain, run, schedule, schedule_remove, tasklet


def steps(log: list[str], name: str, count: int = 2) -> None:
    for number in range(count):
        log.append(f"{name}{number}")
        schedule()


def test_a_call_sets_it_up_and_it_runs_when_the_others_have():
    log: list[str] = []
    made = tasklet(log.append)
    assert not made.alive
    assert made("first") is made
    tasklet(log.append)("second")
    assert made.alive and log == []
    run()
    assert log == ["first", "second"] and not made.alive


def test_arguments_at_its_making_set_it_up_and_leave_it_paused():
    log: list[Any] = []
    made = tasklet(lambda *a, **k: log.append((a, k)), (1, 2), {"three": 3})
    run()
    assert made.alive and made.paused and not made.scheduled and not log
    made.insert()
    assert made.scheduled and not made.paused
    run()
    assert log == [((1, 2), {"three": 3})]


def test_bind_gives_it_another_function_and_none_takes_it_away():
    log: list[str] = []
    made = tasklet(print)
    assert made.bind(log.append) is made
    made.setup("bound")
    with pytest.raises(RuntimeError, match="already"):
        made.bind(print)
    run()
    assert log == ["bound"]
    made.bind(log.append, ("again",))
    made.run()
    assert log == ["bound", "again"]
    made.bind(log.append).bind(None)
    with pytest.raises(RuntimeError, match="not bound to a function"):
        made("nothing")
    for each in (made, getcurrent()):
        with pytest.raises(TypeError, match="callable"):
            each.bind(3)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="tasklet is alive"):
        getcurrent().setup()


def test_one_that_is_paused_and_has_not_begun_is_bound_anew_and_one_that_has_begun_is_not():
    log: list[str] = []
    before = len(overlapped.tasklets())
    made = tasklet(log.append, ("never",))
    assert made.bind(log.append, ("bound anew",)) is made and made.paused
    made.insert()
    with pytest.raises(RuntimeError, match=r"scheduled: remove\(\)"):
        made.bind(None)
    made.remove()
    made.bind(None, ("with other arguments",))
    run()
    assert log == [] and made.paused and len(overlapped.tasklets()) == before
    made.run()
    assert log == ["with other arguments"]
    made.bind(log.append, ("never",)).bind(None)
    assert not made.alive and made.tempval is None
    begun = tasklet(schedule_remove)()
    run()
    with pytest.raises(RuntimeError, match=r"kill\(\) it"):
        begun.bind(None)
    begun.kill()


def test_what_is_bound_is_its_tempval_until_it_is_set_up():
    """Subclasses of the time wrapped their function there."""

    class Wrapped(tasklet):
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            inner = self.tempval

            def outer() -> None:
                log.append("before")
                inner(*args, **kwargs)
                log.append("after")

            self.tempval = outer
            return self.setup()

    log: list[str] = []
    Wrapped(log.append)("within")
    run()
    assert log == ["before", "within", "after"]


def test_a_subclass_may_have_attributes_and_arguments_of_its_own():
    class Named(tasklet):
        def __init__(self, function: Callable[..., object], name: str) -> None:
            super().__init__(function)
            self.name = name

    seen: list[str] = []
    Named(lambda: seen.append(getcurrent().name), "Ann")()  # type: ignore[attr-defined]
    run()
    assert seen == ["Ann"]


def test_remove_takes_it_out_of_the_queue_and_insert_puts_it_last():
    log: list[str] = []
    first, second = tasklet(steps)(log, "a"), tasklet(steps)(log, "b")
    schedule()
    assert first.remove() is first
    assert first.paused and first.alive and not first.scheduled
    run()
    assert log == ["a0", "b0", "b1"] and not second.alive
    first.insert()
    first.insert()
    run()
    assert log == ["a0", "b0", "b1", "a1"]


def test_remove_refuses_the_one_that_runs_and_one_that_waits():
    meeting: channel[int] = channel()
    waiting = tasklet(meeting.receive)()
    run()
    with pytest.raises(RuntimeError, match="blocked"):
        waiting.remove()
    with pytest.raises(RuntimeError, match="current"):
        getcurrent().remove()
    meeting.send(1)


def test_insert_refuses_one_that_waits_and_one_that_is_dead():
    meeting: channel[int] = channel()
    waiting = tasklet(meeting.receive)()
    run()
    for act in (waiting.insert, waiting.run, waiting.switch):
        with pytest.raises(RuntimeError, match="blocked"):
            act()
    meeting.send(1)
    for dead in (waiting, tasklet(print)):
        for act in (dead.insert, dead.run, dead.switch):
            with pytest.raises(RuntimeError, match="dead"):
                act()


def test_run_goes_to_it_at_once_and_those_before_it_come_last():
    log: list[str] = []
    made = [tasklet(steps)(log, name) for name in "abcd"]
    made[2].run()
    log.append("main")
    run()
    assert log == ["c0", "d0", "main", "a0", "b0", "c1", "d1", "a1", "b1"]


def test_run_of_one_that_is_paused_comes_back_when_it_schedules():
    log: list[str] = []
    tasklet(steps)(log, "a")
    tasklet(steps, (log, "b")).run()
    log.append("main")
    run()
    assert log == ["b0", "main", "a0", "b1", "a1"]


def test_run_of_the_one_that_runs_is_nothing():
    log: list[str] = []
    tasklet(log.append)("other")
    getcurrent().run()
    getcurrent().switch()
    assert log == []
    run()


def test_switch_pauses_the_caller_until_somebody_runs_it():
    log: list[str] = []

    def there() -> None:
        log.append("there")
        assert main.paused and not main.scheduled
        main.switch()
        log.append("there again")

    main, other = getmain(), tasklet(there, ())
    other.switch()
    log.append("main")
    assert other.paused and other.alive
    other.insert()
    run()
    assert log == ["there", "main", "there again"]


def test_a_main_that_has_paused_itself_goes_on_when_nobody_is_left():
    log: list[str] = []
    tasklet(steps)(log, "a")
    schedule_remove()
    assert log == ["a0", "a1"]


def test_kill_ends_it_at_once_wherever_it_is():
    log: list[str] = []

    def body(where: Callable[[], object]) -> None:
        try:
            where()
        except stackless.TaskletExit:
            log.append("exit")
            raise
        finally:
            log.append("finally")

    meeting: channel[int] = channel()
    for where in (schedule, schedule_remove, meeting.receive, lambda: meeting.send(1), lambda: overlapped.sleep(60)):
        made = tasklet(body)(where)
        schedule()
        made.kill()
        assert log == ["exit", "finally"] and not made.alive and meeting.balance == 0
        log.clear()
        made.kill()


def test_kill_of_one_that_has_not_begun_never_begins_it():
    log: list[str] = []
    queued, paused = tasklet(log.append)("queued"), tasklet(log.append, ("paused",))
    queued.kill()
    paused.kill()
    run()
    assert log == [] and not queued.alive and not paused.alive


def test_kill_of_the_one_that_runs_raises_there():
    with pytest.raises(stackless.TaskletExit):
        getcurrent().kill()
    log: list[str] = []

    def ends() -> None:
        getcurrent().kill()
        log.append("never")

    tasklet(ends)()
    run()
    assert not log


def test_a_pending_kill_waits_for_its_turn():
    log: list[str] = []

    def body(name: str) -> None:
        try:
            channel().receive()
        finally:
            log.append(name)

    one, two = tasklet(body)("one"), tasklet(body)("two")
    run()
    two.kill(pending=True)
    one.kill(pending=True)
    assert log == [] and one.alive and two.alive
    run()
    assert log == ["two", "one"] and not one.alive


def test_throw_raises_what_it_is_given_in_each_of_its_forms():
    caught: list[BaseException] = []

    def body() -> None:
        while True:
            try:
                schedule_remove()
            except Exception as error:
                caught.append(error)

    made = tasklet(body)()
    run()
    made.throw(KeyError)
    made.throw(KeyError("instance"))
    made.throw(KeyError, "value")
    made.throw(OSError, (2, "two values"))
    made.throw(KeyError, KeyError("its own"))
    made.raise_exception(ValueError, 1, 2)
    assert [(type(error), error.args) for error in caught] == [
        (KeyError, ()),
        (KeyError, ("instance",)),
        (KeyError, ("value",)),
        (FileNotFoundError, (2, "two values")),
        (KeyError, ("its own",)),
        (ValueError, (1, 2)),
    ]
    with pytest.raises(TypeError, match="separate value"):
        made.throw(KeyError(), "value")
    with pytest.raises(TypeError, match="BaseException"):
        made.throw(3)
    with pytest.raises(TypeError):
        made.throw()
    made.kill()


def test_throw_keeps_the_traceback_that_it_is_given():
    def body() -> None:
        schedule_remove()

    def raises() -> None:
        raise KeyError("from here")

    try:
        raises()
    except KeyError:
        kind, _, traceback = sys.exc_info()
    made = tasklet(body)()
    run()
    with pytest.raises(KeyError) as caught:
        made.throw(kind, "from there", traceback)
    assert "raises" in [entry.name for entry in caught.traceback]


def test_throw_to_a_dead_one_is_an_error_but_for_an_exit():
    made = tasklet(print)
    made.throw(stackless.TaskletExit)
    with pytest.raises(RuntimeError, match="dead"):
        made.throw(ValueError)


def test_what_is_thrown_into_one_that_has_not_begun_reaches_the_main_one():
    log: list[str] = []
    with pytest.raises(ValueError, match="early"):
        tasklet(log.append)("never").throw(ValueError("early"))
    late = tasklet(log.append, ("never",))
    late.throw(ValueError("late"), pending=True)
    with pytest.raises(ValueError, match="late"):
        run()
    assert log == []


def test_its_states():
    meeting: channel[int] = channel()
    made = tasklet(meeting.receive)

    def states() -> tuple[bool, ...]:
        return made.alive, made.paused, made.scheduled, made.blocked

    assert states() == (False, False, False, False)
    made.bind(meeting.receive, ())
    assert states() == (True, True, False, False)
    made.insert()
    assert states() == (True, False, True, False)
    run()
    assert states() == (True, False, True, True)
    meeting.preference = 0
    meeting.send(1)
    assert states() == (True, False, True, False)
    made.remove()
    assert states() == (True, True, False, False)
    made.run()
    assert states() == (False, False, False, False)
    me = getcurrent()
    assert (me.alive, me.paused, me.scheduled, me.blocked) == (True, False, True, False)


def test_one_that_waits_for_the_port_is_blocked():
    made = tasklet(overlapped.sleep)(0.01)
    schedule()
    assert made.blocked and made.scheduled and not made.paused
    with pytest.raises(RuntimeError, match="blocked"):
        made.insert()
    run()
    assert not made.alive


def test_is_main_and_is_current_tell_who_runs():
    seen: list[tuple[bool, bool, bool, bool]] = []

    def look() -> None:
        me, main = getcurrent(), getmain()
        seen.append((me.is_current, me.is_main, main.is_current, main.is_main))

    look()
    made = tasklet(look)()
    assert not made.is_current and not made.is_main
    run()
    assert seen == [(True, True, True, True), (True, False, False, True)]


def test_next_and_prev_go_round_the_ring():
    one, two = tasklet(schedule)(), tasklet(schedule)()
    main = getmain()
    assert (main.next, one.next, two.next) == (one, two, main)
    assert (main.prev, one.prev, two.prev) == (two, main, one)
    two.remove()
    assert (one.next, one.prev, two.next, two.prev) == (main, main, None, None)
    two.kill()
    run()
    assert main.next is main and main.prev is main
    assert one.next is None and tasklet(print, ()).next is None


def test_frame_and_recursion_depth_are_those_of_its_own_code():
    def outer() -> None:
        inner()

    def inner() -> None:
        schedule_remove()

    made = tasklet(outer, ())
    assert made.frame is None and made.recursion_depth == 0 and made.nesting_level == 0
    made.run()
    assert made.frame is not None and made.frame.f_code is inner.__code__
    assert made.recursion_depth == 2 and made.nesting_level == 1
    mine = getcurrent().frame
    assert mine is not None and mine.f_code.co_name.startswith("test_frame")
    made.run()
    assert made.frame is None


def test_block_trap_forbids_a_wait_on_a_channel():
    me, meeting = getcurrent(), channel[int]()
    me.block_trap = True
    try:
        for act in (meeting.receive, lambda: meeting.send(1)):
            with pytest.raises(RuntimeError, match="does not like to be blocked"):
                act()
        assert meeting.balance == 0
        waiting = tasklet(meeting.receive)()
        run()
        meeting.send(1)
        assert not waiting.alive
        meeting.close()
        with pytest.raises(ValueError):
            meeting.receive()
    finally:
        me.block_trap = False


def test_flags_return_what_they_were():
    me = getcurrent()
    assert me.set_atomic(True) is False and me.atomic and me.set_atomic(False) is True and not me.atomic
    assert me.set_ignore_nesting(True) is False and me.ignore_nesting
    assert me.set_ignore_nesting(False) is True and not me.ignore_nesting
    with stackless.atomic():
        assert me.atomic
    assert not me.atomic


def test_it_runs_in_a_copy_of_the_context_in_which_it_was_set_up():
    variable = contextvars.ContextVar("variable", default="unset")
    seen: list[str] = []

    def look() -> None:
        seen.append(variable.get())
        variable.set("the tasklet's")

    variable.set("set up")
    tasklet(look)()
    variable.set("later")
    run()
    assert seen == ["set up"] and variable.get() == "later"


def test_the_context_of_one_that_has_not_begun_can_be_set_and_looked_into():
    variable = contextvars.ContextVar("variable", default="unset")
    seen: list[str] = []
    other = contextvars.copy_context()
    other.run(variable.set, "the other's")
    made = tasklet(lambda: seen.append(variable.get()), ())
    assert made.context_run(variable.get) == "unset"
    first = made.context_id
    assert made.set_context(other) is made and made.context_id not in (first, id(other))
    assert made.context_run(variable.get) == "the other's"
    made.context_run(variable.set, "set from outside")
    made.insert()
    run()
    assert seen == ["set from outside"] and other.run(variable.get) == "the other's"
    with pytest.raises(TypeError, match=r"contextvars\.Context is needed"):
        tasklet(print, ()).set_context(3)  # type: ignore[arg-type]


def test_the_context_of_one_that_has_begun_is_its_own_and_it_says_what_to_do():
    assert getcurrent().context_run(divmod, 7, 2) == (3, 1)
    made = tasklet(schedule)()
    schedule()
    for act in (
        lambda: made.context_id,
        lambda: made.context_run(print),
        lambda: made.set_context(contextvars.copy_context()),
    ):
        with pytest.raises(RuntimeError, match=r"contextvars\.copy_context"):
            act()
    run()


@pytest.mark.parametrize(("name", "getter"), [("trace_function", sys.gettrace), ("profile_function", sys.getprofile)])
def test_the_one_that_runs_has_the_tracer_of_the_thread_and_others_say_so(name: str, getter: Callable[[], Any]):
    def tracer(*_: object) -> None:
        return None

    me, before = getcurrent(), getter()
    assert getattr(me, name) is before
    setattr(me, name, tracer)
    try:
        assert getattr(me, name) is getter() is tracer
    finally:
        setattr(me, name, before)
    made = tasklet(schedule, ())
    with pytest.raises(RuntimeError, match=f"{name} is the thread's"):
        getattr(made, name)
    with pytest.raises(RuntimeError, match="set_schedule_callback"):
        setattr(made, name, tracer)


def test_one_that_has_not_started_can_be_pickled_and_one_that_has_says_why_not():
    fresh = pickle.loads(pickle.dumps(tasklet(divmod)))
    assert not fresh.alive and fresh.tempval is divmod
    ready = tasklet(schedule, ("retval",))
    assert ready.restorable
    copy = pickle.loads(pickle.dumps(ready))
    assert copy.alive and copy.paused and type(copy) is tasklet
    copy.run()
    assert not ready.restorable or ready.nesting_level == 0
    with pytest.raises(TypeError, match="start another one"):
        pickle.dumps(copy)
    run()
    ready.kill()


def test_one_that_is_dropped_before_it_starts_leaves_nothing():
    before = len(overlapped.tasklets())
    made = tasklet(print, ("never",))
    gone = weakref.ref(made)
    del made
    gc.collect()
    assert gone() is None and len(overlapped.tasklets()) == before


def test_one_that_has_ended_goes_with_its_last_name():
    made = tasklet(schedule)()
    run()
    gone = weakref.ref(made)
    gc.disable()
    try:
        del made
        assert gone() is None
    finally:
        gc.enable()


def test_what_leads_from_a_tasklet_of_others_to_theirs_is_collected():
    other = overlapped.spawn(getcurrent)
    other.join()
    gone = weakref.ref(other)
    del other
    gc.collect()
    assert gone() is None


def test_tasklets_that_others_have_started_have_theirs_too():
    seen: list[tasklet] = []

    def look() -> None:
        seen.append(getcurrent())
        assert getcurrent() is seen[-1]
        schedule_remove()
        schedule()

    other = overlapped.spawn(look)
    schedule()
    (found,) = seen
    assert type(found) is tasklet and found.alive and found.paused and not found.is_main
    found.run()
    found.kill()
    assert not other.alive and not found.alive


def test_the_main_one_is_told_what_ends_a_tasklet_with_its_traceback():
    def fails() -> None:
        raise ValueError("uncaught")

    log: list[str] = []
    tasklet(fails)()
    tasklet(log.append)("next")
    with pytest.raises(ValueError, match="uncaught") as caught:
        run()
    assert caught.traceback[-1].name == "fails"
    assert log == [], "the main one is next"
    run()
    tasklet(fails)()
    with pytest.raises(ValueError):
        schedule()
    tasklet(fails)()
    with pytest.raises(ValueError):
        channel().receive()
    tasklet(fails)()
    with pytest.raises(ValueError):
        overlapped.sleep(60)
    with pytest.raises(ValueError):
        tasklet(fails, ()).run()


def test_a_system_exit_reaches_the_main_one_and_a_tasklet_exit_does_not():
    tasklet(sys.exit)(3)
    with pytest.raises(SystemExit) as caught:
        run()
    assert caught.value.code == 3

    def exits(kind: type[BaseException]) -> None:
        raise kind

    tasklet(exits)(stackless.TaskletExit)
    tasklet(exits)(overlapped.TaskletExit)
    run()
    assert issubclass(stackless.TaskletExit, SystemExit)


def test_the_repr_tells_the_state():
    made = tasklet(schedule)
    assert "unbound" in repr(made)
    made()
    assert "ready" in repr(made) and "tasklet" in repr(made)
    run()
    assert "dead" in repr(made)


def test_bind_thread_gives_one_that_has_not_started_to_another_thread():
    where: list[int] = []
    begun, ends = overlapped.Event(), overlapped.Event()

    def other_thread() -> None:
        getmain()
        begun.set()
        ends.wait()

    thread = threading.Thread(target=other_thread)
    thread.start()
    begun.wait()
    assert thread.ident is not None and stackless.threads == [threading.get_ident(), thread.ident]
    made = tasklet(lambda: (where.append(threading.get_ident()), ends.set()), ())
    made.bind_thread(thread.ident)
    assert made.thread_id == thread.ident
    made.insert()
    thread.join()
    assert where == [thread.ident]
    with pytest.raises(ValueError, match="no tasklets on thread"):
        tasklet(print).bind_thread(1)
    started = tasklet(schedule, ())
    started.run()
    with pytest.raises(RuntimeError, match="stack"):
        started.bind_thread(thread.ident)
    run()


def test_kill_and_throw_reach_a_tasklet_of_another_thread():
    log: list[str] = []
    made: list[tasklet] = []
    begun = overlapped.Event()

    def waits(name: str) -> None:
        try:
            channel().receive()
        except ValueError as error:
            log.append(f"{name}: {error}")
        except stackless.TaskletExit:
            log.append(f"{name}: exit")

    def other_thread() -> None:
        made.extend(tasklet(waits)(name) for name in ("one", "two"))
        run()
        begun.set()
        while any(each.alive for each in made):
            overlapped.sleep(0.001)

    thread = threading.Thread(target=other_thread)
    thread.start()
    begun.wait()
    one, two = made
    assert one.thread_id == thread.ident and one.alive and one.blocked and one.scheduled
    for act in (one.remove, one.switch):
        with pytest.raises(RuntimeError, match="another thread"):
            act()
    one.throw(ValueError("thrown"))
    two.kill()
    thread.join()
    assert log == ["one: thrown", "two: exit"]


def test_a_tasklet_of_a_thread_that_has_ended_says_so():
    made: list[tasklet] = []

    def other_thread() -> None:
        getmain()
        made.append(tasklet(print, ("never",)))

    thread = threading.Thread(target=other_thread)
    thread.start()
    thread.join()
    assert made[0].thread_id == -1
    with pytest.raises(RuntimeError, match="has ended"):
        made[0].insert()
