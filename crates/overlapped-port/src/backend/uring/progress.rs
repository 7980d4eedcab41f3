//! Carries operations on, from their first issue to their final event: the hands of [`step`](super::step), which decides.
//!
//! **Who is first in line is in the kernel**, the others are not ([`lanes`](super::lanes)). A number may have been closed
//! behind the port's back and given out again while somebody waits on what it was: the kernel serves that one on, for it
//! holds the file, but whoever comes now is not to wait behind it. So who finds others in line looks at what the number means
//! (fstat(2)), and compares it with what it meant to the last one there. The first in line has not looked, for that would
//! cost every operation a system call; behind such a one a poll stands in for the second. Where that says that there is
//! something to be had, and the first does not take it, the first waits for something else: it is passed over
//! ([`Uring::pass_over`]). Who is called up and finds that the number means something else by then ends with `EBADF`; so does
//! who has waited for a buffer meanwhile, for such a one is not in the kernel either, and who is to be issued again after a poll
//! or a watch, which the kernel keeps on what the number meant before.

use std::io;

use io_uring::squeue::{Entry, Flags};
use io_uring::{cqueue, opcode};

use super::Uring;
use super::descriptor::Descriptor;
use super::entry::{self, Kind};
use super::lanes::Side;
use super::step::{Action, Completion, PAUSES, Request, State};
use crate::backend::Event;
use crate::buffers::Buffer;
use crate::slots::OpId;

/// Entries into the kernel within which the first in line takes what is there, if it waits for the same file.
const PATIENCE: u8 = 4;

/// What a request of the backend's own is for: the numbers with generation 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Internal {
    /// The poll of the notifier.
    Notifier,
    /// A cancel of the operation in this slot, or the pause before the next.
    Cancel(usize),
    /// The poll or pause that stands in for the operation in this slot.
    StandIn(usize),
    /// The watch beside the operation in this slot.
    Watch(usize),
}

impl Internal {
    pub(super) fn to_u64(self) -> u64 {
        let number = match self {
            Internal::Notifier => 0,
            Internal::Cancel(slot) => slot << 2 | 1,
            Internal::StandIn(slot) => slot << 2 | 2,
            Internal::Watch(slot) => slot << 2 | 3,
        };
        OpId::new(u32::try_from(number).expect("fewer than 2^30 operations in flight"), 0).to_u64()
    }

    fn from_slot(number: usize) -> Internal {
        match number & 3 {
            0 => Internal::Notifier,
            1 => Internal::Cancel(number >> 2),
            2 => Internal::StandIn(number >> 2),
            _ => Internal::Watch(number >> 2),
        }
    }
}

/// The second in line has seen that there is something to be had, and waits for the first to take it.
#[derive(Clone, Copy)]
pub(super) struct Doubt {
    second: OpId,
    first: OpId,
    /// How much the first had brought by then.
    reports: u32,
    patience: u8,
}

/// Notes what its handle means, where that has not been looked at.
fn note_identity(request: &mut Request) {
    if request.identity.is_none() {
        request.identity = Descriptor(request.handle).identity();
    }
}

/// Whether its handle means something else than when that was noted.
fn has_moved(request: &Request) -> bool {
    request.identity.is_some() && Descriptor(request.handle).identity() != request.identity
}

impl Uring {
    /// Takes an operation in, for which there is room, and issues it when it is its turn.
    pub(super) fn open(&mut self, id: OpId, handle: i32, entry: Entry, kind: Kind, side: Option<Side>) {
        let slot = id.slot();
        self.requests[slot].begin(id, handle, entry, kind);
        if side.is_none_or(|side| self.line_up(slot, side)) {
            self.issue(slot);
        }
    }

    /// Makes room for an operation in `slot`, on `handle` if it is one to be in line for.
    pub(super) fn make_room(&mut self, slot: usize, handle: Option<i32>) -> io::Result<()> {
        if slot >= self.requests.len() {
            let slots = slot + 64;
            self.requests.try_reserve(slots - self.requests.len())?;
            self.lanes.make_room(slots)?;
            self.requests.resize_with(slots, Request::free);
        }
        match handle.map(usize::try_from) {
            // A wild number must not cost memory.
            Some(Ok(number)) if !self.lanes.knows(number) && Descriptor(number as i32).is_open() => {
                self.lanes.learn(number)
            }
            _ => Ok(()),
        }
    }

