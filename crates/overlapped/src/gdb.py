"""Tasklets of Overlapped under gdb, in a program that runs or a core: which there are, and where each of them waits.

    (gdb) overlapped tasklets           those of the thread that is selected; `thread 2` selects another
    (gdb) overlapped select 3           from here on `backtrace`, `up`, `frame`, `info locals` are of tasklet 3 ...
    (gdb) backtrace
    (gdb) overlapped select             ... and from here on of the thread again

It is in every program that is built with the crate and with debug information; gdb runs it where it may (`gdb -iex
"add-auto-load-safe-path FOLDER"`, or that command in ~/.config/gdb/gdbearlyinit). Else `source` it.

What a tasklet that waits will go on with is in none of the processor's registers: it lies on the tasklet's own stack.
So gdb is told that frame 0, which stays what the thread really does, was called by that tasklet (gdb.unwinder). Neither
registers nor memory are written; that is why it works in a core, and why the program may go on at any time. (Rejected:
to set the registers and back, as is often done. A core has none to set, and who continues too early is lost.) The
tasklet that runs needs no help: gdb's own `backtrace` shows it, and below the frame that is called `<signal handler
called>`, where its stack ends, the stack of the thread, which runs the scheduler's loop.

gdb reads the program's own types for that: of "line-tables-only" it learns none. x86-64 and Unix, and the names that
Rust 1.95, corosensei 0.3 and this version have for what is read; tests/debuggers.rs fails where they change.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import gdb
import gdb.unwinder

LOCAL = "::{constant#0}::{closure#0}::__RUST_STD_INTERNAL_VAL"
SCHEDULER = "overlapped::scheduler::thread::CURRENT" + LOCAL
COROUTINES = "overlapped::coroutine::HERE" + LOCAL
BASE = "stack_init_trampoline"
"""The first function on each tasklet's stack, which is corosensei's."""
NOBODYS = ("overlapped::", "overlapped_port::", "corosensei::", "core::", "std::", "alloc::", "<", "__rust")
"""How the functions begin that are on every tasklet's stack."""
PARKED = 2
"""The state of who waits: `scheduler::board::State`."""
SAVED = ("rip", "rbx", "rbp")
"""What a tasklet that waits has put on its stack, from its lowest address on."""


@dataclass
class Tasklet:
    number: int
    name: str
    waits_for: str
    stack_pointer: int | None
    """Where its stack ends, of one that waits."""


@dataclass
class Frame:
    """What gdb knows a frame by."""

    sp: gdb.Value
    pc: gdb.Value


def into(value: gdb.Value, path: str) -> gdb.Value:
    """What is in it; a pointer is followed."""
    for field in path.split():
        if value.type.strip_typedefs().code == gdb.TYPE_CODE_PTR:
            value = value.dereference()
        value = value[field]
    return value


def variant(value: gdb.Value) -> str:
    """Which one of its enumeration it is."""
    return next(field.name for field in value.type.fields() if field.name and not field.artificial)


def elements(vector: gdb.Value) -> Iterator[gdb.Value]:
    kind = vector.type.template_argument(0)
    first = into(vector, "buf inner ptr pointer pointer").cast(kind.pointer())
    return ((first + index).dereference() for index in range(int(vector["len"])))


def text_at(address: int, length: int) -> str:
    return bytes(gdb.selected_inferior().read_memory(address, length)).decode(errors="replace")


def of_thread(name: str) -> gdb.Value | None:
    """What is behind the `Rc` that is in a thread-local cell, while a run goes on."""
    symbol = gdb.lookup_global_symbol(name) or gdb.lookup_static_symbol(name)
    if symbol is None:
        raise gdb.GdbError(
            f"overlapped: there is no {name} here: either the program has no tasklets, or it is built without debug "
            "information (`debug = true` in its profile), or with another version than this script's"
        )
    try:
        cell = into(symbol.value(), "val value value value")
    except gdb.error as error:
        raise gdb.GdbError(f"overlapped: the thread's data cannot be read: {error}") from None
    return into(cell, "Some __0 ptr pointer value") if variant(cell) == "Some" else None


def name_of(row: gdb.Value) -> str:
    name = into(row, "name data value")
    if variant(name) == "None":
        return ""
    name = into(name, "Some __0 ptr pointer")
    # After an Arc's two counts.
    return text_at(int(name["data_ptr"]) + 16, int(name["length"]))


def waits_for(row: gdb.Value) -> str:
    if int(into(row, "state v value")) != PARKED:
        return "ready"
    start, length = (int(into(row, f"waits_for {field} value")) for field in ("start p", "length v"))
    return text_at(start, length)


