"""Runs unit tests under Wine and tells of each: ``unittests.py SECONDS NAME...``, names as ``test.test_socket``.

It stands in for ``python -m test``, which starts by asking Windows for its performance counters: Wine has none. A test
that takes more than SECONDS ends the run, with the stacks of all threads.
"""

import faulthandler
import sys
import unittest


class Told(unittest.TestResult):
    """Says which test begins: in a run that does not come to its end, the last one is where it stopped."""

    def startTest(self, test: unittest.TestCase) -> None:
        faulthandler.cancel_dump_traceback_later()
        faulthandler.dump_traceback_later(seconds, exit=True)
        print(f"\nbegun: {test.id()}", flush=True)
        super().startTest(test)


# What a test starts by multiprocessing imports this module again.
if __name__ == "__main__":
    seconds = float(sys.argv[1])
    tests = unittest.defaultTestLoader.loadTestsFromNames(sys.argv[2:])
    result = Told()
    tests.run(result)
    faulthandler.cancel_dump_traceback_later()
    for test, traceback in result.failures + result.errors:
        print(f"\nfailed: {test.id()}\n{traceback}")
    for test in result.unexpectedSuccesses:
        print(f"\nfailed: {test.id()}\nIt was expected to.")
    print(f"\nended: {result.testsRun}", flush=True)
