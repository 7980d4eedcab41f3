//! What the manager is told: sd_notify(3).

use std::env;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::time::Duration;

use overlapped_port::sys;

use super::listen::{number, wrong};
use crate::attempt::attempt;
use crate::net::UnixDatagram;

/// Tells the manager something: assignments as sd_notify(3) has them, a line each, in one message; for what has no
/// function of its own here, and for several at once. Returns whether there is somebody to tell: false where
/// `NOTIFY_SOCKET` is not set.
///
/// It waits, as other sends do, where the manager is slow to read.
///
/// # Errors
/// `InvalidInput` for a line that is no `NAME=value`; `InvalidData` where `NOTIFY_SOCKET` is neither an absolute path
/// nor, with an `@` in front, an abstract name, `Unsupported` where it is another kind of address; what the system
/// says: `NotFound` or `ConnectionRefused` where nobody is there. [`attempted`](crate::attempted) names the socket.
///
/// ```
/// # overlapped::run(|| {
/// overlapped::systemd::notify("READY=1\nSTATUS=4 workers serve")?;
/// # std::io::Result::Ok(())
/// # })?;
/// # std::io::Result::Ok(())
/// ```
pub fn notify(assignments: &str) -> io::Result<bool> {
    tell(assignments, &[])
}

/// Tells the manager that the service has started (`READY=1`), or, after [`reloading`], that it has done so.
/// As for [`notify`]; the same holds for the functions that follow.
///
/// # Errors
/// As for [`notify`].
pub fn ready() -> io::Result<bool> {
    notify("READY=1")
}

/// Tells the manager that the service loads its configuration anew, or replaces its processes (`RELOADING=1`, with
/// `MONOTONIC_USEC`, as `Type=notify-reload` wants it). [`ready`] ends that.
///
/// # Errors
/// As for [`notify`].
pub fn reloading() -> io::Result<bool> {
    notify(&format!("RELOADING=1\nMONOTONIC_USEC={}", sys::monotonic().as_micros()))
}

/// Tells the manager that the service ends (`STOPPING=1`).
///
/// # Errors
/// As for [`notify`].
pub fn stopping() -> io::Result<bool> {
    notify("STOPPING=1")
}

/// Tells the manager in one line, for people, how the service is (`STATUS=`).
///
/// # Errors
/// As for [`notify`]; `InvalidInput` for more than one line.
pub fn status(text: &str) -> io::Result<bool> {
    if text.contains('\n') {
        return Err(invalid(format!("a status of several lines: {text:?}")));
    }
    notify(&format!("STATUS={text}"))
}

/// Tells the manager which process is the service's main one (`MAINPID=`), where that is not the one that it has
/// started.
///
/// # Errors
/// As for [`notify`].
pub fn main_process(process: u32) -> io::Result<bool> {
    notify(&format!("MAINPID={process}"))
}

/// Tells the manager that the service is alive (`WATCHDOG=1`): to be said within each [`watchdog_interval`].
///
/// # Errors
/// As for [`notify`].
pub fn watchdog() -> io::Result<bool> {
    notify("WATCHDOG=1")
}

/// Within which time the manager wants to hear of [`watchdog`] again, before it takes this process for hung
/// (`WATCHDOG_USEC`, `WATCHDOG_PID`; sd_watchdog_enabled(3)); `None` where it does not, or not from this process. Twice
/// in that time is usual.
///
/// # Errors
/// `InvalidData` where the variables are no numbers, or the time is zero.
pub fn watchdog_interval() -> io::Result<Option<Duration>> {
    if number("WATCHDOG_PID")?.is_some_and(|process| process as u32 != std::process::id()) {
        return Ok(None);
    }
    let Some(told) = env::var_os("WATCHDOG_USEC") else { return Ok(None) };
    match told.to_str().and_then(|told| told.parse().ok()) {
        None | Some(0) => Err(wrong(format!("WATCHDOG_USEC is {told:?}, and no number of microseconds"))),
        Some(microseconds) => Ok(Some(Duration::from_micros(microseconds))),
    }
}

/// Sends a message, with descriptors along.
pub(super) fn tell(assignments: &str, fds: &[BorrowedFd<'_>]) -> io::Result<bool> {
    let is_assignment = |line: &str| line.split_once('=').is_some_and(|(name, _)| !name.is_empty());
    if assignments.is_empty() || !assignments.lines().all(is_assignment) {
        return Err(invalid(format!("{assignments:?} is not NAME=value, a line each")));
    }
    let Some(address) = env::var_os("NOTIFY_SOCKET").filter(|address| !address.is_empty()) else { return Ok(false) };
    let socket = UnixDatagram::unbound()?;
    socket.connect(path_of(address.as_encoded_bytes())?)?;
    let told = socket.send_with_fds(assignments.as_bytes(), fds);
    told.map(|_| true).map_err(|error| attempt(error, || format!("tell {}", address.display())))
}

/// Where the manager listens: a path, or on Linux an abstract name, which is written with an `@` in front.
fn path_of(address: &[u8]) -> io::Result<PathBuf> {
    use std::os::unix::ffi::OsStringExt;
    let path = |bytes: Vec<u8>| Ok(std::ffi::OsString::from_vec(bytes).into());
    match address {
        [b'/', _, ..] => path(address.to_vec()),
        [b'@', name @ ..] if !name.is_empty() => path([b"\0", name].concat()),
        [b'v', b's', b'o', b'c', b'k', ..] => {
            Err(io::Error::new(io::ErrorKind::Unsupported, "systemd: NOTIFY_SOCKET is a vsock address"))
        }
        other => Err(wrong(format!("NOTIFY_SOCKET is {}: neither a path nor an abstract name", other.escape_ascii()))),
    }
}

pub(super) fn invalid(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("systemd: {why}"))
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::path::Path;

    use super::path_of;

    #[test]
    fn a_managers_address_is_a_path_or_an_abstract_name() {
        assert_eq!(path_of(b"/run/notify").unwrap(), Path::new("/run/notify"));
        assert_eq!(path_of(b"@notify/7").unwrap(), Path::new("\0notify/7"));
        for (address, kind) in [
            (&b"run/notify"[..], ErrorKind::InvalidData),
            (b"/", ErrorKind::InvalidData),
            (b"@", ErrorKind::InvalidData),
            (b"vsock:2:1234", ErrorKind::Unsupported),
        ] {
            assert_eq!(path_of(address).unwrap_err().kind(), kind);
        }
    }
}
