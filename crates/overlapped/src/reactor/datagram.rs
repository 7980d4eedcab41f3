//! Datagrams that tell a protocol.
//!
//! A tasklet receives and, while something waits to be sent, another sends. (Rejected: operations that call back. What a
//! datagram's receive needs, a header that points to buffers and an address, would have to own what it points to; a
//! tasklet's stack does.) Callbacks are called in the tasklet as the loop would call them: they must not wait.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use super::Endpoint;
use super::guard::{guarded, guarded_for};
use crate::net::UdpSocket;
use crate::scheduler::{self, try_current};
use crate::tasklet::{Builder, JoinHandle};

/// The longest datagram that UDP carries, in bytes (RFC 768: a length of 16 bits, header included).
const LONGEST: usize = 65_535;

/// What is told of a socket's datagrams, by callbacks under the rules of [`Protocol`](super::Protocol).
pub trait DatagramProtocol: 'static {
    /// The socket is there.
    fn connection_made(&mut self, _transport: &DatagramTransport) {}

    /// A datagram has come, whole.
    fn datagram_received(&mut self, transport: &DatagramTransport, bytes: &[u8], from: SocketAddr);

    /// A datagram could not be sent, or one that was sent has not arrived, as far as the system was told (`ConnectionRefused`
    /// on a connected socket). The socket works as before.
    fn error_received(&mut self, _transport: &DatagramTransport, _error: io::Error) {}

    /// The last call: `Ok` where this side has closed the socket, else why it does not go on; `Other` where a callback has
    /// panicked, `ConnectionAborted` where the [`run`](crate::run) ends.
    fn connection_lost(&mut self, _reason: io::Result<()>) {}
}

/// Gives a socket to a protocol, until it is closed or the [`run`](crate::run) ends.
///
/// ```
/// use overlapped::net::{SocketAddr, UdpSocket};
/// use overlapped::reactor::{self, DatagramProtocol, DatagramTransport};
///
/// struct Echo;
/// impl DatagramProtocol for Echo {
///     fn datagram_received(&mut self, transport: &DatagramTransport, bytes: &[u8], from: SocketAddr) {
///         transport.send_to(bytes, from);
///     }
/// }
///
/// overlapped::run(|| {
///     let server = reactor::attach_datagrams(UdpSocket::bind("127.0.0.1:0")?, Echo)?;
///     let client = UdpSocket::bind("127.0.0.1:0")?;
///     client.send_to(b"there and back", server.local_addr()?.ip().unwrap())?;
///     let mut answer = [0; 64];
///     assert_eq!(client.recv_from(&mut answer)?.0, 14);
///     std::io::Result::Ok(())
/// })?;
/// # std::io::Result::Ok(())
/// ```
///
/// # Errors
/// Outside of [`run`](crate::run); where there is no room for a stack.
pub fn attach_datagrams(socket: UdpSocket, protocol: impl DatagramProtocol) -> io::Result<DatagramTransport> {
    scheduler::current()?;
    let datagrams = Rc::new(Datagrams {
        socket,
        protocol: RefCell::new(Some(Box::new(protocol))),
        receiver: RefCell::new(None),
        waiting: RefCell::default(),
        sends: Cell::new(false),
        closing: Cell::new(false),
        failed: RefCell::new(None),
    });
    // Tells of the end also where the tasklet is never begun.
    let ends = Ends(Rc::clone(&datagrams));
    let receiver = Builder::new().name("datagrams").spawn(move || ends.0.receive())?;
    datagrams.receiver.replace(Some(receiver));
    Ok(DatagramTransport(datagrams))
}

struct Datagrams {
    socket: UdpSocket,
    /// `None` while it is told something, and once it has been told all.
    protocol: RefCell<Option<Box<dyn DatagramProtocol>>>,
    receiver: RefCell<Option<JoinHandle<()>>>,
    waiting: RefCell<VecDeque<(Vec<u8>, Option<SocketAddr>)>>,
    /// A tasklet sends what waits.
    sends: Cell<bool>,
    closing: Cell<bool>,
    failed: RefCell<Option<io::Error>>,
}

/// Tells that it has ended when it is dropped.
struct Ends(Rc<Datagrams>);

impl Drop for Ends {
    fn drop(&mut self) {
        let datagrams = &self.0;
        let was_closed = datagrams.closing.replace(true);
        let run_ends =
            || io::Error::new(io::ErrorKind::ConnectionAborted, "the run has ended, and its sockets with it");
        let reason = match datagrams.failed.take() {
            Some(error) => Err(error),
            None if was_closed => Ok(()),
            None => Err(run_ends()),
        };
        let Some(mut protocol) = datagrams.protocol.take() else { return };
        let tell = || {
            guarded(|| protocol.connection_lost(reason));
            guarded(move || drop(protocol));
        };
        match try_current() {
            Some(scheduler) => scheduler.call_between(tell),
            None => tell(),
        }
    }
}

