"""Signals of programs whose threads are tasklets: what a thread blocks, what it waits for, and what is sent to it."""

from __future__ import annotations

import textwrap

import pytest

from beside import Programs
from conftest import needs, unix_only

pytestmark = unix_only("it has no masks, and nothing that waits for a signal")

HEAD = """
import ctypes, multiprocessing, os, signal, subprocess, sys, threading, time
one, two = signal.SIGUSR1, signal.SIGUSR2
def blocked(): return sorted(signal.pthread_sigmask(signal.SIG_BLOCK, []))
def block(*signals): return signal.pthread_sigmask(signal.SIG_BLOCK, signals)
def unblock(*signals): return signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
def begin(function, *args):
    thread = threading.Thread(target=function, args=args); thread.start(); return thread
libc = ctypes.CDLL(None)
def own():
    # Of the thread that calls. Where proc(5) is read on one of the pool, this one may block all while it starts that.
    mask = (ctypes.c_uint64 * 16)(); libc.pthread_sigmask(signal.SIG_BLOCK, None, mask)
    return [number for number in range(1, 65) if mask[0] >> number - 1 & 1]
came = []
"""


programs = Programs(HEAD)
run, both = programs.run, programs.both


def test_what_a_thread_blocks_is_its_own_affair() -> None:
    assert (
        both("""
go, done = threading.Event(), threading.Event()
def work():
    print(block(one), blocked()); done.set(); go.wait(); print(unblock(one), blocked())
t = begin(work); done.wait()
print(blocked(), own())
go.set(); t.join()
""")
        == "set() [<Signals.SIGUSR1: 10>]\n[] []\n{<Signals.SIGUSR1: 10>} []\n"
    )


def test_a_thread_blocks_what_the_one_does_that_has_started_it() -> None:
    assert (
        both("""
def show(): print(threading.current_thread().name, blocked())
def work():
    block(one); begin(show).join(); unblock(one); begin(show).join(); block(two)
block(two); begin(show).join(); unblock(two)
begin(show).join(); begin(work).join(); print(blocked())
import _thread
lock = _thread.allocate_lock(); lock.acquire(); block(one)
_thread.start_new_thread(lambda: (print(blocked()), lock.release()), ()); lock.acquire()
""").count("SIGUSR1")
        == 2
    )


def test_signals_go_on_to_be_handled_where_one_thread_blocks_them() -> None:
    assert (
        both("""
signal.signal(one, lambda *_: came.append(1))
done, go = threading.Event(), threading.Event()
def work(): block(*signal.valid_signals()); done.set(); go.wait()
t = begin(work); done.wait()
os.kill(os.getpid(), one)
while not came: time.sleep(0.001)
go.set(); t.join(); print(came)
""")
        == "[1]\n"
    )


def test_a_signal_that_all_threads_block_waits_until_one_of_them_does_not() -> None:
    assert both("""
signal.signal(one, lambda *_: came.append("handled"))
block(one); go = threading.Event()
t = begin(lambda: (go.wait(), print("unblocks"), unblock(one), print("has")))
os.kill(os.getpid(), one); time.sleep(0.05)
print("pending", signal.sigpending())
go.set(); t.join()
while not came: time.sleep(0.001)
print(came, signal.sigpending(), blocked())
""").startswith("pending {<Signals.SIGUSR1: 10>}\nunblocks\n")


def test_the_end_of_the_last_thread_that_takes_a_signal_leaves_it_blocked() -> None:
    assert run("""
signal.signal(one, lambda *_: print("handled"))
go = threading.Event()
t = begin(go.wait); block(one)
go.set(); t.join()
os.kill(os.getpid(), one); time.sleep(0.02); print("waits"); unblock(one)
""").endswith("waits\nhandled\n")


def test_a_connection_that_is_sent_to_another_process_blocks_nothing() -> None:
    assert (
        both("""
signal.signal(one, lambda *_: came.append(1))
if __name__ == "__main__":
    ctx = multiprocessing.get_context("fork")
    a, b = ctx.Pipe(); c, d = ctx.Pipe()
    a.send(c); time.sleep(0.02); print(own())
    p = ctx.Process(target=time.sleep, args=(60,)); p.start(); p.terminate(); p.join(); print(p.exitcode)
    os.kill(os.getpid(), one)
    while not came: time.sleep(0.001)
    from multiprocessing import resource_sharer
    resource_sharer.stop(); print(came)
""")
        == "[]\n-15\n[1]\n"
    )


