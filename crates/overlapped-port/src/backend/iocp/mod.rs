//! The backend on Windows' I/O completion ports.
//!
//! # How a completion port works, and where it bites
//!
//! A port is a queue in the kernel. A handle is associated with it once and for its life; from then on each overlapped
//! call on the handle that ends posts a packet, and the packet names the `OVERLAPPED` that the call was given ("I/O
//! Completion Ports", "CreateIoCompletionPort", "GetQueuedCompletionStatusEx"). What follows from that, and from what
//! Windows does beside its documentation, is dealt with here:
//!
//! **Memory.** From the call to the packet the `OVERLAPPED` and the buffer belong to the kernel. Each slot of
//! operations has its own [`Packet`](request::Packet): memory at an address that never changes, used again for the
//! slot's next call. The dequeued pointer is the pointer to it, and says which operation the packet is for.
//!
//! **Which calls have a packet** (`socket::answered`, `Transfer::call`). One that returns success has a packet like one
//! that returns `ERROR_IO_PENDING`, unless the handle has `FILE_SKIP_COMPLETION_PORT_ON_SUCCESS`
//! ("SetFileCompletionNotificationModes"). One that fails has none, unless what it failed with is a warning: a receive
//! of a truncated datagram returns `WSAEMSGSIZE`, a read of part of a pipe's message `ERROR_MORE_DATA`, and both have
//! packets (`error::truncated`). To skip packets saves a turn of the queue, but is right only where nobody else may
//! wait for them and where the socket is a real handle of the system, not a layered provider's (`XP1_IFS_HANDLES`): so
//! only on sockets that an accept of ours made. Wine posts packets of some file calls that have failed at once: so a
//! packet is taken for a hint, and the status in its `OVERLAPPED` says whether that call has ended.
//!
//! **Association** ([`handles`]) is for the life of the file object, whatever handles it has in whatever process, and
//! cannot be asked for: a second try fails with `ERROR_INVALID_PARAMETER` (87). It is done at a handle's first
//! operation, so that an accepted socket can still be handed to another process. Since a number can come to stand for
//! another handle behind our back, and for that one no packet would ever come, a handle on which nothing is in flight
//! is tried again each time; 87 is then the good answer. (That the number now stands for a duplicate, or for a handle that
//! belongs elsewhere, does not show so: [`sys::forget_socket`] is for those.) A duplicate of a handle is of the same object, so
//! its packets come here too. Packets of any other handle that answers 87 go elsewhere: its calls have an event instead,
//! which is [watched](watch). On a handle that was opened without `FILE_FLAG_OVERLAPPED` (a console, an anonymous pipe, a
//! `std::fs::File`) the system has blocking calls alone, and the pool's threads make them; CancelSynchronousIo ends
//! them ([`interrupt`]).
//!
//! **Cancel and close.** A cancel ("CancelIoEx") asks; the packet comes all the same, with `ERROR_OPERATION_ABORTED`
//! (995) or with what was faster. Closing with a call in flight ends it with one of several errors (Wine: 676): so it
//! is cancel, packet, close, and after a cancel any error counts as one cancelled. A *send* that is cancelled half-way
//! reports no bytes on Windows, though some may be out: the stream is then of no more use, and Windows cannot say how
//! much was sent.
//!
//! **Errors** ([`error`]) arrive as the `NTSTATUS` of the packet and are made the Winsock code that `io::ErrorKind`
//! knows.
//!
//! **Accept and connect.** AcceptEx ([`accept`]) takes the future socket and room for both
//! addresses, 16 bytes more than the longest each, and no first bytes; several are kept outstanding for a multishot
//! accept. ConnectEx wants a bound socket. Both leave a socket that knows neither its peer nor its options until
//! `SO_UPDATE_ACCEPT_CONTEXT` or `SO_UPDATE_CONNECT_CONTEXT` is set. A peer that was reset in the queue makes AcceptEx
//! fail: the next is taken.
//!
//! **Disconnecting.** DisconnectEx without `TF_REUSE_SOCKET` ends the sending side, as shutdown does, but says when that
//! is done; it fails with `WSAENOTCONN` where that side has ended already. The peer's side is then received until its end.
//! (The flag readies the socket for another accept, which saves making one; whether that pays was not measured.) Wine
//! calls it pending when it has ended, which on a socket without packets for that would be waited for in vain.
//!
//! **Receiving.** `MSG_WAITALL` is put together here. A shut-down receiving side does not end a receive in flight and
//! fails the next (`WSAESHUTDOWN`); elsewhere both find the end of the stream, so both do here. A datagram socket fails
//! a receive because an earlier *send* was refused (`WSAECONNRESET`, "WSARecvFrom"): told as `WSAECONNREFUSED` where
//! the socket is connected, else passed over. Provided buffers: see [`provided`].
//!
//! **Files** ([`mod@file`]). CreateFileW and FlushFileBuffers only block: the pool makes them. The end of a file is told by
//! the call or by the packet (`ERROR_HANDLE_EOF`), that of a pipe is `ERROR_BROKEN_PIPE`: all of them 0 bytes. What is
//! opened to append alone (`FILE_APPEND_DATA`) is written at its end, whatever the offset. ReadFileScatter wants whole
//! pages on unbuffered files, so vectored reads take one piece after the other and vectored writes are gathered into
//! one piece, which keeps an append whole.
//!
//! **Named pipes** ([`pipe`]) are files. Their server waits for a client by ConnectNamedPipe, which fails where one is
//! there already. A client that its server throws out reads the end, as where the pipe was closed
//! (`ERROR_PIPE_NOT_CONNECTED`). A message that is longer than the buffer comes in parts.
//!
//! **Readiness** ([`afd`]) is not the port's, but the socket driver can be asked so that a packet tells it.
//!
//! **Waiting.** A wake-up is a posted packet with a key of its own; closing the port wakes nobody under Wine. A call's own
//! time-out is whole milliseconds and ends at a tick of the system's clock, up to 15.6 ms late and by chance early ("Sleep").
//! So it covers a long wait's first part, and the last 32 ms are a timer's of high resolution, whose packet has a key of
//! its own too ([`alarm`]). Whatever ends a call that dequeued nothing else, the clock is looked at, and what is left is
//! waited for. Where the system has no such timer the tick stays; the port's report says which it is.
//!
//! All of it is tested under Wine, which has no sockets of the family `AF_UNIX`, no reports of refused datagrams on
//! sockets that are not connected, and no file call that ends at once.

