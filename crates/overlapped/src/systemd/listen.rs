//! Descriptors that the manager passes: sd_listen_fds(3).

use std::env::{self, VarError};
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::sync::{Mutex, PoisonError};

use overlapped_port::sys::inherited;

use crate::net::{Kind, TcpListener, TcpStream, UdpSocket, UnixDatagram, UnixListener, UnixStream};
use crate::process;

/// `SD_LISTEN_FDS_START`.
const FIRST: RawFd = 3;

/// What tells of the descriptors. The last, which newer managers set, is the process's identity beyond its number.
const VARIABLES: &[&str] = &["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID"];

/// Whether this process has taken its descriptors: they are taken once.
static TAKEN: Mutex<bool> = Mutex::new(false);

/// A descriptor that the manager has passed.
#[derive(Debug)]
pub struct Passed {
    /// Its name: `FileDescriptorName=` of the socket's unit, where that does not say otherwise the unit's name; the
    /// name under which it was [stored](super::store()); `unknown` where the manager tells no names. Several may have
    /// the same.
    pub name: String,
    /// The socket.
    pub socket: Socket,
}

/// A descriptor as what it is.
#[derive(Debug)]
#[non_exhaustive]
pub enum Socket {
    /// A TCP socket that takes connections.
    TcpListener(TcpListener),
    /// A TCP connection: `Accept=yes`, or one that was stored.
    TcpStream(TcpStream),
    /// A UDP socket.
    UdpSocket(UdpSocket),
    /// A Unix socket that takes streams.
    UnixListener(UnixListener),
    /// A Unix stream.
    UnixStream(UnixStream),
    /// A Unix datagram socket.
    UnixDatagram(UnixDatagram),
    /// Something else: a named pipe, a file, a socket of another kind.
    Other(OwnedFd),
}

impl From<OwnedFd> for Socket {
    fn from(fd: OwnedFd) -> Socket {
        match Kind::of(&fd) {
            Kind::TcpListener => Socket::TcpListener(fd.into()),
            Kind::TcpStream => Socket::TcpStream(fd.into()),
            Kind::UdpSocket => Socket::UdpSocket(fd.into()),
            Kind::UnixListener => Socket::UnixListener(fd.into()),
            Kind::UnixStream => Socket::UnixStream(fd.into()),
            Kind::UnixDatagram => Socket::UnixDatagram(fd.into()),
            Kind::Other => Socket::Other(fd),
        }
    }
}

impl From<Socket> for OwnedFd {
    fn from(socket: Socket) -> OwnedFd {
        match socket {
            Socket::TcpListener(socket) => socket.into(),
            Socket::TcpStream(socket) => socket.into(),
            Socket::UdpSocket(socket) => socket.into(),
            Socket::UnixListener(socket) => socket.into(),
            Socket::UnixStream(socket) => socket.into(),
            Socket::UnixDatagram(socket) => socket.into(),
            Socket::Other(fd) => fd,
        }
    }
}

/// Takes the descriptors that the manager has passed to this process, in its order. None where it has passed none,
/// where the variables are meant for another process, and on every call but the first.
///
/// Call it early. They are not inherited by children from then on, and neither are the variables, see
/// [the module](super).
///
/// # Errors
/// `InvalidData` where `LISTEN_PID`, `LISTEN_FDS` or `LISTEN_FDNAMES` cannot be what a manager has set, and where a
/// descriptor that they tell of is not open, or is not one that was inherited: then none is taken.
///
/// ```no_run
/// use overlapped::systemd::{self, Socket};
///
/// for passed in systemd::listen_fds()? {
///     match passed.socket {
///         Socket::TcpListener(listener) => println!("{} listens at {}", passed.name, listener.local_addr()?),
///         other => println!("{} is {other:?}", passed.name),
///     }
/// }
/// # std::io::Result::Ok(())
/// ```
pub fn listen_fds() -> io::Result<Vec<Passed>> {
    // It is set last, after whatever can panic.
    let mut taken = TAKEN.lock().unwrap_or_else(PoisonError::into_inner);
    if *taken || !is_for_us()? {
        return Ok(Vec::new());
    }
    let last = number("LISTEN_FDS")?.unwrap_or(0).checked_add(FIRST).ok_or_else(|| wrong("LISTEN_FDS is too large"))?;
    let names = names((last - FIRST) as usize)?;
    for fd in FIRST..last {
        is_inherited(fd)?;
    }
    let passed = (FIRST..last).zip(names).map(|(fd, name)| Ok(Passed { name, socket: take(fd)?.into() }));
    let passed = passed.collect::<io::Result<_>>()?;
    process::withhold(VARIABLES);
    *taken = true;
    Ok(passed)
}

