""":class:`mmap.mmap` whose ``flush`` blocks only the calling tasklet. What a page fault waits for blocks the thread."""

from __future__ import annotations

import mmap as _std
from typing import Any

from . import _engine

__all__ = ["mmap"]


class mmap(_std.mmap):
    __doc__ = _std.mmap.__doc__
    __module__ = _std.mmap.__module__

    def __repr__(self) -> str:
        # The standard library's has its type's name in C, without the module.
        shown = super().__repr__()
        return shown.replace("<mmap ", "<mmap.mmap ", 1) if type(self) is mmap else shown

    def flush(self, *args: Any) -> Any:
        """Write what was changed to the file, and wait until it is there."""
        if _engine.is_alone() or _engine.program_ends():
            return super().flush(*args)
        return _engine.offload_short(super().flush, *args)
