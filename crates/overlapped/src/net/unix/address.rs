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

#[cfg(test)]
mod fuzz {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    use std::path::Path;

    use overlapped_port::Address;

    use super::{ABSTRACT, of_path, of_std, shown, to_std};
    use crate::fuzz;

    /// The longest path that fits into `sockaddr_un` with its NUL byte (unix(7)).
    const LONGEST: usize = size_of::<libc::sockaddr_un>() - std::mem::offset_of!(libc::sockaddr_un, sun_path) - 1;

    #[test]
    fn a_name_comes_back_as_it_was_or_is_refused() {
        let valid =
            ["/run/app.sock", "relative", "\0abstract", "", "/\u{e9}", &"x".repeat(LONGEST), &"\0".repeat(LONGEST)];
        fuzz::inputs(20_000, &valid.map(|name| name.as_bytes().to_vec()), |_, name| {
            let path = Path::new(OsStr::from_bytes(name));
            let is_abstract = ABSTRACT && name.first() == Some(&0);
            let Ok(address) = of_path(path) else {
                assert!(name.len() > LONGEST || (name.contains(&0) && !is_abstract), "it is refused, and need not be");
                return;
            };
            assert!(is_abstract || !name.contains(&0), "the system would read it up to the NUL byte");
            let std = to_std(&Address::from(address)).unwrap();
            if is_abstract {
                #[cfg(target_os = "linux")]
                assert_eq!(std::os::linux::net::SocketAddrExt::as_abstract_name(&std), Some(&name[1..]));
            } else if !name.is_empty() {
                assert_eq!(std.as_pathname(), Some(path));
            }
            let again = Address::from(of_std(&std).unwrap());
            assert_eq!(to_std(&again).unwrap().as_pathname(), std.as_pathname());
            assert!(!shown(path).contains('\0'));
        });
    }

    #[test]
    fn what_the_system_might_tell_is_an_address_or_none() {
        let of = |path: &str| Address::from(of_path(Path::new(path)).unwrap()).as_bytes().to_vec();
        let inet = |text: &str| Address::from(text.parse::<std::net::SocketAddr>().unwrap()).as_bytes().to_vec();
        let valid =
            [of("/run/app.sock"), of("\0name"), of(""), inet("127.0.0.1:80"), inet("[fe80::1%2]:65535"), vec![]];
        fuzz::inputs(20_000, &valid, |_, bytes| {
            let Ok(address) = Address::from_bytes(bytes) else {
                assert!(bytes.len() > size_of::<libc::sockaddr_storage>());
                return;
            };
            assert_eq!(address.as_bytes(), bytes);
            let _ = (to_std(&address), format!("{address:?}"));
            if let Some(told) = address.to_socket_addr() {
                assert_eq!(Address::from(told).to_socket_addr(), Some(told));
            }
        });
    }
}
