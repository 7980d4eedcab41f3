//! Operations as the entries that io_uring takes.

use std::io::{IoSlice, IoSliceMut};
use std::net::Shutdown;
use std::ptr::NonNull;

use io_uring::squeue::{Entry, Flags};
use io_uring::{opcode, types::Fd};

use super::buffers::GROUP;
use super::descriptor::Look;
use super::lanes::Side;
use crate::address::Address;
use crate::buffers::nowhere;
use crate::message::{RecvMessage, SendMessage};
use crate::op::{Interest, Op};
use crate::sys::{AddressStorage, MessageHeader};

/// Receives with these answer at once, whatever the socket's mode (recv(2)): urgent data is there or is not, and so is a
/// queued error. They are not in line with the bytes.
const AT_ONCE: i32 = libc::MSG_OOB | libc::MSG_ERRQUEUE;

/// What the completion of an entry needs beyond its number.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    Plain,
    /// A send, which never waits in the kernel.
    Send,
    /// What is never waited for: `EAGAIN` is its answer.
    AtOnce,
    /// An accept, with the place for the peer's address.
    Accept(Option<NonNull<Address>>),
    Connect,
    Close,
    /// A receive of a message.
    Message(Parts),
    /// A receive that throws away what comes, until the end.
    Discard,
    /// One receive into a provided buffer.
    Provided,
    /// The same where `EAGAIN` is its answer.
    ProvidedAtOnce,
    RecvMultishot,
    ReadMultishot,
    AcceptMultishot,
    Poll(Interest),
    /// A send that goes on until all is taken.
    SendAll(Rest),
    /// A receive that goes on until its buffer is full (`MSG_WAITALL`).
    RecvAll(Rest),
    /// One that has yet to be given its provided buffer, of which so many bytes are to be filled.
    ProvidedAll(usize),
    /// A read at the file's own position.
    ReadHere,
    /// A write at the file's own position.
    WriteHere(Placed),
    /// A write at the beginning: of a file, or to a socket.
    WriteFirst(Placed),
}

/// The file's own position before a write, and how much that is to write.
///
/// Where a disk takes a part and then no more (it is full, say), the kernel reports the part and leaves the position
/// before it: it moves the position after a last try that succeeds alone (`kiocb_done`, io_uring/rw.c, seen on Linux
/// 6.18). The next write would go over what was written, and nobody would hear of the full disk.
#[derive(Clone, Copy)]
pub(super) struct Placed {
    /// Negative where the file has no position.
    before: libc::off_t,
    length: usize,
    bytes: Bytes,
}

/// Where the bytes of a write are.
#[derive(Clone, Copy)]
pub(super) enum Bytes {
    One(*const u8),
    Many(*const libc::iovec, u32),
}

impl Placed {
    fn new(length: usize, bytes: Bytes) -> Placed {
        Placed { before: -1, length, bytes }
    }

    /// Whether the file has no position: it is a socket, a pipe or a device.
    pub(super) fn is_nowhere(self) -> bool {
        self.before < 0
    }

    /// The same as a send: a write to a socket raises a signal where the peer is gone, and has no flag against it that
    /// kernels before 6.18 know. A send to several buffers needs a header, which is to stay where it is until the completion.
    pub(super) fn send(self, socket: i32) -> (Entry, Option<Box<MessageHeader>>) {
        match self.bytes {
            Bytes::One(start) => {
                (opcode::Send::new(Fd(socket), start, length(self.length)).flags(send_flags(0)).build(), None)
            }
            Bytes::Many(vector, count) => {
                // SAFETY: a header of zeroes is a valid one; its padding (musl) must be zero.
                let mut header: Box<MessageHeader> = Box::new(unsafe { std::mem::zeroed() });
                header.msg_iov = vector.cast_mut();
                header.msg_iovlen = count as _;
                let entry = opcode::SendMsg::new(Fd(socket), &raw const *header).flags(send_flags(0) as u32).build();
                (entry, Some(header))
            }
        }
    }

    /// Notes the position, before the write.
    pub(super) fn note(&mut self, file: i32) {
        // SAFETY: takes no pointers.
        self.before = unsafe { libc::lseek(file, 0, libc::SEEK_CUR) };
    }

