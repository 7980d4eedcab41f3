//! One try of an operation: does it as far as that goes without waiting, and says what to wait for.

use std::cell::Cell;
use std::io;
use std::os::fd::RawFd;

use super::call::{self, MOST, Nature, Side, Vector, is_again};
use super::readiness::Readiness;
use crate::backend::{is_stream, receives_no_more};
use crate::buffers::{Buffer, BufferPool, nowhere};
use crate::op::{Interest, Op};
use crate::slots::OpId;
use crate::sys;

/// An operation that waits, with what it has done so far.
pub(super) struct Pending {
    pub(super) id: OpId,
    pub(super) fd: RawFd,
    op: Op<'static>,
    /// Bytes moved.
    pub(super) moved: usize,
    /// It has been tried before, and has waited since.
    tried: bool,
    /// The bytes moved of a provided receive that waits for the rest, in memory of its own.
    buffer: Option<Buffer>,
    /// Whether a receive on this descriptor may go on where the last one stopped: it is a stream, and either
    /// multishot or asked to wait for all.
    stream: bool,
    /// A connect that has begun.
    connecting: bool,
    /// Whether a read or write is on a socket.
    socket: bool,
}

/// What a try brought.
pub(super) enum Attempt {
    /// It is done.
    Done(io::Result<usize>, Option<Buffer>),
    /// It is done short of its end; the error that ended it is the next operation's.
    Partial(usize, Option<Buffer>, io::Error),
    /// One more result of a multishot operation, and whether another can be expected at once.
    More(usize, Option<Buffer>, bool),
    /// Nothing yet: readiness will announce it.
    Again,
    /// There is more at once, others have their turn before, and readiness will announce it.
    Enough,
    /// Nothing yet, and nothing will announce it.
    Later,
    /// No provided buffer is free.
    Starved,
}

impl From<io::Result<usize>> for Attempt {
    fn from(result: io::Result<usize>) -> Attempt {
        match result {
            Err(error) if is_again(&error) => Attempt::Again,
            result => Attempt::Done(result, None),
        }
    }
}

impl Pending {
    /// # Safety
    /// What `op` borrows stays valid until the operation's end.
    pub(super) unsafe fn new(id: OpId, fd: RawFd, op: Op<'static>, nature: Option<Nature>) -> Pending {
        let goes_on = |flags: i32| flags & libc::MSG_WAITALL != 0 && flags & libc::MSG_PEEK == 0;
        let stream = match &op {
            Op::RecvMultishot { .. } => is_stream(fd),
            Op::Recv { flags, .. } | Op::RecvProvided { flags, .. } | Op::RecvMessage { flags, .. } => {
                goes_on(*flags) && is_stream(fd)
            }
            _ => false,
        };
        let socket = nature == Some(Nature::Socket);
        Pending { id, fd, op, moved: 0, tried: false, buffer: None, stream, connecting: false, socket }
    }

    /// The queue that the operation waits in; `None` for one that only watches.
    pub(super) fn side(&self) -> Option<Side> {
        match self.op {
            Op::Connect { .. }
            | Op::Send { .. }
            | Op::SendMessage { .. }
            | Op::Write { .. }
            | Op::WriteVectored { .. } => Some(Side::Write),
            Op::Poll { .. } => None,
            _ => Some(Side::Read),
        }
    }

    /// What one that only watches is interested in.
    pub(super) fn interest(&self) -> Interest {
        match self.op {
            Op::Poll { interest, .. } => interest,
            _ => Interest::default(),
        }
    }

    /// Whether an error that an earlier operation met on the socket is this one's to report.
    pub(super) fn inherits_error(&self) -> bool {
        match self.op {
            Op::Recv { .. }
            | Op::RecvProvided { .. }
            | Op::RecvMultishot { .. }
            | Op::RecvMessage { .. }
            | Op::Disconnect { .. }
            | Op::Send { .. }
            | Op::SendMessage { .. } => true,
            _ => self.socket,
        }
    }

    /// Ends it early: with what was moved so far, else with `error`.
    pub(super) fn conclude(self, error: io::Error) -> (io::Result<usize>, Option<Buffer>) {
        (if self.moved > 0 { Ok(self.moved) } else { Err(error) }, self.buffer)
    }

