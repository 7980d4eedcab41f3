"""Tests of the standard library that do not pass under ``python -m overlapped``, each with its reason.

The list is strict: a test that is on it and passes fails the run, and so does one that fails and is not on it.
"""

KNOWN_FAILURES = {
    "test.test_socket.GeneralModuleTests.testRefCountGetNameInfo": (
        "counts the references to an argument while the traceback of the call is alive; ours is a Python function,"
        " whose frame in the traceback holds its arguments"
    ),
    "test.test_socket.GeneralModuleTests.test_name_closed_socketio": (
        "wants the repr to begin with '_io.BufferedReader', the name of the C type itself; that of a subclass has no"
        " module"
    ),
}

SKIPPED = {
    "*VSOCK*": "needs a hypervisor's socket family, and waits for ever where the kernel has the family and no peer",
}
"""Patterns of tests that are not run at all."""