    /// Moves the position behind the `written` bytes, where that has yet to be done.
    pub(super) fn settle(self, file: i32, written: usize) {
        if self.before < 0 || written == 0 || written == self.length {
            return;
        }
        // SAFETY: none takes a pointer. Where one fails, the file's position is as the kernel has left it.
        unsafe {
            if libc::lseek(file, 0, libc::SEEK_CUR) == self.before {
                let appends = libc::fcntl(file, libc::F_GETFL) & libc::O_APPEND != 0;
                let (to, from) = if appends { (0, libc::SEEK_END) } else { (written as libc::off_t, libc::SEEK_CUR) };
                libc::lseek(file, to, from);
            }
        }
    }
}

/// What is left of an operation that goes on after a part.
#[derive(Clone, Copy)]
pub(super) struct Rest {
    start: *mut u8,
    left: usize,
    flags: i32,
    /// The bytes that were moved.
    pub(super) done: usize,
}

/// A receive into the buffers of a message. What came with the bytes is copied into it at the end.
#[derive(Clone, Copy)]
pub(super) struct Parts {
    message: *mut RecvMessage<'static>,
    flags: i32,
    /// It goes on until the buffers are full (`MSG_WAITALL`).
    all: bool,
    /// The bytes that were received.
    pub(super) done: usize,
}

impl Parts {
    /// The message.
    ///
    /// # Safety
    /// The operation is in flight, and nobody else looks at the message.
    pub(super) unsafe fn message<'m>(&self) -> &'m mut RecvMessage<'static> {
        // SAFETY: the caller of `begin` keeps the message until the operation's final event.
        unsafe { &mut *self.message }
    }

    /// Takes a part of `count` bytes in. The receive that goes on after it, into the buffer that is not full, where the
    /// operation is not over. More bytes would bring their own control data, and there is one place for it.
    pub(super) fn advance(&mut self, count: usize, socket: i32, look: &impl Look) -> Option<Entry> {
        self.done += count;
        if !self.all || count == 0 || !look.is_stream() {
            return None;
        }
        // SAFETY: no request is in the kernel; this runs between two.
        let message = unsafe { self.message() };
        if message.header.as_ref().is_some_and(|header| header.msg_controllen > 0) {
            return None;
        }
        let mut before = self.done;
        let buffer = message.buffers.iter_mut().find(|buffer| {
            let is_full = before >= buffer.len();
            before -= if is_full { buffer.len() } else { 0 };
            !is_full
        })?;
        let rest = &mut buffer[before..];
        Some(opcode::Recv::new(Fd(socket), rest.as_mut_ptr(), length(rest.len())).flags(self.flags).build())
    }
}

impl Rest {
    /// What is left of a receive that has `done` bytes of `room`.
    pub(super) fn of_room(room: &mut [u8], done: usize) -> Rest {
        let rest = &mut room[done..];
        Rest { start: rest.as_mut_ptr(), left: rest.len(), flags: 0, done }
    }

    /// Takes a part off; false where the operation is over.
    pub(super) fn advance(&mut self, part: usize) -> bool {
        self.start = self.start.wrapping_add(part);
        self.left -= part;
        self.done += part;
        part > 0 && self.left > 0
    }

    pub(super) fn send(&self, socket: i32) -> Entry {
        opcode::Send::new(Fd(socket), self.start, length(self.left)).flags(self.flags).build()
    }

    pub(super) fn recv(&self, socket: i32) -> Entry {
        opcode::Recv::new(Fd(socket), self.start, length(self.left)).flags(self.flags).build()
    }
}

impl Kind {
    /// Whether the kernel takes a provided buffer for it.
    pub(super) fn takes_buffer(self) -> bool {
        matches!(
            self,
            Kind::Provided | Kind::ProvidedAtOnce | Kind::ProvidedAll(_) | Kind::RecvMultishot | Kind::ReadMultishot
        )
    }

    /// Whether it is at the file's own position.
    pub(super) fn is_here(self) -> bool {
        matches!(self, Kind::ReadHere | Kind::WriteHere(_))
    }

    /// Whether `EAGAIN` is its answer.
    pub(super) fn is_at_once(self) -> bool {
        match self {
            Kind::AtOnce | Kind::ProvidedAtOnce => true,
            Kind::Message(parts) => parts.flags & AT_ONCE != 0,
            _ => false,
        }
    }

    /// Whether the kernel answers it as soon as it is submitted.
    pub(super) fn never_waits(self) -> bool {
        matches!(self, Kind::Send | Kind::SendAll(_) | Kind::AtOnce)
    }

