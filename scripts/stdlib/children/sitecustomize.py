"""Has every Python under a run of `run_beside.py --children` begin as `python -m overlapped` does: it is on their path.

What is started with `-I`, `-E` or `-S` does not look here, and stays as it is.
"""

import sys

if sys.orig_argv[1:3] != ["-m", "overlapped"]:
    try:
        from overlapped import monkey
    except ImportError:
        # A sub-interpreter, which has none of it.
        pass
    else:
        monkey.patch_all(stdin=True, stdout=True)
