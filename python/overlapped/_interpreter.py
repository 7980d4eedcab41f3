"""Refuses to be imported in a sub-interpreter.

The engine is one for the process: greenlet's switches, the handlers of signals and the port's threads know one
interpreter, and PyO3 gives a module to the first one that imports it alone. So this looks before the engine is
imported.
"""

from __future__ import annotations


def _is_main() -> bool:
    try:
        try:
            import _interpreters as interpreters  # type: ignore[import-not-found]
        except ImportError:  # before Python 3.13
            import _xxsubinterpreters as interpreters  # type: ignore[import-not-found]
        current, main = interpreters.get_current(), interpreters.get_main()
    except ImportError:
        return True
    return bool(current == main)


if not _is_main():
    raise ImportError("overlapped works in the main interpreter alone; this is a sub-interpreter")
