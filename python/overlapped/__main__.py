"""``python -m overlapped``: runs a Python program, unmodified, on the completion port.

The program sees what it would see under ``python``: its own ``__main__`` module, ``sys.argv``, ``sys.path[0]``, exit
status, and tracebacks without a frame of ours.
"""

from __future__ import annotations

import atexit
import io
import linecache
import os
import pkgutil
import runpy
import sys
from importlib.machinery import SourceFileLoader
from types import CodeType, ModuleType, TracebackType
from typing import Any, NoReturn

USAGE = """\
usage: python -m overlapped [option] ... (script.py | -m module | -c code | -) [argument] ...

Runs a Python program with its sockets, files, sleeps, threads and select on one completion port.

  script.py, a directory or zip file with a __main__.py, or - for standard input
  -m module       run a module as python -m does
  -c code         run a string
  --backend NAME  uring or poll, instead of the better one that works (or set OVERLAPPED_BACKEND)
  --sim SEED      run in a simulated world: its network, its time and its chance are the seed's (see overlapped.sim)
  --sim-tree DIR  the directory in which a simulated program may write, instead of one of its own
  --sim-rough     a world in which everything fails now and then
  --perturb SEED  in the real world, have completions come late, in another order and in parts (or set OVERLAPPED_SIM)
  --stackless     as under Stackless Python: stackless and stacklesssocket can be imported, and threads stay threads
  --report        print what the port was and did, on standard error, at the end
  --doctor        print which calls held up the other threads, and what to set, on standard error, at the end
  --offload MODULE:NAME,CLASS.NAME,...
                  run these functions, which wait in C, on a thread of a pool; may be given again
                  (or set OVERLAPPED_OFFLOAD, with spaces in between)
  -V, --version   print the version
  -h, --help      print this
"""


NEEDS = {
    "--backend": "a name: uring or poll",
    "--sim": "a seed: a number",
    "--sim-tree": "a directory",
    "--perturb": "a seed: a number",
    "--offload": "a module and its functions: module:name,name",
}

WARN_AFTER = 5.0
"""For how many seconds one thread may hold up the others until that is told, where OVERLAPPED_WATCH says nothing."""


def main() -> None:
    """Read the options, patch, and run what is to be run."""
    arguments = sys.argv[1:]
    report = stackless = doctor = rough = False
    seed: str | None = None
    tree: str | None = None
    offload = os.environ.get("OVERLAPPED_OFFLOAD", "").split()
    while arguments and arguments[0].startswith("--") and arguments[0] != "--":
        option, equals, value = arguments.pop(0).partition("=")
        if option == "--help":
            return print(USAGE, end="")
        if option == "--version":
            return print_version()
        if option == "--report":
            report = True
        elif option == "--stackless":
            stackless = True
        elif option == "--doctor":
            doctor = True
        elif option == "--sim-rough":
            rough = True
        elif option in NEEDS:
            if not equals:
                if not arguments:
                    fail(f"{option} needs {NEEDS[option]}")
                value = arguments.pop(0)
            if option == "--offload":
                offload.append(value)
            elif option == "--sim":
                seed = value
            elif option == "--sim-tree":
                tree = value
            else:
                os.environ["OVERLAPPED_BACKEND" if option == "--backend" else "OVERLAPPED_SIM"] = value
        else:
            fail(f"unknown option {option}")
    if arguments[:1] == ["--"]:
        del arguments[0]
    if not arguments:
        fail("nothing to run")
    what, *rest = arguments
    if what == "-h":
        return print(USAGE, end="")
    if what == "-V":
        return print_version()
    if what in ("-m", "-c") and not rest:
        fail(f"argument expected for {what}")
    if what.startswith("-") and what not in ("-", "-m", "-c"):
        fail(f"unknown option {what}")
    if seed is not None:
        begin_world(seed, tree, rough)
    elif rough or tree is not None:
        fail("--sim-rough and --sim-tree say how a world is: --sim SEED begins one")
    start(report, stackless, doctor, offload, simulated=seed is not None)
    run(what, rest)


def print_version() -> None:
    """Print the version of Overlapped and that of Python."""
    from importlib.metadata import version

    print(f"overlapped {version('overlapped')} on Python {sys.version.split()[0]}")


def fail(problem: str) -> NoReturn:
    """End with the usage, as a command line that makes no sense does."""
    print(f"python -m overlapped: {problem}\n{USAGE}", end="", file=sys.stderr)
    sys.exit(2)


def begin_world(seed: str, tree: str | None, rough: bool) -> None:
    """Have this thread be in a simulated world, to the end of the program."""
    if sys.platform == "win32":
        fail("--sim: Windows has no simulated world yet; --perturb works there")
    from overlapped.sim import _program

    if tree is not None and not os.path.isdir(tree):
        fail(f"--sim-tree {tree}: there is no such directory")
    try:
        _program.begin(seed, tree, rough)
    except ValueError as error:
        fail(f"--sim: {error}")