use std::io;
use std::ptr;
use std::rc::Weak;
use std::sync::Arc;
use std::time::{Duration, Instant};

use windows_sys::Win32::Foundation::{
    CloseHandle, ERROR_INVALID_PARAMETER, ERROR_OPERATION_ABORTED, HANDLE, INVALID_HANDLE_VALUE, STATUS_PENDING,
    WAIT_TIMEOUT,
};
use windows_sys::Win32::Networking::WinSock::SOCK_STREAM;
use windows_sys::Win32::System::IO::{
    CreateIoCompletionPort, GetQueuedCompletionStatusEx, OVERLAPPED, OVERLAPPED_ENTRY, PostQueuedCompletionStatus,
};

use super::table::{Queue as Waiting, Table};
use super::{BUFFERS, Backend, Event, Notify, Settings, Started};
use crate::buffers::{Buffer, BufferPool, Home};
use crate::explained::explained;
use crate::op::{Brings, Lane, Op};
use crate::slots::OpId;
use crate::sys;

mod accept;
mod afd;
mod alarm;
mod error;
mod file;
mod handles;
mod interrupt;
mod operation;
mod pipe;
mod provided;
mod request;
mod socket;
mod watch;
mod winsock;

use alarm::Alarm;
use error::Ending;
use handles::{Entered, Handles, Line};
use interrupt::Interrupts;
use request::{Awaits, Request, Requests, Shared};

/// The key of every packet of an operation.
const PACKET_KEY: usize = 0;
/// The key of a wake-up.
const WAKE_KEY: usize = 1;
/// The key of the timer's packet.
const ALARM_KEY: usize = 2;

/// The most packets that one call dequeues.
const BATCH: usize = 256;
/// The most such calls in one wait: operations that go on by themselves must not keep it from returning.
const BATCHES: usize = 128;