impl Datagrams {
    fn receive(self: &Rc<Self>) {
        self.tell(|protocol, transport| protocol.connection_made(transport));
        let mut room = vec![0; LONGEST];
        while self.failed.borrow().is_none() {
            match self.socket.recv_from(&mut room) {
                Ok((count, from)) => {
                    self.tell(|protocol, transport| protocol.datagram_received(transport, &room[..count], from));
                }
                Err(error) if self.closing.get() || crate::is_cancelled(&error) => return,
                Err(error) if is_of_one_datagram(&error) => {
                    self.tell(|protocol, transport| protocol.error_received(transport, error));
                }
                Err(error) => return self.fail(error),
            }
        }
    }

    fn send(self: &Rc<Self>) {
        while let Some((bytes, to)) = { self.waiting.borrow_mut().pop_front() } {
            let sent = match to {
                Some(to) => self.socket.send_to(&bytes, to),
                None => self.socket.send(&bytes),
            };
            match sent {
                Ok(_) => {}
                Err(error) if crate::is_cancelled(&error) => break,
                Err(error) => self.tell(|protocol, transport| protocol.error_received(transport, error)),
            }
        }
        self.sends.set(false);
        if self.closing.get() {
            self.stop_receiving();
        }
    }

    fn stop_receiving(&self) {
        if let Some(receiver) = self.receiver.take() {
            receiver.cancel();
        }
    }

    /// Keeps the first reason.
    fn fail(&self, error: io::Error) {
        self.failed.borrow_mut().get_or_insert(error);
        self.waiting.borrow_mut().clear();
        self.closing.set(true);
        self.stop_receiving();
    }

    fn tell(self: &Rc<Self>, call: impl FnOnce(&mut dyn DatagramProtocol, &DatagramTransport)) {
        let (Some(scheduler), Some(mut protocol)) = (try_current(), self.protocol.take()) else { return };
        let transport = DatagramTransport(Rc::clone(self));
        let told = scheduler.call_between(|| guarded_for(|| call(&mut *protocol, &transport)));
        self.protocol.replace(Some(protocol));
        if let Err(panicked) = told {
            self.fail(panicked);
        }
    }
}

/// Whether an error concerns one datagram, and not the socket: what the network has answered to it (ip(7), udp(7)).
fn is_of_one_datagram(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionRefused, ConnectionReset, HostUnreachable, NetworkUnreachable};
    matches!(error.kind(), ConnectionRefused | ConnectionReset | HostUnreachable | NetworkUnreachable)
}

/// A socket whose datagrams a protocol is told. Clones are the same one; dropping them changes nothing. No method waits, and
/// none calls the protocol.
#[derive(Clone)]
pub struct DatagramTransport(Rc<Datagrams>);

impl DatagramTransport {
    /// Sends a datagram to an address, after those of earlier calls. What is sent after the socket was closed is dropped.
    pub fn send_to(&self, bytes: &[u8], to: SocketAddr) {
        self.push(bytes, Some(to));
    }

    /// Sends a datagram to the peer of a connected socket ([`UdpSocket::connect`]).
    pub fn send(&self, bytes: &[u8]) {
        self.push(bytes, None);
    }

    fn push(&self, bytes: &[u8], to: Option<SocketAddr>) {
        if self.0.closing.get() {
            return;
        }
        self.0.waiting.borrow_mut().push_back((bytes.to_vec(), to));
        if !self.0.sends.replace(true) {
            let datagrams = Rc::clone(&self.0);
            if let Err(error) = Builder::new().name("datagrams").spawn(move || datagrams.send()) {
                self.0.sends.set(false);
                self.0.fail(error);
            }
        }
    }

    /// How many datagrams wait to be sent.
    pub fn buffered(&self) -> usize {
        self.0.waiting.borrow().len()
    }

    /// Closes the socket when all datagrams have gone out; none is received any more.
    pub fn close(&self) {
        if !self.0.closing.replace(true) && !self.0.sends.get() {
            self.0.stop_receiving();
        }
    }

    /// Whether it is closed, or will be when all datagrams have gone out.
    pub fn is_closing(&self) -> bool {
        self.0.closing.get()
    }

    /// The address of this end.
    ///
    /// # Errors
    /// What the system says.
    pub fn local_addr(&self) -> io::Result<Endpoint> {
        self.0.socket.local_addr().map(Endpoint::Ip)
    }
}

impl fmt::Debug for DatagramTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatagramTransport")
            .field("socket", &self.0.socket)
            .field("closing", &self.is_closing())
            .field("buffered", &self.buffered())
            .finish()
    }
}
