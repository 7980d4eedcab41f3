//! A simulated world: a network without a network, time without waiting, and chance with a seed.
//!
//! ```text
//!   chance  clock             decisions, which a seed or a list of earlier ones makes; the time
//!   rules                     what the world does to those who talk: latency, loss, resets, partitions
//!   agenda                    what happens when
//!   socket  stream  datagram  sockets, as the system calls on them see them
//!   stand_in                  the descriptors that stand for them
//!   other_thread              what a thread beside that of the world does to it
//!   kernel                    all of them, by descriptor and by address
//!   world  calls              the one of this thread, and the calls on its sockets
//! ```
//!
//! What is simulated are the system calls of sockets (socket(2), bind(2), …, recv(2), poll(2)) in the form that never blocks,
//! as the readiness backend makes them, and its epoll(7). So that backend and everything above it are the
//! shipped ones. A socket of the world has a descriptor, a duplicate of one that stands for its kind: it can be owned, closed
//! and cloned as any other, and its options be set (to no effect), and a call on it that this module does not know meets a
//! socket that is not connected, and fails.
//!
//! Rejected: real sockets on the loopback, whose order is the kernel's (its softirqs, its timers), and of which a connection
//! costs more than a whole scene of the simulated ones; to put functions in the place of libc's (`socket`, `clock_gettime`),
//! as some simulators do: it needs a build of its own, and a Python that is linked to libc would not see them.

mod chance;
mod clock;

#[cfg(unix)]
mod agenda;
#[cfg(unix)]
pub mod calls;
#[cfg(unix)]
mod datagram;
#[cfg(unix)]
mod kernel;
#[cfg(unix)]
mod other_thread;
#[cfg(unix)]
mod rules;
#[cfg(unix)]
mod socket;
#[cfg(unix)]
mod stand_in;
#[cfg(unix)]
mod stream;
#[cfg(unix)]
mod world;

#[cfg(not(unix))]
mod elsewhere;

pub(crate) use chance::Chance;
pub use chance::{Decisions, Origin, from_environment};
pub use clock::{is_simulated, now};

#[cfg(unix)]
pub(crate) use kernel::Advanced;
#[cfg(unix)]
pub use kernel::Received;
#[cfg(unix)]
pub use rules::{Link, Rules};
#[cfg(unix)]
pub use world::{
    Entered, elapsed, enter, heal_links, look_up, note, on_other_thread, random, set_link, set_name, set_rules, stall,
};
#[cfg(unix)]
pub(crate) use world::{World, forget, look_again, on};

#[cfg(not(unix))]
pub(crate) use elsewhere::World;