def tasklets() -> list[Tasklet]:
    """Those of the selected thread that have not ended, but for the thread itself."""
    scheduler, coroutines = of_thread(SCHEDULER), of_thread(COROUTINES)
    if scheduler is None or coroutines is None:
        return []
    entries, started = into(scheduler, "table value value entries"), into(coroutines, "tasklets value value")
    found = []
    for entry, tasklet in zip(elements(entries), elements(started), strict=False):
        row, state, stack_pointer = into(entry, "row ptr pointer data"), variant(tasklet), None
        if state == "Suspended":
            stack_pointer = int(into(tasklet, "Suspended __0 body stack_ptr Some __0 __0 __0"))
        if state != "Ended":
            told = {"New": "has not begun", "Running": "running"}.get(state) or waits_for(row)
            found.append(Tasklet(int(entry["number"]), name_of(row), told, stack_pointer))
    return found


class Selected(gdb.unwinder.Unwinder):
    """Has frame 0 be called by the tasklet that is selected, whose stack ends at its base."""

    def __init__(self) -> None:
        super().__init__("overlapped")
        self.tasklet: Tasklet | None = None
        self.thread: tuple[int, int, int] | None = None

    def select(self, tasklet: Tasklet | None) -> None:
        self.tasklet = tasklet
        self.thread = gdb.selected_thread().ptid if tasklet else None
        gdb.invalidate_cached_frames()

    def __call__(self, pending: gdb.PendingFrame) -> gdb.UnwindInfo | None:
        if self.tasklet is None or gdb.selected_thread().ptid != self.thread:
            return None
        sp, pc = pending.read_register("rsp"), pending.read_register("rip")
        if pending.level() == 0:
            at = self.tasklet.stack_pointer
            words = gdb.Value(at).cast(gdb.lookup_type("u64").pointer())
            caller = {name: int(words[index]) for index, name in enumerate(SAVED)} | {"rsp": at + 8 * len(SAVED)}
            # On the tasklet's stack, too: a frame is to lie below its caller's.
            sp = gdb.Value(at).cast(sp.type)
        elif BASE in gdb.execute(f"info symbol {int(pc):#x}", to_string=True):
            # Who resumed it last has gone on since: what its parent link leads to is there no more.
            caller = {"rip": 0, "rsp": int(sp)}
        else:
            return None
        info = pending.create_unwind_info(Frame(sp, pc))
        for name, value in caller.items():
            info.add_saved_register(name, gdb.Value(value).cast(pending.read_register(name).type))
        return info


SELECTED = Selected()


def own_frame() -> gdb.Frame:
    """The innermost frame of the selected tasklet that is of its own program; where there is none, its innermost."""
    first = frame = gdb.newest_frame().older()
    while frame is not None and (frame.name() or "<").startswith(NOBODYS):
        frame = frame.older()
    return first if frame is None or BASE in frame.name() else frame


def place_of(tasklet: Tasklet) -> str:
    """Where a tasklet is."""
    before = SELECTED.tasklet
    SELECTED.select(tasklet)
    try:
        frame = own_frame()
        at = frame.find_sal()
        return f"{frame.name() or 'no frame'}{f' at {at.symtab.filename}:{at.line}' if at.symtab else ''}"
    finally:
        SELECTED.select(before)


class Overlapped(gdb.Command):
    """Tasklets of Overlapped."""

    def __init__(self) -> None:
        super().__init__("overlapped", gdb.COMMAND_STACK, prefix=True)


class List(gdb.Command):
    """The tasklets of the selected thread: the number of each, its name, what it waits for, and where."""

    def __init__(self) -> None:
        super().__init__("overlapped tasklets", gdb.COMMAND_STACK)

    def invoke(self, _argument: str, _from_tty: bool) -> None:
        found = tasklets()
        if not found:
            print("overlapped: no tasklets on this thread; `info threads` and `thread N` for another")
        for tasklet in found:
            mark = "*" if tasklet.number == getattr(SELECTED.tasklet, "number", None) else " "
            name = f" {tasklet.name!r}" if tasklet.name else ""
            place = f", in {place_of(tasklet)}" if tasklet.stack_pointer else ""
            print(f"{mark} {tasklet.number:6}{name}: {tasklet.waits_for}{place}")


class Select(gdb.Command):
    """Has `backtrace` and its like show the stack of a tasklet that waits, by its number; without one, the thread's."""

    def __init__(self) -> None:
        super().__init__("overlapped select", gdb.COMMAND_STACK)

    def invoke(self, argument: str, _from_tty: bool) -> None:
        if not argument:
            SELECTED.select(None)
            return
        chosen = [tasklet for tasklet in tasklets() if str(tasklet.number) == argument.strip()]
        if not chosen:
            raise gdb.GdbError(f"overlapped: no tasklet {argument} on this thread: see `overlapped tasklets`")
        if chosen[0].stack_pointer is None:
            raise gdb.GdbError(f"overlapped: tasklet {argument} does not wait ({chosen[0].waits_for}): see `backtrace`")
        SELECTED.select(chosen[0])
        own_frame().select()
        gdb.execute("frame")


Overlapped()
List()
Select()
gdb.unwinder.register_unwinder(None, SELECTED, replace=True)
# What was selected waits no more, perhaps.
gdb.events.cont.connect(lambda _event: SELECTED.select(None))
