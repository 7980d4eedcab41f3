"""Threads that are tasklets give way where they compute, as threads do; handlers of signals run in the main one."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from conftest import needs, unix_only
from load import crowd
from servers import PROGRAMS

HEAD = """
import concurrent.futures, os, queue, select, signal, socket, subprocess, sys, threading, time
import overlapped
came = []
soon = lambda: threading.Timer(0.05, came.append, (1,)).start()
"""


def run(code: str, *, under: bool = True) -> str:
    """What a program says, which ends by itself."""
    command = [sys.executable, *(["-m", "overlapped"] if under else []), "-c", HEAD + code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50 * crowd(), env=os.environ)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


LOOPS = {
    "computing": "soon()\nwhile not came: pass",
    "a clock": "soon()\nwhile not came: time.monotonic()",
    "Queue.get_nowait": """
q = queue.Queue(); threading.Timer(0.05, q.put, (1,)).start()
while True:
    try: q.get_nowait(); break
    except queue.Empty: pass
""",
    "Queue.put_nowait": """
q = queue.Queue(1); q.put(1); threading.Timer(0.05, q.get).start()
while True:
    try: q.put_nowait(1); break
    except queue.Full: pass
""",
    "SimpleQueue.get_nowait": """
q = queue.SimpleQueue(); threading.Timer(0.05, q.put, (1,)).start()
while True:
    try: q.get_nowait(); break
    except queue.Empty: pass
""",
    "Queue.empty": "q = queue.Queue(); threading.Timer(0.05, q.put, (1,)).start()\nwhile q.empty(): pass",
    "Event.is_set": "e = threading.Event(); threading.Timer(0.05, e.set).start()\nwhile not e.is_set(): pass",
    "Event.wait(0)": "e = threading.Event(); threading.Timer(0.05, e.set).start()\nwhile not e.wait(0): pass",
    "Lock.acquire(False)": """
l = threading.Lock(); l.acquire(); threading.Timer(0.05, l.release).start()
while not l.acquire(False): pass
""",
    "Lock.locked": """
l = threading.Lock(); l.acquire(); threading.Timer(0.05, l.release).start()
while l.locked(): pass
""",
    "Thread.is_alive": "t = threading.Timer(0.05, int); t.start()\nwhile t.is_alive(): pass",
    "Future.done": """
with concurrent.futures.ThreadPoolExecutor(1) as pool:
    future = pool.submit(time.sleep, 0.05)
    while not future.done(): pass
""",
    "recv of a non-blocking socket": """
a, b = socket.socketpair(); a.setblocking(False); threading.Timer(0.05, b.send, (b"x",)).start()
while True:
    try: a.recv(1); break
    except BlockingIOError: pass
""",
    "select(0)": "soon()\nwhile not came: select.select([], [], [], 0)" if sys.platform != "win32" else "pass",
    "a path that appears": """
import tempfile
with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "it"); t = threading.Timer(0.05, lambda: open(path, "w").close()); t.start()
    while not os.path.exists(path): pass
    t.join()
""",
    "a generator": "soon()\nfor _ in iter(lambda: bool(came), True): pass",
    "a key function of sort": "soon()\nwhile not came: sorted(range(100), key=lambda number: -number)",
    "in a thread": """
def spin():
    while not came: pass
soon(); t = threading.Thread(target=spin); t.start(); t.join()
""",
    "three threads": """
def spin():
    while not came: pass
soon(); all = [threading.Thread(target=spin) for _ in range(3)]
for t in all: t.start()
for t in all: t.join()
""",
}


@pytest.mark.parametrize("loop", LOOPS)
def test_a_loop_that_asks_again_and_again_lets_the_other_threads_run(loop: str) -> None:
    assert run(LOOPS[loop] + "\nprint('others ran')") == "others ran\n"


def test_who_computes_while_nothing_is_under_way_lets_those_run_whom_a_thread_of_the_systems_wakes() -> None:
    code = """
from overlapped import monkey
event = threading.Event()
threading.Thread(target=lambda: (event.wait(), came.append(1))).start()
sleep = monkey.original("time", "sleep")
monkey.original("_thread", "start_new_thread")(lambda: (sleep(0.05), event.set()), ())
while not came: pass
print("woken")
"""
    assert run(code) == "woken\n"


def test_who_computes_for_nobodys_sake_is_not_looked_at() -> None:
    code = """
event = threading.Event()
threading.Thread(target=event.wait).start()
sys.setswitchinterval(0.001)
def compute():
    end = time.process_time() + 0.02
    while time.process_time() < end: pass
def grown(depth):
    if depth: return grown(depth - 1)
    before = sys.getallocatedblocks()
    compute()
    return sys.getallocatedblocks() - before