    /// Whether no operation waits for its turn on `handle`, or has it.
    pub(super) fn nobody_is_in_line(&self, handle: i32) -> bool {
        let number = usize::try_from(handle).unwrap_or(usize::MAX);
        [Side::In, Side::Out].iter().all(|side| self.lanes.first(number, *side).is_none())
    }

    /// Puts the operation in `slot` in line; true where it is its turn.
    #[inline]
    fn line_up(&mut self, slot: usize, side: Side) -> bool {
        let (handle, is_here) = (self.requests[slot].handle, self.requests[slot].kind.is_here());
        let Some(number) = usize::try_from(handle).ok().filter(|number| self.lanes.knows(*number)) else { return true };
        let mut lane = side;
        let is_here_too = |last: &usize| self.requests[*last].kind.is_here();
        let other = || if is_here { self.lanes.last(number, side.other()).filter(is_here_too) } else { None };
        let Some(last) = self.lanes.last(number, side).or_else(other) else {
            self.requests[slot].side = Some(side);
            return self.lanes.enter(number, side, slot);
        };
        let identity = Descriptor(handle).identity();
        let shares_position = is_here && identity.is_some_and(|identity| identity.keeps_position);
        if self.lanes.last(number, side).is_none() {
            if !shares_position {
                self.requests[slot].side = Some(side);
                return self.lanes.enter(number, side, slot);
            }
            lane = side.other();
        }
        let (its, is_first) = (self.requests[last].identity, self.lanes.first(number, lane) == Some(last));
        if its.is_some() && its != identity {
            self.clear_lane(number, lane);
        }
        let request = &mut self.requests[slot];
        (request.side, request.identity) = (Some(lane), identity);
        let is_its_turn = self.lanes.enter(number, lane, slot);
        let last = &self.requests[last];
        let ends_by_itself = shares_position || (last.kind.never_waits() && last.state == State::Issued);
        if !is_its_turn && is_first && its.is_none() && !ends_by_itself {
            let action = self.requests[slot].guard();
            self.act(slot, action);
        }
        is_its_turn
    }

    /// The number of the handle means something else than to those in the lane: the first, which is in the kernel, goes on
    /// outside of it, and the others are over.
    fn clear_lane(&mut self, number: usize, lane: Side) {
        self.pass_over(number, lane);
        self.turn_all_away(number, lane);
    }

    /// Ends all that are in a lane, none of which is in the kernel: what they were to be done on is closed.
    fn turn_all_away(&mut self, number: usize, lane: Side) {
        while let Some(slot) = self.lanes.first(number, lane) {
            self.pass_over(number, lane);
            let action = self.requests[slot].turn_away();
            self.act(slot, action);
        }
    }

    /// Takes the first out of its lane, and leaves it to the kernel.
    fn pass_over(&mut self, number: usize, lane: Side) {
        if let Some(first) = self.lanes.first(number, lane) {
            self.lanes.leave(number, lane, first);
            self.requests[first].side = None;
        }
    }

    /// The operation in `slot` is over: the next in its lane has its turn.
    fn leave_lane(&mut self, slot: usize) {
        let request = &mut self.requests[slot];
        let (Some(lane), number) = (request.side.take(), request.handle as usize) else { return };
        let next = self.lanes.leave(number, lane, slot);
        if let Some(next) = next {
            self.call_up(next);
        }
    }

    /// It is the turn of the operation in `slot`.
    fn call_up(&mut self, slot: usize) {
        let request = &mut self.requests[slot];
        if has_moved(request) {
            let (number, lane) = (request.handle as usize, request.side);
            // They all have looked, and saw the same.
            return lane.map_or((), |lane| self.turn_all_away(number, lane));
        }
        let action = request.called_up();
        self.act(slot, action);
    }

    /// Issues the operation in `slot`, for the first time or again.
    fn issue(&mut self, slot: usize) {
        let request = &mut self.requests[slot];
        let none_left = || self.buffers.available() == 0 && !self.buffers.grow();
        if request.kind.takes_buffer() && (!self.parked.is_empty() || none_left()) {
            // Those that wait already come first.
            request.state = State::Parked;
            return self.park(slot);
        }
        if let Kind::WriteHere(placed) | Kind::WriteFirst(placed) = &mut request.kind {
            placed.note(request.handle);
            if placed.is_nowhere() && Descriptor(request.handle).is_socket() {
                let (entry, header) = placed.send(request.handle);
                (request.kind, request.header) = (Kind::Send, header);
                request.entry = entry.user_data(request.id.to_u64());
            }
        }
        request.issue();
        self.push_request(slot);
    }

