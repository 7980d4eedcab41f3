//! What the tests need from the system: Unix.

use std::os::fd::OwnedFd;
use std::time::Duration;

use overlapped::fs::File;

/// A stream that has its two ends here.
pub(crate) type Stream = overlapped::net::UnixStream;

/// The two ends of a stream.
pub(crate) fn stream_pair() -> (Stream, Stream) {
    Stream::pair().unwrap()
}

/// A pipe: its reading and its writing end.
pub(crate) fn pipe() -> (File, File) {
    let (reader, writer) = std::io::pipe().unwrap();
    (OwnedFd::from(reader).into(), OwnedFd::from(writer).into())
}

/// How many descriptors the process has open.
pub(crate) fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// How many a process has open that is this one's child, or a child's.
pub(crate) fn descriptors_of(process: u32) -> usize {
    std::fs::read_dir(format!("/proc/{process}/fd")).unwrap().count()
}

/// Runs a test that Wine cannot pass.
pub(crate) fn except_under_wine(_reason: &str, test: impl FnOnce()) {
    test();
}

/// How long a client waits for the answer of a process that may have been killed: until its connection is closed.
pub(crate) fn patience_with_the_killed() -> Option<Duration> {
    None
}

/// Ends a process at once: a child that nobody has waited for yet, or none.
pub(crate) fn kill(process: u32) {
    tell(process, libc::SIGKILL);
}

/// Sends a signal to such a process.
pub(crate) fn tell(process: u32, signal: i32) {
    // SAFETY: takes no pointers.
    unsafe { libc::kill(process as libc::pid_t, signal) };
}
