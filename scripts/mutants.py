#!/usr/bin/env python3
"""Breaks the port on purpose, place by place, and sees whether its tests notice.

    scripts/mutants.py [--check] [--list] [WORD ...]

Each mutant is a text in one file, another in its place, and what that breaks. It is made in a copy of the tree under
target/mutants, where the port's tests then run: the unit tests, the traps of the backends, the conformance suite, until one
fails. A mutant that does not build is a mistake in this list. One that makes a test hang is noticed: the tests have limits of
their own, and a run is ended after LIMIT seconds.

WORD chooses those whose file or description has it in it. --check only looks whether each text is there, once: run it after a
change of the port. At the end stand those that survived. An exit code other than 0 says that more than 5 in 100 did.

It is not part of `make test`: a mutant costs one to two minutes. The list is written by hand, for what a tool would change
(an operator here, a constant there) is mostly caught by the first test that runs; what is listed is what somebody might do
wrong, or leave out. Mutants that change nothing which can be seen (a capacity, an order of two independent steps) do not
belong here.
"""

import argparse
import pathlib
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
PLACE = ROOT / "target" / "mutants"
SOURCE = "crates/overlapped-port/src/"
LIMIT = 300

STEP, PROGRESS = "backend/uring/step/mod.rs", "backend/uring/progress.rs"
URING, ENTRY, RING = "backend/uring/mod.rs", "backend/uring/entry.rs", "backend/uring/buffers.rs"
LANES, SETUP = "backend/uring/lanes.rs", "backend/uring/setup.rs"
POLL, ATTEMPT, CALL = "backend/poll/mod.rs", "backend/poll/attempt.rs", "backend/poll/call.rs"
DESCRIPTOR, PORT, BUFFERS = "backend/poll/descriptor.rs", "port.rs", "buffers.rs"
SLOTS, INBOX = "slots.rs", "inbox.rs"