    /// Has the operation in `slot` wait for a buffer. It is not in the kernel meanwhile, so all that it has is the number: what
    /// that means is noted.
    fn park(&mut self, slot: usize) {
        let request = &mut self.requests[slot];
        note_identity(request);
        self.parked.push_back(request.id);
    }

    /// Issues parked operations, as many as there are buffers; true where some remain that could be issued next, for
    /// those on an idle socket take none.
    pub(super) fn unpark(&mut self) -> bool {
        let mut available = self.buffers.available();
        while available > 0 {
            let Some(id) = self.parked.pop_front() else { return false };
            let request = &mut self.requests[id.slot()];
            if request.id != id || request.state != State::Parked {
                self.unparked = self.unparked.saturating_sub(1);
                continue;
            }
            if has_moved(request) {
                let action = request.turn_away();
                self.act(id.slot(), action);
                continue;
            }
            request.issue();
            self.push_request(id.slot());
            available -= 1;
        }
        !self.parked.is_empty() && self.buffers.available() > 0
    }

    /// Asks for the end of an operation, if it is in flight.
    pub(super) fn ask_to_cancel(&mut self, id: OpId) {
        let slot = id.slot();
        let Some(request) = self.requests.get_mut(slot).filter(|request| request.id == id) else { return };
        let was_parked = request.state == State::Parked;
        let action = request.cancel();
        self.act(slot, action);
        if was_parked {
            self.forget_parked();
        }
    }

    /// One of those that wait for a buffer has ended. It stays in the queue, which would be searched for it, until half of the
    /// queue are such.
    fn forget_parked(&mut self) {
        self.unparked += 1;
        if 2 * self.unparked > self.parked.len() {
            let requests = &self.requests;
            self.parked.retain(|id| requests[id.slot()].id == *id && requests[id.slot()].state == State::Parked);
            self.unparked = 0;
        }
    }

    /// Asks the kernel to cancel what it has of the operation in `slot`.
    fn push_cancel(&mut self, slot: usize) {
        let request = &self.requests[slot];
        let target = match request.state {
            State::Issued => request.id.to_u64(),
            State::StoodIn | State::Guarding => Internal::StandIn(slot).to_u64(),
            State::Watching | State::Over => Internal::Watch(slot).to_u64(),
            State::Free | State::InLine | State::Parked => return,
        };
        let entry = opcode::AsyncCancel::new(target).build().flags(Flags::SKIP_SUCCESS);
        self.push(&entry.user_data(Internal::Cancel(slot).to_u64()));
    }

    /// A completion of the backend's own requests.
    pub(super) fn complete_internal(&mut self, number: usize, result: i32, more: bool) {
        let slot = match Internal::from_slot(number) {
            Internal::Notifier => {
                if !more {
                    self.watch_notifier();
                }
                return;
            }
            Internal::Cancel(slot) | Internal::StandIn(slot) | Internal::Watch(slot) => slot,
        };
        let request = &mut self.requests[slot];
        let look = Descriptor(request.handle);
        let action = match Internal::from_slot(number) {
            Internal::Cancel(_) => request.cancel_ended(result),
            Internal::StandIn(_) => request.stood_in(result, &look),
            _ => request.stirred(&Completion { result, more, buffer: None, starved: false }, &look),
        };
        self.act(slot, action);
    }

    /// A completion of an operation.
    pub(super) fn complete(&mut self, id: OpId, cqe: &cqueue::Entry) {
        let slot = id.slot();
        let length = usize::try_from(cqe.result()).unwrap_or(0);
        let completion = Completion {
            result: cqe.result(),
            more: cqueue::more(cqe.flags()),
            buffer: cqueue::buffer_select(cqe.flags()).map(|index| self.buffers.take(index, length)),
            starved: self.buffers.available() == 0,
        };
        let request = &mut self.requests[slot];
        debug_assert!(request.id == id && request.state == State::Issued, "a completion of nothing in flight");
        if let Kind::WriteHere(placed) = request.kind {
            placed.settle(request.handle, length);
        }
        let look = Descriptor(request.handle);
        match request.completed(completion, &look) {
            Action::End(result, buffer) => self.finish(slot, result, buffer),
            action => self.act(slot, action),
        }
    }

