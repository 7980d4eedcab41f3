//! The backends and their contract.
//!
//! A backend begins operations and brings their completions. [`Port`](crate::Port) above it keeps the table of what is
//! in flight, the timers, the thread pool and the wake-ups, so that a backend is only the conversation with one kernel
//! interface. What every backend holds to:
//!
//! **Ids.** Each operation has an [`OpId`]: a slot number and a generation. Slot numbers are dense and used again, and
//! two operations in flight never share one, so a backend may keep its own state of an operation in a table indexed
//! by slot. A generation is never 0: ids whose generation is 0 are the backend's own, to mark its internal requests.
//!
//! **Ownership.** What an [`Op`] borrows stays where it is until the operation's *final* event has left
//! [`Backend::wait`] (or `begin` returned [`Started::Done`]): the kernel may own it until then, and no backend
//! reports an operation as finished while the kernel may still touch its memory. IOCP: the final event is the packet;
//! a call that failed at once posts none, one that failed with a warning status does. What the kernel needs beyond
//! the `Op` (headers, `OVERLAPPED`s) the backend keeps at a stable address for as long.
//!
//! **One final event.** Every operation for which `begin` returned [`Started::InFlight`] gets exactly one event with
//! `more == false`, whatever happens to it; multishot ones get any number with `more == true` before. All others that
//! `begin` may answer get none from the backend.
//!
//! **No readiness above this line.** A caller never learns that it should try again: `EAGAIN` and its kin are dealt
//! with here, whether or not the descriptor is in non-blocking mode, and so is `EINTR`. But what the system answers at once
//! on every descriptor (receives with `MSG_ERRQUEUE` or `MSG_OOB`, recv(2)) it answers here too.
//!
//! **Cancel** asks; it does not undo. The operation's final event comes all the same, soon: with the system's
//! "cancelled" error ([`sys::CANCELLED`](crate::sys)) where nothing happened, with its true result where it won the
//! race. Bytes moved before a cancel are reported, never dropped. Cancelling an id that is unknown or done is nothing.
//!
//! **Full queues.** There is no limit to what is in flight but memory: operations that only wait, however many, keep no
//! other from beginning. A full submission queue is flushed and retried. Completions for which the completion queue has no
//! room stay in the kernel until there is: io_uring keeps them (`IORING_FEAT_NODROP`, without which the backend does not
//! start), a readiness interface and a completion port of Windows have no such queue. [`Settings::capacity`] is only how many
//! fit at once. Where a table cannot grow for want of memory, `begin` answers with that error and changes nothing.
//!
//! **Provided buffers** go back by themselves ([`buffers`](crate::buffers)), at any time but within a backend's own calls; a
//! receive that waits for one is started again by the next `wait`. One that has a part of its bytes and waits for the rest
//! (`MSG_WAITALL`) holds none of them.
//!
//! **Waiting.** `wait` submits what is pending, sleeps no longer than the timeout (`None`: without end; zero: not at
//! all) and no longer than until the first event, and appends every event that is there. It returns early and without
//! error on a signal or after [`Notify::notify`], which may be called from any thread and is never lost: one that
//! comes before `wait` makes the next `wait` return at once. It may also return without an event where a step of its own
//! was due; between the parts of a long transfer it does, for a signal that comes with a part ends no sleep.
//!
//! **Order.** Operations of one kind on one handle are served in the order in which they were asked, and one of many parts (a
//! send of all, a receive that waits for all) is over before the next begins. Of one kind is what takes from the same end:
//! receives of every form, accepts, the draining of a disconnect and reads of a socket or pipe on the one side; sends,
//! writes and a connect on the other. A multishot one is served until it ends. Not of the kind are receives of urgent data
//! (`MSG_OOB`) and of queued errors (`MSG_ERRQUEUE`), and who only watches (a poll): those wait for nobody. Who waits for a
//! provided buffer keeps its turn meanwhile; those behind it wait too.
//!
//! **As recv(2) says.** A receive of no bytes waits for bytes, and takes none. Those of queued errors or urgent data never
//! wait: `EAGAIN` is their answer, the one exception from "no readiness above this line". `ENOBUFS` of a netlink socket is
//! told. An accept that fails or is cancelled leaves an empty address.
//!
//! **A file's own position.** Reads and writes without an offset, through one handle, take turns: each goes on where the
//! one before it ended.
//!
//! **Shared answers.** The same error for the same cause on every backend: a reset is `ECONNRESET` (`ConnectionReset`),
//! a second connect `EISCONN`, a send on a stream that was shut down `EPIPE` (`BrokenPipe`), never a signal.
//!
//! **fork(2).** The child drops its copy of the backend. That closes the child's descriptors and unmaps its memory, and it
//! changes nothing that the parent has: no cancel, no deregistration, no notification.
//!
//! **Handles.** `begin` is told of each handle through its operations alone. Where the system must know a handle
//! beforehand (IOCP's association, epoll's table) the backend does that at the first operation, and forgets it at the
//! close operation. A descriptor that was closed behind the port's back and whose number was given out again must
//! still work: what waits on its former owner takes neither bytes nor wake-ups from the new one. It goes on with what it
//! was begun on (uring), or ends with `EBADF` when that is found out (poll, which has nothing but the number). On Windows
//! what a handle names belongs to the first port that it had an operation on, for life: that port serves it best, and
//! another by a detour. What is closed there behind the port's back, and may be followed by a duplicate
//! of the same number, it is told to forget ([`sys::forget_socket`](crate::sys::forget_socket)).

