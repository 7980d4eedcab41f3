//! Blocking-style code that does overlapped I/O: `recv`, `send`, `read`, `write`, `wait`, one after the other,
//! thousands of times at once, on one thread with one completion port.
#![deny(unsafe_code)]

mod attempt;
mod blocking;
mod channel;
mod coroutine;
pub mod engine;
mod explain;
pub mod fs;
mod interrupt;
pub mod net;
mod offload;
mod panics;
pub mod process;
mod resolve;
mod run;
mod scheduler;
pub mod signal;
#[allow(unsafe_code)]
mod stack;
mod sync;
mod tasklet;
mod time;
mod wait_list;

pub use attempt::attempted;
pub use channel::{Channel, Preference, ReceiveError, SendError, channel};
pub use explain::{explain, report, tasklets, watch};
pub use interrupt::is_cancelled;
pub use offload::offload;
pub use run::{Config, DEFAULT_STACK_SIZE, run, try_run};
pub use scheduler::Status;
pub use sync::{Event, Permit, Semaphore};
pub use tasklet::{Builder, Handle, JoinError, JoinHandle, handle, spawn, yield_now};
pub use time::{Elapsed, sleep, timeout, uncancellable};

/// The README's program runs as a doctest.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
