//! Unix: everything is a file descriptor.

use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::open::{OpenMode, Patience};

/// A socket as the system names it: a file descriptor.
pub type RawSocket = std::os::fd::RawFd;
/// An open file, pipe or device as the system names it: a file descriptor.
pub type RawFile = std::os::fd::RawFd;
/// An owned socket, closed when dropped.
pub type OwnedSocket = std::os::fd::OwnedFd;
/// An owned file, closed when dropped.
pub type OwnedFile = std::os::fd::OwnedFd;

/// The name of a socket that somebody else owns, for operations on it.
pub fn raw_socket(socket: &impl AsRawFd) -> RawSocket {
    socket.as_raw_fd()
}

/// What lends a socket.
pub use std::os::fd::AsFd as AsSocket;

/// The name of a socket that is lent, for operations on it.
pub fn lent_socket(socket: &impl AsSocket) -> RawSocket {
    socket.as_fd().as_raw_fd()
}

/// Whether an [`Op::Poll`](crate::Op::Poll) to read or to write would not wait: it is ready, at an end, or has an error
/// (poll(2)).
pub fn is_ready(socket: RawSocket, to_read: bool, to_write: bool) -> bool {
    let events = if to_read { libc::POLLIN } else { 0 } | if to_write { libc::POLLOUT } else { 0 };
    if let Some(found) = crate::sim::on(socket, |kernel, id| kernel.poll(id, events)) {
        return found != 0;
    }
    let mut entry = libc::pollfd { fd: socket, events, revents: 0 };
    // SAFETY: one entry, which lives through the call; it does not wait.
    unsafe { libc::poll(&raw mut entry, 1, 0) > 0 }
}

/// Whether a socket takes connections (`SO_ACCEPTCONN`, socket(7)).
pub fn listens(socket: &impl AsRawFd) -> bool {
    if let Some(listens) = crate::sim::on(socket.as_raw_fd(), |kernel, id| kernel.listens(id)) {
        return listens;
    }
    let (mut value, mut length) = (0_i32, size_of::<i32>() as libc::socklen_t);
    let (level, name) = (libc::SOL_SOCKET, libc::SO_ACCEPTCONN);
    // SAFETY: both places live through the call, and the length is that of the first.
    let result = unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, (&raw mut value).cast(), &raw mut length) };
    result == 0 && value != 0
}

/// The user, the group and, where the system tells it, the process at the other end of a Unix stream (`SO_PEERCRED`,
/// unix(7)).
///
/// # Errors
/// What the system says.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub fn peer_credentials(socket: RawSocket) -> io::Result<(u32, u32, Option<i32>)> {
    let mut told = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let mut length = size_of::<libc::ucred>() as libc::socklen_t;
    let (level, name, place) = (libc::SOL_SOCKET, libc::SO_PEERCRED, (&raw mut told).cast());
    // SAFETY: both places live through the call, and the length is that of the first. Any number is allowed.
    if unsafe { libc::getsockopt(socket, level, name, place, &raw mut length) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((told.uid, told.gid, Some(told.pid)))
}

/// The user and the group at the other end of a Unix stream (getpeereid(3)).
///
/// # Errors
/// What the system says.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub fn peer_credentials(socket: RawSocket) -> io::Result<(u32, u32, Option<i32>)> {
    let (mut uid, mut gid) = (0, 0);
    // SAFETY: both places live through the call. Any number is allowed.
    if unsafe { libc::getpeereid(socket, &raw mut uid, &raw mut gid) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok((uid, gid, None))
}

/// The name of a file that somebody else owns, for operations on it.
pub fn raw_file(file: &impl AsRawFd) -> RawFile {
    file.as_raw_fd()
}

/// Room for a socket address of any family.
pub(crate) type AddressStorage = libc::sockaddr_storage;

/// The length type of a socket address.
pub(crate) type AddressLength = libc::socklen_t;

/// The header that the system's message calls take (`msghdr`).
pub(crate) type MessageHeader = libc::msghdr;

/// The error of an operation that was cancelled.
pub const CANCELLED: i32 = libc::ECANCELED;

/// Flag of a receive: the datagram was longer than the buffers, its tail is lost (`MSG_TRUNC`, recv(2)).
pub const MSG_TRUNC: i32 = libc::MSG_TRUNC;
/// Flag of a receive: control data was lost for want of room (`MSG_CTRUNC`, recvmsg(2)).
pub const MSG_CTRUNC: i32 = libc::MSG_CTRUNC;
/// Flag of a receive: look at the data and leave it there (`MSG_PEEK`, recv(2)).
pub const MSG_PEEK: i32 = libc::MSG_PEEK;
/// Flag of a receive: wait until the buffer is full, the peer has ended or an error came (`MSG_WAITALL`, recv(2)).
pub const MSG_WAITALL: i32 = libc::MSG_WAITALL;

/// A socket as a number, to compare and count operations by.
pub(crate) fn socket_key(socket: RawSocket) -> usize {
    socket as usize
}

/// A file as a number, to compare and count operations by.
pub(crate) fn file_key(file: RawFile) -> usize {
    file as usize
}

