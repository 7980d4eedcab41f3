//! Regular files, and what else has no readiness: tried where the system has a form of the call that answers at once (a
//! page-cache hit on Linux), else done on the port's threads. So is the rest of a long transfer, be it in the cache or
//! not: to copy a gigibyte takes a tenth of a second, which is the thread's and every tasklet's on it.
//!
//! A few that look like regular files do have readiness (`/proc/kmsg`, `trace_pipe`): found not ready, they are waited for
//! as pipes are, for on a thread nothing would end the wait.

use std::io;
use std::os::fd::RawFd;

use super::attempt::MOST_A_TRY;
use super::call::{self, MOST, Nature, Side, Vector};
use super::turns::{Turn, Turns};
use super::{Started, close_lingering};
use crate::op::{Function, Lane};
use crate::sys;

/// A read or write of a file: may be sent to a thread.
struct Transfer {
    side: Side,
    fd: RawFd,
    vector: Vector,
    offset: Option<u64>,
    moved: usize,
}

// SAFETY: the buffers behind the addresses are the operation's: nobody else touches them until its completion, which
// comes after the thread has done with them.
unsafe impl Send for Transfer {}

impl Transfer {
    /// What of it can be had at once; `None` where a thread must go on.
    fn at_once(&mut self) -> Option<io::Result<usize>> {
        // SAFETY: the operation's buffers are there.
        let length = unsafe { self.vector.length() };
        loop {
            let (side, fd, offset) = (self.side, self.fd, self.offset_now());
            // SAFETY: the operation's buffers are there, and are its own until the completion.
            let step = unsafe {
                self.vector.with_rest(self.moved, MOST_A_TRY, |rest| call::transfer_at_once(side, fd, rest, offset))
            };
            // A short count is the end of the file, or of what the cache holds: the next answer tells.
            match step {
                Ok(0) => return Some(Ok(self.moved)),
                Ok(count) => self.moved += count,
                Err(_) => return None,
            }
            if self.moved >= length {
                return Some(Ok(self.moved));
            }
            if self.moved >= MOST_A_TRY {
                return None;
            }
        }
    }

    /// The rest, in blocking form.
    fn run(self) -> io::Result<usize> {
        let (side, fd, offset) = (self.side, self.fd, self.offset_now());
        // SAFETY: the operation's buffers are there, and are its own until the completion.
        let step = unsafe { self.vector.with_rest(self.moved, MOST, |rest| call::transfer(side, fd, rest, offset)) };
        match step {
            Err(_) if self.moved > 0 => Ok(self.moved),
            step => step.map(|count| self.moved + count),
        }
    }

    fn offset_now(&self) -> Option<u64> {
        self.offset.map(|offset| offset.saturating_add(self.moved as u64))
    }
}

/// Begins a read or write of a file: `None` where it is to wait for readiness.
///
/// # Safety
/// The buffers of `vector` are the operation's, as [`Backend::begin`](super::Backend::begin) says.
pub(super) unsafe fn transfer(
    side: Side,
    fd: RawFd,
    vector: Vector,
    offset: Option<u64>,
    turns: &mut Turns,
) -> Option<Started> {
    let mut transfer = Transfer { side, fd, vector, offset, moved: 0 };
    if offset.is_some() || !turns.is_taken(fd) {
        if let Some(result) = transfer.at_once() {
            return Some(Started::Done(result, None));
        }
        if transfer.moved == 0 && side == Side::Read && matches!(call::poll_now(fd, libc::POLLIN), Ok(0)) {
            return None;
        }
    }
    let run: Function = match offset {
        Some(_) => Box::new(move || transfer.run()),
        None => {
            let queued = InTurn { transfer: Some(transfer), turn: turns.take(fd) };
            Box::new(move || queued.run())
        }
    };
    Some(Started::Offload(run, Lane::Short))
}

/// A transfer at the file's own position, with its turn.
struct InTurn {
    transfer: Option<Transfer>,
    turn: Turn,
}

impl InTurn {
    fn run(mut self) -> io::Result<usize> {
        self.turn.wait();
        self.transfer.take().expect("it runs once").run()
    }
}

impl Drop for InTurn {
    /// Cancelled before it has run, a read leaves the bytes that it had taken to the next one. (It has some only where it was
    /// first in the line, so the position is still its own.)
    fn drop(&mut self) {
        if let Some(Transfer { side: Side::Read, fd, moved: moved @ 1.., .. }) = self.transfer {
            call::step_back(fd, moved);
        }
    }
}

/// Begins to bring a file's data to the device.
pub(super) fn sync(fd: RawFd, data_only: bool) -> Started {
    Started::Offload(Box::new(move || call::sync(fd, data_only)), Lane::Short)
}

/// Begins to close a descriptor: at once where that cannot take time. The last close of a regular file may write back
/// or free its blocks, that of a terminal waits for its output, that of a socket lingers where it was told to.
pub(super) fn close(fd: RawFd) -> Started {
    match call::nature(fd) {
        Ok(Nature::File | Nature::Device) => Started::Offload(Box::new(move || sys::close(fd)), Lane::Short),
        Ok(Nature::Socket) => close_lingering(fd).unwrap_or_else(|| Started::Done(sys::close(fd), None)),
        Ok(Nature::Stream) => Started::Done(sys::close(fd), None),
        Err(error) => Started::Done(Err(error), None),
    }
}
