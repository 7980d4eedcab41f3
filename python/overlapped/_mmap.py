""":class:`mmap.mmap` whose ``flush`` blocks only the calling tasklet. What a page fault waits for blocks the thread."""

from __future__ import annotations

import mmap as _std

from . import _engine
from ._pool import on_pool

__all__ = ["mmap"]


class mmap(_std.mmap):
    __doc__ = _std.mmap.__doc__
    __module__ = _std.mmap.__module__

    def __repr__(self) -> str:
        # The standard library's has its type's name in C, without the module.
        shown = super().__repr__()
        return shown.replace("<mmap ", "<mmap.mmap ", 1) if type(self) is mmap else shown

    flush = on_pool(_std.mmap.flush, _engine.offload_short)
