"""C libraries that wait by themselves: sqlite3 out of the box, what is set for others, and who is told of a wait."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import overlapped
from beside import Programs, with_path
from conftest import ROOT, RunPython, needs_library
from load import crowd
from overlapped import _libraries, monkey

HEAD = """
import os, sqlite3, sys, tempfile, threading, time
folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True); path = os.path.join(folder.name, "it")
def begin(function, *args):
    thread = threading.Thread(target=function, args=args); thread.start(); return thread
def error_of(function, *args):
    try: return function(*args)
    except Exception as error: return type(error).__name__
"""


programs = Programs(HEAD)
program, both = programs.result, programs.both


class TestSqlite:
    def test_threads_that_write_wait_for_one_another(self) -> None:
        assert (
            both("""
            sqlite3.connect(path).execute("create table t(a)").connection.commit()
            def write(number):
                connection = sqlite3.connect(path)
                with connection:
                    connection.execute("begin immediate"); connection.execute("insert into t values(?)", (number,))
                    time.sleep(0.01)
                connection.close()
            threads = [begin(write, number) for number in range(8)]
            for thread in threads: thread.join()
            print(*sqlite3.connect(path).execute("select a from t order by a"))
            """)
            == "(0,) (1,) (2,) (3,) (4,) (5,) (6,) (7,)\n"
        )

    def test_a_lock_is_waited_for_as_long_as_the_time_out_says(self) -> None:
        assert (
            both("""
            first = sqlite3.connect(path); first.execute("create table t(a)"); first.execute("begin immediate")
            def write():
                connection = sqlite3.connect(path, timeout=0.05)
                try: connection.execute("begin immediate")
                except sqlite3.OperationalError as error: print(error)
                connection.close()
            begin(write).join(); first.rollback()
            """)
            == "database is locked\n"
        )

    def test_who_waits_for_a_lock_lets_the_others_run(self) -> None:
        assert (
            both("""
            sqlite3.connect(path).execute("create table t(a)").connection.commit()
            first = sqlite3.connect(path); first.execute("begin immediate")
            def write():
                connection = sqlite3.connect(path, timeout=50); connection.execute("insert into t values(1)")
                print("has the lock"); connection.commit(); connection.close()
            thread = begin(write)
            for number in range(3): time.sleep(0.01); print("runs")
            first.commit(); thread.join()
            """)
            == "runs\nruns\nruns\nhas the lock\n"
        )

    def test_a_connection_is_of_the_thread_that_has_made_it(self) -> None:
        both("""
            for where in (":memory:", path):
                connection = sqlite3.connect(where); cursor = connection.execute("create table t(a)")
                calls = (
                    connection.cursor, connection.commit, connection.rollback, connection.close, cursor.fetchone,
                    cursor.fetchall, cursor.fetchmany, cursor.close,
                    lambda: connection.execute("select 1"), lambda: cursor.execute("select 1"),
                    lambda: cursor.executemany("insert into t values(?)", [(1,)]), lambda: cursor.executescript(""),
                    lambda: connection.create_function("f", 0, int), lambda: connection.set_trace_callback(None),
                )
                begin(lambda: print([error_of(call) for call in calls])).join()
                shared = sqlite3.connect(where, check_same_thread=False)
                begin(lambda: print(shared.execute("select 1").fetchall())).join()
            """)

    def test_what_it_shows_of_itself_is_the_standard_library_s(self) -> None:
        both("""
            import sqlite3.dbapi2
            connection = sqlite3.connect(path)
            print(type(connection), type(connection.cursor()), sqlite3.Connection.__module__)
            print(isinstance(connection, sqlite3.Connection), sqlite3.dbapi2.connect is sqlite3.connect)
            print(sqlite3.connect.__name__, sqlite3.Connection.__doc__ == type(connection).__doc__)
            class Mine(sqlite3.Connection): pass
            class Cursor(sqlite3.Cursor): pass
            mine = sqlite3.connect(path, factory=Mine)
            print(type(mine).__name__, type(mine.cursor(Cursor)).__name__, type(mine.execute("select 1")).__name__)
            print(error_of(sqlite3.connect), error_of(connection.cursor, None), error_of(connection.cursor, int))
            half = sqlite3.Connection.__new__(sqlite3.Connection); print(error_of(half.cursor), error_of(half.commit))
            print(error_of(sqlite3.Cursor.__new__(sqlite3.Cursor).execute, ""))
            """)

    def test_what_it_warns_of_and_raises_points_at_the_program_s_own_line(self) -> None:
        both("""
            import datetime, warnings
            here = error_of.__code__.co_filename
            def lines_of(*calls):
                for call in calls:
                    with warnings.catch_warnings(record=True) as told:
                        warnings.simplefilter("always")
                        try: call()
                        except (sqlite3.Error, TypeError) as error: deep = error.__traceback__.tb_next.tb_next is None
                        else: deep = None
                    print(deep, sorted({warning.filename == here for warning in told}))
            cursor = (connection := sqlite3.connect(path)).cursor()
            lines_of(lambda: sqlite3.connect(path, 5.0, 0, None, True, sqlite3.Connection, 128, False).close(),
                     lambda: connection.create_function(name="one", narg=0, func=lambda: 1),
                     lambda: connection.execute("nonsense"), lambda: connection.executescript("nonsense"),
                     lambda: cursor.execute("select ?", (datetime.date(2000, 1, 1),)), lambda: sqlite3.connect(None))
            """)

    def test_everything_goes_on_beside_another_thread(self) -> None:
        both("""
            go = threading.Event(); other = begin(go.wait)
            connection = sqlite3.connect(path, isolation_level=None)
            connection.create_function("twice", 1, lambda number: 2 * number)
            connection.executescript("create table t(a); insert into t values(1);")
            connection.executemany("insert into t values(?)", ((number,) for number in range(2, 6)))
            cursor = connection.execute("select twice(a) from t")
            print(cursor.fetchone(), cursor.fetchmany(2), next(cursor), cursor.fetchall(), cursor.rowcount)
            print(list(connection.execute("select a from t")), [*connection.iterdump()][-1])
            connection.row_factory = sqlite3.Row; print(connection.execute("select a from t").fetchone()["a"])
            try:
                with connection: connection.execute("begin"); connection.execute("delete from t"); raise KeyError
            except KeyError: print(connection.in_transaction, connection.total_changes)
            copy = sqlite3.connect(":memory:"); connection.backup(copy)
            print(copy.execute("select count(*) from t").fetchone())
            print(error_of(connection.execute, "nonsense")); connection.close()
            print(error_of(connection.execute, "x"))
            go.set(); other.join()
            """)


FAKES = {
    "psycopg": {
        "__init__.py": "from . import waiting",
        "waiting.py": "def wait_c(): 1\ndef wait_selector(): 2\ndef wait_poll(): 3\nwait = wait_c",
    },
    "psycopg2": {
        "__init__.py": "from . import extensions",
        "extensions.py": "POLL_OK, POLL_READ, POLL_WRITE = range(3)\n"
        "def set_wait_callback(callback):\n    global given\n    given = callback",
    },
}


@pytest.fixture
def fakes(tmp_path: Path) -> Path:
    """A folder of modules that look as those of PostgreSQL do to who prepares them."""
    for package, files in FAKES.items():
        (tmp_path / package).mkdir()
        for name, text in files.items():
            (tmp_path / package / name).write_text(text)
    return tmp_path


def test_psycopg_waits_in_python_unless_it_was_told_how(fakes: Path) -> None:
    code = "import psycopg; print(psycopg.waiting.wait.__name__)"
    assert program(code, PYTHONPATH=with_path(fakes)).stdout == "wait_poll\n"
    assert program(code, PYTHONPATH=with_path(fakes), PSYCOPG_WAIT_FUNC="wait_c").stdout == "wait_c\n"


def test_psycopg2_asks_for_its_waits(fakes: Path) -> None:
    code = """
        import psycopg2, socket
        a, b = socket.socketpair()
        class Connection:
            states = [2, 1, 0]
            def fileno(self): return a.fileno()
            def poll(self): return self.states.pop(0)
        threading.Timer(0.02, b.send, (b"x",)).start()
        psycopg2.extensions.given(Connection()); print(a.recv(1))
    """
    assert program(code, PYTHONPATH=with_path(fakes)).stdout == "b'x'\n"


@needs_library("trio")
def test_trio_hands_libc_no_identifier_of_a_tasklet() -> None:
    assert program("from trio._core import _thread_cache; print(_thread_cache.set_os_thread_name)").stdout == "None\n"


WAITS = """
import time
plain = __import__("overlapped.monkey").monkey.original("time", "sleep")
def wait(seconds):
    plain(seconds)
    return seconds