compute()
# Python makes an object of each frame that is looked at, and keeps it as long as the frame.
print(max(grown(60) for _ in range(5)) < 25)
event.set()
"""
    assert run(code) == "True\n"


@pytest.mark.parametrize("kind", ["tcp-receive", "tcp-send", "tls-receive", "tls-send", "udp-receive"])
def test_a_thread_whose_peer_is_always_ready_lets_the_others_run(kind: str) -> None:
    command = [sys.executable, "-m", "overlapped", str(PROGRAMS / "bulk_beside_ticks.py"), kind]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50 * crowd())
    assert (done.returncode, done.stdout) == (0, "ticked\n"), done.stderr


CONVERSATIONS = {
    "queues": """
asked, answered = queue.SimpleQueue(), queue.SimpleQueue()
ask = lambda: (asked.put(1), answered.get())
answer = lambda: answered.put(asked.get())
""",
    "sockets": """
one, other = socket.socketpair()
ask = lambda: (one.sendall(b"?"), one.recv(1))
answer = lambda: other.sendall(other.recv(1))
""",
}


@pytest.mark.parametrize(
    "between",
    ["queues", pytest.param("sockets", marks=unix_only("under Wine what was sent arrives some time later"))],
)
def test_others_converse_while_one_gives_way_and_need_not_wait_for_it_after_each_step(between: str) -> None:
    assert (
        run(
            CONVERSATIONS[between]
            + """
trips = 0
def asks():
    global trips
    for _ in range(200):
        ask()
        trips += 1
def answers():
    for _ in range(200): answer()
threads = [threading.Thread(target=what) for what in (asks, answers)]
for t in threads: t.start()
seen = {trips}
while trips < 200: seen.add(trips)
print(len(seen) < 150)
"""
        )
        == "True\n"
    )


def test_two_threads_that_compute_take_turns() -> None:
    assert (
        run("""
turns = []
def compute(me):
    while len(turns) < 20:
        if turns[-1:] != [me]: turns.append(me)
threads = [threading.Thread(target=compute, args=(me,)) for me in "ab"]
for t in threads: t.start()
for t in threads: t.join()
print("".join(turns[:20]) in ("ab" * 10, "ba" * 10))
""")
        == "True\n"
    )


def test_a_time_out_that_is_due_while_its_thread_computes_comes_with_its_next_wait() -> None:
    assert (
        run("""
def work():
    try:
        with overlapped.timeout(0.01):
            while not came: pass
            reached.append(True)
            time.sleep(60)
    except TimeoutError:
        print("at the wait", reached)
reached = []
soon(); t = threading.Thread(target=work); t.start(); t.join()
""")
        == "at the wait [True]\n"
    )


def test_who_asks_for_it_is_not_preempted_and_is_so_again_afterwards() -> None:
    assert (
        run("""
with overlapped.no_preempt():
    with overlapped.no_preempt(): pass
    soon(); begun = time.thread_time()
    while time.thread_time() - begun < 0.3: pass
    print(came)
while not came: pass
print(came)
""")
        == "[]\n[1]\n"
    )


def test_a_tasklet_of_new_code_is_not_preempted() -> None:
    assert (
        run("""
def compute():
    soon(); begun = time.thread_time()
    while time.thread_time() - begun < 0.3: pass
    print(came)
overlapped.spawn(compute).join()
while not came: pass
""")
        == "[]\n"
    )


def test_a_destructor_is_not_preempted() -> None:
    assert (
        run("""
class Slow:
    def __del__(self):
        begun = time.thread_time()
        while time.thread_time() - begun < 0.3: pass
        print(came)
soon(); Slow()
while not came: pass
""")
        == "[]\n"
    )


def test_a_program_sees_nothing_of_it() -> None:
    code = """
soon(); calls = []
sys.setprofile(lambda frame, event, argument: calls.append(frame.f_code.co_filename))
while not came: pass
sys.setprofile(None)
print([file for file in calls if "_preempt" in file])
print([signal.getsignal(number) for number in signal.valid_signals() if number != signal.SIGINT])
"""
    assert run(code) == run(code, under=False)


def test_the_interval_is_python_s() -> None:
    assert (
        run("""
sys.setswitchinterval(100.0)
begun = time.thread_time(); soon()
while time.thread_time() - begun < 0.3: pass
print(came, sys.getswitchinterval())
""")
        == "[] 100.0\n"
    )


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="who asks needs no GIL from 3.13 on")
@unix_only("who asks needs no GIL")
def test_who_asks_to_give_way_need_not_wait_as_long_for_the_gil() -> None:
    code = "from overlapped import monkey; real = monkey.original('sys', 'getswitchinterval')\n"
    code += "for set in (0.005, 0.0002):\n    sys.setswitchinterval(set)\n"
    code += "    print(f'{sys.getswitchinterval():.4f} {real():.4f}')"
    assert run(code) == "0.0050 0.0005\n0.0002 0.0002\n"


def test_who_has_given_way_to_nobody_is_not_asked_again_before_an_interval_has_passed() -> None:
    code = """
