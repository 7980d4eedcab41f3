//! Blocking-style code that does overlapped I/O: `recv`, `send`, `read`, `write`, `wait`, one after the other,
//! thousands of times at once, on one thread with one completion port.
#![deny(unsafe_code)]

mod attempt;
mod blocking;
mod channel;
mod coroutine;
pub mod engine;
pub mod fs;
mod interrupt;
pub mod net;
mod offload;
pub mod process;
mod resolve;
mod scheduler;
#[allow(unsafe_code)]
mod stack;
mod sync;
mod tasklet;
mod time;

pub use attempt::attempted;
pub use channel::{Channel, Preference, ReceiveError, SendError, channel};
pub use offload::offload;
pub use scheduler::Status;
pub use sync::{Event, Permit, Semaphore};
pub use tasklet::{
    Builder, DEFAULT_STACK_SIZE, Handle, JoinError, JoinHandle, explain, handle, report, run, spawn, tasklets, try_run,
    watch, yield_now,
};
pub use time::{Elapsed, sleep, timeout};

/// The README's program runs as a doctest.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