use std::io;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use crate::buffers::{Buffer, Home};
use crate::host::{Host, Machine};
use crate::op::{Function, Lane, Op, Opening};
use crate::sim::Origin;
use crate::slots::OpId;
use crate::sys::RawFile;

#[cfg(unix)]
mod at_once;
mod closed;
#[cfg(windows)]
pub(crate) mod iocp;
#[cfg(unix)]
mod open;
#[cfg(unix)]
mod poll;
mod sim;
mod table;
#[cfg(target_os = "linux")]
mod uring;

pub(crate) use closed::Closed;

/// How a port is to be set up.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// The room of the completion queue, where there is one.
    pub(crate) capacity: usize,
    /// How many provided buffers; `None`: as many as suit the backend.
    pub(crate) buffers: Option<u16>,
    /// How long each is, in bytes.
    pub(crate) buffer_size: usize,
    /// How many blocking calls of a kind run at once.
    pub(crate) threads: usize,
    /// How much stack their threads have, in bytes; `None`: the usual.
    pub(crate) thread_stack: Option<usize>,
    /// What the simulating backend begins with; `None`: what the environment says.
    pub(crate) origin: Option<Origin>,
    /// It cuts one transfer in so many short; 0: none.
    pub(crate) short_transfers: u32,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            capacity: 1 << 15,
            buffers: None,
            buffer_size: 16 << 10,
            threads: 8,
            thread_stack: None,
            origin: None,
            short_transfers: 16,
        }
    }
}

/// How many provided buffers a backend has whose memory is the allocator's, which may have to zero all of it.
pub(crate) const BUFFERS: u16 = 256;

/// What became of an operation at its start.
pub(crate) enum Started {
    /// It is under way; events will come.
    InFlight,
    /// It is done, without an event to come. The buffer is that of a provided receive.
    Done(io::Result<usize>, Option<Buffer>),
    /// The system has only a blocking form: the port runs this on its pool, in that lane, and reports what it returns.
    Offload(Function, Lane),
    /// The same for what opens a file, which may wait without end too. It borrows nothing: cancelled, the operation is over
    /// before the function is.
    Open(Opening),
}

/// Something that happened to an operation.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) id: OpId,
    pub(crate) result: io::Result<usize>,
    pub(crate) buffer: Option<Buffer>,
    pub(crate) more: bool,
}

/// Ends a `wait` from another thread.
pub(crate) trait Notify: Send + Sync {
    /// Makes the wait under way, or else the next one, return.
    fn notify(&self);

