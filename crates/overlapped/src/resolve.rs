//! Names to addresses, without blocking the thread.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use overlapped_port::Lane;

use crate::attempt::attempt;
use crate::offload::offload_in;

/// What names one or more socket addresses: as [`std::net::ToSocketAddrs`], but that a name is looked up on a thread of
/// the port's pool while only the calling tasklet waits. An address in numbers is never looked up.
///
/// ```
/// use overlapped::net::ToSocketAddrs;
/// // In numbers: works anywhere.
/// assert_eq!("[::1]:80".to_socket_addrs()?[0].port(), 80);
/// // A name: inside `run`.
/// overlapped::run(|| {
///     let addresses = "localhost:80".to_socket_addrs()?;
///     assert!(addresses.iter().all(|address| address.ip().is_loopback()));
///     std::io::Result::Ok(())
/// })?;
/// # std::io::Result::Ok(())
/// ```
pub trait ToSocketAddrs {
    /// The addresses, in the system's order of preference.
    ///
    /// # Errors
    /// `InvalidInput` where the text is not `host:port`; what the system says where the name is not known; and for a
    /// name, outside of [`run`](crate::run()).
    fn to_socket_addrs(&self) -> io::Result<Vec<SocketAddr>>;
}

/// Looks a host and port up; only the calling tasklet waits.
///
/// ```
/// overlapped::run(|| {
///     let addresses = overlapped::net::lookup_host(("localhost", 80))?;
///     assert!(addresses.iter().all(|address| address.port() == 80));
///     std::io::Result::Ok(())
/// })?;
/// # std::io::Result::Ok(())
/// ```
///
/// # Errors
/// As for [`ToSocketAddrs::to_socket_addrs`].
pub fn lookup_host(host: impl ToSocketAddrs) -> io::Result<Vec<SocketAddr>> {
    host.to_socket_addrs()
}

/// Calls `try_one` with each address until one succeeds; its last error where none does.
pub(crate) fn each_address<T>(
    addresses: impl ToSocketAddrs,
    mut try_one: impl FnMut(SocketAddr) -> io::Result<T>,
) -> io::Result<T> {
    let mut last = None;
    for address in addresses.to_socket_addrs()? {
        match try_one(address) {
            Ok(value) => return Ok(value),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "the name stands for no address")))
}

/// The first address.
pub(crate) fn first_address(addresses: impl ToSocketAddrs) -> io::Result<SocketAddr> {
    each_address(addresses, Ok)
}

fn look_up(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    #[cfg(unix)]
    if let Some((time, found)) = overlapped_port::sim::look_up(host) {
        crate::sleep(time);
        return Ok(found?.into_iter().map(|ip| SocketAddr::new(ip, port)).collect());
    }
    let name = host.to_owned();
    let look = move || std::net::ToSocketAddrs::to_socket_addrs(&(name.as_str(), port)).map(Vec::from_iter);
    let found = offload_in(Lane::Short, look)?;
    found.map_err(|error| match error.raw_os_error() {
        Some(_) => attempt(error, || format!("look up {host}")),
        // Errors of the system's resolver are of its own kind, without a number.
        None => io::Error::new(error.kind(), format!("look up {host}: {error}")),
    })
}

macro_rules! in_numbers {
    ($($type:ty),*) => {$(
        impl ToSocketAddrs for $type {
            fn to_socket_addrs(&self) -> io::Result<Vec<SocketAddr>> {
                Ok(vec![SocketAddr::from(*self)])
            }
        }
    )*};
}

in_numbers!(SocketAddr, SocketAddrV4, SocketAddrV6, (IpAddr, u16), (Ipv4Addr, u16), (Ipv6Addr, u16));

impl ToSocketAddrs for (&str, u16) {
    fn to_socket_addrs(&self) -> io::Result<Vec<SocketAddr>> {
        let (host, port) = *self;
        match host.parse::<IpAddr>() {
            Ok(ip) => Ok(vec![SocketAddr::new(ip, port)]),
            Err(_) => look_up(host, port),
        }
    }
}