/// How long a wait is at most while a blocking call has not let itself be interrupted.
const INSISTENCE: Duration = Duration::from_millis(5);

/// What a system call answered.
enum Call {
    /// A packet will come (or a provided buffer).
    InFlight,
    /// It has ended, and no packet comes.
    Ended(Ending),
}

/// What an operation does after one of its calls has ended.
enum Next {
    Again,
    Over(io::Result<usize>, Option<Buffer>),
}

impl Next {
    fn fails(code: u32) -> Next {
        Next::Over(Err(error::error(code)), None)
    }
}

/// Where an operation stands.
enum Step {
    InFlight,
    Over(io::Result<usize>, Option<Buffer>),
}

/// The completion port's handle. Wakers keep it open, so a late wake-up finds a port, if one that nobody reads.
struct Queue(HANDLE);

// SAFETY: the system serialises what threads do to a completion port.
unsafe impl Send for Queue {}
// SAFETY: as above.
unsafe impl Sync for Queue {}

impl Queue {
    fn handle(&self) -> HANDLE {
        self.0
    }
}

impl Notify for Queue {
    fn notify(&self) {
        // SAFETY: posts numbers to a port that is open as long as this is.
        while unsafe { PostQueuedCompletionStatus(self.0, 0, WAKE_KEY, ptr::null()) } == 0 {
            // It only fails where the kernel is out of memory for a packet, and a lost wake-up would be a hang.
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: the handle is this one's.
        unsafe { CloseHandle(self.0) };
    }
}

/// Everything but the table of operations, so that one of them and this can be borrowed together.
struct Core {
    /// Dropped before the port that it is associated with.
    afd: Option<afd::Afd>,
    queue: Arc<Queue>,
    handles: Handles,
    /// Who stands in the queues of the handles.
    lines: Table<Line>,
    pool: BufferPool,
    /// Receives that wait for a provided buffer.
    starved: Waiting,
    starving: Table<()>,
    /// What the next wait hands out.
    ready: Vec<Event>,
    entries: u64,
}

/// The backend. The module's documentation tells its story.
pub(super) struct Iocp {
    /// Dropped before the port that watches post to.
    requests: Requests,
    /// The same holds for it.
    alarm: Alarm,
    core: Core,
    interrupts: Interrupts,
    entries: Box<[OVERLAPPED_ENTRY; BATCH]>,
}

impl Iocp {
    pub(super) fn start(settings: &Settings) -> io::Result<Iocp> {
        let attempt = |what: &str, error: io::Error| {
            let text = format!("iocp: {what}: {error}; is the process out of handles or memory?");
            explained(error, text)
        };
        winsock::start().map_err(|error| attempt("WSAStartup", error))?;
        // SAFETY: makes a new port; one thread is to run at a time.
        let port = unsafe { CreateIoCompletionPort(INVALID_HANDLE_VALUE, ptr::null_mut(), 0, 1) };
        if port.is_null() {
            return Err(attempt("CreateIoCompletionPort", io::Error::last_os_error()));
        }
        Ok(Iocp {
            requests: Requests::default(),
            alarm: Alarm::new(),
            core: Core {
                afd: None,
                queue: Arc::new(Queue(port)),
                handles: Handles::new(port),
                lines: Table::default(),
                pool: BufferPool::new(settings.buffers.unwrap_or(BUFFERS), settings.buffer_size)?,
                starved: Waiting::default(),
                starving: Table::default(),
                ready: Vec::new(),
                entries: 0,
            },
            interrupts: Interrupts::default(),
            entries: Box::new([OVERLAPPED_ENTRY::default(); BATCH]),
        })
    }

    /// Frees an operation's slot; returns the operation whose turn it is then.
    fn finish(&mut self, id: OpId) -> Option<OpId> {
        let request = self.requests.get(id)?;
        request.op = None;
        request.buffer = None;
        let handle = self.core.handles.get(request.entered?)?;
        if handle.meaning != request.meaning {
            return None;
        }
        handle.in_flight -= 1;
        let line = *self.core.lines.get(id)?;
        let was_first = handle.turns.first() == Some(id);
        self.core.lines.remove(handle.line(line), id);
        handle.turns.first().filter(|_| was_first)
    }