    /// Looks after those that are in doubt about the first in their line, after each entry into the kernel.
    pub(super) fn settle_doubts(&mut self) {
        let mut at = 0;
        while let Some(doubt) = self.doubts.get_mut(at) {
            doubt.patience -= 1;
            let Doubt { second, first, reports, patience } = *doubt;
            let (slot, request) = (second.slot(), &self.requests[second.slot()]);
            let (number, handle) = (request.handle as usize, Descriptor(request.handle));
            let lane = request.side.filter(|_| request.id == second && request.state == State::InLine);
            let lane = lane.filter(|lane| self.lanes.first(number, *lane) == Some(first.slot()));
            let has_brought_nothing = |request: &Request| request.id == first && request.reports == reports;
            let Some(lane) = lane.filter(|_| has_brought_nothing(&self.requests[first.slot()])) else {
                self.doubts.swap_remove(at);
                continue;
            };
            if patience > 0 {
                at += 1;
                continue;
            }
            self.doubts.swap_remove(at);
            if self.requests[first.slot()].identity.is_some_and(|its| Some(its) == request.identity) {
                // It has looked meanwhile: it waits for the same, and for a buffer besides.
                continue;
            }
            if handle.has_any(self.requests[slot].awaited()) {
                self.pass_over(number, lane);
                self.call_up(slot);
            } else {
                // Somebody else has taken it.
                let action = self.requests[slot].guard();
                self.act(slot, action);
            }
        }
    }

    /// Does what a step says.
    fn act(&mut self, slot: usize, action: Action) {
        let request = &mut self.requests[slot];
        match action {
            Action::Wait => {}
            Action::Issue if has_moved(request) => {
                let action = request.has_moved();
                self.act(slot, action);
            }
            Action::Issue => self.issue(slot),
            Action::Poll(events) => {
                // It waits anyhow; who comes behind it need not doubt it then.
                note_identity(request);
                let entry = entry::poll(request.handle, events);
                self.push(&entry.user_data(Internal::StandIn(slot).to_u64()));
            }
            Action::Pause(time) => {
                let entry = opcode::Timeout::new(time).build();
                self.push(&entry.user_data(Internal::StandIn(slot).to_u64()));
            }
            Action::Watch(events) => {
                note_identity(request);
                let entry = entry::watch(request.handle, events);
                self.push(&entry.user_data(Internal::Watch(slot).to_u64()));
            }
            Action::Cancel => self.push_cancel(slot),
            Action::CancelLater => {
                let entry = opcode::Timeout::new(&PAUSES[0]).build();
                self.push(&entry.user_data(Internal::Cancel(slot).to_u64()));
            }
            // The kernel had none: it is given some that it never had, if there are.
            Action::Park if self.buffers.grow() => self.issue(slot),
            Action::Park => self.park(slot),
            Action::Doubt => {
                let lane = request.side.and_then(|side| self.lanes.first(request.handle as usize, side));
                if let Some(first) = lane {
                    let (second, first) = (request.id, &self.requests[first]);
                    let doubt = Doubt { second, first: first.id, reports: first.reports, patience: PATIENCE };
                    self.doubts.push(doubt);
                }
            }
            Action::Report { result, buffer, again } => {
                request.reports = request.reports.wrapping_add(1);
                self.events.push(Event { id: request.id, result: Ok(result), buffer, more: true });
                if again {
                    self.issue(slot);
                }
            }
            Action::End(result, buffer) => self.finish(slot, result, buffer),
        }
    }

