"""Refuses to be imported in a sub-interpreter.

The engine is one for the process: greenlet's switches, the handlers of signals and the port's threads know one
interpreter, and PyO3 gives a module to the first one that imports it alone. So this looks before the engine is
imported.
"""

from __future__ import annotations

import importlib


def _is_main() -> bool:
    for name in ("_interpreters", "_xxsubinterpreters"):  # the second before Python 3.13
        try:
            interpreters = importlib.import_module(name)
        except ImportError:
            continue
        return bool(interpreters.get_current() == interpreters.get_main())
    return True


if not _is_main():
    raise ImportError("overlapped works in the main interpreter alone; this is a sub-interpreter")
