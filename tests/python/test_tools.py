"""Tracers, profilers and whoever looks at all threads see each thread that is a tasklet by itself.

Each program is run by plain Python too, where threads are the system's: what it says must hold there as well.
"""

from __future__ import annotations

import struct
import sys
from functools import partial

import pytest

import overlapped
from beside import Programs
from conftest import RunPython, needs, unix_only

HEAD = """
import faulthandler, os, sys, threading, time

def stacks():
    found = {}
    for ident, frame in sys._current_frames().items():
        names = found[ident] = []
        while frame:
            names.append(frame.f_code.co_name)
            frame = frame.f_back
    return found

class Seen(list):
    'A trace or profile function that notes the functions of this program.'
    def __call__(self, frame, event, argument):
        if frame.f_code.co_filename == '<string>' and event == 'call':
            self.append(frame.f_code.co_name)
        return self
    def __bool__(self):
        return True
"""


@pytest.fixture(params=["tasklets", "threads"])
def run(request: pytest.FixtureRequest):
    """Runs a program whose threads are of one kind; returns what it says."""
    return partial(Programs(HEAD).run, under=request.param == "tasklets")


def test_a_trace_function_is_there_after_a_wait_for_a_thread_without_one(run):
    run("""
go = threading.Event()
thread = threading.Thread(target=go.wait); thread.start()
seen = Seen()
def after(): pass
sys.settrace(seen)
go.set(); thread.join()
assert sys.gettrace() is seen
after()
assert seen.pop() == "after" and "run" not in seen
""")


@pytest.mark.parametrize("hook", ["trace", "profile"])
def test_each_thread_has_the_hook_that_it_has_set(run, hook):
    run(f"""
gates = [threading.Semaphore(0) for _ in range(3)]
def mine(): pass
def turn(number):
    gates[number].acquire()
    mine()
    gates[(number + 1) % 3].release()
seen = [Seen() for _ in range(3)]
def work(number):
    if number:
        sys.set{hook}(seen[number])
    for _ in range(5):
        turn(number)
    assert sys.get{hook}() is (seen[number] if number else None)
threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
for thread in threads: thread.start()
gates[0].release()
for thread in threads: thread.join()
assert seen[0] == [] and seen[1] == seen[2] == ["turn", "mine"] * 5, seen
assert sys.get{hook}() is None
""")


@pytest.mark.parametrize("hook", ["trace", "profile"])
def test_what_threading_was_told_is_for_threads_alone(run, hook):
    run(f"""
of_threads, of_main = Seen(), Seen()
def work(): time.sleep(0.01)
def after(): pass
threading.set{hook}(of_threads); sys.set{hook}(of_main)
thread = threading.Thread(target=work); thread.start(); thread.join()
assert sys.get{hook}() is of_main
after()
sys.set{hook}(None)
assert of_threads.count("work") == 1 and "after" not in of_threads
assert of_main[-1] == "after" and "work" not in of_main
""")


@pytest.mark.parametrize("hook", ["trace", "profile"])
def test_a_thread_that_has_ended_leaves_its_hook_to_nobody(run, hook):
    run(f"""
seen = Seen()
def first(): sys.set{hook}(seen)
def second(): found.append(sys.get{hook}())
found = []
for target in (first, second):
    thread = threading.Thread(target=target); thread.start(); thread.join()
second()
assert found == [None, None] and "second" not in seen
""")


def test_a_trace_function_may_wait_and_meanwhile_others_are_traced(run):
    run("""
main, other = Seen(), Seen()
inside, done = threading.Event(), threading.Event()
def traced(): pass
def thread():
    sys.settrace(other)
    inside.wait()
    traced()
    done.set()
def waits(frame, event, argument):
    main(frame, event, argument)
    if frame.f_code is traced.__code__ and event == "call":
        inside.set(); done.wait()
worker = threading.Thread(target=thread); worker.start()
sys.settrace(waits)
traced(); traced()
sys.settrace(None)
worker.join()
assert main.count("traced") == 2 and other.count("traced") == 1 and "wait" not in main
""")