    /// Reports an operation if it is over, and carries on what waited for it.
    fn settle(&mut self, mut id: OpId, mut step: Step) {
        while let Step::Over(result, buffer) = step {
            self.core.ready.push(Event { id, result, buffer, more: false });
            let Some(next) = self.finish(id) else { break };
            id = next;
            step = self.resume(id, None);
        }
    }

    /// Carries an operation on.
    fn resume(&mut self, id: OpId, arrived: Option<(usize, Ending)>) -> Step {
        match self.requests.get(id) {
            Some(request) => {
                request.awaits = Awaits::Packet;
                self.core.drive(request, arrived)
            }
            None => Step::InFlight,
        }
    }

    /// Gives provided buffers that are free to the receives that wait for one.
    fn feed(&mut self) {
        while self.core.pool.has_free()
            && let Some(id) = self.core.starved.first()
        {
            self.core.starve_no_more(id);
            let step = self.resume(id, None);
            self.settle(id, step);
        }
    }

    /// Takes what is in the queue, or sleeps so many milliseconds until something is. Returns how many packets that were,
    /// not counting the alarm's.
    fn dequeue(&mut self, patience: u32) -> io::Result<usize> {
        let mut count = 0;
        self.core.entries += 1;
        // SAFETY: the entries are as many as said; the wait is not alertable.
        let dequeued = unsafe {
            let (port, entries) = (self.core.queue.handle(), self.entries.as_mut_ptr());
            GetQueuedCompletionStatusEx(port, entries, BATCH as u32, &raw mut count, patience, 0)
        };
        if dequeued == 0 {
            let error = io::Error::last_os_error();
            return if error.raw_os_error() == Some(WAIT_TIMEOUT as i32) { Ok(0) } else { Err(error) };
        }
        let mut alarms = 0;
        for index in 0..count as usize {
            let entry = self.entries[index];
            match entry.lpCompletionKey {
                PACKET_KEY => self.packet(entry.lpOverlapped),
                ALARM_KEY => {
                    alarms += 1;
                    self.alarm.rang();
                }
                _ => {}
            }
        }
        self.feed();
        Ok(count as usize - alarms)
    }

    fn packet(&mut self, overlapped: *mut OVERLAPPED) {
        let shared: *mut Shared = overlapped.cast();
        // SAFETY: packets with this key are for calls that were given a `Packet`'s memory, which lives as long as the
        // backend; now that it is dequeued, the memory is this thread's.
        let (id, part, status, bytes) = unsafe {
            let overlapped = (*shared).overlapped;
            (OpId::from_u64((*shared).id), (*shared).part, overlapped.Internal as i32, overlapped.InternalHigh)
        };
        // Wine posts packets of some calls that have failed already, and so does a watch. So a packet is a hint to look,
        // and the memory says whether the call that it is in use for has ended.
        let is_awaited = |request: &&mut Request| request.awaits == Awaits::Packet && request.is_of(overlapped, part);
        let awaiting = self.requests.get(id).filter(is_awaited);
        let Some(request) = awaiting.filter(|_| status != STATUS_PENDING) else { return };
        let is_file = request.op.as_ref().is_some_and(|op| file::offset(op).is_some());
        let code = if is_file { error::of_file(status) } else { error::of_socket(status) };
        let step = self.resume(id, Some((part, Ending { bytes, code })));
        self.settle(id, step);
    }
}

/// The answer to [`Op::ReadMultishot`].
fn no_reads_of_many() -> io::Error {
    let message =
        "read (multishot): on Windows a read that waits on a pipe has its buffer from the beginning; use read";
    io::Error::new(io::ErrorKind::Unsupported, message)
}

impl Backend for Iocp {
    fn name(&self) -> &'static str {
        "iocp"
    }

