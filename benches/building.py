"""Builds what is measured: the Rust programs with cargo, the Python ones in a virtual environment with their peers.

A program that does not build is left out with a warning; the others are measured all the same.
"""

import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
TARGET = ROOT / "target" / "benches"
ENVIRONMENT = ROOT / f".venv-bench-{sys.version_info.major}.{sys.version_info.minor}"
PYTHON = ENVIRONMENT / "bin" / "python"
MODULES = {"aiofiles", "gevent", "overlapped", "trio", "uvloop", "zuvloop"}
"""What the measured Python programs stand on. Some of it is not to be had for every Python."""


def rust(build: bool) -> dict[str, Path]:
    """The Rust programs by name, built anew, or as they are where `build` is false."""
    if not build:
        sources = (HERE / "src" / "bin").glob("*.rs")
        built = {source.stem: TARGET / "release" / source.stem for source in sources}
        return {name: program for name, program in built.items() if program.exists()}
    command = ["cargo", "build", "--release", "--keep-going", "--bins", "--message-format=json-render-diagnostics"]
    print("building the Rust programs ...", file=sys.stderr)
    done = subprocess.run([*command, "--quiet", "--target-dir", TARGET], cwd=HERE, stdout=subprocess.PIPE, text=True)
    artifacts = [json.loads(line) for line in done.stdout.splitlines()]
    programs = {a["target"]["name"]: Path(a["executable"]) for a in artifacts if a.get("executable")}
    if done.returncode != 0:
        print(f"warning: cargo built only {', '.join(sorted(programs))}; the rest is left out", file=sys.stderr)
    return programs


def python(build: bool) -> set[str]:
    """Prepares the virtual environment, of the Python that runs this, and says which of `MODULES` it can import."""
    if build:
        print("preparing the Python environment ...", file=sys.stderr)
        if not PYTHON.exists():
            subprocess.run([sys.executable, "-m", "venv", ENVIRONMENT], check=True)
        pip: list[str | Path] = [PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "-r", HERE / "requirements.txt"], check=True)
        if subprocess.run([*pip, ROOT]).returncode != 0:
            print("warning: our Python package did not build; its figures are left out", file=sys.stderr)
            subprocess.run([PYTHON, "-m", "pip", "uninstall", "--quiet", "--yes", "overlapped"])
    return {name for name in MODULES if _can_import(name)}


def _can_import(module: str) -> bool:
    # From a folder that has no `overlapped` in it, else the import would find the source.
    return subprocess.run([PYTHON, "-c", f"import {module}"], cwd=HERE, stderr=subprocess.DEVNULL).returncode == 0


def versions(programs: dict[str, Path]) -> dict[str, str]:
    """Of everything that a figure could depend on."""
    lock = (HERE / "Cargo.lock").read_text().split("[[package]]")
    crates = {}
    for package in lock[1:]:
        fields = dict(line.split(" = ", 1) for line in package.splitlines() if " = " in line)
        crates[fields["name"].strip('"')] = fields["version"].strip('"')
    found = {name: crates[name] for name in ("tokio", "compio", "monoio", "glommio", "may", "hyper", "io-uring")}
    found["rustc"] = subprocess.run(["rustc", "--version"], capture_output=True, text=True).stdout.split()[1]
    if PYTHON.exists():
        script = (
            "import importlib.metadata as m, json, platform\n"
            "names = ('gevent', 'uvloop', 'zuvloop', 'aiofiles', 'greenlet', 'trio')\n"
            "there = {d.name: d.version for d in m.distributions()}\n"
            "print(json.dumps({'python': platform.python_version()} | {n: there[n] for n in names if n in there}))"
        )
        done = subprocess.run([PYTHON, "-c", script], capture_output=True, text=True)
        found |= json.loads(done.stdout) if done.returncode == 0 else {}
    if "report-overlapped" in programs:
        done = subprocess.run([programs["report-overlapped"]], capture_output=True, text=True)
        found["overlapped runs on"] = done.stdout.strip() or done.stderr.strip()
        found["backend"] = done.stdout.split(";")[0].strip()
    else:
        found["overlapped runs on"] = "nothing: it did not build"
    return found