from overlapped import _preempt
threading.Thread(target=int).start(); asked = []
handler = _preempt.set_handler(_preempt.SIGNAL, lambda *args: (asked.append(1), handler(*args)))
begun = time.monotonic()
while time.monotonic() - begun < 0.5: pass
intervals = (time.monotonic() - begun) / sys.getswitchinterval()
print(0 < len(asked) < intervals + 5)
"""
    assert run(code) == "True\n"


def test_whoever_patches_without_it_has_none() -> None:
    assert (
        run(
            """
from overlapped import monkey
monkey.patch_all(preemption=False)
import threading, time
came = []; threading.Timer(0.05, came.append, (1,)).start()
begun = time.thread_time()
while time.thread_time() - begun < 0.3: pass
print(came)
""",
            under=False,
        )
        == "[]\n"
    )


@needs("os.fork")
def test_a_forked_child_preempts_too() -> None:
    assert (
        run("""
soon()
while not came: pass
if (child := os.fork()) == 0:
    came.clear(); soon()
    while not came: pass
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
""")
        == "7\n"
    )


@needs("signal.SIGUSR1")
@pytest.mark.parametrize("work", ["for _ in range(1000): pass", "time.sleep(0.05)", "while not came: pass"])
def test_a_handler_runs_in_the_main_thread_whichever_runs_when_the_signal_comes(work: str) -> None:
    code = f"""
def handler(number, frame):
    print(threading.current_thread() is threading.main_thread(), number == signal.SIGUSR1, frame is not None)
    came.append(1)
signal.signal(signal.SIGUSR1, handler)
def work():
    os.kill(os.getpid(), signal.SIGUSR1)
    {work}
t = threading.Thread(target=work); t.start(); t.join()
"""
    assert run(code) == run(code, under=False) == "True True True\n"


@needs("signal.SIGUSR1")
def test_handlers_of_signals_that_come_together_all_run_also_where_the_first_raises() -> None:
    assert (
        run("""
def raises(number, frame): raise ZeroDivisionError
signal.signal(signal.SIGUSR1, raises)
signal.signal(signal.SIGUSR2, lambda number, frame: came.append(number))
def work():
    os.kill(os.getpid(), signal.SIGUSR1); os.kill(os.getpid(), signal.SIGUSR2)
try: threading.Thread(target=work).start(); time.sleep(60)
except ZeroDivisionError: print("raised in the main thread")
while not came: pass
""")
        == "raised in the main thread\n"
    )


@needs("signal.SIGTERM")
def test_a_handler_that_joins_workers_which_compute_ends_the_program_in_order() -> None:
    assert (
        run("""
stop = threading.Event()
def work():
    while not stop.is_set():
        begun = time.thread_time()
        while time.thread_time() - begun < 0.02: pass
    print("done")
def end(number, frame):
    stop.set()
    for t in workers: t.join()
    sys.exit()
signal.signal(signal.SIGTERM, end)
workers = [threading.Thread(target=work) for _ in range(2)]
for t in workers: t.start()
threading.Timer(0.05, signal.raise_signal, (signal.SIGTERM,)).start()
while True: time.sleep(60)
""")
        == "done\ndone\n"
    )


def test_only_the_main_thread_sets_handlers() -> None:
    assert run("""
def work():
    for set in (lambda: signal.signal(signal.SIGINT, signal.SIG_IGN), lambda: signal.set_wakeup_fd(-1)):
        try: set()
        except ValueError as error: print(error)
t = threading.Thread(target=work); t.start(); t.join()
""") == (
        "signal only works in main thread of the main interpreter\n"
        "set_wakeup_fd only works in main thread of the main interpreter\n"
    )


def test_nobody_is_asked_to_give_way_while_the_descriptor_of_signals_is_set() -> None:
    said = run(
        """
from overlapped import _engine, _signal

def turns(computing):
    seen = turned[0]
    computing()
    return turned[0] - seen

def compute():
    for _ in range(400_000):
        pass

def turn():
    while not came:
        turned[0] += 1
        time.sleep(0)

turned = [0]
sys.setswitchinterval(0.0005)
threading.Thread(target=turn, daemon=True).start()
while turns(compute) == 0:
    pass
assert turns(lambda: _engine.while_nobody_asks(compute)) == 0
while turns(compute) == 0:
    pass

# What sets it is called so.
asked = []
_engine.while_nobody_asks, plain = lambda *args: asked.append(args) or plain(*args), _engine.while_nobody_asks
with socket.socket() as told:
    told.setblocking(False)
    assert signal.set_wakeup_fd(told.fileno(), warn_on_full_buffer=False) == -1
    assert signal.set_wakeup_fd(-1) == told.fileno()
came.append(1)
print(len(asked))
"""
    )
    assert said == "2\n"