class Client:
    def wait(self, seconds): plain(seconds); return self
    @staticmethod
    def apart(seconds): plain(seconds); return "apart"
    @classmethod
    def of_all(cls, seconds): plain(seconds); return cls.__name__
"""
USES = """
import waits
go, there = threading.Event(), threading.Event()
def ticks():
    while not go.is_set(): time.sleep(0.001); came.append(1)
came = []; other = begin(ticks)
client = waits.Client()
calls = [lambda: waits.wait(0.1), lambda: client.wait(0.1) is client, lambda: client.apart(0.1)]
for call in *calls, lambda: client.of_all(0.1):
    del came[:]; print(call(), bool(came))
go.set(); other.join()
"""
NAMES = "waits:wait,Client.wait,Client.apart,Client.of_all"


@pytest.mark.parametrize("how", ["option", "environment", "call before", "call after"])
def test_functions_of_a_module_are_put_on_the_pool(tmp_path: Path, how: str) -> None:
    (tmp_path / "waits.py").write_text(WAITS)
    call = f"from overlapped import monkey; monkey.patch_blocking(*{NAMES.replace(':', ',').split(',')})\n"
    begins = {"call before": call, "call after": "import waits; " + call}.get(how, "")
    options = ["--offload", NAMES] if how == "option" else []
    environment = {"OVERLAPPED_OFFLOAD": NAMES} if how == "environment" else {}
    done = program(begins + USES, *options, PYTHONPATH=with_path(tmp_path), **environment)
    assert (done.stdout, done.stderr) == ("0.1 True\nTrue True\napart True\nClient True\n", "")


def test_what_cannot_be_put_on_the_pool_is_told() -> None:
    with pytest.raises(ValueError, match="which functions"):
        monkey.patch_blocking("json")
    with pytest.raises(TypeError, match=r"array\.array\.append.*in C"):
        import array  # noqa: F401

        monkey.patch_blocking("array", "array.append")
    with pytest.raises(AttributeError):
        monkey.patch_blocking("json", "nothing")
    for wrong in ("json", "json:", ":dumps"):
        done = program("", "--offload", wrong)
        assert done.returncode == 2 and "module:name" in done.stderr


def test_the_doctor_names_who_held_the_thread_and_what_to_set(tmp_path: Path, fakes: Path) -> None:
    script = tmp_path / "script.py"
    code = """
        import sqlite3, psycopg, threading, time
        from overlapped import monkey
        sleep = monkey.original("time", "sleep")
        def hold():
            sleep(0.3)
        threading.Thread(target=time.sleep, args=(0.01,)).start()
        hold(); time.sleep(0.02); hold(); time.sleep(0.02); print("done")
    """
    script.write_text(textwrap.dedent(code))
    command = [sys.executable, "-m", "overlapped", "--doctor", str(script)]
    environment = {**os.environ, "PYTHONPATH": with_path(fakes)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=50 * crowd(), env=environment)
    assert (done.returncode, done.stdout) == (0, "done\n")
    report = done.stderr
    assert "held 2 times, 0." in report
    assert "in hold\n        sleep(0.3)\n" in report
    assert "sqlite3 waits for locks" in report and "psycopg waits for the server" in report
    assert "--offload module:function" in report


def test_the_doctor_of_a_program_that_waits_as_it_should_finds_nothing() -> None:
    done = program("begin(time.sleep, 0.01).join(); print('done')", "--doctor")
    assert (done.returncode, done.stdout) == (0, "done\n")
    # On a slow machine its imports do.
    assert "Nothing held the thread" in done.stderr or "importlib" in done.stderr or crowd() > 1


@pytest.mark.time_limit(120)
def test_who_holds_up_other_threads_for_seconds_is_told_of_without_being_asked() -> None:
    holds = "begin(time.sleep, 30).join(0.01); __import__('overlapped.monkey').monkey.original('time', 'sleep')(6.5)"
    quiet = "begin(time.sleep, 0.01).join(); __import__('overlapped.monkey').monkey.original('time', 'sleep')(6.5)"
    end = "; sys.stdout.flush(); os._exit(0)"
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "overlapped", "-c", HEAD + code + end],
            stderr=subprocess.PIPE,
            text=True,
            env={**{name: value for name, value in os.environ.items() if name != "OVERLAPPED_WATCH"}, **environment},
        )
        for code, environment in ((holds, {}), (quiet, {}), (holds, {"OVERLAPPED_WATCH": "0"}))
    ]
    told, nobody_waits, unwanted = [process.communicate(timeout=60 * crowd())[1] for process in running]
    assert "has held thread main for" in told and "OVERLAPPED_WATCH=0" in told
    assert (nobody_waits, unwanted) == ("", "")


def test_a_function_may_be_told_who_holds_the_thread(run_python: RunPython) -> None:
    code = """
        import overlapped, time
        told = []
        overlapped.watch(0.05, lambda seconds, stack: told.append((seconds, stack)))
        overlapped.spawn(overlapped.sleep, 0.01)
        time.sleep(0.4)
        while len(told) < 2: overlapped.sleep(0.01)
        (first, stack), (whole, nothing) = told[0], told[-1]
        assert 0.05 <= first <= whole and "line" in stack and nothing is None, told
    """
    done = run_python(textwrap.dedent(code))
    assert (done.returncode, done.stderr) == (0, "")


def test_the_documentation_has_the_libraries_that_the_doctor_knows() -> None:
    table = (ROOT / "docs" / "libraries.md").read_text()
    rows = {line.split("|")[1].strip().strip("`") for line in table.splitlines() if line.startswith("| `")}
    assert rows == set(_libraries.KNOWN)
    assert overlapped.__doc__