SHOW = "import signal; print([*map(int, signal.pthread_sigmask(signal.SIG_BLOCK, []))])"
STARTS = {
    "Popen": "subprocess.run([sys.executable, '-c', show])",
    "Popen with preexec_fn": "subprocess.run([sys.executable, '-c', show], preexec_fn=int)",
    "posix_spawn": "os.waitpid(os.posix_spawn(sys.executable, [sys.executable, '-c', show], os.environ), 0)",
    "fork": """
if not (child := os.fork()): exec(show); sys.stdout.flush(); os._exit(0)
os.waitpid(child, 0)""",
    "fork and exec": """
if not (child := os.fork()): os.execv(sys.executable, [sys.executable, '-c', show])
os.waitpid(child, 0)""",
    "spawnv": "os.spawnv(os.P_WAIT, sys.executable, [sys.executable, '-c', show])",
}


@pytest.mark.parametrize("start", STARTS)
def test_a_child_blocks_what_the_thread_does_that_starts_it(start: str) -> None:
    assert (
        both(f"""
show = {SHOW!r}
def start():
{textwrap.indent(STARTS[start], "    ")}
def work():
    block(one); start(); print(blocked() == [one], flush=True)
start(); begin(work).join(); print(blocked())
""")
        == "[]\n[10]\nTrue\n[]\n"
    )


def test_a_program_in_the_place_of_this_one_blocks_what_the_thread_has() -> None:
    assert (
        both(f"""
block(one); begin(time.sleep, 0).join(); os.execv(sys.executable, [sys.executable, "-c", {SHOW!r}])
""")
        == "[10]\n"
    )


def test_a_function_on_the_pool_takes_what_its_caller_s_thread_does() -> None:
    assert (
        run("""
import overlapped
block(two)
print(overlapped.offload(lambda: sorted(signal.pthread_sigmask(signal.SIG_BLOCK, []))))
print(os.system("true"))
""")
        == "[<Signals.SIGUSR2: 12>]\n0\n"
    )


def test_threads_of_ours_take_no_signal_that_the_program_blocks() -> None:
    assert (
        run("""
t = begin(time.sleep, 0.01); t.join()
signal.signal(one, lambda *_: print("handled"))
def compute():
    begun = time.thread_time()
    while time.thread_time() - begun < 0.02: pass
t = begin(compute); block(one, signal.SIGTERM); t.join()
os.kill(os.getpid(), signal.SIGTERM); print(signal.sigwait([signal.SIGTERM]))
""")
        == "15\n"
    )


WAITS = {
    "sigwait": "signal.sigwait([one])",
    "sigwaitinfo": "signal.sigwaitinfo([one]).si_signo",
    "sigtimedwait": "signal.sigtimedwait([one, two], 20).si_signo",
    "pause": "signal.pause()",
}


@pytest.mark.parametrize("wait", WAITS)
def test_who_waits_for_a_signal_lets_the_other_threads_run(wait: str) -> None:
    assert both(f"""
def work():
    for number in range(3): time.sleep(0.01); print("works", number)
    os.kill(os.getpid(), one)
if {wait != "pause"}: block(one)
else: signal.signal(one, lambda *_: print("handled", threading.current_thread() is threading.main_thread()))
t = begin(work); print({WAITS[wait]}); t.join()
""").startswith("works 0\nworks 1\nworks 2\n")


@pytest.mark.parametrize("wait", ["sigwait", "sigwaitinfo", "sigtimedwait"])
@pytest.mark.parametrize("send", ["os.kill(os.getpid(), one)", "signal.pthread_kill(t.ident, one)"])
def test_a_thread_waits_for_signals_while_the_main_one_goes_on(wait: str, send: str) -> None:
    assert (
        both(f"""
block(one)
t = begin(lambda: print("got", {WAITS[wait]} == one))
time.sleep(0.02); print("main"); {send}; t.join(); print(signal.sigpending())
""")
        == "main\ngot True\nset()\n"
    )


@pytest.mark.parametrize("wait", ["sigwait", "sigwaitinfo", "sigtimedwait"])
def test_what_is_pending_is_taken_at_once(wait: str) -> None:
    assert (
        both(f"""
block(one)
for send in lambda: os.kill(os.getpid(), one), lambda: signal.raise_signal(one):
    send(); print({WAITS[wait]} == one, signal.sigpending())
def work(): signal.raise_signal(one); print(signal.sigpending(), {WAITS[wait]} == one, signal.sigpending())
begin(work).join()
""").count("True")
        == 3
    )


def test_a_time_limit_of_a_wait_for_signals_is_kept() -> None:
    assert both("""
block(one)
print(signal.sigtimedwait([one], 0.02), signal.sigtimedwait([one], 0))
for wrong, limit in (([one], -1), ([0], 1), ([99], 1), (1, 1), ([one], "1")):
    try: signal.sigtimedwait(wrong, limit)
    except (ValueError, TypeError) as error: print(type(error))
for wrong in ([0], 1):
    try: signal.sigwait(wrong)
    except (ValueError, TypeError) as error: print(type(error))
""").startswith("None None\n")