    /// Whether it is one of those receives that answer at once on every socket, in whatever mode: those of queued errors
    /// (`MSG_ERRQUEUE`, recv(2)) and of urgent data (`MSG_OOB`). The only operations that learn of `EAGAIN`, and that
    /// overtake others.
    pub(super) fn never_waits(&self) -> bool {
        match self.op {
            Op::Recv { flags, .. } | Op::RecvProvided { flags, .. } | Op::RecvMessage { flags, .. } => {
                flags & (sys::ERROR_QUEUE | libc::MSG_OOB) != 0
            }
            _ => false,
        }
    }

    /// Whether it is one of those receives of messages for which the system has no end.
    fn receives(&self) -> bool {
        let receives = matches!(
            self.op,
            Op::Recv { .. } | Op::RecvProvided { .. } | Op::RecvMultishot { .. } | Op::RecvMessage { .. }
        );
        receives && !self.stream
    }

    /// Whether it is given a buffer of the port's.
    pub(super) fn takes_buffer(&self) -> bool {
        matches!(self.op, Op::RecvProvided { .. } | Op::RecvMultishot { .. } | Op::ReadMultishot { .. })
    }

    /// Tries.
    pub(super) fn attempt(&mut self, buffers: &mut BufferPool) -> Attempt {
        match self.step(buffers) {
            Attempt::Again if self.never_waits() => {
                Attempt::Done(Err(io::Error::from_raw_os_error(libc::EAGAIN)), None)
            }
            Attempt::Again if self.receives() && self.moved == 0 => {
                // A socket that has no more for it is always ready: a second try follows the first at once. So not every
                // receive that finds nothing costs a call more.
                let has_waited = std::mem::replace(&mut self.tried, true);
                if has_waited && receives_no_more(self.fd) { Attempt::Done(Ok(0), None) } else { Attempt::Again }
            }
            attempt => attempt,
        }
    }

    fn step(&mut self, buffers: &mut BufferPool) -> Attempt {
        let (fd, moved) = (self.fd, &mut self.moved);
        match &mut self.op {
            Op::Accept { peer, .. } => call::accept(fd, peer.as_deref_mut()).into(),
            Op::AcceptMultishot { .. } => match call::accept(fd, None) {
                Ok(socket) => Attempt::More(socket, None, true),
                Err(error) => Err(error).into(),
            },
            Op::Connect { address, .. } => connect(fd, address, &mut self.connecting),
            Op::Recv { buffer, flags, .. } => {
                let (start, length) = (buffer.as_mut_ptr(), buffer.len());
                repeat(moved, length, &Cell::new(self.stream), |moved| {
                    // SAFETY: the operation's buffer is its own until the completion; `moved` is no more than its length.
                    unsafe { call::recv(fd, start.add(moved).cast(), length - moved, *flags) }
                })
            }
            Op::RecvProvided { limit, flags, .. } => {
                let Some(mut buffer) = self.buffer.take().or_else(|| buffers.take()) else { return Attempt::Starved };
                let length = (*limit).min(buffers.size());
                let whole = &mut buffer.room()[..length];
                // MSG_TRUNC would tell of more bytes than the buffer was given: those behind are another receive's.
                let flags = *flags & !libc::MSG_TRUNC;
                let attempt = repeat(moved, length, &Cell::new(self.stream), |moved| {
                    // SAFETY: the buffer is the backend's, taken out of its pool; `moved` is no more than its length.
                    unsafe { call::recv(fd, whole[moved..].as_mut_ptr().cast(), length - moved, flags) }
                });
                self.fill(buffer, attempt, length)
            }
            Op::RecvMultishot { .. } => {
                let Some(mut buffer) = buffers.take() else { return Attempt::Starved };
                let whole = buffer.room();
                // SAFETY: the buffer is the backend's, taken out of its pool.
                let received = unsafe { call::recv(fd, whole.as_mut_ptr().cast(), whole.len(), 0) };
                one_of_many(received, buffer, self.stream)
            }
            Op::ReadMultishot { .. } => {
                let Some(mut buffer) = buffers.take() else { return Attempt::Starved };
                let whole = Vector::one(buffer.room().as_mut_ptr().cast(), buffer.room().len());
                // SAFETY: as above.
                let read = unsafe { transfer(self.socket, Side::Read, fd, whole, None) };
                one_of_many(read, buffer, true)
            }
            Op::RecvMessage { message, flags, .. } => {
                let message = &mut *message.0;
                let vector = Vector::Many(message.buffers.as_ptr().cast(), message.buffers.len());
                let goes_on = Cell::new(self.stream);
                // SAFETY: the operation's buffers are there, and its own until the completion.
                let length = unsafe { vector.length() };
                repeat(moved, length, &goes_on, |moved| {
                    // SAFETY: as above.
                    let received =
                        unsafe { vector.with_rest(moved, MOST, |rest| call::recv_message(fd, rest, message, *flags)) };
                    // More bytes would bring their own control data, and there is one place for it.
                    goes_on.set(goes_on.get() && message.control_length == 0);
                    received
                })
            }
            Op::Send { buffer, flags, all, .. } => {
                repeat(moved, buffer.len(), &Cell::new(*all), |moved| call::send(fd, &buffer[moved..], *flags))
            }
            Op::SendMessage { message, flags, .. } => call::send_message(fd, message, *flags).into(),
            Op::Disconnect { .. } => throw_away(fd),
            Op::Poll { interest, .. } => watch(&Readiness::now(fd, *interest), *interest),
            op => match transfer_of(op) {
                Some((side, vector, offset)) => {
                    let socket = self.socket;
                    // SAFETY: the operation's buffers are there, and its own until the completion.
                    unsafe { transfer(socket, side, fd, vector, offset) }.into()
                }
                None => unreachable!("{op:?} never waits for readiness"),
            },
        }
    }

