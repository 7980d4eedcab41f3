"""asyncio's own tests on our event loop beside the standard one: how many, which fail, and why ours do.

``.venv/bin/python scripts/asyncio_tests.py [MODULE...]``, for example ``test_asyncio.test_events``; all unless named.
The same tests are part of ``make test``, by tests/python/test_asyncio_stdlib.py, which fails where one fails that is
not known to. OVERLAPPED_BACKEND chooses the backend.
"""

from __future__ import annotations

import sys
from pathlib import Path

# This folder's test.py would hide the standard library's tests.
sys.path.pop(0)
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "python"))

from known_failures import KNOWN_FAILURES_OF_THE_LOOP
from stdlib_run import LOOP_MODULES, OUR_LOOP, PLAIN, Run


def main(modules: list[str]) -> None:
    """Run the modules, one after the other, and print the table and what failed."""
    width = max(map(len, modules))
    print(f"{'':{width}}  {'standard':>12}  {'ours':>12}   (failed of run)")
    failed: dict[str, str] = {}
    for module in modules:
        standard = Run(PLAIN, module)
        ours = Run(OUR_LOOP, module)
        cells = (f"{len(run.failed)} of {len(run.ran)}" for run in (standard, ours))
        print(f"{module:{width}}  " + "  ".join(f"{cell:>12}" for cell in cells), flush=True)
        for name in ours.failed | standard.failed:
            who = {(True, True): "both", (True, False): "ours"}.get((name in ours.failed, name in standard.failed))
            failed[name] = f"{who or 'standard'}: {KNOWN_FAILURES_OF_THE_LOOP.get(name, 'not known to')}"
    for name, why in sorted(failed.items()):
        print(f"{name}\n    {why}")


if __name__ == "__main__":
    main(sys.argv[1:] or LOOP_MODULES)