def test_a_profiler_counts_its_own_thread_alone(run):
    run("""
import cProfile
def busy(): time.sleep(0.001)
def thread():
    while not stop: busy()
stop = []
worker = threading.Thread(target=thread); worker.start()
profile = cProfile.Profile()
def mine(): time.sleep(0.05)
profile.runcall(mine)
stop.append(1); worker.join()
names = {entry.code.co_name for entry in profile.getstats() if not isinstance(entry.code, str)}
# From 3.12 on it has the interpreter's monitoring, which is that of all threads.
assert "mine" in names and ("busy" not in names or sys.version_info >= (3, 12)), names
""")


@needs("threading.settrace_all_threads")
@pytest.mark.parametrize("hook", ["trace", "profile"])
def test_a_hook_for_all_threads_reaches_those_that_wait(run, hook):
    run(f"""
def late(): pass
def work():
    gate.wait()
    late()
    found.append(sys.get{hook}())
gate, found, seen = threading.Event(), [], Seen()
thread = threading.Thread(target=work); thread.start()
threading.set{hook}_all_threads(seen)
assert sys.get{hook}() is seen
gate.set(); thread.join()
threading.set{hook}_all_threads(None)
assert sys.get{hook}() is None and found == [seen] and seen.count("late") == 1
""")


def test_the_standard_librarys_tracer_counts_the_lines_of_threads(run):
    run("""
import trace
__file__ = 'program.py'
def inner(): pass
def work():
    for _ in range(3):
        time.sleep(0); inner()
def program():
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads: thread.start()
    for thread in threads: thread.join()
tracer = trace.Trace(count=1, trace=0)
tracer.runctx("program()", globals(), globals())
line = inner.__code__.co_firstlineno
assert tracer.results().counts["<string>", line] == 12
""")


def test_each_thread_is_among_the_current_frames(run):
    run("""
gate, started = threading.Event(), threading.Semaphore(0)
def parked(): started.release(); gate.wait()
def asks(): found.update(stacks()); here.append(threading.get_ident())
found, here = {}, []
threads = [threading.Thread(target=parked) for _ in range(3)]
for thread in threads: thread.start()
for thread in threads: started.acquire()
def main():
    thread = threading.Thread(target=asks); thread.start(); thread.join()
main()
assert set(found) == {threading.main_thread().ident, *here, *(thread.ident for thread in threads)}, found
for thread in threads:
    assert "parked" in found[thread.ident] and "wait" in found[thread.ident], found
assert found[here[0]][:2] == ["stacks", "asks"]
assert "main" in found[threading.main_thread().ident] and "asks" not in found[threading.main_thread().ident]
gate.set()
for thread in threads: thread.join()
assert set(stacks()) == {threading.get_ident()}
""")


def test_each_threads_exception_is_told(run):
    run("""
gate, started = threading.Event(), threading.Semaphore(0)
def generator():
    started.release(); gate.wait(); yield
def handles(direct):
    try: raise ValueError(direct)
    except ValueError:
        if direct: started.release(); gate.wait()
        else: next(generator())
threads = [threading.Thread(target=handles, args=(direct,)) for direct in (True, False)]
threads.append(threading.Thread(target=lambda: (started.release(), gate.wait())))
for thread in threads: thread.start()
for thread in threads: started.acquire()
def told(): return {ident: found[1] if isinstance(found, tuple) else found
                    for ident, found in sys._current_exceptions().items()}
try: raise KeyError
except KeyError as error: assert told()[threading.get_ident()] is error
found = told()
assert set(found) == {threading.get_ident(), *(thread.ident for thread in threads)}
assert [str(found[thread.ident]) for thread in threads] == ["True", "False", "None"], found
gate.set()
for thread in threads: thread.join()
""")