/// Says that a socket's number may stand for another one from now on. On Unix the ports need not be told, but a simulated
/// world has to.
pub fn forget_socket(socket: RawSocket) {
    crate::sim::look_again(socket);
}

/// The same of a file.
pub fn forget_file(file: RawFile) {
    crate::sim::look_again(file);
}

/// Takes ownership of the socket that an accept brought.
///
/// # Safety
/// `result` is that of a finished accept, and this is its only owner.
pub(crate) unsafe fn own_socket(result: usize) -> OwnedSocket {
    use std::os::fd::FromRawFd;
    // SAFETY: the caller's promise.
    unsafe { OwnedSocket::from_raw_fd(result as RawSocket) }
}

/// Takes ownership of the file that an open brought.
///
/// # Safety
/// `result` is that of a finished open, and this is its only owner.
pub(crate) unsafe fn own_file(result: usize) -> OwnedFile {
    use std::os::fd::FromRawFd;
    // SAFETY: the caller's promise.
    unsafe { OwnedFile::from_raw_fd(result as RawFile) }
}

/// What the system knows of an open file (fstat(2)).
///
/// # Errors
/// `EBADF`, where the number means none: any is allowed.
pub(crate) fn status(file: RawFile) -> io::Result<libc::stat> {
    loop {
        // SAFETY: a plain value that fstat(2) fills; zeroes are one.
        let mut status: libc::stat = unsafe { std::mem::zeroed() };
        // SAFETY: the place outlives the call.
        if unsafe { libc::fstat(file, &raw mut status) } == 0 {
            return Ok(status);
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// What tells an open file from a later one with the same number; none where the number means none.
pub(crate) fn inode(file: RawFile) -> Option<u64> {
    #[allow(clippy::unnecessary_cast, reason = "the type of an inode number differs between systems")]
    status(file).ok().map(|status| status.st_ino as u64)
}

/// The flag of a receive of queued errors, where there is one.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) const ERROR_QUEUE: i32 = libc::MSG_ERRQUEUE;
/// The flag of a receive of queued errors, where there is one.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) const ERROR_QUEUE: i32 = 0;

/// A path in the form in which the system takes it.
pub type SystemPath = std::ffi::CString;

/// Converts a path for [`Op::Open`](crate::Op::Open).
///
/// # Errors
/// `InvalidInput` where the path holds a NUL byte.
pub fn system_path(path: &Path) -> io::Result<SystemPath> {
    use std::os::unix::ffi::OsStrExt;
    SystemPath::new(path.as_os_str().as_bytes()).map_err(|_| {
        io::Error::new(io::ErrorKind::InvalidInput, format!("the path {} holds a NUL byte", path.display()))
    })
}

/// How to open a file: the flags and mode of open(2). `O_CLOEXEC` is the caller's to add.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenHow {
    /// `O_RDONLY`, `O_CREAT`, …
    pub flags: i32,
    /// The permission bits of a file that is created, before the umask.
    pub mode: u32,
}

impl OpenHow {
    /// The flags for `mode`, with `O_CLOEXEC`; a file that is created may be read and written by all, but for the umask.
    ///
    /// # Errors
    /// As for [`OpenMode::check`].
    pub fn new(mode: OpenMode) -> io::Result<OpenHow> {
        mode.check()?;
        let access = match (mode.read, mode.write || mode.append) {
            (true, false) => libc::O_RDONLY,
            (true, true) => libc::O_RDWR,
            (false, _) => libc::O_WRONLY,
        };
        let append = if mode.append { libc::O_APPEND } else { 0 };
        let creation = match (mode.create, mode.truncate, mode.create_new) {
            (_, _, true) => libc::O_CREAT | libc::O_EXCL,
            (false, false, false) => 0,
            (true, false, false) => libc::O_CREAT,
            (false, true, false) => libc::O_TRUNC,
            (true, true, false) => libc::O_CREAT | libc::O_TRUNC,
        };
        Ok(OpenHow { flags: access | append | creation | libc::O_CLOEXEC, mode: 0o666 })
    }

    /// With further flags of open(2); those for the access mode are left out, as the standard library does.
    pub fn with_flags(self, flags: i32) -> OpenHow {
        OpenHow { flags: self.flags | (flags & !libc::O_ACCMODE), ..self }
    }
}

/// open(2). One that may not wait is the last resort where there is no thread to wait on: it refuses a FIFO, and opens a
/// device as if it were asked not to wait for it.
pub(crate) fn open(path: &SystemPath, how: OpenHow, patience: Patience) -> io::Result<usize> {
    let asked = how.flags & libc::O_NONBLOCK;
    let hasty = match patience {
        Patience::None if asked == 0 => match kind_of(path) {
            Some(libc::S_IFIFO) => return Err(io::ErrorKind::WouldBlock.into()),
            Some(libc::S_IFCHR) => libc::O_NONBLOCK,
            _ => 0,
        },
        _ => 0,
    };
    let file = loop {
        // SAFETY: `path` ends with a NUL byte.
        let opened = unsafe { libc::open(path.as_ptr(), how.flags | hasty, how.mode as libc::c_uint) };
        if opened >= 0 {
            break opened;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    };
    if hasty != 0 {
        // SAFETY: the file is ours, and no memory is involved.
        unsafe { libc::fcntl(file, libc::F_SETFL, how.flags) };
    }
    Ok(file as usize)
}

/// What a path names (`S_IFMT`), where it names anything.
fn kind_of(path: &SystemPath) -> Option<libc::mode_t> {
    let mut status = std::mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: `path` ends with a NUL byte, and `status` has room for the answer.
    let found = unsafe { libc::stat(path.as_ptr(), status.as_mut_ptr()) } == 0;
    // SAFETY: the call has filled it.
    found.then(|| unsafe { status.assume_init() }.st_mode & libc::S_IFMT)
}

/// close(2) of a descriptor that is the caller's. After a signal it is gone all the same and must not be closed twice: its
/// number may already be somebody else's.
pub(crate) fn close(file: RawFile) -> io::Result<usize> {
    crate::sim::forget(file);
    // SAFETY: takes no pointers.
    if unsafe { libc::close(file) } == 0 {
        return Ok(0);
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EINTR | libc::EINPROGRESS) => Ok(0),
        _ => Err(error),
    }
}

/// Keeps signals away from the calling thread: they are the program's own threads' business.
pub fn block_signals() {
    // SAFETY: `set` is a plain value that `sigfillset` initialises before it is read.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigfillset(&raw mut set);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const set, std::ptr::null_mut());
    }
}

/// The signals that a thread blocks.
#[derive(Clone, Copy)]
pub struct SignalMask(libc::sigset_t);

impl SignalMask {
    /// Those that the calling thread blocks.
    pub fn of_this_thread() -> SignalMask {
        // SAFETY: with no new mask, the call writes the old one, whole.
        unsafe {
            let mut set = std::mem::zeroed();
            libc::pthread_sigmask(libc::SIG_SETMASK, std::ptr::null(), &raw mut set);
            SignalMask(set)
        }
    }

    /// Has the calling thread block these instead, from now on.
    pub fn set(&self) {
        // SAFETY: a mask that the system has written.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, std::ptr::null_mut()) };
    }
}

/// A descriptor that is readable while one of `signals` is pending, for the thread that waits or for the process
/// (signalfd(2)). It is of use where all threads block them, as for sigwait(3).
///
/// # Errors
/// The system's; `Unsupported` where it has none, as all but Linux.
#[cfg_attr(not(any(target_os = "linux", target_os = "android")), expect(unused_variables))]
pub fn signal_descriptor(signals: &[i32]) -> io::Result<OwnedFile> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    // SAFETY: `set` is a plain value that `sigemptyset` initialises; a wrong number is refused by `sigaddset`. The descriptor
    // is new, and this is its only owner.
    unsafe {
        use std::os::fd::FromRawFd;
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        for signal in signals {
            if libc::sigaddset(&raw mut set, *signal) != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        match libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) {
            -1 => Err(io::Error::last_os_error()),
            descriptor => Ok(OwnedFile::from_raw_fd(descriptor)),
        }
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    Err(io::ErrorKind::Unsupported.into())
}

/// The error of an operation on a handle that is closed.
pub const CLOSED: i32 = libc::EBADF;

/// Gives up the ownership of a socket.
pub fn into_raw_socket(socket: OwnedSocket) -> RawSocket {
    use std::os::fd::IntoRawFd;
    socket.into_raw_fd()
}

/// How often this process is the child of a fork(2) since the first port was made. Read at each operation: so it is a number
/// that fork itself changes, and no call of getpid(2). (A child of vfork(2) or of a bare clone(2) is not counted: such a child
/// may do no more than execute another program.)
pub(crate) fn forks() -> u32 {
    FORKS.load(Ordering::Relaxed)
}

/// Begins to count.
pub(crate) fn count_forks() {
    static COUNTS: Once = Once::new();
    extern "C" fn forked() {
        FORKS.fetch_add(1, Ordering::Relaxed);
    }
    COUNTS.call_once(|| {
        // SAFETY: the handler touches an atomic number alone, and is there for as long as the library. It fails where there is
        // no memory, and then forks are not seen.
        unsafe { libc::pthread_atfork(None, None, Some(forked)) };
    });
}

static FORKS: AtomicU32 = AtomicU32::new(0);

/// Keeps the numbers of the standard streams from being given out, while the result lives, where they are free: a program
/// that was started without them, or has closed them, opens what is to be there itself, also after the port's descriptors.
pub(crate) fn keep_standard_numbers() -> Vec<OwnedFile> {
    // SAFETY: a flag of a descriptor is asked for; one that is closed gives an error.
    let is_free = |number| unsafe { libc::fcntl(number, libc::F_GETFD) } < 0;
    let mut kept = Vec::new();
    while (0..=libc::STDERR_FILENO).any(is_free) {
        // Of all that has a number, a pipe needs no file that may be missing. Where there are no descriptors left, the port
        // will not get its own either.
        let Ok((reader, writer)) = io::pipe() else { break };
        kept.extend([OwnedFile::from(reader), writer.into()]);
    }
    kept
}
