//! What a Unix socket is called: a path, or on Linux an abstract name, which is no file (unix(7)).
//!
//! The system reads a path up to its first NUL byte: handed over as it is, `/run/app\0.sock` would make or reach
//! `/run/app`, which may be somebody else's. So a path with a NUL byte inside is refused, as the standard library does. A NUL
//! byte in front is how Linux writes an abstract name, all of whose bytes count; the standard library takes such a name in a
//! [`SocketAddr`] alone. Here both forms are taken, by every call.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::SocketAddr;
use std::path::Path;

use overlapped_port::Address;
use socket2::SockAddr;

/// Whether this system has abstract names.
const ABSTRACT: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// The address of a path, or of the abstract name that begins with a NUL byte.
///
/// # Errors
/// `InvalidInput` for a NUL byte elsewhere, and for what is too long.
pub(crate) fn of_path(path: &Path) -> io::Result<SockAddr> {
    let bytes = path.as_os_str().as_bytes();
    if bytes.contains(&0) && !(ABSTRACT && bytes[0] == 0) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("the path {path:?} holds a NUL byte")));
    }
    SockAddr::unix(path).map_err(|error| io::Error::new(error.kind(), format!("the path {path:?}: {error}")))
}

/// The same of the standard library's form of an address.
pub(super) fn of_std(address: &SocketAddr) -> io::Result<SockAddr> {
    if let Some(path) = address.as_pathname() {
        return of_path(path);
    }
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Some(name) = std::os::linux::net::SocketAddrExt::as_abstract_name(address) {
        let path = [b"\0", name].concat();
        return of_path(Path::new(std::ffi::OsStr::from_bytes(&path)));
    }
    // Nameless: to bind to that is to let Linux choose an abstract name; otherwise the system refuses it.
    of_path(Path::new(""))
}

/// The standard library's form of an address. A peer that was not bound has none: the standard library's "unnamed".
///
/// # Errors
/// `InvalidInput` where the system has given a path that fills its field to the last byte, which the standard library cannot
/// express.
pub(super) fn to_std(address: &Address) -> io::Result<SocketAddr> {
    let address = address.to_sockaddr();
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Some(name) = address.as_abstract_namespace() {
        return <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name);
    }
    SocketAddr::from_pathname(address.as_pathname().unwrap_or(Path::new("")))
}

/// A path as it is written for people; an abstract name begins with `@`, as ss(8) writes it.
pub(super) fn shown(path: &Path) -> String {
    match path.as_os_str().as_bytes() {
        [0, name @ ..] => format!("@{}", name.escape_ascii()),
        _ => path.display().to_string(),
    }
}