/// As [`listen_fds`], for a server that wants listeners, TCP or Unix, and nothing else: their names, and themselves.
///
/// # Errors
/// As for [`listen_fds`]; `InvalidData` where something else was passed: all are closed then.
pub fn listeners() -> io::Result<Vec<(String, OwnedFd)>> {
    let listeners = listen_fds()?.into_iter().map(|passed| match passed.socket {
        Socket::TcpListener(listener) => Ok((passed.name, listener.into())),
        Socket::UnixListener(listener) => Ok((passed.name, listener.into())),
        other => Err(wrong(format!("{:?} is passed, which is no listener: {other:?}", passed.name))),
    });
    listeners.collect()
}

/// Whether the variables are meant for this process.
fn is_for_us() -> io::Result<bool> {
    Ok(number("LISTEN_PID")?.is_some_and(|process| process as u32 == std::process::id()))
}

/// A variable that is a number, not negative.
pub(super) fn number(variable: &str) -> io::Result<Option<i32>> {
    text(variable)?.map(|told| number_of(variable, &told)).transpose()
}

fn number_of(variable: &str, told: &str) -> io::Result<i32> {
    let is_number = !told.is_empty() && told.bytes().all(|byte| byte.is_ascii_digit());
    let number = told.parse().ok().filter(|_| is_number);
    number.ok_or_else(|| wrong(format!("{variable} is {told:?}, and no number")))
}

fn text(variable: &str) -> io::Result<Option<String>> {
    match env::var(variable) {
        Ok(told) => Ok(Some(told)),
        Err(VarError::NotPresent) => Ok(None),
        Err(VarError::NotUnicode(told)) => Err(wrong(format!("{variable} is {told:?}, and no text"))),
    }
}

fn names(count: usize) -> io::Result<Vec<String>> {
    match text("LISTEN_FDNAMES")? {
        Some(told) => names_of(&told, count),
        None => Ok(vec!["unknown".to_owned(); count]),
    }
}

fn names_of(told: &str, count: usize) -> io::Result<Vec<String>> {
    let names: Vec<String> = told.split(':').map(str::to_owned).collect();
    match count {
        0 => Ok(Vec::new()),
        _ if names.len() == count => Ok(names),
        _ => Err(wrong(format!("LISTEN_FDNAMES has {} names for {count} descriptors", names.len()))),
    }
}

pub(super) fn wrong(why: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("systemd: {}", why.into()))
}

/// Whether a descriptor is one that this process was started with, and has not opened itself.
fn is_inherited(fd: RawFd) -> io::Result<()> {
    match inherited::is_inherited(fd) {
        Ok(true) => Ok(()),
        Ok(false) => Err(wrong(format!("descriptor {fd} is passed, and was opened by this process"))),
        Err(error) => Err(wrong(format!("descriptor {fd} is passed: {error}"))),
    }
}

#[allow(unsafe_code, reason = "the number of a descriptor comes from the environment")]
fn take(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: the manager has passed it to this process, which was started with it (`is_inherited`), and it is taken once
    // (`TAKEN`): nobody else owns it.
    unsafe { inherited::take(fd) }
}

#[cfg(test)]
mod fuzz {
    use super::{FIRST, names_of, number_of};
    use crate::fuzz;

    #[test]
    fn a_number_is_digits_alone_and_names_are_as_many_as_descriptors() {
        let valid = ["0", "3", "12", "2147483647", "http", "http:https", "a:b:c:d", ":", ""].map(|told| told.into());
        fuzz::inputs(20_000, &valid, |random, bytes| {
            let Ok(told) = std::str::from_utf8(bytes) else { return };
            let digits = told.trim_start_matches('0');
            let is_number = !told.is_empty() && told.bytes().all(|byte| byte.is_ascii_digit());
            let fits = (digits.len(), digits) <= (10, "2147483647");
            let number = number_of("LISTEN_FDS", told);
            assert_eq!(number.is_ok(), is_number && fits, "{number:?}");
            if let Ok(number) = number {
                assert_eq!(number.to_string(), if digits.is_empty() { "0" } else { digits });
                assert!(number.checked_add(FIRST).is_none_or(|last| last >= FIRST));
            }
            let count = random.usize(..5);
            match names_of(told, count) {
                Ok(names) if count > 0 => assert_eq!((names.len(), names.join(":")), (count, told.to_owned())),
                Ok(names) => assert!(names.is_empty()),
                Err(_) => assert!(count != told.split(':').count()),
            }
        });
    }
}