    pub(super) fn is_multishot(self) -> bool {
        matches!(self, Kind::RecvMultishot | Kind::ReadMultishot | Kind::AcceptMultishot)
    }
}

/// The entry for `op`, without its number, where a provided buffer has `buffer_size` bytes and the kernel `reads_many`. Of a
/// send the first `sent` bytes have gone already.
///
/// Addresses in it are those of what `op` borrows.
///
/// A receive waits in the kernel: `MSG_DONTWAIT` is taken away, for waiting is never the caller's business. A send
/// does not (`MSG_DONTWAIT`): a send that the kernel tries again goes on where the first try left off, and a
/// Unix datagram socket whose peer's queue was full has then used up the bytes and sends an empty datagram (seen on
/// Linux 6.18). So the backend waits and sends again from the start, and goes on after a short send itself.
///
/// A receive that is to fill its buffer goes on in the backend too. The kernel's own would take a reset that comes after
/// the first bytes off the socket to report the bytes alone, and the next receive would find an end.
pub(super) fn prepare(op: Op<'_>, sent: usize, buffer_size: usize, reads_many: bool) -> (Entry, Kind) {
    let mut kind = Kind::Plain;
    let entry = match op {
        Op::Accept { listener, peer } => {
            let place = peer.map(NonNull::from);
            kind = Kind::Accept(place);
            // SAFETY: the operation's own, until its end.
            let (address, length) = match place.map(|mut place| unsafe { place.as_mut() }.as_raw_mut()) {
                Some(address) => address,
                None => (std::ptr::null_mut(), std::ptr::null_mut()),
            };
            opcode::Accept::new(Fd(listener), address.cast(), length).flags(libc::SOCK_CLOEXEC).build()
        }
        Op::AcceptMultishot { listener } => {
            kind = Kind::AcceptMultishot;
            opcode::AcceptMulti::new(Fd(listener)).flags(libc::SOCK_CLOEXEC).build()
        }
        Op::Connect { socket, address } => {
            kind = Kind::Connect;
            let (address, length) = address.as_raw();
            opcode::Connect::new(Fd(socket), address.cast(), length).build()
        }
        Op::Recv { socket, buffer, flags } => {
            let (flags, all) = recv_flags(flags);
            let start = buffer.as_mut_ptr().cast();
            let rest = Rest { start, left: buffer.len(), flags, done: 0 };
            kind = match () {
                () if flags & AT_ONCE != 0 => Kind::AtOnce,
                () if all => Kind::RecvAll(rest),
                () => Kind::Plain,
            };
            rest.recv(socket)
        }
        // The kernel takes a length of 0 for that of the buffer; no byte needs none.
        Op::RecvProvided { socket, limit: 0, flags } => {
            let nobody = std::ptr::NonNull::dangling().as_ptr();
            opcode::Recv::new(Fd(socket), nobody, 0).flags(recv_flags(flags).0).build()
        }
        Op::RecvProvided { socket, limit, flags } => {
            let (flags, all) = recv_flags(flags);
            kind = match () {
                () if flags & AT_ONCE != 0 => Kind::ProvidedAtOnce,
                () if all => Kind::ProvidedAll(limit.min(buffer_size)),
                () => Kind::Provided,
            };
            // MSG_TRUNC would tell of more bytes than the buffer was given: what lies behind is another receive's.
            opcode::Recv::new(Fd(socket), std::ptr::null_mut(), length(limit))
                .flags(flags & !libc::MSG_TRUNC)
                .buf_group(GROUP)
                .build()
                .flags(Flags::BUFFER_SELECT)
        }
        Op::RecvMultishot { socket } => {
            kind = Kind::RecvMultishot;
            opcode::RecvMulti::new(Fd(socket), GROUP).build()
        }
        Op::ReadMultishot { file } => {
            kind = Kind::ReadMultishot;
            read_multishot(file, reads_many, buffer_size)
        }
        Op::RecvMessage { socket, message, flags } => {
            let (flags, all) = recv_flags(flags);
            let header: *mut MessageHeader = recv_header(message.0);
            kind = Kind::Message(Parts { message: std::ptr::from_mut(message.0).cast(), flags, all, done: 0 });
            opcode::RecvMsg::new(Fd(socket), header).flags(flags as u32).build()
        }
        Op::Send { socket, buffer, flags, all } => {
            let start = buffer[sent..].as_ptr().cast_mut();
            let rest = Rest { start, left: buffer.len() - sent, flags: send_flags(flags), done: sent };
            kind = if all { Kind::SendAll(rest) } else { Kind::Send };
            rest.send(socket)
        }
        Op::SendMessage { socket, message, flags } => {
            kind = Kind::Send;
            let header: *const MessageHeader = send_header(message);
            opcode::SendMsg::new(Fd(socket), header).flags(send_flags(flags) as u32).build()
        }
        Op::Disconnect { socket } => {
            kind = Kind::Discard;
            let (start, length) = nowhere();
            opcode::Recv::new(Fd(socket), start, length as u32).build()
        }
        Op::Read { file, buffer, offset } => {
            if offset.is_none() {
                kind = Kind::ReadHere;
            }
            opcode::Read::new(Fd(file), buffer.as_mut_ptr().cast(), length(buffer.len()))
                .offset(position(offset))
                .build()
        }
        Op::ReadVectored { file, buffers, offset } => {
            if offset.is_none() {
                kind = Kind::ReadHere;
            }
            let (vector, count) = vector_mut(buffers);
            opcode::Readv::new(Fd(file), vector, count).offset(position(offset)).build()
        }
        Op::Write { file, buffer, offset } => {
            // A socket takes no offset but 0.
            if offset.unwrap_or(0) == 0 {
                let placed = Placed::new(buffer.len(), Bytes::One(buffer.as_ptr()));
                kind = if offset.is_none() { Kind::WriteHere(placed) } else { Kind::WriteFirst(placed) };
            }
            opcode::Write::new(Fd(file), buffer.as_ptr(), length(buffer.len())).offset(position(offset)).build()
        }
        Op::WriteVectored { file, buffers, offset } => {
            let (vector, count) = vector(buffers);
            if offset.unwrap_or(0) == 0 {
                let length = buffers.iter().map(|buffer| buffer.len()).sum();
                let placed = Placed::new(length, Bytes::Many(vector, count));
                kind = if offset.is_none() { Kind::WriteHere(placed) } else { Kind::WriteFirst(placed) };
            }
            opcode::Writev::new(Fd(file), vector, count).offset(position(offset)).build()
        }
        Op::Sync { file, data_only } => {
            let flags =
                if data_only { io_uring::types::FsyncFlags::DATASYNC } else { io_uring::types::FsyncFlags::empty() };
            opcode::Fsync::new(Fd(file)).flags(flags).build()
        }
        Op::CloseFile { file: handle } | Op::CloseSocket { socket: handle } => {
            kind = Kind::Close;
            opcode::Close::new(Fd(handle)).build()
        }
        Op::Poll { socket, interest } => {
            kind = Kind::Poll(interest);
            opcode::PollAdd::new(Fd(socket), poll_events(interest)).build()
        }
        Op::Open { .. } | Op::Shutdown { .. } | Op::AcceptPipe { .. } | Op::Call { .. } => {
            unreachable!("none is for the ring")
        }
    };
    (entry, kind)
}

