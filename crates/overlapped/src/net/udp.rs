//! UDP.

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use overlapped_port::socket::{self, Held};
use overlapped_port::sys::{MSG_PEEK, raw_socket};
use overlapped_port::{Address, Op};
use socket2::{Domain, Protocol, SockRef, Type};

use crate::attempt::attempt;
use crate::blocking::{Timeout, count};
use crate::net::datagram::{self, Received};
use crate::net::{handle, options};
use crate::resolve::{ToSocketAddrs, each_address, first_address};

/// A UDP socket. Closed when dropped.
///
/// ```
/// use overlapped::net::UdpSocket;
/// overlapped::run(|| {
///     let (here, there) = (UdpSocket::bind("127.0.0.1:0")?, UdpSocket::bind("127.0.0.1:0")?);
///     here.send_to(b"a datagram", there.local_addr()?)?;
///     let mut buffer = [0; 4];
///     let received = there.recv_message(&mut buffer)?;
///     assert_eq!((&buffer, received.truncated, received.from), (b"a da", true, here.local_addr()?));
///     std::io::Result::Ok(())
/// })?;
/// # std::io::Result::Ok(())
/// ```
pub struct UdpSocket {
    inner: Held<std::net::UdpSocket>,
    read_timeout: Timeout,
    write_timeout: Timeout,
}

datagram::datagram!(UdpSocket, std::net::UdpSocket);
options::buffer_options!(UdpSocket);
options::ip_options!(UdpSocket);

impl UdpSocket {
    /// Takes an address; port 0 lets the system choose one. Works outside of [`run`](crate::run()) too, unless a name is
    /// to be looked up.
    ///
    /// # Errors
    /// That of the last address: `AddrInUse`, …; those of the look-up.
    pub fn bind(address: impl ToSocketAddrs) -> io::Result<UdpSocket> {
        each_address(address, |address| {
            let bound = || {
                let bound = socket::open(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
                socket::bind(&bound, &address.into()).map(|()| UdpSocket::wrap(bound.into()))
            };
            bound().map_err(|error| attempt(error, || format!("bind to {address}")))
        })
    }

    /// Sets the peer: `send` goes to it, and only its datagrams are received. A name's addresses are tried one after
    /// the other.
    ///
    /// # Errors
    /// What the system says; those of the look-up.
    pub fn connect(&self, address: impl ToSocketAddrs) -> io::Result<()> {
        each_address(address, |address| {
            let peer = Box::new(Address::from(address));
            let connected = count(Op::Connect { socket: raw_socket(&self.inner), address: &peer }, None);
            connected.map(drop).map_err(|error| attempt(error, || format!("connect to {address}")))
        })
    }

    /// Receives a datagram; returns how many bytes, and who sent it. What is beyond the buffer is lost:
    /// [`UdpSocket::recv_message`] tells.
    ///
    /// # Errors
    /// `TimedOut` past the read time-out; what the system says.
    pub fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.recv_message_with(buffer, 0).map(|received| (received.length, received.from))
    }

    /// Receives a datagram and leaves it there: it comes again.
    ///
    /// # Errors
    /// As for [`UdpSocket::recv_from`].
    pub fn peek_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        self.recv_message_with(buffer, MSG_PEEK).map(|received| (received.length, received.from))
    }

    /// Receives a datagram, and tells whether it was cut to the buffer.
    ///
    /// # Errors
    /// As for [`UdpSocket::recv_from`].
    pub fn recv_message(&self, buffer: &mut [u8]) -> io::Result<Received<SocketAddr>> {
        self.recv_message_with(buffer, 0)
    }

    fn recv_message_with(&self, buffer: &mut [u8], flags: i32) -> io::Result<Received<SocketAddr>> {
        let socket = raw_socket(&self.inner);
        let Received { length, from, truncated } =
            datagram::recv_message(socket, buffer, flags, self.read_timeout.deadline())?;
        let from = from.to_socket_addr().ok_or_else(|| io::Error::other("the sender has no IP address"))?;
        Ok(Received { length, from, truncated })
    }

    /// Sends a datagram to an address, the first where a name has several; returns how many bytes.
    ///
    /// # Errors
    /// What the system says, as for a datagram that is too long; those of the look-up.
    pub fn send_to(&self, buffer: &[u8], address: impl ToSocketAddrs) -> io::Result<usize> {
        let address = first_address(address)?.into();
        datagram::send_to(raw_socket(&self.inner), buffer, address, self.write_timeout.deadline())
    }

    /// The address of this end.
    ///
    /// # Errors
    /// What the system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        handle::ip(socket::local_addr(&self.inner))
    }

    /// The address that [`UdpSocket::connect`] set.
    ///
    /// # Errors
    /// `NotConnected` where none was.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        handle::ip(socket::peer_addr(&self.inner))
    }
}