    /// In the child after fork(2), once, after the backend was dropped: closes what descriptors this has. Nothing is done
    /// with it after that; it is not even dropped.
    fn leave_after_fork(&self) {}
}

/// One kernel interface under the port. The contract is at the top of this module.
pub(crate) trait Backend {
    /// `"uring"`, `"poll"`, `"iocp"`, `"sim"`.
    fn name(&self) -> &'static str;

    /// How it was set up, a fact each: flags, sizes, what the kernel refused.
    fn setup(&self) -> Vec<String>;

    /// Begins an operation.
    ///
    /// # Safety
    /// What `op` borrows must stay valid, and untouched where borrowed mutably, until the operation's final event:
    /// longer than its lifetime says.
    unsafe fn begin(&mut self, id: OpId, op: Op<'_>) -> Started;

    /// Asks for the end of an operation.
    fn cancel(&mut self, id: OpId);

    /// Submits, sleeps and collects; see the module's documentation.
    fn wait(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()>;

    /// Whether a wait that does not sleep would find events, as far as that shows without asking the system.
    fn has_news(&mut self) -> bool {
        false
    }

    /// What ends a wait from elsewhere.
    fn notifier(&self) -> Arc<dyn Notify>;

    /// The descriptors that are its own.
    fn own_files(&self) -> Vec<RawFile> {
        Vec::new()
    }

    /// What its provided buffers come from and go back to.
    fn home(&self) -> Weak<dyn Home>;

    /// How often it entered the kernel, for the counters.
    fn kernel_entries(&self) -> u64;

    /// Where the port above it takes the time and its threads from.
    fn host(&self) -> Arc<dyn Host> {
        Arc::new(Machine)
    }
}

/// Which backend to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// io_uring (Linux 6.0 or newer; see [`Port::report`](crate::Port::report)).
    Uring,
    /// Readiness (epoll, kqueue) with a few threads for files.
    Poll,
    /// I/O completion ports (Windows).
    Iocp,
    /// A kernel that does whatever the contract allows, by a seed: late, in another order, in parts. It is for tests, and never
    /// chosen unasked.
    Sim,
}

impl Kind {
    /// The backends that this system can have, the best first.
    #[cfg(target_os = "linux")]
    pub const ALL: &'static [Kind] = &[Kind::Uring, Kind::Poll];
    /// The backends that this system can have, the best first.
    #[cfg(all(unix, not(target_os = "linux")))]
    pub const ALL: &'static [Kind] = &[Kind::Poll];
    /// The backends that this system can have, the best first.
    #[cfg(windows)]
    pub const ALL: &'static [Kind] = &[Kind::Iocp];

    /// The backend's name, as `OVERLAPPED_BACKEND` spells it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Uring => "uring",
            Kind::Poll => "poll",
            Kind::Iocp => "iocp",
            Kind::Sim => "sim",
        }
    }
}

/// Whether a socket is a stream: in all others, each receive is a message of its own.
#[cfg(unix)]
fn is_stream(socket: crate::sys::RawSocket) -> bool {
    check_stream(socket).is_ok()
}

/// Whether the receiving side of a socket was shut down. A socket of messages then has nothing to receive for ever, is always
/// ready for it, and says `EAGAIN`; a receive that may block ends there with no bytes (`__skb_wait_for_more_packets` in
/// net/core/datagram.c), and so do those of the port.
#[cfg(target_os = "linux")]
fn receives_no_more(socket: crate::sys::RawSocket) -> bool {
    if let Some(no_more) = crate::sim::on(socket, |kernel, id| kernel.receives_no_more(id)) {
        return no_more;
    }
    let mut polled = libc::pollfd { fd: socket, events: libc::POLLRDHUP, revents: 0 };
    // SAFETY: one `pollfd`, which outlives the call; it does not wait.
    unsafe { libc::poll(&raw mut polled, 1, 0) == 1 && polled.revents & libc::POLLRDHUP != 0 }
}