# What is broken, where, the text, and what comes in its place.
MUTANTS = [
    # Provided buffers
    ("a dropped buffer is lost", BUFFERS, "        if let Memory::Lent { index, .. } = self.memory {\n            self.home.give_back(index);\n        }\n    }\n}\n\nimpl fmt::Debug", "    }\n}\n\nimpl fmt::Debug"),
    ("a kept buffer stays out", BUFFERS, "            self.memory = Memory::Kept(bytes);\n            self.home.give_back(index);", "            self.memory = Memory::Kept(bytes);\n            let _ = index;"),
    ("every port takes every buffer", PORT, "if buffer.is_of(&self.home) {", "if buffer.is_of(&self.home) || true {"),
    ("a buffer is longer than what was received", BUFFERS, "self.length = length.min(self.room().len());", "self.length = (length + 1).min(self.room().len());"),
    ("a receive of all holds its buffer (io_uring)", STEP, "&& part.keep(room).is_ok()", "&& room > 0"),
    ("a receive of all holds its buffer (poll)", ATTEMPT, "match buffer.keep(room) {", "match Ok::<(), ()>(()).map(|()| room).map(drop) {"),
    ("the kernel gets a buffer back at the wrong place", RING, "(*entry).set_addr(start as u64);", "(*entry).set_addr(start as u64 + 1);"),
    ("a buffer that comes back is not told to the kernel", RING, "AtomicU16::from_ptr(shared).store(self.tail.get(), Ordering::Release);", "let _ = (shared, Ordering::Release, AtomicU16::new(0));"),
    # Steps of io_uring
    ("a missed cancel is not asked for again", STEP, "            _ if result == -libc::ETIME => Action::Cancel,\n            _ => Action::CancelLater,", "            _ => Action::Wait,"),
    ("a missed cancel is asked for at once", STEP, "            _ => Action::CancelLater,", "            _ => Action::Cancel,"),
    ("a missed cancel hits the next in the slot", STEP, "State::Issued | State::StoodIn | State::Watching | State::Guarding if !self.cancelled => Action::Wait,", "State::Guarding if !self.cancelled => Action::Wait,"),
    ("a cancelled call that was interrupted begins again", STEP, "(libc::EAGAIN | libc::EINTR | ERESTARTSYS, _) if self.cancelled =>", "(libc::EAGAIN, _) if self.cancelled =>"),
    ("an interrupted call is an error", STEP, "            (libc::EINTR | ERESTARTSYS, _) => self.issue(),\n", ""),
    ("an interrupted close is repeated", STEP, "            (libc::EINTR, Kind::Close) => self.end(Ok(0), None),\n", ""),
    ("a cancelled connect loses its result", STEP, "if self.cancelled && (self.state == State::Guarding || !matches!(self.kind, Kind::Connect)) {", "if self.cancelled {"),
    ("a connect under way is an error", STEP, "(libc::EINPROGRESS | libc::EALREADY, Kind::Connect) | (libc::EAGAIN, _) => self.await_readiness(),", "(libc::EAGAIN, _) => self.await_readiness(),"),
    ("no free buffer is an error", STEP, "                self.state = State::Parked;\n                Action::Park", "                self.end(Err(errno), None)"),
    ("a cancelled receive is parked", STEP, "                if self.cancelled {\n                    return self.end(Err(self.refusal), None);\n                }\n                self.state = State::Parked;", "                self.state = State::Parked;"),
    ("an overrun is want of a buffer", STEP, "&& (starved || !look.tells_overruns()) =>", "&& (starved || true || !look.tells_overruns()) =>"),
    ("a queue of errors is waited for", STEP, "            (libc::EAGAIN, kind) if kind.is_at_once() => self.end(Err(libc::EAGAIN), None),\n", ""),
    ("bytes before a cancel are lost", STEP, "Kind::SendAll(rest) | Kind::RecvAll(rest) if rest.done > 0 => {", "Kind::SendAll(rest) | Kind::RecvAll(rest) if rest.done > 0 && !self.cancelled => {"),
    ("a send of all stops after a part", STEP, "Kind::SendAll(rest) => rest.advance(length).then(|| rest.send(handle)),", "Kind::SendAll(rest) => (rest.advance(length) && false).then(|| rest.send(handle)),"),
    ("a receive of all mixes datagrams", STEP, "(rest.advance(length) && look.is_stream()).then", "rest.advance(length).then"),
    ("a reset behind bytes is swallowed", STEP, "        if self.is_broken(result, look) { self.end(Ok(0), None) } else { self.issue() }", "        let _ = look;\n        self.issue()"),
    ("bytes before a reset are left", STEP, "done > 0 && !look.has_unread(),", "done > 0,"),
    ("a multishot is not issued again", STEP, "Action::Report { result: length, buffer, again: !more }", "Action::Report { result: length, buffer, again: false }"),
    ("a disconnect ends at the first bytes", STEP, "            Kind::Discard if length > 0 => {", "            Kind::Discard if length > usize::MAX / 2 => {"),
    ("a half-closed peer costs wake-ups", STEP, "        if entry::only_half_closed(result) {\n            return self.watch();\n        }", "        if entry::only_half_closed(result) {\n            return self.pause();\n        }"),
    ("a queued error costs wake-ups", STEP, "return if self.unasked { self.watch() } else { self.pause() };", "return self.pause();"),
    ("an operation ends before its watch", STEP, "        if self.watched {\n            self.state = State::Over;", "        if self.watched && false {\n            self.state = State::Over;"),
    ("a change during a try is missed", STEP, "            if self.stirred {\n                return self.issue();\n            }\n", ""),
    ("a lying poll spins", STEP, "        if self.polled {\n            return if", "        if self.polled && false {\n            return if"),
    ("a cancelled accept leaves an address", STEP, "if result.is_err() => unsafe { peer.as_mut() }.set_length(0),", "if result.is_err() && false => unsafe { peer.as_mut() }.set_length(0),"),
    # What io_uring's steps lead to
    ("all are in the kernel at once", PROGRESS, "if side.is_none_or(|side| self.line_up(slot, side)) {", "if side.is_none_or(|side| self.line_up(slot, side)) || true {"),
    ("the next in line is forgotten", PROGRESS, "        if let Some(next) = next {\n            self.call_up(next);\n        }", "        let _ = next;"),
    ("a stale first holds the line", PROGRESS, "            let action = self.requests[slot].guard();\n            self.act(slot, action);\n        }\n        is_its_turn", "        }\n        is_its_turn"),
    ("a number's new meaning is not noticed", PROGRESS, "if its.is_some() && its != identity {", "if its.is_some() && its != identity && false {"),
    ("parked operations wait for good", PROGRESS, "                request.issue();\n                let entry = request.entry.clone();\n                self.push(&entry);\n                available -= 1;", "                available -= 1;"),
    ("a newcomer takes the buffer of who is parked", PROGRESS, "(self.buffers.available() == 0 || !self.parked.is_empty())", "(self.buffers.available() == 0)"),
    ("the notifier is not watched again", PROGRESS, "                if !more {\n                    self.watch_notifier();\n                }\n", ""),
    ("a write to a socket raises a signal", PROGRESS, "if placed.is_nowhere() && Descriptor(request.handle).is_socket() {", "if placed.is_nowhere() && false && Descriptor(request.handle).is_socket() {"),
    ("a shutdown overtakes a send", URING, "        if !self.ring.submission().is_empty() {\n            self.flush();\n        }\n", ""),
    ("a full queue loses what comes", URING, "        self.late.push_back(entry.clone());\n    }", "    }"),
    ("a wait with events to tell sleeps", URING, "self.unpark() || !self.events.is_empty() ||", "self.unpark() ||"),
    ("a disconnect leaves its side open", URING, "            let _ = self.shut_down(socket, Shutdown::Write);\n", ""),
    ("a full short part moves the position back", ENTRY, "        if self.before < 0 || written == 0 || written == self.length {", "        if self.before < 0 || written == 0 || written <= self.length {"),
    ("a send raises a signal (io_uring)", ENTRY, "flags | libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT", "flags | libc::MSG_DONTWAIT"),
    ("a look ahead waits for all", ENTRY, "(libc::MSG_WAITALL | libc::MSG_PEEK | libc::MSG_TRUNC) == libc::MSG_WAITALL", "(libc::MSG_WAITALL | libc::MSG_TRUNC) == libc::MSG_WAITALL"),
    ("a huge offset is the file's own position", ENTRY, "offset.map_or(u64::MAX, |offset| offset.min(1 << 63))", "offset.unwrap_or(u64::MAX)"),
    ("control data of two parts is mixed", ENTRY, "        if message.header.as_ref().is_some_and(|header| header.msg_controllen > 0) {\n            return None;\n        }\n", ""),
    ("an accepted socket is inherited", ENTRY, "opcode::Accept::new(Fd(listener), address.cast(), length).flags(libc::SOCK_CLOEXEC)", "opcode::Accept::new(Fd(listener), address.cast(), length)"),
    ("who leaves a line takes the rest with it", LANES, "            Some(after) => self.links[after].before = before,", "            Some(_) => {}"),
    ("the ring has a standard number", SETUP, "if opened.as_raw_fd() > libc::STDERR_FILENO {", "if opened.as_raw_fd() >= 0 {"),
    # Readiness
    ("a newcomer overtakes (poll)", POLL, "Some(_) if !descriptor.queue(side).is_empty() && !pending.never_waits() => Attempt::Again,", "Some(_) if false && !pending.never_waits() => Attempt::Again,"),
    ("a newcomer takes a free buffer (poll)", POLL, "            _ if pending.takes_buffer() && !self.starved.is_empty() => Attempt::Starved,\n", ""),
    ("who waits for a buffer is not fed (poll)", POLL, "                self.run(fd, Side::Read);\n                self.rearm(fd);\n            }\n        }\n    }", "                self.rearm(fd);\n            }\n        }\n    }"),
    ("a number's new meaning is not noticed (poll)", POLL, "            Ok(same) => same && !descriptor.refused,", "            Ok(_) => !descriptor.refused,"),
    ("a close leaves what waits (poll)", POLL, "        self.end_all(fd, CANCELLED);\n", ""),
    ("one side has all turns (poll)", POLL, "for _ in 0..TURN {", "loop {"),
    ("a cancel leaves the next unarmed (poll)", POLL, "        if let Some(fd) = self.end(id, CANCELLED) {\n            self.rearm(fd);\n        }", "        self.end(id, CANCELLED);"),
    ("what is ready for nothing spins (poll)", POLL, "            if descriptor.spurious >= SPURIOUS {\n                self.try_later(fd);\n            }", ""),
    ("a half-closed peer costs wake-ups (poll)", POLL, "            if found.ends() {\n                descriptor.trigger = Trigger::Changes;\n            }", ""),
    ("retries never come (poll)", POLL, "        self.run_retries();\n        events.append", "        events.append"),
    ("bytes before a cancel are lost (poll)", ATTEMPT, "(if self.moved > 0 { Ok(self.moved) } else { Err(error) }, self.buffer)", "(Err(error), self.buffer)"),
    ("a queue of errors is waited for (poll)", ATTEMPT, "flags & (call::ERROR_QUEUE | libc::MSG_OOB) != 0", "flags & libc::MSG_OOB != 0"),
    ("an error behind bytes is swallowed (poll)", DESCRIPTOR, "if error.raw_os_error() != Some(libc::EPIPE) {", "if error.raw_os_error() != Some(libc::EPIPE) && false {"),
    ("a kept error is a stranger's (poll)", DESCRIPTOR, ".filter(|left| left.identity == call::identity(fd))", ""),
    ("an endless transfer keeps the thread (poll)", ATTEMPT, "if *moved - before >= MOST_A_TRY {", "if *moved - before == usize::MAX {"),
    ("control data of two parts is mixed (poll)", ATTEMPT, "goes_on.set(goes_on.get() && message.control_length == 0);", "goes_on.set(goes_on.get());"),
    # The port
    ("a cancel of a pooled call is not told", PORT, "        if self.pool.cancel(id) {\n            self.inbox.finished(id, Err(io::Error::from_raw_os_error(sys::CANCELLED)));\n        } else {", "        if self.pool.cancel(id) {\n        } else {"),
    ("cancels are not counted", PORT, "        self.tally.cancels.count();\n", ""),
    ("a timer is early", PORT, "if first.key().deadline > self.now {", "if first.key().deadline > self.now + Duration::from_millis(20) {"),
    ("timers do not end a sleep", PORT, "(Some(timeout), Some(next)) => Some(timeout.min(next)),", "(Some(timeout), Some(_)) => Some(timeout),"),
    ("two timers of one time are one", PORT, "        self.next_timer += 1;\n", ""),
    ("a wake does not end the wait", PORT, "                Message::Woken => woken = true,", "                Message::Woken => {}"),
    ("a message at the last moment waits", INBOX, "        if self.filled.load(Ordering::SeqCst) {\n            self.state.store(AWAKE, Ordering::SeqCst);\n            return false;\n        }\n", ""),
    ("after a shutdown calls run", PORT, "Op::Call { function, lane } if !self.ended =>", "Op::Call { function, lane } =>"),
    ("an id that has ended is its successor", SLOTS, "slot.generation = slot.generation.wrapping_add(1).max(1);", "slot.generation = slot.generation.max(1);"),
    ("operations on a handle are miscounted", SLOTS, "            head.count += 1;\n", ""),
]


