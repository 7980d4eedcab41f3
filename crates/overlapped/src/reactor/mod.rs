//! The callback style: protocols that are told what comes, on the same port and thread as tasklets.
//!
//! A [`Protocol`] is told of its connection by callbacks; through the [`Transport`] it answers. Where a tasklet's stack would
//! hold the state of a conversation, a protocol's fields do: an idle connection costs no stack and no buffer. Neither style
//! knows of the other's cost, so choose by what reads better, and mix them: a callback may start a tasklet, a tasklet may
//! open a transport.
//!
//! ```
//! use overlapped::net::TcpListener;
//! use overlapped::reactor::{self, Protocol, Transport};
//! use std::io;
//!
//! struct Shouts;
//! impl Protocol for Shouts {
//!     fn data_received(&mut self, transport: &Transport, bytes: &[u8]) {
//!         transport.write(&bytes.to_ascii_uppercase());
//!     }
//! }
//!
//! struct Asks(overlapped::Queue<String>);
//! impl Protocol for Asks {
//!     fn connection_made(&mut self, transport: &Transport) {
//!         transport.write(b"hello");
//!     }
//!     fn data_received(&mut self, transport: &Transport, bytes: &[u8]) {
//!         self.0.try_put(String::from_utf8_lossy(bytes).into_owned()).unwrap();
//!         transport.close();
//!     }
//!     fn connection_lost(&mut self, reason: io::Result<()>) {
//!         assert!(reason.is_ok());
//!     }
//! }
//!
//! overlapped::run(|| {
//!     let server = reactor::listen(TcpListener::bind("127.0.0.1:0")?, || Shouts)?;
//!     let answers = overlapped::Queue::new();
//!     reactor::connect(server.local_addr()?.ip().unwrap(), Asks(answers.clone()))?;
//!     assert_eq!(answers.get().unwrap(), "HELLO");
//!     io::Result::Ok(())
//! })?;
//! # io::Result::Ok(())
//! ```
//!
//! # What a callback may do
//! **Not wait.** Callbacks run on the loop's turn, between two tasklets: while one runs, nothing else of the thread does.
//! Whatever would wait (a read, a sleep, a lock that is taken, a send into a full channel) panics and says so, before
//! anything of it is begun. Everything else is allowed: write, connect, listen, set timers, put into a [`Queue`](crate::Queue)
//! with room, set an [`Event`](crate::Event), and [`spawn`](crate::spawn) a tasklet for what has to wait.
//! (Rejected: callbacks that run on a tasklet of the reactor's could wait, but each would cost two switches and one that waits
//! would hold back all other connections, unseen.)
//!
//! **Panic, at its own cost.** A connection whose callback panics is lost: its protocol is told so, with the panic's message
//! in the error, and the others go on. A panic of a timer's function is printed, and the loop goes on.
//!
//! **TLS** (feature `rustls`) is a layer between a connection and its protocol, on whatever carries bytes, from the first byte
//! or from the middle of a conversation on; the protocol is the same with it as without: `Tls`.
//!
//! # The end
//! A connection lives until it is closed or lost, whoever holds its transport. When the [`run`](crate::run) ends, those that
//! are left are lost with `ConnectionAborted`, listeners are closed, timers are dropped. Who wants what was written to go out
//! waits for `connection_lost` first.

mod attach;
mod call;
mod connect;
mod datagram;
mod endpoint;
mod frames;
mod guard;
mod listen;
mod process;
mod protocol;
mod settle;
mod socket;
mod stream;
#[cfg(feature = "rustls")]
mod tls;
mod transport;

pub use self::attach::{attach, attach_reader, attach_writer};
pub use self::call::{Call, call_at, call_later, call_soon};
#[cfg(unix)]
pub use self::connect::connect_unix;
pub use self::connect::{connect, connect_host};
pub use self::datagram::{DatagramProtocol, DatagramTransport, attach_datagrams};
pub use self::endpoint::Endpoint;
pub use self::frames::{FrameProtocol, FrameTransport, Frames};
pub(crate) use self::guard::guarded;
pub use self::listen::{Listening, listen};
pub use self::process::{ChildOutput, ProcessProtocol, ProcessTransport, spawn_process};
pub use self::protocol::{AtEnd, Protocol};
pub use self::socket::{ListenerSocket, StreamSocket};
#[cfg(any(feature = "futures-io", feature = "hyper"))]
pub(crate) use self::socket::{prepare, socket_of};
#[cfg(feature = "rustls")]
pub use self::tls::{Negotiated, Tls};
pub use self::transport::Transport;
