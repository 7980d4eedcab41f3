//! The system's names and calls that the tests need beside the standard library.
//!
//! What comes before [`is_inherited`] the portable tests use too: another system's module has the same items.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// The error of a cancelled operation.
pub(crate) const CANCELLED: i32 = libc::ECANCELED;
/// No such handle.
pub(crate) const BAD_HANDLE: i32 = libc::EBADF;
/// The handle is not that of a socket.
pub(crate) const NOT_A_SOCKET: i32 = libc::ENOTSOCK;
/// The socket is connected already.
pub(crate) const IS_CONNECTED: i32 = libc::EISCONN;
/// A datagram is longer than the protocol can carry.
pub(crate) const MESSAGE_TOO_LONG: i32 = libc::EMSGSIZE;
/// A send on a socket that is not connected names no receiver.
pub(crate) const NO_DESTINATION: i32 = libc::EDESTADDRREQ;
/// The address is of a family that the socket does not speak.
pub(crate) const WRONG_FAMILY: i32 = libc::EAFNOSUPPORT;

/// The file was not opened for that.
pub(crate) const WRONG_WAY: i32 = libc::EBADF;
/// A folder, where a file is wanted.
pub(crate) const A_FOLDER: io::ErrorKind = io::ErrorKind::IsADirectory;
/// A file, where a folder is wanted.
pub(crate) const NOT_A_FOLDER: io::ErrorKind = io::ErrorKind::NotADirectory;

/// Flag of a receive: urgent data.
pub(crate) const MSG_OOB: i32 = libc::MSG_OOB;

/// More operations than any queue of the kernel's holds.
pub(crate) const MANY_WAITS: usize = 100_000;

/// Whether a write on a pipe that is cancelled half-way tells how much it wrote.
pub(crate) const CANCELLED_PIPE_WRITES_TELL: bool = true;

/// Why a test cannot pass here, by its name: every one can.
pub(crate) fn cannot_show(_name: &str) -> Option<&'static str> {
    None
}

/// The file of a number that no open file has.
pub(crate) fn no_file(handle: RawFd) -> RawFd {
    handle
}

/// A file's handle, taken for that of a socket.
pub(crate) fn no_socket(file: RawFd) -> RawFd {
    file
}

/// Handles that no open file or socket has.
pub(crate) const NO_HANDLES: [RawFd; 2] = [-1, i32::MAX];

/// Gives up a handle, for an operation that closes it.
pub(crate) fn give_up(handle: impl Into<OwnedFd>) -> RawFd {
    use std::os::fd::IntoRawFd;
    handle.into().into_raw_fd()
}

/// Once, before the first test: allows as many descriptors as the machine's owner does.
pub(crate) fn prepare() {
    // SAFETY: `limit` is a plain value that the first call fills and the second reads.
    unsafe {
        let mut limit = std::mem::zeroed::<libc::rlimit>();
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        }
    }
}

/// A file without a name that holds `content`, at its start.
pub(crate) fn file_with(content: &[u8]) -> File {
    let file = tempfile::tempfile().expect("a file for the test");
    file.write_all_at(content, 0).unwrap();
    file
}

/// All that is in a file; its position stays.
pub(crate) fn content(file: &File) -> Vec<u8> {
    let mut content = vec![0; file.metadata().unwrap().len() as usize];
    file.read_exact_at(&mut content, 0).unwrap();
    content
}

/// The handles that this process has open, each with what it is.
pub(crate) fn open_handles() -> BTreeSet<(RawFd, PathBuf)> {
    let entries = std::fs::read_dir("/dev/fd").expect("a list of the open descriptors");
    let handles = entries.filter_map(|entry| {
        let path = entry.ok()?.path();
        let number = path.file_name()?.to_str()?.parse().ok()?;
        // The list's own descriptor is gone when its link would be read.
        Some((number, std::fs::read_link(&path).unwrap_or_default()))
    });
    let handles: BTreeSet<_> = handles.collect();
    handles.into_iter().filter(|(number, _)| is_open(*number)).collect()
}

pub(crate) fn is_open(number: RawFd) -> bool {
    // SAFETY: this only asks; any number is allowed.
    unsafe { libc::fcntl(number, libc::F_GETFD) != -1 }
}

/// Whether a child process would inherit it.
pub(crate) fn is_inherited(descriptor: &impl AsFd) -> bool {
    // SAFETY: the descriptor is open.
    let flags = unsafe { libc::fcntl(descriptor.as_fd().as_raw_fd(), libc::F_GETFD) };
    flags & libc::FD_CLOEXEC == 0
}

/// Puts a descriptor into non-blocking mode, or out of it.
pub(crate) fn set_nonblocking(descriptor: &impl AsFd, nonblocking: bool) {
    let number = descriptor.as_fd().as_raw_fd();
    // SAFETY: the descriptor is open.
    unsafe {
        let flags = libc::fcntl(number, libc::F_GETFL);
        let flags = if nonblocking { flags | libc::O_NONBLOCK } else { flags & !libc::O_NONBLOCK };
        assert_eq!(libc::fcntl(number, libc::F_SETFL, flags), 0);
    }
}