/// Elsewhere such a socket says itself that no more comes.
#[cfg(all(unix, not(target_os = "linux")))]
fn receives_no_more(socket: crate::sys::RawSocket) -> bool {
    crate::sim::on(socket, |kernel, id| kernel.receives_no_more(id)).unwrap_or(false)
}

/// Why a socket is no stream, if so. It is what Unix can say at once to [`Op::Disconnect`]: of what is no stream no end
/// would come.
#[cfg(unix)]
fn check_stream(socket: crate::sys::RawSocket) -> io::Result<()> {
    if let Some(is_stream) = crate::sim::on(socket, |kernel, id| kernel.is_stream(id)) {
        return if is_stream { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP)) };
    }
    let (mut kind, mut length) = (0, size_of::<libc::c_int>() as libc::socklen_t);
    let value = (&raw mut kind).cast();
    // SAFETY: the option is an `int`, and the pointers are to locals. Any number is allowed.
    match unsafe { libc::getsockopt(socket, libc::SOL_SOCKET, libc::SO_TYPE, value, &raw mut length) } {
        0 if kind == libc::SOCK_STREAM => Ok(()),
        0 => Err(io::Error::from_raw_os_error(libc::EOPNOTSUPP)),
        _ => Err(io::Error::last_os_error()),
    }
}

/// The answer of Unix to [`Op::AcceptPipe`].
#[cfg(unix)]
fn no_pipe_clients() -> Started {
    let message = "accept on a named pipe: on Unix none has clients; opening a FIFO waits for its other end, and a socket \
                   of the family AF_UNIX accepts";
    Started::Done(Err(io::Error::new(io::ErrorKind::Unsupported, message)), None)
}

/// The answer of Unix to [`Op::ReadMultishot`] where bytes do not come by and by: what lies on a disk is always ready.
#[cfg(unix)]
fn check_comes_by_and_by(file: RawFile) -> io::Result<()> {
    if matches!(crate::sys::status(file)?.st_mode & libc::S_IFMT, libc::S_IFREG | libc::S_IFBLK | libc::S_IFDIR) {
        let message = "read (multishot) of what lies on a disk: nothing would tell when there is more; use read";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    Ok(())
}

/// Begins to close a socket that lingers, on Unix: on a thread. close(2) waits there until the peer has what was sent or
/// `SO_LINGER`'s time is up, also in non-blocking mode (socket(7)); and io_uring's close does so on the thread that enters the
/// ring, for a socket has nothing that would make the kernel choose another. `None` where it does not linger, or is no socket.
#[cfg(unix)]
fn close_lingering(socket: crate::sys::RawSocket) -> Option<Started> {
    let mut linger = libc::linger { l_onoff: 0, l_linger: 0 };
    let (value, mut length) = ((&raw mut linger).cast(), size_of::<libc::linger>() as libc::socklen_t);
    // SAFETY: the option is a `linger`, and the pointers are to locals. Any number is allowed.
    let found = unsafe { libc::getsockopt(socket, libc::SOL_SOCKET, libc::SO_LINGER, value, &raw mut length) } == 0;
    let lingers = found && linger.l_onoff != 0 && linger.l_linger > 0;
    lingers.then(|| Started::Offload(Box::new(move || crate::sys::close(socket)), Lane::Short))
}

/// Starts one backend.
///
/// # Errors
/// What the system refused, with its likely cause in words.
pub(crate) fn start(kind: Kind, settings: &Settings) -> io::Result<Box<dyn Backend>> {
    match kind {
        #[cfg(target_os = "linux")]
        Kind::Uring => Ok(Box::new(uring::Uring::start(settings)?)),
        #[cfg(unix)]
        Kind::Poll => Ok(Box::new(poll::Poll::start(settings)?)),
        #[cfg(windows)]
        Kind::Iocp => Ok(Box::new(iocp::Iocp::start(settings)?)),
        Kind::Sim => Ok(Box::new(sim::Sim::start(settings)?)),
        #[allow(unreachable_patterns, reason = "all kinds are spelled on every system, not all can start")]
        _ => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            format!("the backend {} does not exist on this system", kind.name()),
        )),
    }
}