impl ToSocketAddrs for (String, u16) {
    fn to_socket_addrs(&self) -> io::Result<Vec<SocketAddr>> {
        (self.0.as_str(), self.1).to_socket_addrs()
    }
}

impl ToSocketAddrs for str {
    fn to_socket_addrs(&self) -> io::Result<Vec<SocketAddr>> {
        if let Ok(address) = self.parse::<SocketAddr>() {
            return Ok(vec![address]);
        }
        let parts = self.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)));
        let (host, port) = parts.ok_or_else(|| {
            let message = format!("{self:?} is no socket address: write host:port, with a port from 0 to 65535");
            io::Error::new(io::ErrorKind::InvalidInput, message)
        })?;
        (host, port).to_socket_addrs()
    }
}

impl ToSocketAddrs for String {
    fn to_socket_addrs(&self) -> io::Result<Vec<SocketAddr>> {
        self.as_str().to_socket_addrs()
    }
}

impl ToSocketAddrs for [SocketAddr] {
    fn to_socket_addrs(&self) -> io::Result<Vec<SocketAddr>> {
        Ok(self.to_vec())
    }
}

impl ToSocketAddrs for Vec<SocketAddr> {
    fn to_socket_addrs(&self) -> io::Result<Vec<SocketAddr>> {
        Ok(self.clone())
    }
}

impl<const N: usize> ToSocketAddrs for [SocketAddr; N] {
    fn to_socket_addrs(&self) -> io::Result<Vec<SocketAddr>> {
        Ok(self.to_vec())
    }
}

impl<T: ToSocketAddrs + ?Sized> ToSocketAddrs for &T {
    fn to_socket_addrs(&self) -> io::Result<Vec<SocketAddr>> {
        (**self).to_socket_addrs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_need_no_scheduler() {
        for text in ["127.0.0.1:1", "[::1]:65535"] {
            assert_eq!(lookup_host(text).unwrap(), [text.parse().unwrap()]);
        }
        assert_eq!(lookup_host(("::1", 7)).unwrap(), ["[::1]:7".parse().unwrap()]);
        assert_eq!(lookup_host((Ipv4Addr::LOCALHOST, 7)).unwrap(), ["127.0.0.1:7".parse().unwrap()]);
    }

    #[test]
    fn text_that_is_no_address_says_so() {
        for text in ["localhost", "localhost:", "localhost:65536", ""] {
            let error = lookup_host(text).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{text:?}: {error}");
        }
    }

    #[test]
    fn a_name_without_a_scheduler_is_refused() {
        assert!(lookup_host("localhost:80").unwrap_err().to_string().contains("overlapped::run"));
    }
}

#[cfg(test)]
mod fuzz {
    use super::*;
    use crate::fuzz;

    /// Without a scheduler a name is refused, so that here nothing is looked up: what is in numbers is not a name.
    #[test]
    fn text_is_an_address_in_numbers_as_the_standard_library_has_it_or_a_name_or_wrong() {
        let valid = ["127.0.0.1:80", "[::1]:65535", "[fe80::1%3]:1", "localhost:80", "::1:7", "a.b:0", "1.2.3.4:"];
        fuzz::inputs(20_000, &valid.map(|text| text.into()), |_, bytes| {
            let text = String::from_utf8_lossy(bytes);
            let port = text.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
            match text.to_socket_addrs() {
                Ok(found) => {
                    let host = text.rsplit_once(':').and_then(|(host, _)| host.parse::<IpAddr>().ok());
                    let expected = text.parse().ok().or_else(|| Some(SocketAddr::new(host?, port?)));
                    assert_eq!(found.as_slice(), expected.as_slice());
                }
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => assert!(port.is_none(), "{error}"),
                Err(error) => assert!(error.to_string().contains("overlapped::run"), "{error}"),
            }
        });
    }
}