/// Makes `number` name what `new` names; what it named before is closed (dup2(2)).
pub(crate) fn replace(number: RawFd, new: BorrowedFd<'_>) {
    // SAFETY: the caller gives up the number's old meaning; its owner will close the new one.
    assert_eq!(unsafe { libc::dup2(new.as_raw_fd(), number) }, number, "{}", io::Error::last_os_error());
}

/// The control data that passes descriptors (`SCM_RIGHTS`, unix(7)).
pub(crate) fn rights(descriptors: &[BorrowedFd<'_>]) -> Vec<u8> {
    let numbers: Vec<RawFd> = descriptors.iter().map(|descriptor| descriptor.as_raw_fd()).collect();
    let length = u32::try_from(size_of_val(numbers.as_slice())).expect("a few descriptors");
    // SAFETY: arithmetic alone.
    let (space, length) = unsafe { (libc::CMSG_SPACE(length), libc::CMSG_LEN(length)) };
    let mut control = vec![0_u64; (space as usize).div_ceil(8)];
    // SAFETY: `control` is zeroed and aligned as a header is, and has room for it and for the numbers (`CMSG_SPACE`).
    unsafe {
        let place = control.as_mut_ptr().cast::<libc::cmsghdr>();
        (*place).cmsg_len = length as _;
        (*place).cmsg_level = libc::SOL_SOCKET;
        (*place).cmsg_type = libc::SCM_RIGHTS;
        let data = libc::CMSG_DATA(place).cast::<RawFd>();
        std::ptr::copy_nonoverlapping(numbers.as_ptr(), data, numbers.len());
        std::slice::from_raw_parts(control.as_ptr().cast::<u8>(), space as usize).to_vec()
    }
}

/// The room that `count` descriptors need as control data.
pub(crate) fn rights_room(count: usize) -> usize {
    // SAFETY: arithmetic alone.
    unsafe { libc::CMSG_SPACE((count * size_of::<RawFd>()) as u32) as usize }
}

/// Takes the descriptors out of received control data.
pub(crate) fn take_rights(control: &[u8]) -> Vec<OwnedFd> {
    if control.len() < size_of::<libc::cmsghdr>() {
        return Vec::new();
    }
    // SAFETY: the bytes begin with a header, for which any alignment will do here.
    let header = unsafe { control.as_ptr().cast::<libc::cmsghdr>().read_unaligned() };
    // SAFETY: arithmetic alone.
    let start = unsafe { libc::CMSG_LEN(0) } as usize;
    // `as _`, for the type is not the same on every system.
    let end: usize = header.cmsg_len as _;
    control[start..end.min(control.len())]
        .chunks_exact(size_of::<RawFd>())
        // SAFETY: the kernel has just made these descriptors for this process, and nobody else takes them.
        .map(|number| unsafe { OwnedFd::from_raw_fd(RawFd::from_ne_bytes(number.try_into().unwrap())) })
        .collect()
}

/// Installs a handler that counts a signal, without `SA_RESTART`: system calls that it interrupts end with `EINTR`.
pub(crate) fn count_signal(signal: i32, handler: extern "C" fn(i32)) {
    // SAFETY: `action` is a plain value, filled before it is used; the handler only adds to an atomic.
    unsafe {
        let mut action = std::mem::zeroed::<libc::sigaction>();
        action.sa_sigaction = handler as usize;
        assert_eq!(libc::sigaction(signal, &raw const action, std::ptr::null_mut()), 0);
    }
}

/// A thread that signals can be sent to, as long as it runs.
#[derive(Clone, Copy)]
pub(crate) struct Thread(libc::pthread_t);

// SAFETY: a `pthread_t` names a thread to all threads of the process.
unsafe impl Send for Thread {}

pub(crate) fn this_thread() -> Thread {
    // SAFETY: it has no conditions.
    Thread(unsafe { libc::pthread_self() })
}

/// Sends a signal to a thread, which the caller knows to run.
pub(crate) fn signal(thread: Thread, signal: i32) {
    // SAFETY: the thread runs, says the caller.
    unsafe { libc::pthread_kill(thread.0, signal) };
}

/// Runs `action` and says whether it raised `signal` on this thread.
pub(crate) fn raises(signal: i32, action: impl FnOnce()) -> bool {
    // SAFETY: the sets are plain values, filled before they are used. A signal that is blocked waits, even where it
    // is ignored once it arrives.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, signal);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
        action();
        let mut pending = std::mem::zeroed();
        libc::sigpending(&raw mut pending);
        libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const set, std::ptr::null_mut());
        libc::sigismember(&raw const pending, signal) == 1
    }
}