/// The entry of [`Op::ReadMultishot`]. A kernel before 6.7 reads once, and is asked again after each.
fn read_multishot(file: i32, reads_many: bool, buffer_size: usize) -> Entry {
    if reads_many {
        return opcode::ReadMulti::new(Fd(file), 0, GROUP).offset(position(None)).build();
    }
    opcode::Read::new(Fd(file), std::ptr::null_mut(), length(buffer_size))
        .offset(position(None))
        .buf_group(GROUP)
        .build()
        .flags(Flags::BUFFER_SELECT)
}

/// What shutdown(2) calls the direction.
pub(super) fn shutdown_how(how: Shutdown) -> i32 {
    match how {
        Shutdown::Read => libc::SHUT_RD,
        Shutdown::Write => libc::SHUT_WR,
        Shutdown::Both => libc::SHUT_RDWR,
    }
}

/// The most that Linux moves in one call (`MAX_RW_COUNT`, read(2)); longer requests are cut to it.
fn length(bytes: usize) -> u32 {
    bytes.min(0x7fff_f000) as u32
}

/// The offset that means the file's own position is -1. What no file reaches must not become it: the kernel says
/// `EINVAL` for every other negative one.
fn position(offset: Option<u64>) -> u64 {
    offset.map_or(u64::MAX, |offset| offset.min(1 << 63))
}

