"""A whole program in a simulated world: ``python -m overlapped --sim``."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import ExitStack

from .. import _engine
from . import _chance, _time
from ._install import install
from ._tree import confined


def begin(seed: str, tree: str | None, rough: bool) -> None:
    """Have the main thread be in a world, until the program has ended; the hash is told then.

    Raises:
        ValueError: ``seed`` is no seed.
    """
    fix_hash_seed(int(seed) % 2**32 if seed.isdecimal() else 0)
    own = tempfile.mkdtemp(prefix="overlapped-sim-") if tree is None else tree
    stack = ExitStack()
    stack.callback(_Joined().end)
    if tree is None:
        stack.callback(shutil.rmtree, own, ignore_errors=True)
    try:
        _engine.enter_world(seed, _engine.Rules.rough() if rough else _engine.Rules())
    except ValueError:
        stack.close()
        raise
    os.environ["TMPDIR"] = tempfile.tempdir = own
    stack.callback(_tell, seed)
    stack.enter_context(confined(own))
    _time.begin()
    install(dates=True)
    stack.enter_context(_chance.begun())
    atexit.register(stack.close)


class _Joined:
    """Where the program's threads never end, neither does its exit status say that all was well."""

    def __init__(self) -> None:
        self.join: Callable[[], None] = threading._shutdown  # type: ignore[attr-defined]
        self.has_failed = False
        threading._shutdown = self.wait  # type: ignore[attr-defined]

    def wait(self) -> None:
        """Wait for all threads, as the interpreter does at the end: it prints what this raises, and leaves with 0."""
        try:
            self.join()
        except BaseException:
            self.has_failed = True
            raise

    def end(self) -> None:
        """Leave at once: it is the last of what is to be done."""
        if self.has_failed:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(1)


def fix_hash_seed(seed: int, before: Callable[[], object] | None = None) -> None:
    """See to it that strings have the same hashes each time.

    Where that was left to chance, the process begins anew, after a call of ``before``.
    """
    if "PYTHONHASHSEED" in os.environ:
        return
    os.environ["PYTHONHASHSEED"] = str(seed)
    if before is not None:
        before()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _tell(seed: str) -> None:
    hash, _decisions = _engine.world_seen()
    print(f"overlapped: simulated with {seed}: {_time.elapsed():.6f} s passed, hash {hash:016x}", file=sys.stderr)