def test_handlers_run_while_the_main_thread_waits_for_another_signal() -> None:
    assert (
        both("""
block(one); signal.signal(two, lambda *_: print("handled"))
def work(): os.kill(os.getpid(), two); time.sleep(0.02); os.kill(os.getpid(), one)
t = begin(work); print(signal.sigwait([one]) == one); t.join()
def raises(*_): raise ZeroDivisionError
signal.signal(two, raises)
t = begin(lambda: (time.sleep(0.02), os.kill(os.getpid(), two)))
try: signal.sigwaitinfo([one])
except ZeroDivisionError: print("raised")
t.join(); t = begin(lambda: (time.sleep(0.02), os.kill(os.getpid(), two)))
try: signal.pause()
except ZeroDivisionError: print("raised")
t.join()
""")
        == "handled\nTrue\nraised\nraised\n"
    )


def test_a_signal_that_is_sent_to_a_thread_waits_for_that_thread() -> None:
    assert (
        both("""
signal.signal(one, lambda *_: came.append(1))
go, ready = threading.Event(), threading.Event()
def work():
    block(one); ready.set(); go.wait()
    print("before", came, signal.sigpending()); unblock(one)
    print(signal.sigpending())
t = begin(work); ready.wait()
signal.pthread_kill(t.ident, one); time.sleep(0.02)
print(came, signal.sigpending()); go.set(); t.join()
while not came: time.sleep(0.001)
print(came)
signal.pthread_kill(threading.main_thread().ident, one); print(came)
signal.pthread_kill(threading.get_ident(), 0)
""")
        == "[] set()\nbefore [] {<Signals.SIGUSR1: 10>}\nset()\n[1]\n[1, 1]\n"
    )


def test_a_thread_that_pauses_goes_on_when_a_signal_is_sent_to_it_alone() -> None:
    assert (
        run("""
signal.signal(one, lambda *_: came.append(1)); signal.signal(two, lambda *_: came.append(2))
t = begin(lambda: (signal.pause(), print("goes on")))
os.kill(os.getpid(), two)
while not came: time.sleep(0.001)
print(t.is_alive(), came)
signal.pthread_kill(t.ident, one); t.join(); print(came)
""")
        == "True [2]\ngoes on\n[2, 1]\n"
    )


def test_a_signal_that_is_raised_in_a_thread_has_its_handler_run_in_the_main_one() -> None:
    assert (
        both("""
signal.signal(one, lambda *_: came.append(threading.current_thread().name))
begin(signal.raise_signal, one).join()
while not came: time.sleep(0.001)
signal.raise_signal(one); print(came)
""")
        == "['MainThread', 'MainThread']\n"
    )


def test_two_threads_that_wait_for_different_signals_get_their_own() -> None:
    assert (
        both("""
block(one, two)
threads = [begin(lambda number=number: came.append((number, signal.sigwait([number])))) for number in (one, two)]
time.sleep(0.02); os.kill(os.getpid(), two); os.kill(os.getpid(), one)
for t in threads: t.join()
print(sorted(came) == [(one, one), (two, two)])
""")
        == "True\n"
    )


def test_a_child_of_a_fork_waits_for_signals_of_its_own() -> None:
    assert (
        both("""
block(one); t = begin(signal.sigwait, [one]); time.sleep(0.01)
if not (child := os.fork()):
    t = threading.Timer(0.02, os.kill, (os.getpid(), one)); t.start()
    os._exit(signal.sigwait([one]))
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == one)
os.kill(os.getpid(), one); t.join()
""")
        == "True\n"
    )


@needs("signal.setitimer")
def test_an_alarm_ends_a_pause() -> None:
    assert (
        both("""
signal.signal(signal.SIGALRM, lambda *_: print("alarm"))
signal.setitimer(signal.ITIMER_REAL, 0.02); print(signal.pause())
""")
        == "alarm\nNone\n"
    )


def test_a_wait_for_a_signal_is_cancelled() -> None:
    assert (
        run("""
import overlapped
block(one)
for wait in lambda: signal.sigwait([one]), signal.pause:
    try:
        with overlapped.timeout(0.01): wait()
    except TimeoutError: print("out of time")
os.kill(os.getpid(), one); print(signal.sigwait([one]) == one, len(os.listdir("/proc/self/fd")) < 20)
""")
        == "out of time\nout of time\nTrue True\n"
    )
