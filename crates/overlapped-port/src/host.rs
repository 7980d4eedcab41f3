//! What a port takes from the machine beside its kernel interface: the time, and threads.
//!
//! A backend says which it is ([`Backend::host`](crate::backend::Backend::host)): so a simulated kernel can have a clock that
//! jumps and threads that run by its own order. Random numbers, which nothing here needs, would come from here too.

use std::io;
use std::time::Instant;

/// A clock, and who starts threads.
pub(crate) trait Host: Send + Sync {
    /// The time by which deadlines are kept.
    fn now(&self) -> Instant;

    /// Starts a thread of the port's; `stack` is the size of its stack in bytes, `None` for the usual one.
    ///
    /// # Errors
    /// Where the system has none to give.
    fn start_thread(&self, stack: Option<usize>, body: Box<dyn FnOnce() + Send>) -> io::Result<()>;
}

/// The machine that the process runs on.
pub(crate) struct Machine;

impl Host for Machine {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn start_thread(&self, stack: Option<usize>, body: Box<dyn FnOnce() + Send>) -> io::Result<()> {
        let mut builder = std::thread::Builder::new().name("overlapped-pool".into());
        if let Some(stack) = stack {
            builder = builder.stack_size(stack);
        }
        crate::sys::start_thread(builder, body).map(drop)
    }
}
