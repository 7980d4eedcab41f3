//! A socket in the hands of a worker.

use std::fmt;
use std::io;
use std::rc::Rc;

use super::wire::Message;
use crate::net::{Kind, TcpListener, TcpStream, UdpSocket};
use crate::sync::Semaphore;
use crate::time::uncancellable;
use crate::workers::sys::{self, OwnedSocket, Stream};

/// The writing end of a worker's channel.
pub(super) struct Sender {
    stream: Stream,
    /// A frame goes out as a whole, whoever else sends.
    turn: Semaphore,
}

impl Sender {
    pub(super) fn new(stream: Stream) -> Sender {
        Sender { stream, turn: Semaphore::new(1) }
    }

    pub(super) fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Sends a message. Who is told to leave sends it all the same: the server always reads, and half a frame is none.
    pub(super) fn send(&self, message: &Message) -> io::Result<()> {
        let bytes = message.to_bytes()?;
        uncancellable(|| {
            let _turn = self.turn.acquire();
            sys::send(&self.stream, &bytes, None)
        })
    }
}

/// A socket that a server gave, until it is taken over. Made by [`Worker::next`](super::Worker::next).
///
/// [`Given::into_tcp_stream`] and its siblings take it over: the server is told, and forgets its copy. Dropped, it goes
/// back, and to another worker.
pub struct Given {
    /// What the server sent along: bytes that it had read already, most often.
    pub context: Vec<u8>,
    number: u64,
    /// `None` once it was taken over.
    socket: Option<OwnedSocket>,
    sender: Rc<Sender>,
}

impl Given {
    pub(super) fn new(number: u64, context: Vec<u8>, socket: OwnedSocket, sender: Rc<Sender>) -> Given {
        Given { context, number, socket: Some(socket), sender }
    }

    /// What kind of socket it is.
    pub fn kind(&self) -> Kind {
        self.socket.as_ref().map_or(Kind::Other, Kind::of)
    }

    /// Takes the socket over, of whichever kind, as the system's handle.
    ///
    /// # Errors
    /// Where the server cannot be told: it gives the socket to another worker, and this one must not touch it, so it is
    /// closed here.
    pub fn into_socket(mut self) -> io::Result<OwnedSocket> {
        let socket = self.socket.take().expect("it is taken over once");
        self.sender.send(&Message::Taken { number: self.number })?;
        Ok(socket)
    }

    fn into_kind<T: From<OwnedSocket>>(self, wanted: Kind) -> io::Result<T> {
        let kind = self.kind();
        if kind != wanted {
            let message = format!("a {wanted:?} was expected, and a {kind:?} was given: it goes back");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        self.into_socket().map(T::from)
    }
}

macro_rules! into {
    ($($name:ident $type:ident,)*) => {
        impl Given {
            $(
                #[doc = concat!("Takes the socket over as a `", stringify!($type), "`.")]
                ///
                /// # Errors
                /// `InvalidInput` where it is none: it goes back then. As for [`Given::into_socket`].
                pub fn $name(self) -> io::Result<$type> {
                    self.into_kind(Kind::$type)
                }
            )*
        }
    };
}

into! {
    into_tcp_stream TcpStream,
    into_tcp_listener TcpListener,
    into_udp_socket UdpSocket,
}

#[cfg(unix)]
const _: () = {
    use crate::net::{UnixDatagram, UnixListener, UnixStream};

    into! {
        into_unix_stream UnixStream,
        into_unix_listener UnixListener,
        into_unix_datagram UnixDatagram,
    }
};

impl Drop for Given {
    fn drop(&mut self) {
        if self.socket.take().is_some() {
            // Where the server cannot be told, it is gone, or finds it out at the end of the channel.
            let _ = self.sender.send(&Message::Back { number: self.number });
        }
    }
}

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Given").field("kind", &self.kind()).field("context", &self.context.len()).finish()
    }
}
