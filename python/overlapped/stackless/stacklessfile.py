"""``stacklessfile``, the file object of Stackless's examples that stood in for ``file``: only its tasklet waits.

``from stacklessfile import stacklessfile as file`` is what programs had; it takes what :func:`open` takes.
"""

from __future__ import annotations

from ..io import open as stacklessfile

__all__ = ["stacklessfile"]
