//! Making connections.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use overlapped_port::sys::raw_socket;
use overlapped_port::{Address, Lane, Op};
use socket2::{Domain, SockAddr, Socket, Type};

use super::socket::prepare;
use super::stream::{End, Stream};
use super::{Protocol, Transport};
use crate::scheduler::{self, Scheduler};

/// Connects to an address, and tells `protocol`: that the connection is made, or, where it is not, that it is lost. What is
/// written on the transport before goes out then.
///
/// # Errors
/// Outside of [`run`](crate::run). Those of the connection the protocol is told: `ConnectionRefused` where nobody listens, …
pub fn connect(address: SocketAddr, protocol: impl Protocol) -> io::Result<Transport> {
    let addresses = Ok(VecDeque::from([address.into()]));
    let scheduler = scheduler::current()?;
    let stream = Stream::new(&scheduler, Box::new(protocol));
    try_next(&scheduler, &stream, addresses);
    Ok(stream.transport())
}

/// As [`connect`], to a name and port: the name is looked up on a thread of the port's pool, and its addresses are tried one
/// after the other. An address in numbers is not looked up.
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
                let addresses = ended.and_then(|_| found.expect("a look-up that has ended has left its result"));
                try_next(&scheduler, &me, addresses.map(|all| all.into_iter().map(SockAddr::from).collect()));
            }
            me.settle();
        },
    );
    stream.connects(started);
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
    try_next(&scheduler, &stream, Ok(VecDeque::from([address])));
    Ok(stream.transport())
}

/// Tries the first of the addresses, and the others if that fails.
fn try_next(scheduler: &Rc<Scheduler>, stream: &Rc<Stream>, addresses: io::Result<VecDeque<SockAddr>>) {
    let begun = addresses.and_then(|mut addresses| {
        let nowhere = || io::Error::new(io::ErrorKind::InvalidInput, "the name stands for no address");
        let address = addresses.pop_front().ok_or_else(nowhere)?;
        let socket = Socket::new(Domain::from(i32::from(address.family())), Type::STREAM, None)?;
        prepare(&socket, &address);
        Ok((Rc::new(End::Socket(socket)), address, addresses))
    });
    let (end, address, rest) = match begun {
        Ok(begun) => begun,
        Err(error) => {
            stream.leave(Err(error));
            return stream.settle_soon();
        }
    };
    let (me, connected) = (Rc::clone(stream), Cell::new(Some(Rc::clone(&end))));
    let started = scheduler.launch(&end, Address::from(address), connect_to, move |_, result| {
        let end = connected.take();
        if me.connected() {
            match (result, scheduler::current()) {
                (Ok(_), _) => me.open(end.clone(), end),
                (Err(_), Ok(scheduler)) if !rest.is_empty() => try_next(&scheduler, &me, Ok(rest)),
                (Err(error), _) => me.leave(Err(error)),
            }
        }
        me.settle();
    });
    stream.connects(started);
}

fn look_up<'a>(function: impl FnOnce() -> io::Result<usize> + Send + 'static) -> Op<'a> {
    Op::Call { function: Box::new(function), lane: Lane::Short }
}

fn connect_to<'a>(end: &End, address: &'a mut Address) -> Op<'a> {
    match end {
        End::Socket(socket) => Op::Connect { socket: raw_socket(socket), address },
        End::Pipe(_) => unreachable!("it is a socket"),
    }
}
