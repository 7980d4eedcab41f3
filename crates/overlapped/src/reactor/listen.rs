//! Taking connections.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::rc::{Rc, Weak};
use std::time::Duration;

use overlapped_port::sim::now;
use overlapped_port::socket::Held;
use overlapped_port::sys::{CANCELLED, raw_socket};
use overlapped_port::{Op, Outcome};
use socket2::{SockAddr, Socket};

use super::guard::guarded_for;
use super::socket::{ListenerSocket, prepare, socket_of};
use super::stream::{End, Stream};
use super::{Endpoint, Protocol};
use crate::scheduler::{self, Scheduler, Started};

/// How long a listener waits where there is no descriptor for the next connection: it stays in the system's queue.
const PAUSE: Duration = Duration::from_millis(100);

/// Takes connections, and gives each a protocol that `factory` makes, until closed or until the [`run`](crate::run) ends.
/// Dropping the result changes nothing.
///
/// A factory that panics costs the connection that it was called for. Where there is no descriptor for a connection, it waits
/// in the system's queue and is taken when there is one.
///
/// ```
/// use overlapped::net::{TcpListener, TcpStream};
/// use overlapped::reactor::{self, Protocol, Transport};
/// use std::io::{Read, Write};
///
/// struct Echo;
/// impl Protocol for Echo {
///     fn data_received(&mut self, transport: &Transport, bytes: &[u8]) {
///         transport.write(bytes);
///     }
/// }
///
/// overlapped::run(|| {
///     let server = reactor::listen(TcpListener::bind("127.0.0.1:0")?, || Echo)?;
///     let mut client = TcpStream::connect(server.local_addr()?.ip().unwrap())?;
///     client.write_all(b"there and back")?;
///     client.shutdown(std::net::Shutdown::Write)?;
///     let mut answer = String::new();
///     client.read_to_string(&mut answer)?;
///     assert_eq!(answer, "there and back");
///     std::io::Result::Ok(())
/// })?;
/// # std::io::Result::Ok(())
/// ```
///
/// # Errors
/// Outside of [`run`](crate::run); what the system says of a socket that is no listener.
pub fn listen<P: Protocol>(
    listener: impl ListenerSocket,
    mut factory: impl FnMut() -> P + 'static,
) -> io::Result<Listening> {
    let scheduler = scheduler::current()?;
    let socket = socket_of(listener);
    let address = overlapped_port::socket::local_addr(&socket)?;
    let server = Rc::new(Server {
        scheduler: Rc::downgrade(&scheduler),
        socket: RefCell::new(Some(Rc::new(socket))),
        address,
        accepting: Cell::new(None),
        factory: RefCell::new(Box::new(move || Box::new(factory()))),
    });
    server.accept(&scheduler);
    Ok(Listening(server))
}

type Factory = Box<dyn FnMut() -> Box<dyn Protocol>>;

struct Server {
    scheduler: Weak<Scheduler>,
    /// `None` once it is closed.
    socket: RefCell<Option<Rc<Socket>>>,
    address: SockAddr,
    accepting: Cell<Option<Started>>,
    factory: RefCell<Factory>,
}

impl Server {
    fn accept(self: &Rc<Self>, scheduler: &Scheduler) {
        let Some(socket) = self.socket.borrow().clone() else { return };
        let me = Rc::clone(self);
        let op = |socket: &Socket| Op::AcceptMultishot { listener: raw_socket(socket) };
        let started = scheduler.launch_multishot(&socket, op, move |result, more| me.accepted(result, more));
        self.accepting.set(Some(started));
    }

    fn accepted(self: &Rc<Self>, result: io::Result<Outcome>, more: bool) {
        let Some(scheduler) = self.scheduler.upgrade() else { return };
        let mut is_over = false;
        let mut pause = Duration::ZERO;
        match result {
            Ok(Outcome::Socket(socket)) => self.made(&scheduler, socket.into()),
            Ok(outcome) => unreachable!("an accept brought {outcome:?}"),
            Err(error) if error.raw_os_error() == Some(CANCELLED) => is_over = true,
            // It concerns the connection that was to come.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(_) => pause = PAUSE,
        }
        if more || is_over {
            return;
        }
        let me = Rc::clone(self);
        scheduler.call_at(now() + pause, move |scheduler| me.accept(scheduler));
    }

    fn made(&self, scheduler: &Rc<Scheduler>, socket: Socket) {
        if self.socket.borrow().is_none() {
            return;
        }
        let Ok(protocol) = guarded_for(|| self.factory.borrow_mut()()) else { return };
        prepare(&socket, &self.address);
        let stream = Stream::new(scheduler, protocol);
        let end = Rc::new(End::Socket(Held::new(socket)));
        stream.open(Some(Rc::clone(&end)), Some(end));
        stream.settle();
    }
}

/// A listener that gives its connections to protocols: see [`listen`].
#[derive(Clone)]
pub struct Listening(Rc<Server>);

impl Listening {
    /// Closes the listener: no more connections are taken; those that were taken go on. May be called more than once.
    pub fn close(&self) {
        let server = &self.0;
        if server.socket.take().is_some()
            && let (Some(scheduler), Some(accepting)) = (server.scheduler.upgrade(), server.accepting.take())
        {
            scheduler.cancel(accepting);
        }
    }

    /// Whether it was closed.
    pub fn is_closed(&self) -> bool {
        self.0.socket.borrow().is_none()
    }

    /// The address it listens on, or did.
    ///
    /// # Errors
    /// `Unsupported` for an address of a family other than IP and Unix.
    pub fn local_addr(&self) -> io::Result<Endpoint> {
        Endpoint::of(self.0.address.clone())
    }
}

impl fmt::Debug for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listening").field("address", &self.0.address).field("closed", &self.is_closed()).finish()
    }
}
