//! Programs in a simulated world: a network that reorders, delays, cuts and fails, time that passes as fast as nothing happens,
//! and all of it by a seed.
//!
//! The program is the shipped one: its tasklets, [`net`](crate::net), time-outs, locks and queues are those that run in
//! production, built as in production. Under them, the port's kernel is one that this process has in memory. What it does
//! beside what the program asks for, [`Rules`] say, and links between addresses ([`set_link`], [`partition`]) that the program
//! breaks and heals.
//!
//! ```
//! use std::io::{Read, Write};
//! use overlapped::net::{TcpListener, TcpStream};
//! use overlapped::sim::{self, Simulation};
//!
//! // A client that asks a server which is ten virtual minutes late: no real time passes.
//! let seen = Simulation::new().run(7, || {
//!     let listener = TcpListener::bind("10.0.0.1:80")?;
//!     let server = overlapped::spawn(move || {
//!         let (mut stream, _) = listener.accept()?;
//!         overlapped::sleep(std::time::Duration::from_secs(600));
//!         stream.write_all(b"late")
//!     });
//!     let mut answer = String::new();
//!     TcpStream::connect("10.0.0.1:80")?.read_to_string(&mut answer)?;
//!     server.join().unwrap()?;
//!     assert!(sim::elapsed().as_secs() >= 600);
//!     std::io::Result::Ok(answer)
//! });
//! assert_eq!(seen.unwrap(), "late");
//! ```
//!
//! [`explore()`] runs a scene under many seeds, and where one fails, looks for the shortest list of [`Decisions`] with which it
//! still does. A failure is a panic of the scene, or that every tasklet waits for what can never come. What was found is run
//! again by `OVERLAPPED_SIM`, a seed or the decisions as they were printed:
//!
//! ```
//! use overlapped::net::{TcpListener, TcpStream};
//! use std::io::{Read, Write};
//!
//! let failure = overlapped::sim::Simulation::new().explore(0..200, || {
//!     let listener = TcpListener::bind("10.0.0.1:80").unwrap();
//!     let client = overlapped::spawn(|| TcpStream::connect("10.0.0.1:80").unwrap().write_all(b"hello").unwrap());
//!     let mut greeting = [0; 5];
//!     // A mistake that no test on a fast network shows: a read need not bring all.
//!     let count = listener.accept().unwrap().0.read(&mut greeting).unwrap();
//!     client.join().unwrap();
//!     assert_eq!(count, 5);
//! });
//! assert!(failure.unwrap_err().message.contains("left: "));
//! ```
//!
//! **What is simulated:** TCP and UDP by IPv4 and IPv6 (every address is there; a socket that has none speaks from the one that
//! it speaks to), time ([`now`], and all that waits here), names ([`set_name`], `localhost`), chance ([`random`]), a lack of
//! descriptors, memory and disk, and the order of all completions. **What is not:** files, pipes and Unix sockets are the
//! system's, done at once and told of in any order; functions of [`offload`](crate::offload()) run on a thread, while everything
//! else waits for them; [`std::time::Instant::now`] is the real time, and a deadline is to be made of [`now`]. What would touch the
//! real world (an IP socket from elsewhere, a child process) is refused with an error that says so. A world has one thread; what others
//! would do to it, [`on_other_thread`] does at a time of the world's.
//!
//! To perturb a program that lives in the real world, and cannot leave it, there is the environment: `OVERLAPPED_SIM=seed` runs
//! it on real sockets and files whose completions come late, in another order and in parts.
//!
//! Windows has no simulated world yet; `OVERLAPPED_SIM` works there.

mod explore;
mod shrink;
mod stuck;
mod watchdog;

use std::any::Any;
use std::io;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

pub use explore::{Explored, Failure, Simulation, explore, run};
pub use overlapped_port::sim::{
    Decisions, Link, Origin, Rules, elapsed, heal_links, is_simulated, note, now, random, set_link, set_name,
    set_rules, stall,
};
pub use shrink::shrink;
pub(crate) use stuck::leave_stuck;

use crate::tasklet::text_of;

/// What a panic said.
fn said(payload: &(dyn Any + Send)) -> &str {
    text_of(payload).unwrap_or("a panic without a text")
}

/// Has another thread run `call` to its end when so much time has passed; this one waits meanwhile. What it does to queues,
/// events and whatever else is made for it wakes those who wait here, as a thread outside of a world would. It is in no world
/// itself, and must not wait for this thread. Where it panics, the run fails.
///
/// ```
/// use overlapped::{Event, sim};
/// use std::time::Duration;
///
/// sim::run(1, || {
///     let event = Event::new();
///     let theirs = event.clone();
///     sim::on_other_thread(Duration::from_secs(60), move || theirs.set());
///     event.wait();
///     assert_eq!(sim::elapsed().as_secs(), 60);
/// });
/// ```
///
/// # Panics
/// Outside of a simulated world.
pub fn on_other_thread(after: Duration, call: impl FnOnce() + Send + 'static) {
    overlapped_port::sim::on_other_thread(after, || {
        catch_unwind(AssertUnwindSafe(call))
            .map_err(|payload| io::Error::other(format!("what another thread did panicked: {}", said(&*payload))))
    });
}

/// Lets nothing through between two addresses, in either direction, until [`heal`].
///
/// # Panics
/// Outside of a simulated world.
pub fn partition(one: IpAddr, other: IpAddr) {
    let down = Link { is_down: true, ..Link::default() };
    set_link(one, other, down);
    set_link(other, one, down);
}

/// Lets everything through between two addresses again.
///
/// # Panics
/// Outside of a simulated world.
pub fn heal(one: IpAddr, other: IpAddr) {
    set_link(one, other, Link::default());
    set_link(other, one, Link::default());
}
