"""What a Windows Python under Wine does before its program: it tries a start again that Wine itself has failed.

On a crowded machine a start fails now and then under Wine 8 with ``ERROR_INTERNAL_ERROR`` (1359): one of the two of a
pool of `multiprocessing` did, which calls the system itself. Wine says so (``STATUS_INTERNAL_ERROR``) where the new
process has ended before it had told the server that it was set up, with the status 0, as one has that was cut off. It
had not come to its program's first instruction then: to start it again is no second run.

Every start in Python ends in `_winapi.CreateProcess`: so this is there, once, and no test needs to know of it. It is no
part of the package, and programs on a real Windows do not meet it.
"""

import _winapi
from typing import Any

ERROR_INTERNAL_ERROR = 1359
TRIES = 5

_windows: Any = _winapi
_create_process = _windows.CreateProcess


def create_process(*arguments: Any) -> Any:
    """As `_winapi.CreateProcess`; a start that Wine has failed is tried again, a few times."""
    for _ in range(TRIES - 1):
        try:
            return _create_process(*arguments)
        except OSError as error:
            if getattr(error, "winerror", 0) != ERROR_INTERNAL_ERROR:
                raise
    return _create_process(*arguments)


_windows.CreateProcess = create_process