/// The lane that an operation is in: what else has that kind is served before it or after it. Urgent data and the queue of
/// errors are not in line with the bytes, and what only watches takes nothing from anybody.
pub(super) fn side(op: &Op<'_>) -> Option<Side> {
    match op {
        Op::Recv { flags, .. } | Op::RecvProvided { flags, .. } | Op::RecvMessage { flags, .. } => {
            (flags & AT_ONCE == 0).then_some(Side::In)
        }
        Op::Accept { .. }
        | Op::AcceptMultishot { .. }
        | Op::RecvMultishot { .. }
        | Op::Disconnect { .. }
        | Op::ReadMultishot { .. }
        | Op::Read { offset: None, .. }
        | Op::ReadVectored { offset: None, .. } => Some(Side::In),
        Op::Connect { .. }
        | Op::Send { .. }
        | Op::SendMessage { .. }
        | Op::Write { offset: None, .. }
        | Op::WriteVectored { offset: None, .. } => Some(Side::Out),
        _ => None,
    }
}

/// The flags of one receive, and whether more shall follow until the buffer is full. Not after a look ahead, which would
/// see the same bytes again, nor after `MSG_TRUNC`, whose answer is not what is in the buffer.
fn recv_flags(flags: i32) -> (i32, bool) {
    if flags & AT_ONCE != 0 {
        return (flags & !libc::MSG_WAITALL | libc::MSG_DONTWAIT, false);
    }
    let all = flags & (libc::MSG_WAITALL | libc::MSG_PEEK | libc::MSG_TRUNC) == libc::MSG_WAITALL;
    (flags & !(libc::MSG_DONTWAIT | libc::MSG_WAITALL), all)
}

pub(super) fn send_flags(flags: i32) -> i32 {
    flags | libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT
}

