//! One server, several worker processes, and restarts that no client notices.
//!
//! A [`Supervisor`] has the listeners and starts workers, programs of the caller's choice, which all accept from them.
//! [`Supervisor::restart`] replaces one after the other: the new worker gets the same listeners, initialises, and says that
//! it is ready; only then the old one *drains*: it accepts nothing more, answers the requests that are begun, gives its
//! connections away, and ends. A new one that fails to start changes nothing. [`Supervisor::upgrade`] does the same with
//! another program. A worker that dies is replaced: at once, where it was ready for a second or longer, else after a delay
//! that doubles with each that was not, from 50 ms up to 10 s.
//!
//! **Connections move, too.** One that is idle between requests, or has half of a request in hand, would hold an old worker
//! for as long as its client likes. So the old worker gives it away ([`Connection::give`]) with the bytes that it has read
//! and not answered, and a new one gets it as if it had accepted it, with those bytes first. The supervisor keeps it until
//! the new one has said that it takes it over; where that dies before, or has no descriptor left for it, it goes to the
//! next, and waits where there is none. A worker gives away only what it has not answered, and does not touch it after:
//! nobody is answered twice. What a worker has when it is killed is closed with it.
//!
//! **The listeners** stay open in the supervisor, whatever becomes of workers: a client that connects while none is there
//! waits in their line, and is not refused. A connection that was accepted in the moment in which a worker begins to drain is
//! served or moved like any other. They are non-blocking from before the first worker has them, and for good: accept(2)
//! has no form of its own that does not block, and all workers share the mode. Where each set it for its own calls, as
//! the port does with a listener that is in blocking mode, one would take it away under another's call; that waits then
//! for the next client, with all its worker has, and the worker hears nothing until it is ended at the drain limit. On
//! Windows nothing is set: AcceptEx does not block in either mode.
//!
//! **Workers that hang, grow, or are too few.** With [`Builder::hang_limit`] a worker whose tasklets do not run for so long
//! is ended and replaced. One that has had its number of requests ([`Worker::retire_after`]), or has other reasons
//! ([`Worker::retire`]), asks for another one in its place, and serves on until that is ready. [`Supervisor::resize`]
//! goes over to another number of them. [`Supervisor::obey_signals`] does all that by signals, under the names that other
//! servers have given them. Workers in the foreground of a terminal get its Ctrl-C, too: a command that sets a process
//! group of its own keeps them from it.
//!
//! **Stopping** ([`Supervisor::stop`]) has all workers end what they have begun, nothing more, and then themselves, within a
//! limit. A worker whose supervisor is gone does the same by itself.
//!
//! **Under systemd** ([`systemd`]) the listeners are those that the manager has opened, where it has, and it
//! hears when the server is ready, when it restarts and when it stops, and that it lives. A unit says `Type=notify-reload`,
//! and `ExecReload=` is not needed where SIGHUP restarts, as below. Workers are not asked: the manager hears from
//! its own child alone (`NotifyAccess=main`).
//!
//! ```no_run
//! # #[cfg(unix)] fn serve() -> std::io::Result<()> {
//! # use overlapped::{net::TcpListener, prefork::Builder, process::Command, systemd};
//! let mut listeners = systemd::listeners()?;
//! if listeners.is_empty() {
//!     // Started by hand.
//!     listeners.push(("echo".to_owned(), TcpListener::bind("127.0.0.1:7007")?.into()));
//! }
//! let builder = Builder::new(4).listen_all(listeners).tell_systemd(true);
//! let supervisor = builder.start(|_| Command::new("./worker"))?;
//! # Ok(()) }
//! ```
//!
//! **On Windows** all is the same, with what is otherwise there by nature: connections are TCP's, and no manager of services
//! is told. A socket stays associated with the completion port on which it had its first operation, whoever gets it. So
//! the worker that accepts first has a listener's packets, and the operations of the others, and of its successors, have an
//! event each in their place; so have those on a connection that has moved. The results are the same, somewhat dearer
//! ([`handoff`](crate::handoff)).
//!
//! # The protocol
//! Python's `overlapped.prefork` speaks the same. The channel is a Unix stream socket, on Windows a pipe for overlapped
//! calls, that belongs to the two alone: it is the worker's standard input, and `OVERLAPPED_PREFORK` in its environment is
//! the descriptor's number, `0`. A frame is its length in four bytes (of what follows; at most 1 MiB and 11 bytes, on
//! Windows 628 more), its kind in one, and its body; numbers are in network order.
//!
//! | kind | from | body |
//! |---|---|---|
//! | 1 hello | worker, first | `overlapped prefork`, then the lowest and the highest version that it speaks, 2 bytes each; on Windows its process's number, 4 bytes |
//! | 2 welcome | supervisor, first | the version that both speak from now on, and how many listeners follow, 2 bytes each; on Windows its process's number, 4 bytes; this describes version 1 |
//! | 3 refused | supervisor, first | why, in UTF-8 |
//! | 4 listener | supervisor, after welcome | on Windows the `WSAPROTOCOL_INFOW`, 628 bytes; its name, in UTF-8. On Unix, with the frame's first byte goes the descriptor, which is non-blocking and stays so |
//! | 5 ready | worker | nothing |
//! | 6 drain | supervisor | a byte: 1 where connections are to be given away, 0 where the server stops |
//! | 7 connection | either | a number of the sender's, 8 bytes; the listener's place, 2 bytes; on Windows the `WSAPROTOCOL_INFOW` for the other side's process, 628 bytes, all zeroes where the system refused one; unread bytes. On Unix, with the frame's first byte goes the descriptor |
//! | 8 taken | either | the number of the other side's |
//! | 9 back | either | the number: the sender cannot take it, or does not want it |
//! | 10 alive | supervisor | nothing: the worker, which has said that it is ready, answers with the same |
//! | 11 retire | worker | nothing: it asks for another one in its place |
//!
//! At most 64 connections are on their way in one direction and not answered. The end of the supervisor's bytes is its end.
//!
//! **Rejected.**
//! - `SO_REUSEPORT`, a listener for each worker: those that wait in the line of one that ends are reset (socket(7); Linux
//!   can move them since 5.14, where `net.ipv4.tcp_migrate_req` allows it).
//! - Descriptors inherited by number, as before exec(2): their flag has to be cleared in the child, which wants fork(2), or
//!   in the parent, where another thread's child inherits them meanwhile. They come through the channel.
//! - A supervisor that forks initialised workers, to share their memory: nothing with threads, an io_uring or a scheduler
//!   lives through fork(2), and a new program could not be started so.
//! - To accept in the supervisor and hand off each connection ([`handoff`](crate::handoff)): it costs a message a
//!   connection, and is for servers that look at a request before they choose.
//! - A cancelled accept or read in place of the bell that [`Connection::read_more`] hears: a cancel stays until its tasklet
//!   has ended, and a tasklet that drains still has a request to answer.
//! - To pass connections from the old to the new worker directly: where either dies, nobody has a copy.
//!
//! ```no_run
//! use overlapped::prefork::{Builder, Connection, More, Worker};
//! use overlapped::{net::TcpListener, process::Command};
//! use std::{io, io::Write, rc::Rc, time::Duration};
//!
//! fn supervise() -> io::Result<()> {
//!     let listener = TcpListener::bind("127.0.0.1:7007")?;
//!     let builder = Builder::new(4).listen("echo", listener).hang_limit(Duration::from_secs(30));
//!     let supervisor = Rc::new(builder.start(|_| Command::new("./worker"))?);
//!     supervisor.obey_signals(Duration::from_secs(30))
//! }
//!
//! /// Answers each line with itself.
//! fn serve(mut connection: Connection) -> io::Result<()> {
//!     let mut request = Vec::new();
//!     loop {
//!         while let Some(end) = request.iter().position(|byte| *byte == b'\n') {
//!             connection.write_all(&request.drain(..=end).collect::<Vec<u8>>())?;
//!         }
//!         match connection.read_more(&mut request)? {
//!             More::Bytes(_) => {}
//!             More::End => return Ok(()),
//!             More::Move => return Ok(connection.give(&request)?),
//!         }
//!     }
//! }
//!
//! fn worker() -> io::Result<()> {
//!     let worker = Worker::from_environment()?;
//!     worker.retire_after(10_000, 1000);
//!     // What it needs comes here; then it is ready.
//!     worker.serve(|connection| drop(serve(connection)))
//! }
//! ```
#![cfg_attr(unix, doc = "", doc = "[`systemd`]: crate::systemd")]
#![cfg_attr(not(unix), doc = "", doc = "[`systemd`]: https://docs.rs/overlapped/latest/overlapped/systemd/")]

mod bell;
mod book;
mod channel;
mod connection;
mod desk;
mod keeper;
mod member;
mod service;
mod shared;
mod signals;
mod supervisor;
mod sys;
mod wire;
mod worker;

pub use self::connection::{Connection, More, NotGiven};
pub use self::supervisor::{Builder, Moves, Supervisor, WorkerStatus};
pub use self::wire::{UNREAD_LIMIT, VARIABLE};
pub use self::worker::Worker;
pub use crate::workers::sys::OwnedSocket;
