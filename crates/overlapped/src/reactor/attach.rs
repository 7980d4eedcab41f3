//! Giving what is open already to a protocol.

use std::io;
use std::rc::Rc;

use super::socket::{StreamSocket, prepare, socket_of};
use super::stream::{End, Stream};
use super::{Protocol, Transport};
use crate::fs::File;
use crate::scheduler;
use overlapped_port::socket::Held;

/// Gives a connected stream to a protocol: one that a tasklet has made or accepted, one end of a pair.
///
/// ```
/// use overlapped::net::{TcpListener, TcpStream};
/// use overlapped::reactor::{self, Protocol, Transport};
/// use std::io::Read;
///
/// struct Greets;
/// impl Protocol for Greets {
///     fn connection_made(&mut self, transport: &Transport) {
///         transport.write(b"hello");
///         transport.close();
///     }
///     fn data_received(&mut self, _: &Transport, _: &[u8]) {}
/// }
///
/// overlapped::run(|| {
///     let listener = TcpListener::bind("127.0.0.1:0")?;
///     let mut client = TcpStream::connect(listener.local_addr()?)?;
///     reactor::attach(listener.accept()?.0, Greets)?;
///     let mut greeting = String::new();
///     client.read_to_string(&mut greeting)?;
///     assert_eq!(greeting, "hello");
///     std::io::Result::Ok(())
/// })?;
/// # std::io::Result::Ok(())
/// ```
///
/// # Errors
/// Outside of [`run`](crate::run).
pub fn attach(stream: impl StreamSocket, protocol: impl Protocol) -> io::Result<Transport> {
    let socket = socket_of(stream);
    if let Ok(address) = overlapped_port::socket::local_addr(&socket) {
        prepare(&socket, &address);
    }
    let end = Rc::new(End::Socket(Held::new(socket)));
    begin(Some(Rc::clone(&end)), Some(end), protocol)
}

/// Gives the reading end of a pipe to a protocol, or another file without a position (a fifo, a terminal). It is read to its
/// end; nothing can be written.
///
/// # Errors
/// As for [`attach`].
pub fn attach_reader(pipe: impl Into<File>, protocol: impl Protocol) -> io::Result<Transport> {
    begin(Some(Rc::new(End::Pipe(pipe.into()))), None, protocol)
}

/// Gives the writing end of a pipe to a protocol, which is told of nothing but the water marks and the end. That nobody reads
/// any more is noticed when something is written: the connection is lost with `BrokenPipe`.
///
/// # Errors
/// As for [`attach`].
pub fn attach_writer(pipe: impl Into<File>, protocol: impl Protocol) -> io::Result<Transport> {
    begin(None, Some(Rc::new(End::Pipe(pipe.into()))), protocol)
}

fn begin(source: Option<Rc<End>>, sink: Option<Rc<End>>, protocol: impl Protocol) -> io::Result<Transport> {
    let stream = Stream::new(&scheduler::current()?, Box::new(protocol));
    stream.open(source, sink);
    stream.settle_soon();
    Ok(stream.transport())
}
