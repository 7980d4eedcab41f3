//! Open sockets given to worker processes, confirmed: a worker that dies loses none that it had not taken over.
//!
//! A [`Server`] starts workers, programs of the caller's choice, and gives them sockets (streams, listeners, datagram
//! sockets), each with some bytes of *context*: what was read from it already, most often. In the worker,
//! [`Worker::next`] waits for the next one, and making a [`TcpStream`](crate::net::TcpStream) of it says that it was
//! taken over.
//!
//! **Confirmed.** The server keeps its own descriptor of a socket, and the context, in a *journal* until the worker has
//! said so. Where a worker dies or closes its end before, or says that it does not want the socket ([`Given`] dropped),
//! both go to the next worker; after [`Builder::attempts`] of those, back to whoever gave it ([`Giving::wait`]). The
//! worker says so *before* it touches the socket, and the server reads all that a dead worker has said before it gives
//! the rest to others. So a client is never served twice, and one whose worker died early never knows. A client whose
//! worker dies after it has taken over is disconnected: that worker may have answered, and nobody else can know what.
//!
//! **Back-pressure.** A worker holds so many unconfirmed sockets at most ([`Builder::limit`]); where all do,
//! [`Server::give`] waits. A worker that ends is started again, at once where it had taken something over, else after a
//! delay that doubles each time. [`Server::stop`] ends in order: what was given is taken over, then workers are told
//! that nothing more comes, and end by themselves.
//!
//! **A rule-breaker** (a frame that is none, a socket confirmed that it does not have, a descriptor of its own) is
//! ended, and [`Server::workers`] says why. It cannot be trusted to have said what it took, so it is dead before the
//! rest goes on.
//!
//! # The protocol
//! Python's `overlapped.handoff` speaks the same. The channel is a Unix stream socket, on Windows a pipe for overlapped
//! calls, that belongs to the two alone: it is the worker's standard input, and `OVERLAPPED_HANDOFF` in its environment
//! is the descriptor's number, `0`. A frame is its length in four bytes (of what follows; at most 1 MiB and 9 bytes, on
//! Windows 628 more), its kind in one, and its body; numbers are in network order.
//!
//! | kind | from | body |
//! |---|---|---|
//! | 1 hello | worker, first | `overlapped hand-off`, then the lowest and the highest version that it speaks, 2 bytes each; on Windows its process's number, 4 bytes |
//! | 2 welcome | server, first | the version that both speak from now on, 2 bytes; this describes version 1 |
//! | 3 refused | server, first | why, in UTF-8; the server closes its end then |
//! | 4 give | server | a number for the socket, 8 bytes; on Windows the `WSAPROTOCOL_INFOW` for that process, 628 bytes, all zeroes where the system refused one; the context. On Unix, with the frame's first byte goes the descriptor |
//! | 5 taken | worker | the number |
//! | 6 back | worker | the number |
//! | 7 end | server, on Windows | nothing |
//!
//! The end of the server's bytes means that nothing more comes; what came before can still be confirmed. A pipe's two
//! directions end together, so a message says the same on Windows.
//!
//! **Rejected.**
//! - A listener that all workers inherit, and accept from: the kernel wakes whom it likes, a connection in the line of
//!   a dead worker is lost, and what was read before the choice cannot go along.
//! - A path that workers connect to: anybody can, and it outlives its server.
//! - A descriptor above 2, inherited by number: its flag has to be cleared in the child, which wants fork(2) and a copy
//!   of the page tables, or in the parent, where another thread's child inherits it meanwhile. Standard input is what
//!   every way of starting a process can set, and servers read nothing from it. Once the worker holds the channel,
//!   `/dev/null` is in its place, so that the worker's own children get no end of it.
//! - A second confirmation, of the confirmation: it would tell the worker that the server has read it. There is no
//!   need: what was written to a Unix socket or a pipe is read there though the writer is dead.
//! - On Windows, DuplicateHandle into the worker: Winsock may not know the result ("DuplicateHandle"). And sockets that
//!   the worker inherits: there are those alone that are there when it starts.
//! - Answers of the worker about its load: when a connection ends is the worker's affair, and least busy here means
//!   with the fewest unconfirmed, which a worker that is slow to answer has most of.
//!
//! **Windows.** A socket stays associated with the completion port on which it had its first operation, whoever gets
//! it. In the worker, operations on one that the server has read from have an event each in the place of a packet: the
//! same results, somewhat dearer. One that was accepted and given away at once is the worker's port's.
//!
//! ```no_run
//! use std::io::{Read, Write};
//! use overlapped::{handoff, net::TcpListener, process::Command};
//!
//! // The server: reads a line, and gives the connection away with it.
//! fn server() -> std::io::Result<()> {
//!     let workers = handoff::Builder::new(4).start(|_| Command::new("./worker"))?;
//!     for connection in TcpListener::bind("127.0.0.1:7007")?.incoming() {
//!         let mut connection = connection?;
//!         let mut first = [0; 1024];
//!         let length = connection.read(&mut first)?;
//!         workers.give(connection, &first[..length])?;
//!     }
//!     Ok(())
//! }
//!
//! // The worker.
//! fn worker() -> std::io::Result<()> {
//!     let mut channel = handoff::Worker::from_environment()?;
//!     while let Some(given) = channel.next()? {
//!         overlapped::spawn(move || {
//!             let context = given.context.clone();
//!             let mut connection = given.into_tcp_stream()?;
//!             connection.write_all(&context)
//!         });
//!     }
//!     Ok(())
//! }
//! ```

mod given;
mod giving;
mod journal;
mod keeper;
mod receiver;
mod server;
mod shared;
mod wire;
mod worker;

pub use self::given::Given;
pub use self::giving::{Giving, NotTaken};
pub use self::journal::Choice;
pub use self::server::{Builder, Server, WorkerStatus};
pub use self::wire::{CONTEXT_LIMIT, VARIABLE};
pub use self::worker::Worker;
pub use crate::workers::sys::OwnedSocket;