/// The system's form of a list of buffers, at most as many as it takes in one call (`IOV_MAX`): the rest is left for
/// the next one, as after any short read or write.
fn vector(buffers: &[IoSlice<'_>]) -> (*const libc::iovec, u32) {
    (buffers.as_ptr().cast(), buffers.len().min(libc::UIO_MAXIOV as usize) as u32)
}

fn vector_mut(buffers: &mut [IoSliceMut<'_>]) -> (*const libc::iovec, u32) {
    (buffers.as_ptr().cast(), buffers.len().min(libc::UIO_MAXIOV as usize) as u32)
}

/// Writes the header of a receive into the message, where it stays until the completion.
fn recv_header(message: &mut RecvMessage<'_>) -> *mut MessageHeader {
    let (address, _) = message.address.as_raw_mut();
    // SAFETY: a header of zeroes is a valid one; its padding (musl) must be zero.
    let mut header: MessageHeader = unsafe { std::mem::zeroed() };
    header.msg_name = address.cast();
    header.msg_namelen = size_of::<AddressStorage>() as _;
    header.msg_iov = message.buffers.as_mut_ptr().cast();
    header.msg_iovlen = message.buffers.len() as _;
    header.msg_control = message.control.as_mut_ptr().cast();
    header.msg_controllen = message.control.len() as _;
    message.header.insert(header)
}

/// Writes the header of a send into the message, where it stays until the completion.
fn send_header(message: &mut SendMessage<'_>) -> *const MessageHeader {
    // SAFETY: a header of zeroes is a valid one; its padding (musl) must be zero.
    let mut header: MessageHeader = unsafe { std::mem::zeroed() };
    if let Some(address) = message.address {
        let (address, length) = address.as_raw();
        header.msg_name = address.cast_mut().cast();
        header.msg_namelen = length;
    }
    header.msg_iov = message.buffers.as_ptr().cast_mut().cast();
    header.msg_iovlen = message.buffers.len() as _;
    header.msg_control = message.control.as_ptr().cast_mut().cast();
    header.msg_controllen = message.control.len() as _;
    message.header.insert(header)
}

/// What came with the bytes of a receive, from the header into the message.
pub(super) fn take_header(message: &mut RecvMessage<'_>, received: bool) {
    let header = message.header.take().expect("the header was written when the receive began");
    if received {
        message.address.set_length(header.msg_namelen);
        // `as _`, for the type is not the same in every C library.
        let length: usize = header.msg_controllen as _;
        message.control_length = length.min(message.control.len());
        message.flags = header.msg_flags;
    } else {
        message.address.set_length(0);
        message.control_length = 0;
        message.flags = 0;
    }
}

/// What to poll for.
///
/// io_uring asks for `POLLPRI` in each of its own polls, and so pays no heed to it when something happens: a poll for it
/// alone would only ever see what is there when it begins (`IO_ASYNC_POLL_COMMON`, io_uring/poll.c). Sockets announce
/// urgent data as `POLLRDBAND` too, which no socket then has: asked for with it, the poll wakes whenever anything comes,
/// and a look says what it is.
pub(super) fn poll_events(interest: Interest) -> u32 {
    let mut events = if interest.contains(Interest::PRIORITY) { libc::POLLRDBAND as u32 } else { 0 };
    for (bit, event) in
        [(Interest::READABLE, libc::POLLIN), (Interest::WRITABLE, libc::POLLOUT), (Interest::PRIORITY, libc::POLLPRI)]
    {
        if interest.contains(bit) {
            events |= event as u32;
        }
    }
    events
}

/// The bits of [`Interest`] for what poll found: of those asked for, and error and hang-up.
pub(super) fn found(asked: Interest, events: i32) -> Interest {
    let has = |event: i16| events & i32::from(event) != 0;
    let mut found = Interest::default();
    for (bit, is_there) in [
        (Interest::READABLE, has(libc::POLLIN | libc::POLLERR | libc::POLLHUP)),
        (Interest::WRITABLE, has(libc::POLLOUT | libc::POLLERR)),
        (Interest::PRIORITY, has(libc::POLLPRI)),
    ] {
        if is_there && asked.contains(bit) {
            found = found | bit;
        }
    }
    for (bit, event) in [(Interest::ERROR, libc::POLLERR), (Interest::HANGUP, libc::POLLHUP)] {
        if has(event) {
            found = found | bit;
        }
    }
    found
}

/// What announces that the operation of `entry` may succeed: what reads waits to read, all else to write.
pub(super) fn readiness(entry: &Entry) -> u32 {
    let reads = [
        opcode::Accept::CODE,
        opcode::Recv::CODE,
        opcode::RecvMsg::CODE,
        opcode::Read::CODE,
        opcode::ReadMulti::CODE,
        opcode::Readv::CODE,
    ];
    let reads = reads.iter().any(|code| u32::from(*code) == entry.get_opcode());
    (if reads { libc::POLLIN } else { libc::POLLOUT }) as u32
}

/// Whether it is a receive on a socket.
pub(super) fn receives(entry: &Entry) -> bool {
    [opcode::Recv::CODE, opcode::RecvMsg::CODE].iter().any(|code| u32::from(*code) == entry.get_opcode())
}

/// The entry that waits until one of `events` is there.
pub(super) fn poll(handle: i32, events: u32) -> Entry {
    opcode::PollAdd::new(Fd(handle), events).build()
}

/// The entry that tells of each change, and what is there at first.
pub(super) fn watch(handle: i32, events: u32) -> Entry {
    opcode::PollAdd::new(Fd(handle), events).multi(true).build()
}

/// Whether a poll ended for the one reason that it always ends for, although it was not asked for: the peer sends no
/// more (`IO_POLL_UNMASK` in poll.c). To wait for anything else by poll is then of no use.
pub(super) fn only_half_closed(events: i32) -> bool {
    events > 0 && events & !i32::from(libc::POLLRDHUP) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_or_an_error_counts_as_readable_where_that_was_asked_for() {
        let events = i32::from(libc::POLLHUP | libc::POLLERR);
        assert_eq!(found(Interest::READABLE, events), Interest::READABLE | Interest::ERROR | Interest::HANGUP);
        assert_eq!(found(Interest::WRITABLE, i32::from(libc::POLLHUP)), Interest::HANGUP);
        assert_eq!(found(Interest::WRITABLE, i32::from(libc::POLLOUT | libc::POLLIN)), Interest::WRITABLE);
    }

    /// Looked at here, for what [`prepare`] tells of does not always happen: on Linux 6.18.44 the conformance suite's
    /// datagrams that had to wait came whole either way.
    #[test]
    fn no_send_waits_in_the_kernel() {
        for flags in [0, libc::MSG_MORE, libc::MSG_DONTWAIT] {
            assert_eq!(send_flags(flags), flags | libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL);
        }
    }

    #[test]
    fn lengths_are_cut_to_what_the_kernel_moves() {
        assert_eq!(length(5), 5);
        assert_eq!(length(usize::MAX), 0x7fff_f000);
    }
}
