"""Threads, locks and thread-locals after :func:`overlapped.monkey.patch_all`: they are tasklets'."""

from __future__ import annotations

import sys

import pytest

from conftest import RunPython, needs


class TestThreads:
    def test_they_are_tasklets_of_one_thread(self, patched: RunPython) -> None:
        patched("""
            import threading, overlapped
            seen = []
            def run():
                me = threading.current_thread()
                seen.append((me.name, me.ident, me.native_id, threading.get_ident() == me.ident, me.is_alive()))
                gate.wait()
            gate = threading.Event()
            threads = [threading.Thread(target=run, name=f"t{n}") for n in range(3)]
            for thread in threads: thread.start()
            assert threading.active_count() == 4
            assert set(threading.enumerate()) == {threading.main_thread(), *threads}
            assert len(overlapped.tasklets()) == 4
            gate.set()
            for thread in threads: thread.join()
            assert [name for name, *_ in seen] == ["t0", "t1", "t2"]
            assert len({ident for _, ident, *_ in seen} | {threading.get_ident()}) == 4
            assert len({native for _, _, native, *_ in seen} | {threading.get_native_id()}) == 1
            assert all(same and alive for *_, same, alive in seen)
            assert not any(thread.is_alive() for thread in threads)
            assert threading.main_thread().ident == monkey.original("_thread", "get_ident")()
        """)

    def test_tasklets_that_threading_did_not_start_leave_nothing_behind(self, patched: RunPython) -> None:
        patched("""
            import threading, overlapped
            def work():
                me = threading.current_thread()
                assert me is threading.current_thread() and me in threading.enumerate()
                overlapped.sleep(0)
            for tasklet in [overlapped.spawn(work) for _ in range(10)]: tasklet.result()
            assert threading.enumerate() == [threading.main_thread()], threading.enumerate()
        """)

    def test_join_with_a_time_out(self, patched: RunPython) -> None:
        patched("""
            import threading, time
            over = threading.Event()
            thread = threading.Thread(target=over.wait)
            thread.start()
            begun = time.perf_counter()
            thread.join(0.05)
            assert time.perf_counter() - begun > 0.04 and thread.is_alive()
            threading.Timer(0.01, over.set).start()
            thread.join()
            assert over.is_set() and not thread.is_alive()
        """)

    def test_the_others_are_awaited_at_the_end_and_daemons_are_not(self, patched: RunPython) -> None:
        said = patched("""
            import atexit, threading, time
            atexit.register(print, "atexit")
            threading.Thread(target=lambda: (time.sleep(0.05), print("thread"))).start()
            threading.Thread(target=lambda: (time.sleep(30), print("daemon")), daemon=True).start()
            print("main")
        """)
        assert said == "main\nthread\natexit\n"

    def test_exceptions_go_to_the_hook(self, patched: RunPython) -> None:
        patched("""
            import sys, threading, _thread, time
            seen = []
            threading.excepthook = seen.append
            thread = threading.Thread(target=lambda: 1 / 0)
            thread.start(); thread.join()
            assert seen[0].exc_type is ZeroDivisionError and seen[0].thread is thread
            threading.excepthook = threading.__excepthook__
            thread = threading.Thread(target=sys.exit)
            thread.start(); thread.join()
            sys.unraisablehook = seen.append
            def fail(): raise OSError
            _thread.start_new_thread(fail, ())
            time.sleep(0.01)
            text = "Exception ignored in thread started by"
            told = (f"{text} {fail!r}", None) if sys.version_info >= (3, 13) else (text, fail)
            assert seen[1].exc_type is OSError and (seen[1].err_msg, seen[1].object) == told
            assert seen[1].exc_traceback.tb_frame.f_code is fail.__code__
        """)

    def test_what_another_interpreter_waits_for_keeps_nobody_waiting(self, patched: RunPython) -> None:
        patched("""
            import os, threading
            try: import _interpreters as interpreters
            except ImportError: import _xxsubinterpreters as interpreters
            other = interpreters.create()
            reads, writes = os.pipe()
            thread = threading.Thread(target=interpreters.run_string, args=(other, f"import os; os.read({reads}, 1)"))
            thread.start()
            os.write(writes, b"x")
            thread.join()
            interpreters.destroy(other)
        """)

    def test_a_running_loop_is_its_threads_own_whatever_loop_it_is(self, patched: RunPython) -> None:
        patched("""
            import asyncio, threading
            running, seen = object(), []
            asyncio._set_running_loop(running)
            thread = threading.Thread(target=lambda: seen.append(asyncio._get_running_loop()))
            thread.start(); thread.join()
            assert seen == [None] and asyncio._get_running_loop() is running
            asyncio._set_running_loop(None)
        """)

    @pytest.mark.skipif(sys.version_info < (3, 14), reason="threads tell the system their names from 3.14 on")
    def test_a_name_is_its_threads_own_and_leaves_that_of_the_process(self, patched: RunPython) -> None:
        patched("""
            import _thread, threading
            process, seen = _thread._get_name(), []
            def work():
                me = threading.current_thread()
                seen.append(_thread._get_name())
                me.name = "a name longer than the system's are"
                seen.append(_thread._get_name())
            thread = threading.Thread(target=work, name="worker")
            thread.start(); thread.join()
            assert seen == ["worker", "a name longer than the system's are"[:_thread._NAME_MAXLEN]], seen
            assert _thread._get_name() == process
        """)

    def test_one_runs_to_its_first_wait_before_start_returns(self, patched: RunPython) -> None:
        patched("""
            import threading, time
            order = []
            def run():
                me = threading.current_thread()
                assert me is thread and me.ident == threading.get_ident() and me.is_alive()
                assert me.native_id == threading.get_native_id() and me._started.is_set()
                order.append("runs")
                time.sleep(0)
                order.append("goes on")
            thread = threading.Thread(target=run)
            assert thread.ident is thread.native_id is None and not thread._started.is_set()
            assert not thread.is_alive() and "initial" in repr(thread)
            thread.start()
            order.append("started")
            assert "started" in repr(thread) and str(thread.ident) in repr(thread)
            thread.join()
            assert order == ["runs", "started", "goes on"] and "stopped" in repr(thread), order
            try: thread.start()
            except RuntimeError as error: assert "once" in str(error)
            else: assert False
        """)

    def test_what_a_program_puts_in_the_place_of_a_threads_parts_is_used(self, patched: RunPython) -> None:
        patched("""
            import sys, threading
            seen = []
            class Own(threading.Thread):
                def _bootstrap_inner(self):
                    seen.append("own")
                    super()._bootstrap_inner()
            thread = Own(target=seen.append, args=("run",))
            thread.start(); thread.join()
            assert seen == ["own", "run"] and thread not in threading.enumerate()

            name = "_start_joinable_thread" if hasattr(threading, "_start_joinable_thread") else "_start_new_thread"
            def fail(*_, **__): raise threading.ThreadError
            before = getattr(threading, name)
            setattr(threading, name, fail)
            thread = threading.Thread(target=print)
            try: thread.start()
            except threading.ThreadError: pass
            else: assert False
            setattr(threading, name, before)
            thread = threading.Thread(target=seen.append, args=("again",))
            thread.start(); thread.join()
            assert seen[2:] == ["again"] and threading.enumerate() == [threading.main_thread()]
            asked = []
            sys.addaudithook(lambda event, arguments: asked.append(event) if event.startswith("_thread") else None)
            threading.Thread(target=print, args=("",), kwargs={"end": ""}).start()
            assert asked == ["_thread" + name.replace("_", ".", 1)]
        """)

    def test_one_that_is_cancelled_before_it_begins_leaves_nothing(self, patched: RunPython) -> None:
        patched("""
            import gc, threading, overlapped
            def start():
                thread.start()
            thread = threading.Thread(target=print)
            # It is not yet: others are first, and one of them ends it.
            overlapped.spawn(start)
            def cancel():
                next(found for found in gc.get_objects() if id(found) == thread.ident).cancel()
            overlapped.spawn(cancel)
            overlapped.run()
            thread.join()
            assert not thread.is_alive() and threading.enumerate() == [threading.main_thread()]
        """)

    def test_nothing_is_left_of_those_that_have_ended(self, patched: RunPython) -> None:
        patched("""
            import gc, threading, weakref
            gate = threading.Event()
            left = []
            for number in range(20):
                thread = threading.Thread(target=gate.wait, daemon=number % 2 == 0)
                thread.start()
                left.append(weakref.ref(thread))
            del thread
            assert len(threading._dangling) == 21 == len(list(threading._dangling))
            gate.set()
            while threading.active_count() > 1: threading.Event().wait(0.001)
            gc.collect()
            assert not any(reference() for reference in left) and len(threading._dangling) == 1
        """)

    def test_a_traceback_has_no_frame_of_ours(self, patched: RunPython) -> None:
        patched(
            """
            import sys, threading, traceback
            seen = []
            threading.excepthook = lambda args: seen.append(traceback.extract_tb(args.exc_traceback))
            def fail(): 1 / 0
            thread = threading.Thread(target=fail)
            thread.start(); thread.join()
            assert [frame.name for frame in seen[0]] == ["_bootstrap_inner", "run", "fail"], seen
            assert seen[0][0].filename == threading.__file__
            # Since Python 3.14 in a context.
            assert seen[0][0].line in ("self.run()", "self._context.run(self.run)")
            def worse(args): raise ValueError("the hook's")
            threading.excepthook = worse
            thread = threading.Thread(target=fail)
            thread.start(); thread.join()
            """,
            errors="ValueError: the hook's",
        )

    def test_context_and_hooks_are_a_threads_own(self, patched: RunPython) -> None:
        patched("""
            import contextvars, sys, threading
            variable = contextvars.ContextVar("variable", default="unset")
            variable.set("main")
            seen, traced = [], []
            threading.settrace(lambda *_: traced.append(1))
            thread = threading.Thread(target=lambda: seen.append(variable.get()))
            thread.start(); thread.join()
            threading.settrace(None)
            assert seen == ["unset"] and traced and sys.gettrace() is None
        """)

    def test_conditions_barriers_semaphores_timers(self, patched: RunPython) -> None:
        patched("""
            import threading, time
            condition, done = threading.Condition(), []
            def wait():
                with condition:
                    done.append(condition.wait(5))
            threads = [threading.Thread(target=wait) for _ in range(3)]
            for thread in threads: thread.start()
            with condition:
                condition.notify_all()
            for thread in threads: thread.join()
            assert done == [True] * 3
            with condition:
                assert condition.wait(0.01) is False
            barrier = threading.Barrier(3)
            threads = [threading.Thread(target=lambda: done.append(barrier.wait())) for _ in range(3)]
            for thread in threads: thread.start()
            for thread in threads: thread.join()
            assert sorted(done[3:]) == [0, 1, 2]
            most = running = 0
            slots = threading.BoundedSemaphore(2)
            def run():
                global most, running
                with slots:
                    running += 1
                    most = max(most, running)
                    time.sleep(0.005)
                    running -= 1
            threads = [threading.Thread(target=run) for _ in range(6)]
            for thread in threads: thread.start()
            for thread in threads: thread.join()
            assert most == 2
            rang = threading.Event()
            timer = threading.Timer(0.02, rang.set)
            timer.start()
            assert rang.wait(5)
            cancelled = threading.Timer(30, rang.clear)
            cancelled.start()
            cancelled.cancel()
            cancelled.join()
        """)

    def test_locks_between_real_threads_and_tasklets(self, patched: RunPython) -> None:
        patched("""
            import threading, time
            start = monkey.original("_thread", "start_new_thread")
            lock, count, ended = threading.Lock(), 0, threading.Semaphore(0)
            def run():
                global count
                for _ in range(200):
                    with lock:
                        before = count
                        time.sleep(0)
                        count = before + 1
                ended.release()
            for _ in range(2): start(run, ())
            for _ in range(3): threading.Thread(target=run).start()
            for _ in range(5): assert ended.acquire(timeout=30)
            assert count == 1000
        """)

    def test_a_loop_that_tries_a_lock_lets_its_holder_run(self, patched: RunPython) -> None:
        patched("""
            import threading, time
            lock = threading.Lock()
            def hold():
                with lock:
                    time.sleep(0.02)
            threading.Thread(target=hold).start()
            while not lock.acquire(blocking=False): pass
        """)

    def test_the_main_thread_can_be_joined(self, patched: RunPython) -> None:
        said = patched("""
            import threading
            threading.Thread(target=lambda: (threading.main_thread().join(), print("after main"))).start()
            print("main")
        """)
        assert said == "main\nafter main\n"


