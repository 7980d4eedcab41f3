"""Runs unit tests under Wine and tells of each: ``unittests.py [-i PATTERN]... SECONDS NAME...``.

The names are as ``test.test_socket``; a test whose name matches a PATTERN is not run.

It stands in for ``python -m test``, which starts by asking Windows for its performance counters: Wine has none. A test
that takes more than SECONDS ends the run, with the stacks of all threads.
"""

import argparse
import faulthandler
import unittest
from collections.abc import Iterator
from fnmatch import fnmatchcase


class Told(unittest.TestResult):
    """Says which test begins: in a run that does not come to its end, the last one is where it stopped."""

    def startTest(self, test: unittest.TestCase) -> None:
        faulthandler.cancel_dump_traceback_later()
        faulthandler.dump_traceback_later(options.seconds, exit=True)
        print(f"\nbegun: {test.id()}", flush=True)
        super().startTest(test)


def cases(tests: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    """The tests of a suite that are to be run."""
    for test in tests:
        if isinstance(test, unittest.TestSuite):
            yield from cases(test)
        elif not any(fnmatchcase(test.id(), pattern) for pattern in options.ignored):
            yield test


# What a test starts by multiprocessing imports this module again.
if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("-i", dest="ignored", action="append", default=[])
    parser.add_argument("seconds", type=float)
    parser.add_argument("names", nargs="+")
    options = parser.parse_args()
    result = Told()
    unittest.TestSuite(cases(unittest.defaultTestLoader.loadTestsFromNames(options.names))).run(result)
    faulthandler.cancel_dump_traceback_later()
    for test, traceback in result.failures + result.errors:
        print(f"\nfailed: {test.id()}\n{traceback}")
    for test in result.unexpectedSuccesses:
        print(f"\nfailed: {test.id()}\nIt was expected to.")
    print(f"\nended: {result.testsRun}", flush=True)