def start(report: bool, stackless: bool, doctor: bool, offload: list[str], simulated: bool = False) -> None:
    """Patch the standard library, and see to the reports at the end."""
    import overlapped
    from overlapped import monkey

    try:
        overlapped.backend()
    except (OSError, ValueError) as error:
        print(f"python -m overlapped: {error}", file=sys.stderr)
        sys.exit(2)
    # A turn that ends by the real time is none of the seed's.
    monkey.patch_all(stdin=True, stdout=True, thread=not stackless, queue=not stackless, preemption=not simulated)
    for functions in offload:
        module, colon, names = functions.partition(":")
        if not (module and colon and names):
            fail(f"--offload {functions}: it is to be module:name,name")
        monkey.patch_blocking(module, *names.split(","))
    if "OVERLAPPED_WATCH" not in os.environ and not doctor and not simulated:
        overlapped._engine.watch_threads(WARN_AFTER)
    if stackless:
        from overlapped.stackless import pose

        pose()
    if doctor:
        from overlapped._doctor import Doctor

        found = Doctor()
        found.begin()
        atexit.register(lambda: found.report(sys.stderr))
    if report:
        atexit.register(lambda: print(overlapped.report(), file=sys.stderr))


def run(what: str, arguments: list[str]) -> None:
    """Run a program in a fresh ``__main__`` module."""
    module = ModuleType("__main__")
    namespace = module.__dict__
    namespace["__builtins__"] = sys.modules["builtins"]
    try:
        if what == "-m":
            name, *arguments = arguments
            # As under python -m: until the module is found, argv[0] says that it is looked for.
            sys.argv = ["-m", *arguments]
            sys.modules["__main__"] = module
            runpy._run_module_as_main(name)  # type: ignore[attr-defined]
            return
        if what == "-c":
            code, *arguments = arguments
            sys.argv = ["-c", *arguments]
            sys.modules["__main__"] = module
            set_path("")
            if sys.version_info >= (3, 13):
                # From then on a traceback shows the lines of this too.
                linecache.cache["<string>"] = (len(code), None, code.splitlines(keepends=True), "<string>")
            exec(compile(code, "<string>", "exec", dont_inherit=True), namespace)
            return
        sys.argv = [what, *arguments]
        sys.modules["__main__"] = module
        if what == "-":
            # Windows takes it for the name of a file.
            set_path(os.getcwd() if sys.platform == "win32" else "")
            exec(compile(sys.stdin.read(), "<stdin>", "exec", dont_inherit=True), namespace)
            return
        if pkgutil.get_importer(what) is not None:
            # A directory or a zip file: its __main__.
            if sys.flags.safe_path:
                sys.path.insert(0, os.path.abspath(what))
            set_path(os.path.abspath(what))
            runpy._run_module_as_main("__main__", False)  # type: ignore[attr-defined]
            return
        path = os.path.abspath(what)
        code_object = read(path)
        set_path(os.path.dirname(os.path.realpath(path)))
        namespace.update(__file__=path, __cached__=None, __loader__=SourceFileLoader("__main__", path))
        exec(code_object, namespace)
    except SystemExit:
        raise
    except BaseException as error:
        hide_our_frames(error)
        raise


def set_path(first: str) -> None:
    """Put what a program finds first in ``sys.path`` in the place of what ``python -m`` has put there."""
    if sys.flags.safe_path:
        return
    sys.path[0] = first


def read(path: str) -> CodeType:
    """The code of a script, from its source or, as python takes it too, from a compiled file."""
    try:
        with io.open_code(path) as file:
            compiled: CodeType | None = pkgutil.read_code(file)
        if compiled is not None:
            return compiled
        with io.open_code(path) as file:
            source = file.read()
    except OSError as error:
        print(f"{sys.executable}: can't open file {path!r}: [Errno {error.errno}] {error.strerror}", file=sys.stderr)
        sys.exit(2)
    code: CodeType = compile(source, path, "exec", dont_inherit=True)
    return code


def hide_our_frames(error: BaseException) -> None:
    """Have an exception that ends the program shown as under ``python``.

    Python itself prints it, for it knows what goes with it (Ctrl-C ends the process by its signal). By then the frames
    that led here are in the traceback, so they are taken off at the last moment.
    """
    ours = run.__code__
    inner: TracebackType | None = error.__traceback__
    while inner is not None and inner.tb_frame.f_code is not ours:
        inner = inner.tb_next
    while inner is not None and inner.tb_frame.f_code in (ours, read.__code__):
        inner = inner.tb_next
    hook = sys.excepthook

    def show(kind: Any, value: Any, traceback: Any) -> None:
        sys.excepthook = hook
        if value is error:
            traceback = sys.last_traceback = inner
            value.__traceback__ = inner
        hook(kind, value, traceback)

    sys.excepthook = show


if __name__ == "__main__":
    main()