options::options! { UdpSocket:
    /// Whether datagrams may be sent to a broadcast address (`SO_BROADCAST`, socket(7)).
    broadcast() -> bool = broadcast;
    /// Lets datagrams be sent to a broadcast address (`SO_BROADCAST`, socket(7)).
    set_broadcast(broadcast: bool) -> () = set_broadcast;
    /// Whether IPv4 multicasts sent from here come back to this machine (`IP_MULTICAST_LOOP`, ip(7)).
    multicast_loop_v4() -> bool = multicast_loop_v4;
    /// Sets whether IPv4 multicasts sent from here come back to this machine (`IP_MULTICAST_LOOP`, ip(7)).
    set_multicast_loop_v4(back: bool) -> () = set_multicast_loop_v4;
    /// Whether IPv6 multicasts sent from here come back to this machine (`IPV6_MULTICAST_LOOP`, ipv6(7)).
    multicast_loop_v6() -> bool = multicast_loop_v6;
    /// Sets whether IPv6 multicasts sent from here come back to this machine (`IPV6_MULTICAST_LOOP`, ipv6(7)).
    set_multicast_loop_v6(back: bool) -> () = set_multicast_loop_v6;
    /// The most routers that an IPv4 multicast passes (`IP_MULTICAST_TTL`, ip(7)).
    multicast_ttl_v4() -> u32 = multicast_ttl_v4;
    /// Sets the most routers that an IPv4 multicast passes (`IP_MULTICAST_TTL`, ip(7)).
    set_multicast_ttl_v4(ttl: u32) -> () = set_multicast_ttl_v4;
    /// The address of the interface that IPv4 multicasts go out by (`IP_MULTICAST_IF`, ip(7)).
    multicast_if_v4() -> Ipv4Addr = multicast_if_v4;
    /// Sets the interface that IPv4 multicasts go out by, by its address (`IP_MULTICAST_IF`, ip(7)).
    set_multicast_if_v4(interface: &Ipv4Addr) -> () = set_multicast_if_v4;
    /// The most routers that an IPv6 multicast passes (`IPV6_MULTICAST_HOPS`, ipv6(7)).
    multicast_hops_v6() -> u32 = multicast_hops_v6;
    /// Sets the most routers that an IPv6 multicast passes (`IPV6_MULTICAST_HOPS`, ipv6(7)).
    set_multicast_hops_v6(hops: u32) -> () = set_multicast_hops_v6;
    /// The index of the interface that IPv6 multicasts go out by (`IPV6_MULTICAST_IF`, ipv6(7)).
    multicast_if_v6() -> u32 = multicast_if_v6;
    /// Sets the interface that IPv6 multicasts go out by, by its index; 0 for any (`IPV6_MULTICAST_IF`, ipv6(7)).
    set_multicast_if_v6(interface: u32) -> () = set_multicast_if_v6;
    /// Joins an IPv4 multicast group, on the interface with this address (`IP_ADD_MEMBERSHIP`, ip(7)).
    join_multicast_v4(group: &Ipv4Addr, interface: &Ipv4Addr) -> () = join_multicast_v4;
    /// Leaves an IPv4 multicast group (`IP_DROP_MEMBERSHIP`, ip(7)).
    leave_multicast_v4(group: &Ipv4Addr, interface: &Ipv4Addr) -> () = leave_multicast_v4;
    /// Joins an IPv6 multicast group, on the interface with this index, 0 for any (`IPV6_JOIN_GROUP`, ipv6(7)).
    join_multicast_v6(group: &Ipv6Addr, interface: u32) -> () = join_multicast_v6;
    /// Leaves an IPv6 multicast group (`IPV6_LEAVE_GROUP`, ipv6(7)).
    leave_multicast_v6(group: &Ipv6Addr, interface: u32) -> () = leave_multicast_v6;
}