class TestLocal:
    def test_each_thread_has_its_own(self, patched: RunPython) -> None:
        patched("""
            import threading, overlapped
            class Own(threading.local):
                shared = "class"
                def __init__(self, first, *, second):
                    self.values = [first, second]
            own = Own(1, second=2)
            own.values.append("main")
            seen = []
            def run(name):
                own.values.append(name)
                own.name = name
                overlapped.sleep(0.001)
                seen.append((own.name, own.values, own.shared, sorted(vars(own))))
                del own.name
                assert not hasattr(own, "name")
            threads = [threading.Thread(target=run, args=(name,)) for name in "ab"]
            for thread in threads: thread.start()
            for thread in threads: thread.join()
            assert seen == [(name, [1, 2, name], "class", ["name", "values"]) for name in "ab"]
            assert own.values == [1, 2, "main"] and not hasattr(own, "name")
            try:
                own.__dict__ = {}
            except AttributeError as error:
                assert "read-only" in str(error)
            try:
                threading.local(1)
            except TypeError: pass
            else: assert False
        """)

    def test_it_goes_with_its_thread_and_with_itself(self, patched: RunPython) -> None:
        patched("""
            import gc, threading, weakref, overlapped
            class Value: pass
            own, left = threading.local(), []
            def run():
                own.value = Value()
                left.append(weakref.ref(own.value))
            for _ in range(3):
                thread = threading.Thread(target=run)
                thread.start(); thread.join()
            overlapped.spawn(run).join()
            monkey.original("_thread", "start_new_thread")(run, ())
            while len(left) < 5: overlapped.sleep(0.001)
            for _ in range(1000):
                if not any(reference() for reference in left): break
                overlapped.sleep(0.001)
            assert not any(reference() for reference in left)
            # A cycle through the local itself.
            cyclic = threading.local()
            cyclic.me, cyclic.value = cyclic, Value()
            reference = weakref.ref(cyclic.value)
            del cyclic
            gc.collect()
            assert reference() is None
        """)

    def test_an_init_that_fails_is_called_again(self, patched: RunPython) -> None:
        patched("""
            import threading
            class Own(threading.local):
                def __init__(self):
                    if threading.current_thread() is not threading.main_thread():
                        calls.append(1)
                        if len(calls) == 1: raise ValueError
                    self.x = 1
            own, calls, seen = Own(), [], []
            def run():
                try: own.x
                except ValueError: seen.append("failed")
                seen.append(own.x)
            thread = threading.Thread(target=run)
            thread.start(); thread.join()
            assert seen == ["failed", 1]
        """)


@needs("select.poll")
def test_many_threads_that_poll_many_descriptors_are_woken_by_one(patched: RunPython) -> None:
    """Thirty-four thousand waits: more than the 32,768 that a port once held."""
    patched(
        """
        import resource, select, socket, threading

        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        pairs = [socket.socketpair() for _ in range(min(2000, limit // 2 - 100))]
        woken, waiting = [], []

        def wait():
            polled = select.poll()
            for one, _ in pairs:
                polled.register(one, select.POLLIN)
            waiting.append(None)
            woken.append(polled.poll(50_000))

        threads = [threading.Thread(target=wait) for _ in range(34_000 // len(pairs) + 1)]
        for thread in threads:
            thread.start()
        while len(waiting) < len(threads):
            select.select([], [], [], 0.001)
        one, other = pairs[-1]
        other.send(b"x")
        for thread in threads:
            thread.join()
        assert woken == [[(one.fileno(), select.POLLIN)]] * len(threads), woken
        """
    )
