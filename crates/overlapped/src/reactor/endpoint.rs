//! Where a connection ends.

use std::io;
use std::net::SocketAddr;

use socket2::SockAddr;

/// The address of one end of a connection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Endpoint {
    /// Of TCP, UDP.
    Ip(SocketAddr),
    /// Of a Unix socket; most clients' have no name.
    #[cfg(unix)]
    Unix(std::os::unix::net::SocketAddr),
    /// A pipe's: it has none.
    Pipe,
}

impl Endpoint {
    /// The address and port, where it has such.
    pub fn ip(&self) -> Option<SocketAddr> {
        match self {
            Endpoint::Ip(address) => Some(*address),
            _ => None,
        }
    }

    pub(crate) fn of(address: SockAddr) -> io::Result<Endpoint> {
        #[cfg(unix)]
        if address.is_unix() {
            return unix(&address).map(Endpoint::Unix);
        }
        let other = || io::Error::new(io::ErrorKind::Unsupported, "an address of another family than IP and Unix");
        address.as_socket().map(Endpoint::Ip).ok_or_else(other)
    }
}

/// That of a path, of an abstract name, or of a socket that has none.
#[cfg(unix)]
fn unix(address: &SockAddr) -> io::Result<std::os::unix::net::SocketAddr> {
    use std::os::unix::net::SocketAddr;
    if let Some(unix) = address.as_unix() {
        return Ok(unix);
    }
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Some(name) = address.as_abstract_namespace() {
        use std::os::linux::net::SocketAddrExt;
        return SocketAddr::from_abstract_name(name);
    }
    SocketAddr::from_pathname("")
}
