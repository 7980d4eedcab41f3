//! Making connections.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use overlapped_port::socket::{self, Held};
use overlapped_port::{Lane, Op};
use socket2::{SockAddr, Type};

use super::socket::prepare;
use super::stream::{Begun, End, Stream};
use super::{Protocol, Transport};
use crate::net::race::Race;
use crate::scheduler::{self, Scheduler};

/// Connects to an address, and tells `protocol`: that the connection is made, or, where it is not, that it is lost. What is
/// written on the transport before goes out then.
///
/// # Errors
/// Outside of [`run`](crate::run). Those of the connection the protocol is told: `ConnectionRefused` where nobody listens, …
pub fn connect(address: SocketAddr, protocol: impl Protocol) -> io::Result<Transport> {
    let scheduler = scheduler::current()?;
    let stream = Stream::new(&scheduler, Box::new(protocol));
    race(&scheduler, &stream, [address.into()]);
    Ok(stream.transport())
}

/// As [`connect`], to a name and port: the name is looked up on a thread of the port's pool, and its addresses are tried as by
/// [`TcpStream::connect`](crate::net::TcpStream::connect). An address in numbers is not looked up.
///
/// # Errors
/// As for [`connect`]. Those of the look-up, and of the last address, the protocol is told.
pub fn connect_host(host: &str, port: u16, protocol: impl Protocol) -> io::Result<Transport> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return connect(SocketAddr::new(ip, port), protocol);
    }
    let scheduler = scheduler::current()?;
    let stream = Stream::new(&scheduler, Box::new(protocol));
    let found: Arc<Mutex<Option<io::Result<Vec<SocketAddr>>>>> = Arc::default();
    let (theirs, host) = (Arc::clone(&found), host.to_owned());
    let function = move || {
        let looked_up = (host.as_str(), port).to_socket_addrs().map(Vec::from_iter);
        *theirs.lock().unwrap_or_else(PoisonError::into_inner) = Some(looked_up);
        Ok(0)
    };
    let me = Rc::clone(&stream);
    let started = scheduler.launch(
        &Rc::new(()),
        (),
        |(), ()| look_up(function),
        move |(), ended| {
            if me.connected()
                && let Ok(scheduler) = scheduler::current()
            {
                let found = found.lock().unwrap_or_else(PoisonError::into_inner).take();
                match ended.and_then(|_| found.expect("a look-up that has ended has left its result")) {
                    Ok(addresses) => race(&scheduler, &me, addresses.into_iter().map(SockAddr::from)),
                    Err(error) => me.leave(Err(error)),
                }
            }
            me.settle();
        },
    );
    stream.connects(Begun::Operation(started));
    Ok(stream.transport())
}

/// As [`connect`], to the Unix socket at a path, or on Linux of an abstract name: `"\0name"`.
///
/// # Errors
/// As for [`connect`]; `InvalidInput` for a path that is too long (some hundred bytes, unix(7)).
#[cfg(unix)]
pub fn connect_unix(path: impl AsRef<std::path::Path>, protocol: impl Protocol) -> io::Result<Transport> {
    let address = crate::net::of_path(path.as_ref())?;
    let scheduler = scheduler::current()?;
    let stream = Stream::new(&scheduler, Box::new(protocol));
    race(&scheduler, &stream, [address]);
    Ok(stream.transport())
}

/// Connects to the first of the addresses that answers.
fn race(scheduler: &Rc<Scheduler>, stream: &Rc<Stream>, addresses: impl IntoIterator<Item = SockAddr>) {
    let open = |address: &SockAddr| {
        let socket = socket::open(address.domain(), Type::STREAM, None)?;
        prepare(&socket, address);
        Ok(socket)
    };
    let me = Rc::clone(stream);
    let begun = Race::start(scheduler, addresses, open, move |result| {
        if me.connected() {
            match result {
                Ok(socket) => {
                    let end = Rc::new(End::Socket(Held::new(socket)));
                    me.open(Some(Rc::clone(&end)), Some(end));
                }
                Err(failures) => me.leave(Err(failures.into_last())),
            }
        }
        me.settle();
    });
    match begun {
        Ok(race) => stream.connects(Begun::Race(race)),
        Err(failures) => {
            stream.leave(Err(failures.into_last()));
            stream.settle_soon();
        }
    }
}

fn look_up<'a>(function: impl FnOnce() -> io::Result<usize> + Send + 'static) -> Op<'a> {
    Op::Call { function: Box::new(function), lane: Lane::Short }
}