    /// Sends a provided buffer the way that the receive of `room` bytes into it went; it goes back where it is not needed.
    fn fill(&mut self, mut buffer: Buffer, attempt: Attempt, room: usize) -> Attempt {
        buffer.fill(self.moved);
        match attempt {
            Attempt::Done(Ok(count @ 1..), _) => Attempt::Done(Ok(count), Some(buffer)),
            Attempt::Partial(count, _, error) => Attempt::Partial(count, Some(buffer), error),
            attempt @ (Attempt::Again | Attempt::Enough) if self.moved > 0 => match buffer.keep(room) {
                Ok(()) => {
                    self.buffer = Some(buffer);
                    attempt
                }
                // Without memory of its own it cannot wait: it ends short.
                Err(_) => Attempt::Done(Ok(self.moved), Some(buffer)),
            },
            attempt => attempt,
        }
    }
}

/// Reads from or writes to what is a socket, or a pipe or device.
///
/// # Safety
/// The memory is there, and nobody else's for the call.
unsafe fn transfer(is_socket: bool, side: Side, fd: RawFd, vector: Vector, offset: Option<u64>) -> io::Result<usize> {
    // SAFETY: the caller's promise.
    unsafe {
        vector.with_rest(0, MOST, |all| match is_socket {
            true => call::transfer_socket(side, fd, all, offset),
            false => call::transfer_stream(side, fd, all, offset),
        })
    }
}

/// What has come for an operation of many results into a buffer of the port's. Less than that holds is most likely all that a
/// `stream` had; what else there is, readiness tells.
fn one_of_many(came: io::Result<usize>, mut buffer: Buffer, stream: bool) -> Attempt {
    match came {
        Ok(count @ 1..) => {
            let drained = stream && count < buffer.room().len();
            buffer.fill(count);
            Attempt::More(count, Some(buffer), !drained)
        }
        ended => ended.into(),
    }
}

/// The direction, the memory and the place of a read or write.
pub(super) fn transfer_of(op: &mut Op<'_>) -> Option<(Side, Vector, Option<u64>)> {
    Some(match op {
        Op::Read { buffer, offset, .. } => {
            (Side::Read, Vector::one(buffer.as_mut_ptr().cast::<u8>(), buffer.len()), *offset)
        }
        Op::ReadVectored { buffers, offset, .. } => {
            (Side::Read, Vector::Many(buffers.as_mut_ptr().cast(), buffers.len()), *offset)
        }
        Op::Write { buffer, offset, .. } => (Side::Write, Vector::one(buffer.as_ptr(), buffer.len()), *offset),
        Op::WriteVectored { buffers, offset, .. } => {
            (Side::Write, Vector::Many(buffers.as_ptr().cast(), buffers.len()), *offset)
        }
        _ => return None,
    })
}

/// The most bytes that one try moves, or few more: a peer that is as fast as this side would keep everything else, and
/// signals, from being seen.
pub(super) const MOST_A_TRY: usize = 1 << 20;