    fn setup(&self) -> Vec<String> {
        vec![
            format!("GetQueuedCompletionStatusEx in batches of {BATCH}"),
            self.alarm.describe(),
            "no packets for what is done at once on accepted sockets".to_owned(),
            format!("{} provided buffers of {} bytes", self.core.pool.count(), self.core.pool.size()),
            match self.core.afd {
                Some(_) => r"readiness through \Device\Afd".to_owned(),
                None => r"readiness through \Device\Afd, not asked for yet".to_owned(),
            },
        ]
    }

    unsafe fn begin(&mut self, id: OpId, op: Op<'_>) -> Started {
        // SAFETY: what `op` borrows stays until the final event (the caller's promise); only the lifetime is erased.
        let op = unsafe { std::mem::transmute::<Op<'_>, Op<'static>>(op) };
        let core = &mut self.core;
        match op {
            Op::Shutdown { socket, how } => {
                let socket = sys::socket_key(socket);
                let result = socket::shut_down(socket, how);
                if result.is_ok() && how != std::net::Shutdown::Write {
                    self.end_receives(socket);
                }
                return Started::Done(result, None);
            }
            Op::CloseSocket { socket } => return core.close_socket(sys::socket_key(socket)),
            Op::CloseFile { file } => return core.close_file(file),
            Op::Open { path, how } => {
                let job = self.interrupts.job(id, file::open(path.clone(), how));
                return Started::Open(Box::new(move |_| job()));
            }
            Op::Sync { file, .. } => return Started::Offload(self.interrupts.job(id, file::sync(file)), Lane::Short),
            Op::Call { function, lane } => return Started::Offload(function, lane),
            Op::ReadMultishot { .. } => return Started::Done(Err(no_reads_of_many()), None),
            Op::Connect { socket, address } => {
                let socket = sys::socket_key(socket);
                match winsock::kind(socket) {
                    Ok(SOCK_STREAM) => {}
                    Ok(_) => return Started::Done(socket::connect_datagrams(socket, address), None),
                    Err(code) => return Started::Done(Err(error::error(code)), None),
                }
            }
            _ => {}
        }
        let key = op.handle().expect("the operations without a handle have been dealt with");
        if let Err(error) = core.lines.reserve(id).and_then(|()| core.starving.reserve(id)) {
            return Started::Done(Err(error), None);
        }
        let mut line = None;
        let entered = match (&op, file::offset(&op)) {
            (Op::Poll { .. }, _) => None,
            (_, Some(_)) if file::is_empty(&op) => return Started::Done(Ok(0), None),
            // The largest ones mean "at the end" and "at the position" to the system, and nothing elsewhere.
            (_, Some(Some(offset))) if i64::try_from(offset).is_err() => {
                return Started::Done(Err(error::error(ERROR_INVALID_PARAMETER)), None);
            }
            (_, Some(offset)) => match core.handles.enter_file(key) {
                Ok(Entered::Overlapped(handle)) => {
                    line = (handle.facts.disk && offset.is_none()).then_some(Line::Turns);
                    Some(handle)
                }
                Ok(Entered::Synchronous) => {
                    // A pipe may wait without end.
                    let lane = if file::is_on_disk(key as HANDLE) { Lane::Short } else { Lane::Endless };
                    return Started::Offload(self.interrupts.job(id, file::blocking(op)), lane);
                }
                Err(error) => return Started::Done(Err(error), None),
            },
            (_, None) => match core.handles.enter_socket(key) {
                Ok(handle) => {
                    line = socket::line(&op);
                    Some(handle)
                }
                Err(error) => return Started::Done(Err(error), None),
            },
        };
        let is_multishot = matches!(op, Op::AcceptMultishot { .. } | Op::RecvMultishot { .. });
        let request = self.requests.occupy(id, op);
        request.target = key as HANDLE;
        if let Some(handle) = entered {
            handle.in_flight += 1;
            (request.entered, request.meaning) = (Some(key), handle.meaning);
            if let Some(line) = line {
                core.lines.push(handle.line(line), id, line);
                if matches!(line, Line::Turns) && handle.turns.first() != Some(id) {
                    request.awaits = Awaits::Turn;
                    return Started::InFlight;
                }
            }
        }
        match core.drive(request, None) {
            Step::InFlight => Started::InFlight,
            Step::Over(result, buffer) if !is_multishot => {
                self.finish(id);
                Started::Done(result, buffer)
            }
            // Events may have gone before the last.
            over => {
                self.settle(id, over);
                Started::InFlight
            }
        }
    }

