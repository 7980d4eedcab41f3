"""overlapped.subprocess: the standard library's, and only the tasklet that waits waits."""

from __future__ import annotations

import inspect
import os
import shutil
import signal
import subprocess as std
import sys

import pytest

import overlapped
from conftest import needs
from overlapped import sleep, spawn, subprocess

ECHO = "import sys\nfor line in sys.stdin:\n print(line.upper(), end='', flush=True)"


def python(script: str) -> list[str]:
    return [sys.executable, "-S", "-c", script]


def test_it_has_the_names_of_the_standard_library():
    assert set(std.__all__) <= set(vars(subprocess))
    assert subprocess.TimeoutExpired is std.TimeoutExpired
    assert issubclass(subprocess.Popen, std.Popen)
    assert subprocess.run is not std.run


def test_run_captures_what_a_process_writes():
    done = subprocess.run(
        python("import sys; print(input()); print('err', file=sys.stderr); sys.exit(3)"),
        input="line\n",
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (3, "line\n", "err\n")
    with pytest.raises(std.CalledProcessError):
        done.check_returncode()
    assert subprocess.check_output(python("print('out')")).strip() == b"out"
    assert subprocess.call(python("raise SystemExit(4)")) == 4
    with pytest.raises(subprocess.CalledProcessError):
        subprocess.check_call(python("raise SystemExit(4)"))


def test_only_the_one_that_waits_waits():
    process = subprocess.Popen(python("input()"), stdin=subprocess.PIPE)
    waiting = spawn(process.wait)
    sleep(0)
    assert waiting.alive
    # The process ends when this tasklet, which runs meanwhile, lets it.
    process.communicate(b"\n")
    assert waiting.result(60) == 0


def test_lines_go_to_a_process_and_come_back_one_by_one():
    with subprocess.Popen(python(ECHO), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
        for number in range(20):
            process.stdin.write(f"line {number}\n")
            assert process.stdout.readline() == f"LINE {number}\n"
        process.stdin.close()
        assert process.stdout.read() == ""
    assert process.returncode == 0


def test_communicate_reads_both_streams_while_it_writes():
    size = 300_000
    script = f"import sys\nd = sys.stdin.read()\nsys.stderr.write('e' * {size})\nsys.stdout.write(d)"
    process = subprocess.Popen(
        python(script), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    out, err = process.communicate("x" * size)
    assert (out, err) == ("x" * size, "e" * size)


def test_a_process_with_output_beside_others():
    def talk(number: int) -> bytes:
        return subprocess.check_output(python(f"print({number})"))

    tasklets = [spawn(talk, number) for number in range(10)]
    assert [int(tasklet.result(60)) for tasklet in tasklets] == list(range(10))


def test_a_wait_with_a_time_out_leaves_the_process_as_it_is():
    process = subprocess.Popen(python("print(input())"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=0.05)
    assert process.poll() is None
    assert process.communicate("line\n")[0] == "line\n"
    assert process.wait(timeout=0) == 0


def test_what_communicate_has_read_before_a_time_out_is_not_lost():
    script = "import sys; print('first', flush=True); sys.stdin.read(); print('second')"
    process = subprocess.Popen(python(script), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    # Its input stays open here, so it goes on.
    kept = os.dup(process.stdin.fileno())
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            process.communicate(timeout=0.3)
    finally:
        os.close(kept)
    assert process.communicate(timeout=60)[0] == "first\nsecond\n"


@needs("os.pidfd_open")
def test_a_wait_with_a_time_out_does_not_look_now_and_then(monkeypatch):
    process = subprocess.Popen(python("input()"), stdin=subprocess.PIPE)
    asked = []
    plain = process.poll
    monkeypatch.setattr(process, "poll", lambda: asked.append(1) or plain())
    waiting = spawn(process.wait, 60)
    sleep(0.2)
    assert waiting.alive and len(asked) == 1
    process.stdin.write(b"\n")
    process.stdin.close()
    assert waiting.result(60) == 0


def test_a_killed_process_says_so():
    process = subprocess.Popen(python("input()"), stdin=subprocess.PIPE)
    process.kill()
    status = process.wait(60)
    assert status == (1 if sys.platform == "win32" else -signal.SIGKILL)
    process.kill()
    process.stdin.close()


def test_a_program_that_is_not_there_is_the_standard_librarys_error():
    errors = []
    for module in (std, subprocess):
        with pytest.raises(FileNotFoundError) as caught:
            module.Popen(["overlapped-no-such-program"])
        errors.append(str(caught.value))
    assert errors[0] == errors[1]


def test_a_tasklet_that_waits_for_a_process_can_be_cancelled():
    process = subprocess.Popen(python("input()"), stdin=subprocess.PIPE)
    waiting = spawn(process.wait)
    sleep(0)
    waiting.cancel()
    waiting.join(60)
    assert isinstance(waiting.exception(0), overlapped.TaskletExit)
    process.communicate(b"\n")
    assert process.returncode == 0


@needs("os.fork")
def test_start_options_are_the_standard_librarys(tmp_path):
    script = "import os, sys; print(os.getcwd()); print(os.environ['NAME']); print(os.getsid(0) == os.getpid())"
    done = subprocess.run(
        python(script),
        cwd=tmp_path,
        env={**os.environ, "NAME": "value"},
        start_new_session=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert done.stdout.split() == [str(tmp_path.resolve()), "value", "True"]
    read, write = os.pipe()
    try:
        subprocess.run(python(f"import os; os.write({write}, b'x')"), pass_fds=[write], check=True)
        assert os.read(read, 1) == b"x"
    finally:
        os.close(read)
        os.close(write)


def said(option, value, script, **more):
    """What a child that is started with this option writes."""
    shell = ["sh", "-c", script]
    done = subprocess.run(shell, **{option: value}, **more, stdout=subprocess.PIPE, text=True, check=True, timeout=60)
    return done.stdout.split()


def inheritable():
    """A descriptor that children inherit, unless told otherwise."""
    read, write = os.pipe()
    os.close(read)
    os.set_inheritable(write, True)
    return write


TESTED_ELSEWHERE = {
    *("self", "args", "bufsize", "stdin", "stdout", "stderr", "text", "cwd", "env", "pass_fds", "shell"),
    *("start_new_session", "creationflags", "startupinfo", "encoding", "errors", "universal_newlines"),
}


@needs("os.fork")
def test_each_option_of_unix_does_what_it_does_in_the_standard_library():
    tested = set()

    def check(option, value, script, expected, **more):
        tested.add(option)
        assert said(option, value, script, **more) == expected, option

    check("executable", shutil.which("bash"), "echo ${BASH_VERSION:+bash}", ["bash"])
    kept = inheritable()
    try:
        for value, expected in ((True, ["closed"]), (False, ["open"])):
            script = f"test -e /dev/fd/{kept} && echo open || echo closed"
            check("close_fds", value, script, expected)
    finally:
        os.close(kept)
    check("preexec_fn", lambda: os.nice(1) and None, "nice", [str(os.nice(0) + 1)])
    check("umask", 0o27, "umask", ["0027"])
    check("process_group", 0, "test $(ps -o pgid= -p $$) = $$ && echo leads", ["leads"])
    # Python itself ignores SIGPIPE, the thirteenth.
    ignores = "test $((0x$(sed -n 's/^SigIgn:[[:space:]]*//p' /proc/self/status) >> 12 & 1)) = 1 && echo yes || echo no"
    if sys.platform == "linux":
        check("restore_signals", True, ignores, ["no"])
        check("restore_signals", False, ignores, ["yes"])
    tested |= {"restore_signals", "pipesize"}
    user, group, more = (65534, 65533, [65532]) if os.geteuid() == 0 else (os.getuid(), os.getgid(), None)
    check("user", user, "id -u", [str(user)])
    check("group", group, "id -g", [str(group)])
    if more is not None:
        check("extra_groups", more, "id -G", [str(group), "65532"], group=group)
    tested.add("extra_groups")
    for option, value in (("creationflags", 8), ("startupinfo", object())):
        with pytest.raises(ValueError, match="only supported on Windows"):
            said(option, value, "true")
    options = set(inspect.signature(std.Popen.__init__).parameters)
    assert options == tested | TESTED_ELSEWHERE, "an option that no test has"


@needs("fcntl.F_GETPIPE_SZ")
def test_the_size_of_pipes_is_as_asked():
    import fcntl

    with subprocess.Popen(python(""), stdout=subprocess.PIPE, pipesize=8192) as process:
        assert fcntl.fcntl(process.stdout, fcntl.F_GETPIPE_SZ) == 8192


def test_options_of_text_do_what_they_do_in_the_standard_library():
    script = "import sys; sys.stdout.buffer.write(b'\\xe9\\r\\n\\xff')"
    texts = [{"encoding": "latin-1"}, {"encoding": "utf-8", "errors": "replace"}, {"bufsize": 0}]
    if sys.platform != "win32":
        texts.append({"universal_newlines": True, "errors": "surrogateescape"})
    for options in texts:
        outputs = [module.run(python(script), stdout=subprocess.PIPE, **options).stdout for module in (std, subprocess)]
        assert outputs[0] == outputs[1], options


@needs("subprocess.STARTUPINFO")
def test_options_of_windows_reach_the_system():
    info = subprocess.STARTUPINFO(dwFlags=subprocess.STARTF_USESHOWWINDOW, wShowWindow=subprocess.SW_HIDE)
    for kind, ties in ((subprocess.Popen, {}), (subprocess.Child, {"own_tree": True, "kill_on_parent_exit": True})):
        flags = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
        process = kind(python("raise SystemExit(3)"), startupinfo=info, creationflags=flags, **ties)
        assert process.wait(60) == 3


def faults_after(start):
    """How many pages of 64 MiB have to be copied, or marked as this process's own again, after a child was started."""
    import resource

    heap = bytearray(64 << 20)
    pages = range(0, len(heap), resource.getpagesize())
    for page in pages:
        heap[page] = 1
    start()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for page in pages:
        heap[page] = 2
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(sys.platform != "linux", reason="counts what Linux does at a fork")
def test_a_start_does_not_copy_the_page_tables():
    forked = faults_after(lambda: subprocess.Popen(["true"], preexec_fn=lambda: None).wait(60))
    started = faults_after(lambda: subprocess.Child(["true"], own_tree=True).wait(60))
    assert started * 10 < forked


def test_shell_and_getoutput():
    assert subprocess.getstatusoutput("echo text") == (0, "text")
    assert subprocess.run("exit 3", shell=True).returncode == 3


def test_others_run_on_beside_a_process(ticker):
    reading, writing = os.pipe()

    def let_go() -> None:
        ticker.wait(5)
        os.write(writing, b"\n")

    with ticker:
        spawn(let_go)
        subprocess.run(python("input()"), stdin=reading, check=True)
    os.close(reading)
    os.close(writing)