def tree():
    """A copy of what git knows, with the changes that are not committed."""
    copy = PLACE / "tree"
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\n")
    for name in filter(None, names):
        source, target = ROOT / name, copy / name
        if not source.is_file() or target.is_file() and target.read_bytes() == source.read_bytes():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
    return copy


def cargo(copy, *arguments):
    command = ["cargo", "test", "--quiet", "-p", "overlapped-port", "--target-dir", str(PLACE / "build"), *arguments]
    return subprocess.run(command, cwd=copy, capture_output=True, text=True, timeout=LIMIT)


def verdict(copy):
    """`builds not`, `dies` with the first test that failed, or `survives`."""
    try:
        for tests in (["--lib"], ["--test", "uring_traps", "--test", "poll_traps"], ["--test", "conformance"]):
            ran = cargo(copy, *tests)
            if "could not compile" in ran.stderr:
                return "builds not"
            if ran.returncode:
                failed = [line.split()[1] for line in ran.stdout.split("\n") if line.startswith("---- ")]
                return "dies: " + (failed[0] if failed else "the test program ended")
    except subprocess.TimeoutExpired:
        return "dies: hangs"
    return "survives"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="only look whether each text is there, once")
    parser.add_argument("--list", action="store_true", help="only name them")
    parser.add_argument("words", nargs="*", metavar="WORD")
    arguments = parser.parse_args()
    chosen = [m for m in MUTANTS if not arguments.words or any(word in m[0] or word in m[1] for word in arguments.words)]
    wrong = [(what, file) for what, file, text, _ in chosen if (ROOT / SOURCE / file).read_text().count(text) != 1]
    for what, file in wrong:
        print(f"{file}: not there, or more than once: {what}")
    if arguments.check or arguments.list or wrong:
        if arguments.list:
            print(*(f"{file}: {what}" for what, file, *_ in chosen), sep="\n")
        return bool(wrong)
    copy, survived = tree(), []
    for number, (what, file, text, instead) in enumerate(chosen, 1):
        path = copy / SOURCE / file
        whole, start = path.read_text(), time.monotonic()
        path.write_text(whole.replace(text, instead))
        try:
            answer = verdict(copy)
        finally:
            path.write_text(whole)
        print(f"{number}/{len(chosen)} {file}: {what}: {answer} ({time.monotonic() - start:.0f} s)", flush=True)
        if not answer.startswith("dies"):
            survived.append(f"{file}: {what}: {answer}")
    print(f"{len(chosen)} mutants, {len(survived)} left:", *survived, sep="\n  ")
    return len(survived) * 100 > 5 * len(chosen)


if __name__ == "__main__":
    sys.exit(main())
