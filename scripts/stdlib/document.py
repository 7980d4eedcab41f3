"""docs/stdlib.md, from the results that are kept, and what is wrong with them."""

from __future__ import annotations

import sys
from pathlib import Path

from modules import MODULES, VERSIONS

ROOT = Path(__file__).resolve().parents[2]
# At the end: test.py there is not the standard library's `test`.
sys.path += [str(ROOT / "tests" / "python"), str(ROOT / "scripts")]
from outside import Result  # noqa: E402

from known_failures import (  # noqa: E402
    KNOWN_FAILURES,
    KNOWN_FAILURES_WITH_CHILDREN,
    SKIPPED,
    SOMETIMES_WITH_CHILDREN,
    to_take_off,
)

TOP = """\
# The standard library's own tests, under `python -m overlapped`

Written by `make test-stdlib`, which runs them with plain `python` and on each backend, a process for every module;
`scripts/stdlib/run_beside.py` says how. A *difference* is a test that plain python passes, and we do not, twice, or do
not run. What plain python fails on the machine where this was made is not counted. *With children*, whatever Python a
test starts is under Overlapped, too.
"""


def write(folder: Path) -> tuple[str, list[str]]:
    """The tables of all versions, and what must not be: differences without a reason, reasons without a difference."""
    results: dict[str, dict[str, dict[str, Result]]] = {}
    for file in sorted(folder.glob("*.json")):
        version, how, module = file.name.removesuffix(".json").split(",")
        results.setdefault(version, {}).setdefault(module, {})[how] = Result.kept(file)
    parts, faults = [TOP], []
    for version in sorted(results, key=lambda version: int(version.partition(".")[2])):
        text, wrong = _version(version, results[version])
        parts.append(text)
        faults += wrong
    if others := [version for version in VERSIONS if version not in results]:
        parts.append(f"CPython {' and '.join(others)}: not run where this was made.\n")
    parts.append("Not run at all:\n\n" + "\n".join(f"- `{pattern}`: {why}" for pattern, why in SKIPPED.items()) + "\n")
    return "\n".join(parts), faults


def _version(version: str, modules: dict[str, dict[str, Result]]) -> tuple[str, list[str]]:
    lines = [f"## CPython {version}\n", "| backend | modules | tests | without a difference | differences |"]
    lines.append("|---|---|---|---|---|")
    differences: dict[str, list[str]] = {}
    runs: dict[str, list[str]] = {}
    differ: dict[str, set[str]] = {}
    faults: list[str] = []
    # As they are run: uring, poll, and either with children.
    hows = {how for each in modules.values() for how in each} - {"plain"}
    backends = sorted(hows, key=lambda how: (" " in how, how.startswith("poll")))
    for how in backends:
        tests = same = count = 0
        for module, each in modules.items():
            if how not in each or "plain" not in each:
                continue
            plain, ours = each["plain"], each[how]
            found = _differences(plain, ours)
            known = KNOWN_FAILURES | (KNOWN_FAILURES_WITH_CHILDREN if " " in how else {})
            excused = known | (SOMETIMES_WITH_CHILDREN if " " in how else {})
            tests, count = tests + len(ours.ran), count + 1
            same += not found
            for name, what in found.items():
                differ.setdefault(module, set()).add(how)
                differences.setdefault(f"`{name}` {what}", []).append(how)
                runs[f"`{name}` {what}"] = [how for how in backends if how in each]
                if name not in excused:
                    faults.append(f"{version} {how}: {name} {what}, and is not known to")
            passed = set(plain.failed).isdisjoint
            for name in to_take_off(module, set(ours.ran), set(ours.failed), known):
                if passed({name}):
                    faults.append(f"{version} {how}: {name} passes, and is on the list of known failures")
        number = sum(how in those for those in differences.values())
        lines.append(f"| {how} | {count} | {tests} | {same} | {number} |")
    alike = [f"`{module.removeprefix('test_')}`" for module in sorted(modules) if module not in differ]
    lines += ["", f"No difference: {', '.join(alike)}.", ""]
    absent = [
        f"`{name}`"
        for name in MODULES
        if not any(module == name or module.startswith(f"{name}.") for module in modules)
    ]
    if absent:
        lines += [f"Not run, for the tests that came with this Python lack them: {', '.join(absent)}.", ""]
    reasons = KNOWN_FAILURES | KNOWN_FAILURES_WITH_CHILDREN | SOMETIMES_WITH_CHILDREN
    for difference, those in sorted(differences.items()):
        where = "" if those == runs[difference] else f" ({', '.join(those)} alone)"
        name = difference.split("`")[1]
        lines.append(f"- {difference}{where}: {reasons.get(name, 'not explained')}.")
    return "\n".join(lines) + "\n", faults


def _differences(plain: Result, ours: Result) -> dict[str, str]:
    """Tests that plain python passes and we do not, and how they end."""
    passed = set(plain.ran) - set(plain.failed)
    found = {name: "hangs" if name in ours.hung else "fails" for name in set(ours.failed) - set(plain.failed)}
    if ours.note and not plain.note:
        found |= {name: "is not reached" for name in passed - set(ours.ran)}
    else:
        found |= {name: "is skipped" for name in passed - set(ours.ran)}
    return found
