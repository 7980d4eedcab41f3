//! Signals as things to wait for: those of Unix, and the console's events on Windows.
//!
//! ```
//! # #[cfg(unix)] {
//! use overlapped::signal::{INTERRUPT, Signals, TERMINATE};
//!
//! overlapped::run(|| {
//!     let mut signals = Signals::new([INTERRUPT, TERMINATE])?;
//!     let server = overlapped::spawn(|| overlapped::sleep(std::time::Duration::from_secs(60)));
//!     # std::process::Command::new("kill").args(["-TERM", &std::process::id().to_string()]).status()?;
//!     // Only this tasklet waits.
//!     assert_eq!(signals.wait()?, TERMINATE);
//!     server.cancel();
//!     std::io::Result::Ok(())
//! }).unwrap();
//! # }
//! ```

use std::collections::VecDeque;
use std::fmt;
use std::io;

use overlapped_port::{Arrival, Interest, Op};

use crate::blocking::count;
use crate::sync::Event;

/// Ctrl-C at the terminal: SIGINT, `CTRL_C_EVENT`.
pub const INTERRUPT: i32 = if cfg!(windows) { 0 } else { 2 };
/// The end of the program is asked for: SIGTERM. On Windows, where no such event is, Ctrl-Break, which a parent can send to a
/// group of processes: `CTRL_BREAK_EVENT`.
pub const TERMINATE: i32 = if cfg!(windows) { 1 } else { 15 };
/// The terminal is gone: SIGHUP, which servers also take as the wish to read their settings anew; `CTRL_CLOSE_EVENT`.
pub const HANGUP: i32 = if cfg!(windows) { 2 } else { 1 };

/// Some signals, each of which is told from now on. Others may wait for the same ones, in other tasklets, threads and libraries:
/// each is told.
///
/// A signal that comes several times before it is asked for is told once, as the system does it.
pub struct Signals {
    inner: overlapped_port::Signals,
    came: VecDeque<i32>,
    /// Set where the system cannot be polled for them.
    arrived: Event,
}

impl Signals {
    /// Has these signals noted from now on, by their numbers: those in this module, on Unix all of signal(7)'s that can be
    /// taken. They no longer do what they did by themselves, such as to end the program; on Unix neither when this is
    /// dropped.
    ///
    /// # Errors
    /// `InvalidInput` for a number that is none, or that of a signal that cannot be waited for (SIGKILL, SIGSTOP,
    /// SIGSEGV, SIGILL, SIGFPE); where the process has no descriptor left.
    pub fn new(numbers: impl IntoIterator<Item = i32>) -> io::Result<Signals> {
        let mut inner = overlapped_port::Signals::new(&numbers.into_iter().collect::<Vec<_>>())?;
        let arrived = Event::new();
        if let Arrival::Told = inner.arrival() {
            let theirs = arrived.clone();
            inner.on_arrival(move || theirs.set())?;
        }
        Ok(Signals { inner, came: VecDeque::new(), arrived })
    }

    /// Waits for the next one, and returns its number.
    ///
    /// # Errors
    /// Outside of [`run`](crate::run); where the tasklet is to leave its wait.
    pub fn wait(&mut self) -> io::Result<i32> {
        loop {
            if let Some(number) = self.try_wait() {
                return Ok(number);
            }
            match self.inner.arrival() {
                Arrival::Readable(socket) => drop(count(Op::Poll { socket, interest: Interest::READABLE }, None)?),
                Arrival::Told => self.arrived.wait(),
            }
        }
    }

    /// The next one, if one has come.
    pub fn try_wait(&mut self) -> Option<i32> {
        self.arrived.clear();
        self.came.extend(self.inner.take());
        self.came.pop_front()
    }
}

impl fmt::Debug for Signals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signals").finish_non_exhaustive()
    }
}

/// Waits for Ctrl-C at the terminal. From the first call on, that no longer ends the program.
///
/// # Errors
/// As for [`Signals::wait`].
pub fn ctrl_c() -> io::Result<()> {
    Signals::new([INTERRUPT])?.wait().map(drop)
}