/// Moves bytes by `step`, which is told how many have been moved: once, or while `goes_on` until `length` are. After
/// [`MOST_A_TRY`] it is enough for this turn.
fn repeat(
    moved: &mut usize,
    length: usize,
    goes_on: &Cell<bool>,
    mut step: impl FnMut(usize) -> io::Result<usize>,
) -> Attempt {
    let before = *moved;
    loop {
        match step(*moved) {
            Ok(count) => {
                *moved += count;
                if count == 0 || *moved >= length || !goes_on.get() {
                    return Attempt::Done(Ok(*moved), None);
                }
                if *moved - before >= MOST_A_TRY {
                    return Attempt::Enough;
                }
            }
            Err(error) if is_again(&error) => return Attempt::Again,
            Err(error) if *moved > 0 => return Attempt::Partial(*moved, None, error),
            Err(error) => return Attempt::Done(Err(error), None),
        }
    }
}

/// Takes what a peer still sends, until it ends its side. A stretch of it is progress, and no result.
fn throw_away(fd: RawFd) -> Attempt {
    let (start, length) = nowhere();
    let mut thrown = 0;
    while thrown < MOST_A_TRY {
        // SAFETY: the memory is there for ever, and its content means nothing.
        match unsafe { call::recv(fd, start.cast(), length, 0) } {
            Ok(count @ 1..) => thrown += count,
            ended => return ended.into(),
        }
    }
    Attempt::Enough
}

fn connect(fd: RawFd, address: &crate::Address, connecting: &mut bool) -> Attempt {
    // Linux is asked by connect(2) again: EALREADY until it is over, then how it ended, and after an error the socket can
    // be used anew; taken as SO_ERROR instead, the error would leave the next connect an ECONNABORTED. Elsewhere connect(2)
    // would itself begin anew after an error.
    if *connecting && !cfg!(any(target_os = "linux", target_os = "android")) {
        // Woken for another reason, the socket would have no error yet, and would seem connected.
        match call::poll_now(fd, libc::POLLOUT).and_then(|found| call::take_error(fd).map(|()| found)) {
            Ok(0) => return Attempt::Again,
            Ok(_) => {}
            Err(error) => return Attempt::Done(Err(error), None),
        }
    }
    match (call::connect(fd, address), *connecting) {
        (Ok(()), _) => Attempt::Done(Ok(0), None),
        (Err(error), begun) => match error.raw_os_error() {
            Some(libc::EINPROGRESS | libc::EINTR) => {
                *connecting = true;
                Attempt::Again
            }
            // Linux takes note of the connection only when it is asked again, and answers EISCONN from then on; the
            // others do so at once.
            Some(libc::EISCONN) if begun => Attempt::Done(Ok(0), None),
            Some(libc::EALREADY) if begun => Attempt::Again,
            // The backlog of a Unix listener is full: nothing tells when there is room (connect(2)).
            Some(libc::EAGAIN) => Attempt::Later,
            // EALREADY: another connect is under way on this socket, and its end is not ours to take. EISCONN: as is.
            _ => Attempt::Done(Err(error), None),
        },
    }
}

/// What one that watches for `interest` is told of what was found.
pub(super) fn watch(found: &io::Result<Readiness>, interest: Interest) -> Attempt {
    match found {
        Ok(found) => match found.told(interest) {
            Some(told) => Attempt::Done(Ok(told.0.into()), None),
            None => Attempt::Again,
        },
        Err(error) => Attempt::Done(Err(io::Error::from_raw_os_error(error.raw_os_error().unwrap_or(libc::EIO))), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIECE: usize = 64 << 10;

    #[test]
    fn a_peer_that_is_as_fast_as_this_side_is_left_after_a_while() {
        let (mut moved, length) = (0, 2 * MOST_A_TRY + PIECE);
        for turn in 1..=2 {
            let attempt = repeat(&mut moved, length, &Cell::new(true), |_| Ok(PIECE));
            assert!(matches!(attempt, Attempt::Enough));
            assert_eq!(moved, turn * MOST_A_TRY, "a turn takes no account of those before");
        }
        let attempt = repeat(&mut moved, length, &Cell::new(true), |_| Ok(PIECE));
        assert!(matches!(attempt, Attempt::Done(Ok(all), None) if all == length));
    }
}
