"""Tests of the standard library that do not pass under ``python -m overlapped``, each with its reason.

The list is strict: a test that is on it and passes fails the run, and so does one that fails and is not on it.
"""

import sys
from collections.abc import Mapping

_JOINS_A_THREAD = (
    "test.test_asyncio.test_subprocess.SubprocessThreadedWatcherTests.test_pid_not_reaped_before_exit_published"
)

KNOWN_FAILURES_OF_THE_LOOP = {
    **dict.fromkeys(
        (
            f"test.test_asyncio.test_events.{kind}EventLoopTests.test_internal_fds"
            for kind in ("EPoll", "Poll", "Select")
        ),
        "counts the pipe that wakes the standard loop; ours has one only where signals have handlers",
    ),
    _JOINS_A_THREAD: (
        "joins the thread that the standard loop starts for each child; ours starts none. What it is about, holds:"
        " test_a_child_keeps_its_number_until_its_transport_knows_of_its_end"
    ),
}
"""Those of asyncio's own tests that do not pass with our event loop in the place of the standard one. Strict, too."""

KNOWN_FAILURES = {
    "test.test_socket.GeneralModuleTests.testRefCountGetNameInfo": (
        "counts the references to an argument while the traceback of the call is alive; ours is a Python function,"
        " whose frame in the traceback holds its arguments"
    ),
    "test.test_threading.ThreadTests.test_disallow_instantiation": (
        "wants the type of a lock not to be callable; ours is what threading.Lock is, as in Python 3.13"
    ),
    "test.test_threading.ThreadTests.test_PyThreadState_SetAsyncExc": (
        "raises an exception in a thread through its thread state; tasklets share that of their thread"
    ),
    "test.test_fork1.ForkTest.test_threaded_import_lock_fork": (
        "forks while another thread holds the import lock, for which a fork waits; the lock is one of the system's"
        " threads, and tasklets of one have it together"
    ),
    **dict.fromkeys(
        (
            "test.test_threading.ThreadTests.test_various_ops",
            "test.test_threading.ThreadTests.test_various_ops_large_stack",
            "test.test_threading.ThreadTests.test_various_ops_small_stack",
        ),
        "counts the system's threads by their native identifiers; tasklets are all on one",
    ),
    "test.test_trace.TestCoverage.test_coverage_ignore": (
        "traces nothing but what lies outside of the interpreter's own directories: this package does, whose open and"
        " whose import hook are functions of Python's"
    ),
    _JOINS_A_THREAD: KNOWN_FAILURES_OF_THE_LOOP[_JOINS_A_THREAD],
}

KNOWN_FAILURES_WITH_CHILDREN = {
    "test.test_subprocess.POSIXProcessTestCase.test_pass_fds_redirected": (
        "counts a child's descriptors; one that runs under Overlapped has those of its port"
    ),
}
"""Those that do not pass where the Pythons that tests start are under Overlapped, too. Strict, too."""

SOMETIMES_WITH_CHILDREN = dict.fromkeys(
    (
        f"test.test_multiprocessing_{method}.test_misc.TestResourceTracker.test_resource_tracker_sig{signal}"
        for method in ("fork", "forkserver", "spawn")
        for signal in ("int", "kill", "term")
    ),
    "kills a child that reads, and wants its end of the pipe to be closed at once; Linux closes what operations of"
    " io_uring were in flight on some milliseconds after the process has ended",
)
"""Those that depend on luck there."""

KNOWN_FAILURES_OF_THE_LOOP_ON_WINDOWS = dict.fromkeys(
    (f"test.test_asyncio.test_events.{kind}EventLoopTests.test_internal_fds" for kind in ("Proactor", "Select")),
    "counts the sockets that wake the standard loops; ours has none",
)
"""The same there, where it is in the place of both of asyncio's loops."""

ASKS_LESS_BEFORE: dict[str, tuple[int, int, int]] = {}
"""What is known to fail from this version of Python on: an earlier test, as that of Debian 12, looks for less."""

SKIPPED = {
    "*VSOCK*": "needs a hypervisor's socket family, and waits for ever where the kernel has the family and no peer",
}
"""Patterns of tests that are not run at all."""

IGNORED = [word for pattern in SKIPPED for word in ("-i", pattern)]
"""The same as options of ``python -m test``."""


def known_failures(module: str, known: Mapping[str, str] = KNOWN_FAILURES) -> set[str]:
    """The tests of a module that are on the list."""
    return {name for name in known if name.startswith(f"test.{module}.")}


def to_take_off(module: str, ran: set[str], failed: set[str], known: Mapping[str, str] = KNOWN_FAILURES) -> list[str]:
    """Those that are on the list and have passed."""
    asks_less = {name for name, version in ASKS_LESS_BEFORE.items() if sys.version_info < version}
    return sorted((known_failures(module, known) & ran) - failed - asks_less)
