//! Options of sockets: those that most programs ask for, as methods.
//!
//! Each is a line of a list: what is to be said of one is its name and where the system explains it. What is in no list is
//! set through [`SockRef`], which takes any socket of this crate.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

/// Methods that ask the system for an option or set one, of a type that has the socket in its field `inner`.
macro_rules! options {
    ($type:ty: $(
        $(#[$meta:meta])*
        $name:ident($($argument:ident: $argument_type:ty),*) -> $result:ty = $theirs:ident;
    )*) => {
        impl $type {$(
            $(#[$meta])*
            ///
            /// # Errors
            /// What the system says.
            pub fn $name(&self, $($argument: $argument_type),*) -> io::Result<$result> {
                SockRef::from(&self.inner).$theirs($($argument),*)
            }
        )*}
    };
}

/// Those of every socket.
macro_rules! buffer_options {
    ($type:ty) => {
        options::options! { $type:
            /// How many bytes the system keeps for this socket that were received and not read (`SO_RCVBUF`, socket(7)).
            recv_buffer_size() -> usize = recv_buffer_size;
            /// Sets how many bytes the system keeps that were received and not read (`SO_RCVBUF`, socket(7)). Linux
            /// doubles it, for what it needs itself, and tells it so.
            set_recv_buffer_size(bytes: usize) -> () = set_recv_buffer_size;
            /// How many bytes the system keeps for this socket that are to be sent (`SO_SNDBUF`, socket(7)).
            send_buffer_size() -> usize = send_buffer_size;
            /// Sets how many bytes the system keeps that are to be sent (`SO_SNDBUF`, socket(7)). Linux doubles it, for
            /// what it needs itself, and tells it so.
            set_send_buffer_size(bytes: usize) -> () = set_send_buffer_size;
        }
    };
}

/// Those of sockets of the internet's families.
macro_rules! ip_options {
    ($type:ty) => {
        options::options! { $type:
            /// The most routers that an IPv4 packet passes (`IP_TTL`, ip(7)).
            ttl() -> u32 = ttl_v4;
            /// Sets the most routers that an IPv4 packet passes (`IP_TTL`, ip(7)).
            set_ttl(ttl: u32) -> () = set_ttl_v4;
            /// The most routers that an IPv6 packet passes (`IPV6_UNICAST_HOPS`, ipv6(7)).
            unicast_hops_v6() -> u32 = unicast_hops_v6;
            /// Sets the most routers that an IPv6 packet passes (`IPV6_UNICAST_HOPS`, ipv6(7)).
            set_unicast_hops_v6(hops: u32) -> () = set_unicast_hops_v6;
            /// The type of service of IPv4 packets (`IP_TOS`, ip(7)).
            tos_v4() -> u32 = tos_v4;
            /// Sets the type of service of IPv4 packets (`IP_TOS`, ip(7)), which routers may sort them by.
            set_tos_v4(tos: u32) -> () = set_tos_v4;
            /// The traffic class of IPv6 packets (`IPV6_TCLASS`, ipv6(7)).
            #[cfg(any(target_os = "linux", target_os = "android", target_os = "macos", target_os = "freebsd"))]
            tclass_v6() -> u32 = tclass_v6;
            /// Sets the traffic class of IPv6 packets (`IPV6_TCLASS`, ipv6(7)), which routers may sort them by.
            #[cfg(any(target_os = "linux", target_os = "android", target_os = "macos", target_os = "freebsd"))]
            set_tclass_v6(class: u32) -> () = set_tclass_v6;
            /// Whether an IPv6 socket leaves IPv4 alone (`IPV6_V6ONLY`, ipv6(7)).
            only_v6() -> bool = only_v6;
            /// The name of the network device that the socket is bound to (`SO_BINDTODEVICE`, socket(7)).
            #[cfg(any(target_os = "linux", target_os = "android"))]
            device() -> Option<Vec<u8>> = device;
            /// Binds the socket to a network device, by its name such as `b"eth0"`, or to none (`SO_BINDTODEVICE`,
            /// socket(7)).
            #[cfg(any(target_os = "linux", target_os = "android"))]
            bind_device(device: Option<&[u8]>) -> () = bind_device;
        }
    };
}

/// Those of TCP connections, and of what becomes one.
macro_rules! tcp_options {
    ($type:ty) => {
        options::options! { $type:
            /// Whether small writes are sent at once (`TCP_NODELAY`, tcp(7)).
            nodelay() -> bool = tcp_nodelay;
            /// Sends small writes at once instead of waiting for more to send with them (`TCP_NODELAY`, tcp(7)).
            set_nodelay(nodelay: bool) -> () = set_tcp_nodelay;
            /// What closing does with bytes not yet sent (`SO_LINGER`, socket(7)).
            linger() -> Option<Duration> = linger;
            /// Sets what closing does with bytes not yet sent (`SO_LINGER`, socket(7)), in whole seconds. `None`, as at the
            /// beginning: they are sent after it. Zero: they are dropped and the peer gets a reset. More: closing **blocks
            /// the thread** until they are sent, that long at most.
            set_linger(linger: Option<Duration>) -> () = set_linger;
            /// How long bytes that were sent may stay without an answer until the connection is given up
            /// (`TCP_USER_TIMEOUT`, tcp(7)); `None`: as long as the system thinks right.
            #[cfg(any(target_os = "linux", target_os = "android"))]
            user_timeout() -> Option<Duration> = tcp_user_timeout;
            /// Sets how long bytes that were sent may stay without an answer until the connection is given up
            /// (`TCP_USER_TIMEOUT`, tcp(7)), in milliseconds; `None`: as long as the system thinks right.
            #[cfg(any(target_os = "linux", target_os = "android"))]
            set_user_timeout(timeout: Option<Duration>) -> () = set_tcp_user_timeout;
        }

        impl $type {
            /// How a connection on which nothing comes is probed; `None`: not at all (`SO_KEEPALIVE`, socket(7)). Times
            /// that the system does not tell are `None`.
            ///
            /// # Errors
            /// What the system says.
            pub fn keepalive(&self) -> io::Result<Option<options::Keepalive>> {
                options::keepalive(&SockRef::from(&self.inner))
            }

            /// Sets how a connection on which nothing comes is probed; `None`, as at the beginning: not at all
            /// (`SO_KEEPALIVE`, socket(7)). A peer that is gone without a word is found out by this alone, by who only
            /// reads.
            ///
            /// # Errors
            /// What the system says, as for times of less than a second.
            pub fn set_keepalive(&self, keepalive: Option<options::Keepalive>) -> io::Result<()> {
                options::set_keepalive(&SockRef::from(&self.inner), keepalive)
            }
        }
    };
}

pub(super) use {buffer_options, ip_options, options, tcp_options};

/// How a TCP connection on which nothing comes is probed, in whole seconds (tcp(7)). `None` leaves a value as it is, which is
/// the system's at the beginning: most wait two hours.
///
/// ```
/// use overlapped::net::{Keepalive, TcpSocket};
/// use std::time::Duration;
/// let socket = TcpSocket::new_v4()?;
/// assert_eq!(socket.keepalive()?, None);
/// socket.set_keepalive(Some(Keepalive { idle: Some(Duration::from_secs(60)), ..Keepalive::default() }))?;
/// assert!(socket.keepalive()?.is_some());
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keepalive {
    /// After how long without a byte the first probe is sent (`TCP_KEEPIDLE`).
    pub idle: Option<Duration>,
    /// How long after a probe without an answer the next one is sent (`TCP_KEEPINTVL`).
    pub interval: Option<Duration>,
    /// How many probes without an answer end the connection (`TCP_KEEPCNT`), with `TimedOut`.
    pub probes: Option<u32>,
}

/// The times that Windows has at the beginning. It takes both at once, so that none can be left as it is
/// (`SIO_KEEPALIVE_VALS`, "Winsock IOCTLs").
#[cfg(windows)]
const SYSTEMS: (Duration, Duration) = (Duration::from_secs(2 * 3600), Duration::from_secs(1));

pub(super) fn keepalive(socket: &SockRef<'_>) -> io::Result<Option<Keepalive>> {
    if !socket.keepalive()? {
        return Ok(None);
    }
    #[cfg(unix)]
    let keepalive = Keepalive {
        idle: socket.tcp_keepalive_time().ok(),
        interval: socket.tcp_keepalive_interval().ok(),
        probes: socket.tcp_keepalive_retries().ok(),
    };
    // To ask for the times is not in `socket2` there.
    #[cfg(windows)]
    let keepalive = Keepalive { probes: socket.tcp_keepalive_retries().ok(), ..Keepalive::default() };
    Ok(Some(keepalive))
}

pub(super) fn set_keepalive(socket: &SockRef<'_>, keepalive: Option<Keepalive>) -> io::Result<()> {
    let Some(Keepalive { idle, interval, probes }) = keepalive else { return socket.set_keepalive(false) };
    if (idle, interval, probes) == (None, None, None) {
        return socket.set_keepalive(true);
    }
    #[cfg(windows)]
    let (idle, interval) = (idle.or(Some(SYSTEMS.0)), interval.or(Some(SYSTEMS.1)));
    let mut times = TcpKeepalive::new();
    if let Some(idle) = idle {
        times = times.with_time(idle);
    }
    if let Some(interval) = interval {
        times = times.with_interval(interval);
    }
    if let Some(probes) = probes {
        times = times.with_retries(probes);
    }
    socket.set_tcp_keepalive(&times)
}
