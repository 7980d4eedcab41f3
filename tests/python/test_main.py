"""``python -m overlapped`` beside ``python``: a program must not see the difference."""

from __future__ import annotations

import multiprocessing
import os
import re
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from conftest import AWAIT_CONTROL_C, INTERRUPTED, WINDOWS, press_control_c, unix_only
from load import crowd

SHOW = """\
import json, sys
main = sys.modules["__main__"]
print(json.dumps([
    sys.argv, sys.path[0], __name__, globals().get("__file__"), __package__ or None, main.__dict__ is globals(),
    __spec__ and __spec__.name,
]))
"""


def run(
    *arguments: str | Path, cwd: Path, under: bool = True, stdin: str = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run Python, or Python under Overlapped, with these arguments."""
    command = [sys.executable, *(["-m", "overlapped"] if under else []), *map(str, arguments)]
    return subprocess.run(
        command,
        cwd=cwd,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=50 * crowd(),
        env=os.environ | environment,
    )


def same(*arguments: str | Path, cwd: Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """Run both ways; the output, the errors and the exit status are the same."""
    plain = run(*arguments, cwd=cwd, under=False, stdin=stdin)
    ours = run(*arguments, cwd=cwd, stdin=stdin)
    assert ours.stdout == plain.stdout
    assert ours.stderr == plain.stderr
    assert ours.returncode == plain.returncode
    return ours


def test_a_script_sees_itself(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "script.py").write_text(SHOW)
    assert "script.py" in same("folder/script.py", "-x", "--help", "argument", cwd=tmp_path).stdout
    same(folder / "script.py", cwd=tmp_path)


@unix_only("to make a symbolic link is a privilege on Windows")
def test_a_linked_script_finds_its_neighbours_where_it_lies(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "script.py").write_text("import neighbour; print(neighbour.__name__)")
    (tmp_path / "real" / "neighbour.py").touch()
    (tmp_path / "link.py").symlink_to("real/script.py")
    assert same("link.py", cwd=tmp_path).stdout == "neighbour\n"


def test_a_module(tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text(SHOW)
    (package / "module.py").write_text(SHOW)
    same("-m", "package", "a", "-b", cwd=tmp_path)
    same("-m", "package.module", cwd=tmp_path)
    # The messages begin with the path of the interpreter, and end the program with status 1.
    same("-m", "package.nowhere", cwd=tmp_path)


def test_code_and_standard_input(tmp_path: Path) -> None:
    same("-c", "import sys; print(sys.argv, sys.path[0], __name__)", "a", "-b", cwd=tmp_path)
    same("-", "a", cwd=tmp_path, stdin="import sys; print(sys.argv, sys.path[0], __name__)")


def test_a_folder_and_a_zip_file(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "__main__.py").write_text(SHOW)
    with zipfile.ZipFile(tmp_path / "app.zip", "w") as archive:
        archive.writestr("__main__.py", SHOW)
    same("folder", "a", cwd=tmp_path)
    same("app.zip", "a", cwd=tmp_path)


@pytest.mark.parametrize(
    "code",
    [
        "import sys; sys.exit(7)",
        "import sys; sys.exit('why')",
        "raise SystemExit",
        "def f(): 1 / 0\n\n\nf()",
        "try:\n    1 / 0\nexcept Exception:\n    raise ValueError('while handling')",
        "if True print('no syntax')",
        "raise KeyboardInterrupt",
        "import os; os._exit(3)",
        "import sys\nsys.excepthook = lambda *a: print('hook', a[0], a[2].tb_lineno, a[2].tb_next)\n1 / 0",
        "import atexit, sys\natexit.register(lambda: print(sys.last_type, sys.excepthook))\n1 / 0",
        "import threading\nthreading.Thread(target=lambda: print('joined')).start()\n1 / 0",
    ],
)
def test_how_it_ends(code: str, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(code)
    same("script.py", cwd=tmp_path)
    same("-c", code, cwd=tmp_path)


def test_an_uncaught_exception_in_a_module(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text("def f():\n    1 / 0\n\n\nf()\n")
    assert "ZeroDivisionError" in same("-m", "module", cwd=tmp_path).stderr


def test_an_exception_in_a_thread(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(
        "import threading\n\n\ndef f():\n    1 / 0\n\n\n"
        "thread = threading.Thread(target=f, name='name')\nthread.start()\nthread.join()\nprint('on')\n"
    )
    done = same("script.py", cwd=tmp_path)
    assert done.stderr.startswith("Exception in thread name:")
    assert done.stdout == "on\n"


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert same("nowhere.py", cwd=tmp_path).returncode == 2


def test_a_compiled_script(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text("print(__name__, 'compiled')")
    code = "import py_compile; py_compile.compile('script.py', 'script.pyc', doraise=True)"
    assert run("-c", code, cwd=tmp_path, under=False).returncode == 0
    done = run("script.pyc", cwd=tmp_path)
    assert (done.stdout, done.returncode) == ("__main__ compiled\n", 0)


def test_the_options_of_python_itself(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-O",
            "-W",
            "error",
            "-m",
            "overlapped",
            "-c",
            "assert 0; import warnings; warnings.warn('w')",
        ],
        capture_output=True,
        text=True,
        timeout=50 * crowd(),
        cwd=tmp_path,
    )
    assert "UserWarning: w" in done.stderr
    assert done.returncode == 1


def test_help_and_version(tmp_path: Path) -> None:
    for option in ("-h", "--help"):
        assert run(option, cwd=tmp_path).stdout.startswith("usage: python -m overlapped")
    for option in ("-V", "--version"):
        assert re.match(r"overlapped [\d.]+ on Python [\d.]+", run(option, cwd=tmp_path).stdout)


@pytest.mark.parametrize(
    "arguments", [(), ("--nonsense", "x.py"), ("-x",), ("-m",), ("-c",), ("--backend",), ("--backend", "none", "x.py")]
)
def test_a_command_line_that_makes_no_sense(arguments: tuple[str, ...], tmp_path: Path) -> None:
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("python -m overlapped: ")
    assert done.stdout == ""


def test_the_backend_is_chosen(tmp_path: Path, backend: str) -> None:
    code = "import overlapped; print(overlapped.backend())"
    for option in (["--backend", backend], [f"--backend={backend}"]):
        assert run(*option, "-c", code, cwd=tmp_path).stdout == f"{backend}\n"
    if not WINDOWS:
        assert run("--backend", "poll", "-c", code, cwd=tmp_path).stdout == "poll\n"


def test_a_seed_has_the_port_simulated(tmp_path: Path) -> None:
    code = "import overlapped; print(overlapped.backend(), open(__import__('os').devnull).read())"
    for option in (["--perturb", "17"], ["--perturb=d0*4,1"]):
        assert run(*option, "-c", code, cwd=tmp_path, OVERLAPPED_BACKEND="").stdout == "sim \n"
    done = run("--perturb", "seven", "-c", code, cwd=tmp_path, OVERLAPPED_BACKEND="")
    assert done.returncode == 2
    assert "neither a seed" in done.stderr


def test_the_report_comes_at_the_end(tmp_path: Path, backend: str) -> None:
    done = run("--report", "-c", "print('done')", cwd=tmp_path)
    assert done.stdout == "done\n"
    assert backend in done.stderr


def test_pytest_that_takes_warnings_for_errors_has_none_of_the_package_that_was_there_before(tmp_path: Path) -> None:
    """It takes what comes with a plugin for the plugin's. (Only of what was installed from a wheel.)"""
    (tmp_path / "test_it.py").write_text("def test_it(): assert 1")
    options = ["-q", "-p", "no:cacheprovider", f"--rootdir={tmp_path}", "-c", os.devnull, "-W", "error"]
    done = run("-m", "pytest", *options, "test_it.py", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_processes_that_are_spawned_find_main(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(
        "import multiprocessing, pickle\n\n\n"
        "class Point:\n    def __init__(self, x):\n        self.x = x\n\n\n"
        "def double(point):\n    return Point(2 * point.x)\n\n\n"
        "if __name__ == '__main__':\n"
        "    assert pickle.loads(pickle.dumps(Point(1))).x == 1\n"
        "    for method in multiprocessing.get_all_start_methods():\n"
        "        with multiprocessing.get_context(method).Pool(2) as pool:\n"
        "            print(method, [p.x for p in pool.map(double, [Point(1), Point(2)])])\n"
    )
    expected = "".join(f"{method} [2, 4]\n" for method in multiprocessing.get_all_start_methods())
    for arguments in (("script.py",), ("-m", "script")):
        done = run(*arguments, cwd=tmp_path)
        assert (done.stdout, done.stderr, done.returncode) == (expected, "", 0)


def test_standard_input_blocks_only_its_reader(tmp_path: Path) -> None:
    code = (
        "import sys, threading, time\n"
        "threading.Thread(target=lambda: [time.sleep(0.01), print('beside', flush=True)]).start()\n"
        "print(input('? '), sys.stdin.readline().strip(), list(sys.stdin))"
    )
    with subprocess.Popen(
        [sys.executable, "-m", "overlapped", "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    ) as process:
        assert process.stdin is not None and process.stdout is not None
        # Nothing was typed yet, and the thread has run.
        assert process.stdout.readline() == "? beside\n"
        process.stdin.write("one\ntwo\nthree\n")
        process.stdin.close()
        assert process.stdout.read() == "one two ['three\\n']\n"
    assert process.returncode == 0


WAITS = {
    "sleep": "import time; time.sleep(60)",
    "join": "import threading, time\nt = threading.Timer(60, print); t.daemon = True; t.start(); t.join()",
    "lock": "import threading\nlock = threading.Lock(); lock.acquire(); lock.acquire()",
    "queue": "import queue; queue.SimpleQueue().get()",
    "accept": "import socket; socket.create_server(('127.0.0.1', 0)).accept()",
    "select": "import select, socket\na, b = socket.socketpair(); select.select([a], [], [])",
    "read": "import os; os.read(os.pipe()[0], 1)",
    "waitpid": (
        "import subprocess, sys\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(5)'], start_new_session=True).wait()"
    ),
    "busy in a thread": (
        "import threading, time\n"
        "def spin():\n    end = time.perf_counter() + 0.5\n    while time.perf_counter() < end: pass\n"
        "threading.Thread(target=spin, daemon=True).start()\nthreading.Event().wait()"
    ),
}


@pytest.mark.parametrize("waits_for", WAITS)
def test_control_c_ends_it(waits_for: str, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(f"{AWAIT_CONTROL_C}print('begun', flush=True)\n{WAITS[waits_for]}\n")
    with subprocess.Popen(
        [sys.executable, "-m", "overlapped", "script.py"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    ) as process:
        try:
            assert process.stdout is not None and process.stderr is not None
            assert process.stdout.readline() == "begun\n"
            time.sleep(0.1)
            press_control_c(process)
            errors = process.stderr.read()
            status = process.wait(timeout=10 * crowd())
        finally:
            process.kill()
    assert status == INTERRUPTED
    lines = errors.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert "script.py" in lines[1]
    assert lines[-1] == "KeyboardInterrupt"