    fn cancel(&mut self, id: OpId) {
        let Some(request) = self.requests.get(id) else { return self.interrupts.interrupt(id) };
        request.cancelled = true;
        match request.awaits {
            Awaits::Packet if request.op.as_ref().is_some_and(|op| op.facts().brings == Brings::Socket) => {
                self.core.cancel_accepts(request);
            }
            Awaits::Packet => {
                let (target, overlapped) = (request.target, request.packet.overlapped());
                self.core.cancel_call(target, overlapped);
            }
            Awaits::Buffer | Awaits::Turn => {
                self.core.starve_no_more(id);
                self.settle(id, Step::Over(Err(error::error(ERROR_OPERATION_ABORTED)), None));
            }
        }
    }

    fn wait(&mut self, timeout: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        self.feed();
        let mut timeout = if self.core.ready.is_empty() { timeout } else { Some(Duration::ZERO) };
        if self.interrupts.insist() {
            timeout = Some(timeout.map_or(INSISTENCE, |timeout| timeout.min(INSISTENCE)));
        }
        let sleeps = timeout != Some(Duration::ZERO);
        // One past the end of the clock's time is as good as none.
        let deadline = timeout.filter(|_| sleeps).and_then(|timeout| Instant::now().checked_add(timeout));
        let port = self.core.queue.handle();
        let mut patience = if sleeps { self.alarm.patience(port, deadline) } else { 0 };
        let mut batches = 1;
        let result = loop {
            match self.dequeue(patience) {
                Err(error) => break Err(error),
                // The tick, or an alarm: either may have come before the deadline.
                Ok(0) if patience > 0 && self.core.ready.is_empty() => {
                    patience = self.alarm.patience(port, deadline);
                    if patience == 0 {
                        break Ok(());
                    }
                }
                Ok(BATCH) if batches < BATCHES => (batches, patience) = (batches + 1, 0),
                Ok(_) => break Ok(()),
            }
        };
        events.append(&mut self.core.ready);
        result
    }

    fn notifier(&self) -> Arc<dyn Notify> {
        Arc::clone(&self.core.queue) as Arc<dyn Notify>
    }

    fn home(&self) -> Weak<dyn Home> {
        self.core.pool.home()
    }

    fn kernel_entries(&self) -> u64 {
        self.core.entries + self.alarm.entries
    }
}

impl Core {
    /// Forgets a handle that is being closed, and who stands in its queues.
    fn forget(&mut self, key: usize) {
        let Some(mut handle) = self.handles.forget(key) else { return };
        for line in [Line::Turns, Line::Aside] {
            while let Some(id) = handle.line(line).first() {
                self.lines.remove(handle.line(line), id);
            }
        }
    }

    /// A receive waits for a provided buffer no more, if it did.
    fn starve_no_more(&mut self, id: OpId) {
        if self.starving.get(id).is_some() {
            self.starving.remove(&mut self.starved, id);
        }
    }
}

impl Iocp {
    /// Ends the receives on a socket whose receiving side was shut down: the system leaves them waiting.
    fn end_receives(&mut self, key: usize) {
        let mut without_call = Vec::new();
        for key in self.core.handles.of_object(key) {
            let Some(handle) = self.core.handles.get(key) else { continue };
            handle.receives_ended = true;
            for first in [handle.turns.first(), handle.aside.first()] {
                let mut next = first;
                while let Some(id) = next {
                    next = self.core.lines.after(id);
                    let Some(request) = self.requests.get(id) else { continue };
                    let is_provided = matches!(request.op, Some(Op::RecvProvided { .. } | Op::RecvMultishot { .. }));
                    if is_provided && request.awaits != Awaits::Packet {
                        without_call.push(id);
                    } else {
                        self.core.cancel_call(request.target, request.packet.overlapped());
                    }
                }
            }
        }
        for id in without_call {
            self.core.starve_no_more(id);
            self.settle(id, Step::Over(Ok(0), None));
        }
    }
}