/// The most descriptors that the process may have open, from now on.
pub(crate) fn limit_descriptors(most: libc::rlim_t) -> libc::rlim_t {
    // SAFETY: `limit` is a plain value that the first call fills and the second reads.
    unsafe {
        let mut limit = std::mem::zeroed::<libc::rlimit>();
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit), 0);
        let before = std::mem::replace(&mut limit.rlim_cur, most);
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit), 0);
        before
    }
}

/// The most bytes that a file of this process may hold, from now on. Writes beyond that fail, without a signal.
pub(crate) fn limit_file_size(most: libc::rlim_t) {
    let limit = libc::rlimit { rlim_cur: most, rlim_max: most };
    // SAFETY: a plain value that the call reads; ignoring a signal runs no code of ours.
    unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
        assert_eq!(libc::setrlimit(libc::RLIMIT_FSIZE, &raw const limit), 0);
    }
}

/// Closes some of the three lowest descriptors, in a copy of this process.
pub(crate) fn close_standard(numbers: &[RawFd]) {
    for number in numbers {
        // SAFETY: takes no pointers; nobody in the copy needs them.
        unsafe { libc::close(*number) };
    }
}

/// Runs `child` in a copy of this process and returns whether it ended well, within a limit. In the copy no other thread
/// runs: `child` must not wait for one.
pub(crate) fn in_a_fork(child: impl FnOnce() -> bool) -> bool {
    // SAFETY: the copy runs `child` alone, which allocates (the C library allows it after fork) and takes no lock that
    // another thread of the test program may have held.
    match unsafe { libc::fork() } {
        -1 => panic!("fork: {}", io::Error::last_os_error()),
        0 => {
            // SAFETY: a limit on the copy's own life.
            unsafe { libc::alarm(20) };
            let well = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child)).unwrap_or(false);
            // SAFETY: the copy ends without running what is the parent's to run.
            unsafe { libc::_exit(i32::from(!well)) }
        }
        id => {
            let mut status = 0;
            // SAFETY: the child is this process's own, and nobody else waits for it.
            while unsafe { libc::waitpid(id, &raw mut status, 0) } == -1 {
                assert_eq!(io::Error::last_os_error().kind(), io::ErrorKind::Interrupted);
            }
            libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0
        }
    }
}

/// How large this thread's stack is, in bytes (pthread_getattr_np(3)).
#[cfg(target_os = "linux")]
pub(crate) fn stack_size() -> usize {
    let mut size = 0;
    // SAFETY: `attributes` is filled by the first call, read by the second and freed by the third.
    unsafe {
        let mut attributes = std::mem::zeroed();
        assert_eq!(libc::pthread_getattr_np(libc::pthread_self(), &raw mut attributes), 0);
        libc::pthread_attr_getstacksize(&raw const attributes, &raw mut size);
        libc::pthread_attr_destroy(&raw mut attributes);
    }
    size
}

/// From now on this thread can start no other, as where RLIMIT_NPROC is reached.
#[cfg(target_os = "linux")]
pub(crate) fn allow_no_more_threads() {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
    let rules = [libc::SYS_clone, libc::SYS_clone3].map(|call| (call, Vec::new())).into_iter().collect();
    let denial = SeccompAction::Errno(libc::EAGAIN as u32);
    let architecture = std::env::consts::ARCH.try_into().expect("an architecture that seccomp knows");
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, denial, architecture).unwrap();
    let program: BpfProgram = filter.try_into().unwrap();
    seccompiler::apply_filter(&program).expect("the kernel takes the filter");
}

/// A pseudo-terminal: its controlling end and its terminal.
pub(crate) fn terminal() -> (OwnedFd, OwnedFd) {
    let (mut controller, mut terminal) = (-1, -1);
    let none = std::ptr::null_mut();
    // SAFETY: the two numbers live through the call; the rest may be null. Each number is a new descriptor, with no
    // owner but the one that it gets here.
    unsafe {
        let made = libc::openpty(&raw mut controller, &raw mut terminal, none, none.cast(), none.cast());
        assert_eq!(made, 0, "{}", io::Error::last_os_error());
        (OwnedFd::from_raw_fd(controller), OwnedFd::from_raw_fd(terminal))
    }
}

/// Makes a named pipe (mkfifo(3)).
pub(crate) fn make_named_pipe(path: &std::path::Path) {
    let path = overlapped_port::sys::system_path(path).unwrap();
    // SAFETY: the path ends with a NUL byte and lives through the call.
    assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0, "{}", io::Error::last_os_error());
}

/// A pipe, where the system has pipes on which operations can wait: its reading and its writing end.
pub(crate) fn pipe() -> Option<(OwnedFd, OwnedFd)> {
    let (reader, writer) = io::pipe().expect("a pipe");
    Some((reader.into(), writer.into()))
}
