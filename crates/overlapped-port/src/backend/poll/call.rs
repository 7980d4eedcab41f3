//! The system's calls in a form that never blocks, and what differs between Unixes.
//!
//! Most calls have such a form whatever the descriptor's mode: `MSG_DONTWAIT` for sockets, `RWF_NOWAIT` for files, pipes
//! and terminals on newer Linux (preadv2(2)). accept(2), connect(2) and, elsewhere, read(2) and write(2) have none:
//! [`without_blocking`] sets `O_NONBLOCK` around them where the owner has not. That flag belongs to the open file
//! description, which other processes may share: for these few microseconds one of them may meet an `EAGAIN`; and two
//! that do so at once take the flag from each other, so that a call *blocks*, and with it its thread. Nothing here can
//! tell. So a listener that several processes accept from must be non-blocking from its start; any other is faster so.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{IntoRawFd, RawFd};
use std::sync::{Mutex, PoisonError};

use libc::{c_int, c_void, iovec};

use crate::address::Address;
use crate::backend::at_once::{self, MOST_BUFFERS};
use crate::message::{RecvMessage, SendMessage};
use crate::sim::{self, calls};
use crate::sys;

/// The longest transfer asked for at once: macOS refuses more, Linux does about as much.
pub(super) const MOST: usize = i32::MAX as usize - 1;

/// Flags of each send: it answers at once, and raises no signal. (On macOS a socket option keeps the signal away.)
const SEND_FLAGS: c_int = libc::MSG_DONTWAIT | if cfg!(target_vendor = "apple") { 0 } else { libc::MSG_NOSIGNAL };

/// One of the two directions of a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Read,
    Write,
}

/// Whether the call would have had to wait.
pub(super) fn is_again(error: &io::Error) -> bool {
    error.raw_os_error().is_some_and(|code| code == libc::EAGAIN || code == libc::EWOULDBLOCK)
}