def test_a_dump_has_each_thread(run):
    said = run("""
gate, started = threading.Event(), threading.Event()
def parked(): started.set(); gate.wait()
thread = threading.Thread(target=parked); thread.start(); started.wait()
def asks():
    faulthandler.dump_traceback(sys.stdout)
    print("=====", flush=True)
    faulthandler.dump_traceback(1, all_threads=False)
asks()
gate.set(); thread.join()
sys.stdout.flush()
print("=====", hex(thread.ident), hex(threading.get_ident()))
""")
    everyone, alone, idents = said.split("=====")
    other, mine = idents.split()
    lines = everyone.splitlines()
    # As many digits as a long of C's has.
    width = 2 + 2 * struct.calcsize("L")
    assert lines[0].startswith(f"Thread {int(other, 16):#0{width}x}") and lines[0].endswith(
        " (most recent call first):"
    )
    current = next(number for number, line in enumerate(lines) if line.startswith("Current thread"))
    assert f"{int(mine, 16):#0{width}x}" in lines[current]
    assert any(line.startswith('  File "<string>", line ') and line.endswith(" in parked") for line in lines[:current])
    assert lines[current - 1] == "" and lines[current + 1].endswith(" in asks")
    assert alone.splitlines()[1] == "Stack (most recent call first):" and alone.splitlines()[2].endswith(" in asks")


@unix_only("it has no such clocks")
def test_the_clock_of_a_threads_processor_time_can_be_had(run):
    run("""
def work():
    clock = time.pthread_getcpuclockid(threading.get_ident())
    before = time.clock_gettime(clock)
    while time.clock_gettime(clock) == before: pass
    done.append(1)
done = []
thread = threading.Thread(target=work); thread.start(); thread.join()
assert done and time.clock_gettime(time.pthread_getcpuclockid(threading.get_ident())) > 0
""")


class TestSpawned:
    """Tasklets that no thread's start has begun."""

    def test_each_begins_with_the_hook_of_its_spawner(self, run_python: RunPython) -> None:
        done = run_python("""
import sys
from overlapped import sleep, spawn
calls = []
def tracer(frame, event, argument):
    if event == "call": calls.append(frame.f_code.co_name)
    return tracer
def inner(): pass
def work(): sleep(0); inner(); assert sys.gettrace() is tracer
sys.settrace(tracer)
tasklets = [spawn(work) for _ in range(3)]
for tasklet in tasklets: tasklet.result()
assert sys.gettrace() is tracer
sys.settrace(None)
assert calls.count("inner") == calls.count("work") == 3, calls
def after(): assert sys.gettrace() is None
spawn(after).result()
assert calls.count("after") == 0, calls
spawn(sleep, 0).result()
""")
        assert (done.returncode, done.stderr) == (0, "")

    def test_what_threading_was_told_comes_first(self, run_python: RunPython) -> None:
        done = run_python("""
import sys, threading
from overlapped import spawn
def of_main(frame, event, argument): pass
def of_threads(frame, event, argument): pass
def asks(): return sys.gettrace(), sys.getprofile()
threading.settrace(of_threads)
assert spawn(asks).result() == (None, None)
sys.settrace(of_main); sys.setprofile(of_main)
found = spawn(asks).result()
sys.settrace(None); sys.setprofile(None)
assert found == (of_threads, of_main), found
""")
        assert (done.returncode, done.stderr) == (0, "")

    def test_nothing_is_counted_twice(self, run_python: RunPython) -> None:
        """From Python 3.12 on the interpreter counts the threads that are traced: who ends is counted out once."""
        done = run_python("""
import sys
from overlapped import sleep, spawn
calls = []
def tracer(frame, event, argument): calls.append(frame.f_code.co_name)
def work(): sleep(0)
def after(): pass
sys.settrace(tracer)
for _ in range(5):
    for tasklet in [spawn(work) for _ in range(4)]: tasklet.join()
def own(): sys.settrace(None)
spawn(own).join()
after()
sys.settrace(None)
assert calls[-1] == "after", calls
""")
        assert (done.returncode, done.stderr) == (0, "")


def test_a_builtin_that_is_spawned_under_a_tracer_has_no_frame_and_runs() -> None:
    before = sys.gettrace()
    sys.settrace(lambda *_: None)
    try:
        tasklet = overlapped.spawn(overlapped.spawn, overlapped.sleep, 0)
        tasklet.result().join()
    finally:
        sys.settrace(before)