    /// Reports the end of an operation, whose slot is free.
    #[inline]
    fn finish(&mut self, slot: usize, result: Result<usize, i32>, buffer: Option<Buffer>) {
        let request = &mut self.requests[slot];
        request.header = None;
        let result = result.map_err(io::Error::from_raw_os_error);
        self.events.push(Event { id: request.id, result, buffer, more: false });
        self.leave_lane(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_backends_own_numbers_are_told_apart() {
        let internals = [
            Internal::Notifier,
            Internal::Cancel(0),
            Internal::Cancel(70_000),
            Internal::StandIn(40_000),
            Internal::Watch(3),
        ];
        for internal in internals {
            let id = OpId::from_u64(internal.to_u64());
            assert_eq!(id.generation(), 0);
            assert_eq!(Internal::from_slot(id.slot()), internal);
        }
    }

    /// A backend, or none where the machine has no io_uring.
    fn uring() -> Option<Uring> {
        Uring::start(&crate::backend::Settings { capacity: 8, buffers: Some(4), buffer_size: 64, ..Default::default() })
            .ok()
    }

    #[test]
    fn the_notifier_is_watched_again_when_the_kernel_lets_go_of_it() {
        let Some(mut uring) = uring() else { return };
        uring.enter(Some(std::time::Duration::ZERO)).unwrap();
        uring.complete_internal(Internal::Notifier.to_u64() as u32 as usize, 1, true);
        assert!(uring.ring.submission().is_empty(), "it is watched still");
        uring.complete_internal(Internal::Notifier.to_u64() as u32 as usize, 1, false);
        assert_eq!(uring.ring.submission().len(), 1);
    }

    #[test]
    fn those_that_were_cancelled_while_they_waited_for_a_buffer_are_not_kept() {
        let Some(mut uring) = uring() else { return };
        let all: Vec<Buffer> = (0..4).map(|index| uring.buffers.take(index, 1)).collect();
        let (entry, _) =
            entry::prepare(crate::op::Op::Poll { socket: 0, interest: crate::op::Interest::READABLE }, 0, 64, true);
        uring.make_room(1, None).unwrap();
        uring.open(OpId::new(1, 1), 0, entry.clone(), Kind::Provided, None);
        for generation in 1..=1000 {
            let id = OpId::new(0, generation);
            uring.open(id, 0, entry.clone(), Kind::Provided, None);
            uring.ask_to_cancel(id);
        }
        assert!(uring.parked.len() < 4, "{} are kept", uring.parked.len());
        assert_eq!((uring.parked.front(), uring.events.len()), (Some(&OpId::new(1, 1)), 1000));
        drop(all);
        assert!(!uring.unpark() && uring.parked.is_empty());
    }

    #[test]
    fn the_first_in_line_is_not_passed_over_where_it_has_brought_something_since_it_was_doubted() {
        use std::io::Write;
        use std::os::fd::AsRawFd;

        let (mut peer, socket) = std::os::unix::net::UnixStream::pair().unwrap();
        peer.write_all(b"there is something").unwrap();
        let number = socket.as_raw_fd();
        for (brings, first) in [(true, 1), (false, 2)] {
            let Some(mut uring) = uring() else { return };
            uring.make_room(2, Some(number)).unwrap();
            for slot in [1, 2] {
                let (entry, kind) = entry::prepare(crate::op::Op::RecvMultishot { socket: number }, 0, 64, true);
                uring.open(OpId::new(slot, 1), number, entry, kind, Some(Side::In));
            }
            uring.requests[2].state = State::InLine;
            uring.act(2, Action::Doubt);
            if brings {
                uring.act(1, Action::Report { result: 1, buffer: None, again: false });
            }
            (0..PATIENCE).for_each(|_| uring.settle_doubts());
            assert!(uring.doubts.is_empty());
            assert_eq!(uring.lanes.first(number as usize, Side::In), Some(first));
        }
    }

    #[test]
    fn a_cancel_that_missed_is_a_pause_and_then_a_cancel() {
        let Some(mut uring) = uring() else { return };
        let id = OpId::new(2, 1);
        let poll = crate::op::Op::Poll { socket: 0, interest: crate::op::Interest::PRIORITY };
        let (entry, kind) = entry::prepare(poll, 0, 64, true);
        uring.make_room(2, None).unwrap();
        uring.open(id, 0, entry, kind, None);
        uring.ask_to_cancel(id);
        let queued = uring.ring.submission().len();
        for result in [-libc::ENOENT, -libc::ETIME, -libc::EALREADY] {
            uring.complete_internal(Internal::Cancel(2).to_u64() as u32 as usize, result, false);
        }
        assert_eq!(uring.ring.submission().len(), queued + 3);
        uring.act(2, Action::End(Err(libc::ECANCELED), None));
        assert_eq!(uring.events.len(), 1);
    }
}