/// Calls until no signal interrupts, and turns -1 into the error.
fn retry<N: TryInto<usize>>(mut call: impl FnMut() -> N) -> io::Result<usize> {
    loop {
        if let Ok(value) = call().try_into() {
            return Ok(value);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// What poll(2) finds at once: the bits of `events` that are there, `POLLERR`, `POLLHUP`.
pub(super) fn poll_now(fd: RawFd, events: i16) -> io::Result<i16> {
    if let Some(found) = calls::poll(fd, events) {
        return Ok(found);
    }
    let mut entry = libc::pollfd { fd, events, revents: 0 };
    // SAFETY: `entry` is one pollfd.
    retry(|| unsafe { libc::poll(&raw mut entry, 1, 0) })?;
    if fd < 0 || entry.revents & libc::POLLNVAL != 0 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    Ok(entry.revents)
}

/// Makes a call that has no non-blocking form, so that it does not block: `EAGAIN` where nothing is there.
///
/// Where the descriptor is in blocking mode, `is_ready` is asked first, so that the flag is not set in vain.
fn without_blocking<T>(
    fd: RawFd,
    is_ready: impl FnOnce() -> io::Result<bool>,
    call: impl FnOnce() -> io::Result<T>,
) -> io::Result<T> {
    /// Two threads with one listener: the second must not take the flag of the first for its owner's.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    // SAFETY: fcntl(2) with these commands touches no memory of ours.
    let flags = retry(|| unsafe { libc::fcntl(fd, libc::F_GETFL) })? as c_int;
    if flags & libc::O_NONBLOCK != 0 {
        return call();
    }
    if !is_ready()? {
        return Err(io::Error::from_raw_os_error(libc::EAGAIN));
    }
    // SAFETY: as above.
    retry(|| unsafe { libc::fcntl(fd, libc::F_SETFL, flags | libc::O_NONBLOCK) })?;
    let result = call();
    // SAFETY: as above. It cannot fail where the first did not.
    let _ = retry(|| unsafe { libc::fcntl(fd, libc::F_SETFL, flags) });
    result
}

/// Takes a connection: a socket in blocking mode, not inherited by child processes.
pub(super) fn accept(listener: RawFd, mut peer: Option<&mut Address>) -> io::Result<usize> {
    if let Some(accepted) = calls::accept(listener) {
        let accepted = accepted.map(|(socket, address)| (socket, Address::from(address)));
        if let Some(peer) = peer {
            *peer = accepted.as_ref().map_or_else(|_| Address::empty(), |(_, address)| address.clone());
        }
        return accepted.map(|(socket, _)| socket.into_raw_fd() as usize);
    }
    // What does not listen is never ready, and the call says what it is.
    let is_ready = || Ok(poll_now(listener, libc::POLLIN)? != 0 || !listens(listener));
    let accepted = without_blocking(listener, is_ready, || {
        loop {
            let (address, length) = match peer.as_deref_mut().map(Address::as_raw_mut) {
                Some((address, length)) => (address.cast(), length),
                None => (std::ptr::null_mut(), std::ptr::null_mut()),
            };
            // SAFETY: the address is null or has the room that its length says.
            let accepted = retry(|| unsafe { accept_closed_on_exec(listener, address, length) });
            match accepted {
                // The connection was reset while it waited in the backlog (accept(2)): take the next one.
                Err(error) if error.raw_os_error() == Some(libc::ECONNABORTED) => {}
                accepted => return accepted,
            }
        }
    });
    if let (Err(_), Some(peer)) = (&accepted, peer) {
        peer.set_length(0);
    }
    accepted
}

/// # Safety
/// As for accept(2).
#[cfg(not(target_vendor = "apple"))]
unsafe fn accept_closed_on_exec(listener: RawFd, address: *mut libc::sockaddr, length: *mut libc::socklen_t) -> c_int {
    // SAFETY: the caller's promise.
    unsafe { libc::accept4(listener, address, length, libc::SOCK_CLOEXEC) }
}

/// # Safety
/// As for accept(2).
#[cfg(target_vendor = "apple")]
unsafe fn accept_closed_on_exec(listener: RawFd, address: *mut libc::sockaddr, length: *mut libc::socklen_t) -> c_int {
    // SAFETY: the caller's promise; the fcntl calls are on the new socket. It inherits `O_NONBLOCK` from the listener.
    unsafe {
        let socket = libc::accept(listener, address, length);
        if socket >= 0 {
            libc::fcntl(socket, libc::F_SETFD, libc::FD_CLOEXEC);
            let flags = libc::fcntl(socket, libc::F_GETFL);
            libc::fcntl(socket, libc::F_SETFL, flags & !libc::O_NONBLOCK);
        }
        socket
    }
}

/// Begins to connect: `EINPROGRESS` where that takes time.
pub(super) fn connect(socket: RawFd, address: &Address) -> io::Result<()> {
    if let Some(begun) = calls::connect(socket, address) {
        return begun;
    }
    let (address, length) = address.as_raw();
    let at_once = || Ok(true);
    without_blocking(socket, at_once, || {
        // SAFETY: `address` is valid for its length. Not retried after a signal: the connection is then under way.
        match unsafe { libc::connect(socket, address.cast(), length) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    })
}

fn option<T>(socket: RawFd, name: c_int) -> io::Result<T> {
    let mut value = MaybeUninit::<T>::zeroed();
    let mut length = size_of::<T>() as libc::socklen_t;
    // SAFETY: `value` has room for `length` bytes; used with plain integers and structures of them, for which zeroes
    // are values too.
    unsafe {
        retry(|| libc::getsockopt(socket, libc::SOL_SOCKET, name, value.as_mut_ptr().cast(), &raw mut length))?;
        Ok(value.assume_init())
    }
}

/// The error that waits on a socket, taken away with this.
pub(super) fn take_error(socket: RawFd) -> io::Result<()> {
    if let Some(error) = calls::take_error(socket) {
        return error.map_or(Ok(()), Err);
    }
    match option::<c_int>(socket, libc::SO_ERROR)? {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code)),
    }
}

fn listens(socket: RawFd) -> bool {
    option::<c_int>(socket, libc::SO_ACCEPTCONN).is_ok_and(|listens| listens != 0)
}

/// recv(2) into `length` bytes at `buffer`.
///
/// # Safety
/// They may be written to.
pub(super) unsafe fn recv(socket: RawFd, buffer: *mut c_void, length: usize, flags: c_int) -> io::Result<usize> {
    let vector = [iovec { iov_base: buffer, iov_len: length }];
    // SAFETY: the caller's promise.
    if let Some(received) = unsafe { recv_simulated(socket, &vector, flags) } {
        return received.map(|received| received.length);
    }
    // SAFETY: the caller's promise.
    retry(|| unsafe { libc::recv(socket, buffer, length.min(MOST), receive_flags(flags)) })
}

/// The same in a simulated world, for what is a socket of it.
///
/// # Safety
/// The buffers in `vector` may be written to.
unsafe fn recv_simulated(socket: RawFd, vector: &[iovec], flags: c_int) -> Option<io::Result<sim::Received>> {
    sim::on(socket, |kernel, id| {
        let room = vector.iter().map(|buffer| buffer.iov_len).sum();
        let mut rest = vector.iter().copied();
        let mut place = iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        kernel.recv(id, room, flags, |mut bytes| {
            while !bytes.is_empty() {
                if place.iov_len == 0 {
                    let Some(next) = rest.next() else { return };
                    place = next;
                    continue;
                }
                let (now, later) = bytes.split_at(place.iov_len.min(bytes.len()));
                // SAFETY: the caller's promise; `now` is no longer than the place, and the kernel's memory is another.
                unsafe { std::ptr::copy_nonoverlapping(now.as_ptr(), place.iov_base.cast(), now.len()) };
                place.iov_base = place.iov_base.wrapping_byte_add(now.len());
                place.iov_len -= now.len();
                bytes = later;
            }
        })
    })
}

/// Waiting for the whole is done by asking again: the kernel would not wait in the non-blocking form.
fn receive_flags(flags: c_int) -> c_int {
    (flags & !libc::MSG_WAITALL) | libc::MSG_DONTWAIT
}

/// send(2) without a signal.
pub(super) fn send(socket: RawFd, bytes: &[u8], flags: c_int) -> io::Result<usize> {
    if let Some(sent) = calls::send(socket, &[IoSlice::new(bytes)], None) {
        return sent;
    }
    keep_sigpipe_away(socket);
    // SAFETY: `bytes` is valid for its length.
    retry(|| unsafe { libc::send(socket, bytes.as_ptr().cast(), bytes.len().min(MOST), flags | SEND_FLAGS) })
}

/// macOS has no dependable flag of send(2) for this, but an option of the socket.
fn keep_sigpipe_away(_socket: RawFd) {
    #[cfg(target_vendor = "apple")]
    // SAFETY: the option is an int, and `on` is one.
    unsafe {
        let on: c_int = 1;
        let length = size_of::<c_int>() as libc::socklen_t;
        libc::setsockopt(_socket, libc::SOL_SOCKET, libc::SO_NOSIGPIPE, (&raw const on).cast(), length);
    }
}

fn header(vector: &[iovec]) -> libc::msghdr {
    // SAFETY: all zeroes is a valid msghdr: no address, no buffers, no control data.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = vector.as_ptr().cast_mut();
    header.msg_iovlen = vector.len() as _;
    header
}

/// recvmsg(2) into `vector`, without address and control data.
///
/// # Safety
/// The buffers in `vector` may be written to.
unsafe fn receive_vector(socket: RawFd, vector: &[iovec]) -> io::Result<usize> {
    // SAFETY: the caller's promise.
    if let Some(received) = unsafe { recv_simulated(socket, vector, 0) } {
        return received.map(|received| received.length);
    }
    let mut header = header(vector);
    // SAFETY: the header says what `vector` holds; the caller's promise.
    retry(|| unsafe { libc::recvmsg(socket, &raw mut header, libc::MSG_DONTWAIT) })
}

/// sendmsg(2) of `vector`, without address and control data and without a signal.
///
/// # Safety
/// The buffers in `vector` may be read.
unsafe fn send_vector(socket: RawFd, vector: &[iovec]) -> io::Result<usize> {
    // SAFETY: the caller's promise; `IoSlice` has the form of an iovec on Unix.
    let buffers = unsafe { std::slice::from_raw_parts(vector.as_ptr().cast(), vector.len()) };
    if let Some(sent) = calls::send(socket, buffers, None) {
        return sent;
    }
    keep_sigpipe_away(socket);
    let header = header(vector);
    // SAFETY: as above.
    retry(|| unsafe { libc::sendmsg(socket, &raw const header, SEND_FLAGS) })
}

/// recvmsg(2) into `vector`, with what came beside it in `message`.
///
/// # Safety
/// The buffers in `vector` may be written to.
pub(super) unsafe fn recv_message(
    socket: RawFd,
    vector: &[iovec],
    message: &mut RecvMessage<'_>,
    flags: c_int,
) -> io::Result<usize> {
    // SAFETY: the caller's promise.
    if let Some(received) = unsafe { recv_simulated(socket, vector, flags) } {
        let source = received.as_ref().ok().and_then(|received| received.source);
        message.address = source.map_or_else(Address::empty, Address::from);
        return received.map(|received| {
            message.control_length = 0;
            message.flags = if received.truncated { libc::MSG_TRUNC } else { 0 };
            received.length
        });
    }
    let mut header = header(vector);
    let (address, length) = message.address.as_raw_mut();
    header.msg_name = address.cast();
    // SAFETY: the pointer is to a field of the address, which `message` owns.
    header.msg_namelen = unsafe { *length };
    if !message.control.is_empty() {
        header.msg_control = message.control.as_mut_ptr().cast();
        header.msg_controllen = message.control.len() as _;
    }
    // SAFETY: the header's lengths are those of what it points to; the caller's promise for `vector`.
    let received = retry(|| unsafe { libc::recvmsg(socket, &raw mut header, receive_flags(flags)) });
    message.address.set_length(if received.is_ok() { header.msg_namelen } else { 0 });
    if received.is_ok() {
        #[allow(clippy::unnecessary_cast, reason = "a usize on Linux, a socklen_t elsewhere")]
        let length = header.msg_controllen as usize;
        message.control_length = length;
        message.flags = header.msg_flags;
    }
    received
}

/// sendmsg(2) without a signal.
pub(super) fn send_message(socket: RawFd, message: &SendMessage<'_>, flags: c_int) -> io::Result<usize> {
    if let Some(sent) = calls::send(socket, message.buffers, message.address) {
        return sent;
    }
    keep_sigpipe_away(socket);
    // SAFETY: `IoSlice` has the form of an iovec on Unix; sendmsg(2) only reads.
    let vector = unsafe { std::slice::from_raw_parts(message.buffers.as_ptr().cast(), message.buffers.len()) };
    let mut header = header(vector);
    if let Some(address) = message.address {
        let (address, length) = address.as_raw();
        header.msg_name = address.cast_mut().cast();
        header.msg_namelen = length;
    }
    if !message.control.is_empty() {
        header.msg_control = message.control.as_ptr().cast_mut().cast();
        header.msg_controllen = message.control.len() as _;
    }
    // SAFETY: the header's lengths are those of what it points to, and sendmsg(2) only reads.
    retry(|| unsafe { libc::sendmsg(socket, &raw const header, flags | SEND_FLAGS) })
}

/// shutdown(2).
pub(super) fn shutdown(socket: RawFd, how: Shutdown) -> io::Result<usize> {
    if let Some(ended) = calls::shutdown(socket, how) {
        return ended.map(|()| 0);
    }
    let how = match how {
        Shutdown::Read => libc::SHUT_RD,
        Shutdown::Write => libc::SHUT_WR,
        Shutdown::Both => libc::SHUT_RDWR,
    };
    // SAFETY: no memory is involved.
    retry(|| unsafe { libc::shutdown(socket, how) })
}

/// fsync(2) or fdatasync(2). macOS's fsync stops at the device's cache; `F_FULLFSYNC` goes through it, where the file
/// system has it (fsync(2) of macOS).
pub(super) fn sync(fd: RawFd, _data_only: bool) -> io::Result<usize> {
    #[cfg(target_vendor = "apple")]
    // SAFETY: no memory is involved.
    if let Ok(done) = retry(|| unsafe { libc::fcntl(fd, libc::F_FULLFSYNC) }) {
        return Ok(done);
    }
    #[cfg(not(target_vendor = "apple"))]
    if _data_only {
        // SAFETY: no memory is involved.
        return retry(|| unsafe { libc::fdatasync(fd) });
    }
    // SAFETY: no memory is involved.
    retry(|| unsafe { libc::fsync(fd) })
}

/// Moves a file's own position back by so many bytes.
pub(super) fn step_back(fd: RawFd, bytes: usize) {
    // SAFETY: no memory is involved. It fails where there is no position, and then none has moved.
    unsafe { libc::lseek(fd, -(bytes as libc::off_t), libc::SEEK_CUR) };
}

/// What a descriptor is for reads and writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Nature {
    /// A regular file, a block device, a directory: always ready, and yet it may block.
    File,
    Socket,
    /// A pipe, an eventfd or its kin: has readiness.
    Stream,
    /// A terminal or another device: as `Stream`, but closing it may take time.
    Device,
}

pub(super) fn nature(fd: RawFd) -> io::Result<Nature> {
    Ok(match sys::status(fd)?.st_mode & libc::S_IFMT {
        libc::S_IFREG | libc::S_IFBLK | libc::S_IFDIR => Nature::File,
        libc::S_IFSOCK => Nature::Socket,
        libc::S_IFCHR => Nature::Device,
        _ => Nature::Stream,
    })
}

/// What tells an open socket from a later one with the same number. (macOS numbers sockets with 0.)
pub(super) fn identity(fd: RawFd) -> Option<u64> {
    sim::on(fd, |_, id| id.number()).or_else(|| sys::inode(fd))
}

/// Whether the descriptor is open.
pub(super) fn check_open(fd: RawFd) -> io::Result<()> {
    // SAFETY: no memory is involved.
    retry(|| unsafe { libc::fcntl(fd, libc::F_GETFD) }).map(drop)
}

/// The memory of a read or write: the caller's buffers, by address.
#[derive(Clone, Copy)]
pub(super) enum Vector {
    One(iovec),
    Many(*const iovec, usize),
}

impl Vector {
    pub(super) fn one(start: *const u8, length: usize) -> Vector {
        Vector::One(iovec { iov_base: start.cast_mut().cast(), iov_len: length })
    }

    /// # Safety
    /// The buffers of a `Many` are still there.
    pub(super) unsafe fn length(&self) -> usize {
        match *self {
            Vector::One(one) => one.iov_len,
            // SAFETY: the caller's promise.
            Vector::Many(start, count) => unsafe { std::slice::from_raw_parts(start, count) }
                .iter()
                .fold(0, |sum, buffer| sum.saturating_add(buffer.iov_len)),
        }
    }

    /// Calls with what is left after the first `moved` bytes, and no more than `most` of it.
    ///
    /// # Safety
    /// The buffers of a `Many` are still there.
    pub(super) unsafe fn with_rest<T>(&self, mut moved: usize, mut most: usize, call: impl FnOnce(&[iovec]) -> T) -> T {
        // SAFETY: the caller's promise.
        let is_whole = moved == 0 && unsafe { self.length() } <= most;
        let mut rest_of = |buffer: &iovec| {
            let skip = moved.min(buffer.iov_len);
            let length = (buffer.iov_len - skip).min(most);
            moved -= skip;
            most -= length;
            iovec { iov_base: buffer.iov_base.cast::<u8>().wrapping_add(skip).cast(), iov_len: length }
        };
        match *self {
            Vector::One(one) => call(&[rest_of(&one)]),
            // SAFETY: the caller's promise.
            Vector::Many(start, count) if is_whole => call(unsafe { std::slice::from_raw_parts(start, count) }),
            Vector::Many(start, count) => {
                // SAFETY: the caller's promise.
                let buffers = unsafe { std::slice::from_raw_parts(start, count) };
                let rest: Vec<iovec> = buffers.iter().map(rest_of).filter(|buffer| buffer.iov_len > 0).collect();
                call(&rest)
            }
        }
    }
}

/// The blocking read or write of a file.
///
/// # Safety
/// The buffers in `vector` are there, and may be written to by a read.
pub(super) unsafe fn transfer(side: Side, fd: RawFd, vector: &[iovec], offset: Option<u64>) -> io::Result<usize> {
    let (start, count) = (vector.as_ptr(), vector.len().min(MOST_BUFFERS) as c_int);
    // SAFETY: the caller's promise. An offset past the largest is negative, and refused with EINVAL.
    retry(|| unsafe {
        match (side, offset) {
            (Side::Read, None) => libc::readv(fd, start, count),
            (Side::Write, None) => libc::writev(fd, start, count),
            (Side::Read, Some(offset)) => libc::preadv(fd, start, count, offset as libc::off_t),
            (Side::Write, Some(offset)) => libc::pwritev(fd, start, count, offset as libc::off_t),
        }
    })
}

/// The read or write that answers at once ([`at_once`]).
///
/// # Safety
/// As for [`transfer`].
pub(super) unsafe fn transfer_at_once(
    side: Side,
    fd: RawFd,
    vector: &[iovec],
    offset: Option<u64>,
) -> io::Result<usize> {
    // SAFETY: the caller's promise.
    unsafe {
        match side {
            Side::Read => at_once::read(fd, vector, offset),
            Side::Write => at_once::write(fd, vector, offset),
        }
    }
}

/// The read or write of a pipe, a terminal or another device: `EAGAIN` where it would have to wait.
///
/// # Safety
/// As for [`transfer`].
pub(super) unsafe fn transfer_stream(
    side: Side,
    fd: RawFd,
    vector: &[iovec],
    offset: Option<u64>,
) -> io::Result<usize> {
    // SAFETY: the caller's promise.
    let answer = unsafe { transfer_at_once(side, fd, vector, offset) };
    match answer.as_ref().map_err(io::Error::raw_os_error) {
        // Unknown to the driver, or to a kernel before 4.14.
        Err(Some(libc::EOPNOTSUPP | libc::ENOSYS)) => {}
        _ => return answer,
    }
    let events = if side == Side::Read { libc::POLLIN } else { libc::POLLOUT };
    let is_ready = || Ok(poll_now(fd, events)? != 0);
    // SAFETY: the caller's promise.
    without_blocking(fd, is_ready, || unsafe { transfer(side, fd, vector, offset) })
}

/// The read or write of a socket, without a signal.
///
/// # Safety
/// As for [`transfer`].
pub(super) unsafe fn transfer_socket(
    side: Side,
    fd: RawFd,
    vector: &[iovec],
    offset: Option<u64>,
) -> io::Result<usize> {
    if offset.is_some_and(|offset| offset != 0) {
        return Err(io::Error::from_raw_os_error(libc::ESPIPE));
    }
    // SAFETY: the caller's promise.
    unsafe {
        match side {
            // read(2) of nothing answers 0; recvmsg(2) would wait for the next bytes.
            Side::Read if vector.iter().all(|buffer| buffer.iov_len == 0) => Ok(0),
            Side::Read => receive_vector(fd, vector),
            Side::Write => send_vector(fd, vector),
        }
    }
}
