//! Unix: a handler that notes the signal and writes a byte to a pair of sockets.

use std::fmt;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;

use signal_hook::consts::FORBIDDEN;
use signal_hook::iterator::backend::SignalDelivery;
use signal_hook::iterator::exfiltrator::SignalOnly;

use crate::sys::RawSocket;

/// How to learn that a signal has come.
#[derive(Debug)]
pub enum Arrival {
    /// [`Op::Poll`](crate::Op::Poll) says that this is readable.
    Readable(RawSocket),
    /// [`Signals::on_arrival`] tells.
    Told,
}

/// Some signals, from now on.
pub struct Signals(SignalDelivery<UnixStream, SignalOnly>);

impl Signals {
    /// Has these signals noted from now on, by their numbers (signal(7)); they no longer end the program, neither when this
    /// is dropped.
    ///
    /// # Errors
    /// `InvalidInput` for a number that is none, and for one of those that no program can take (SIGKILL, SIGSTOP) or
    /// that tell of a fault of its own (SIGSEGV, SIGILL, SIGFPE); where the process has no descriptor left.
    pub fn new(numbers: &[i32]) -> io::Result<Signals> {
        for number in numbers {
            let why = match number {
                number if FORBIDDEN.contains(number) => "it ends or stops the program, or tells of its fault",
                1..128 => continue,
                _ => "there is none of that number",
            };
            let message = format!("signal {number} cannot be waited for: {why}");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        let (read, write) = UnixStream::pair()?;
        SignalDelivery::with_pipe(read, write, SignalOnly, numbers).map(Signals)
    }

    /// How to learn that one has come.
    pub fn arrival(&self) -> Arrival {
        Arrival::Readable(self.0.get_read().as_raw_fd())
    }

    /// Has `call` called for each that comes.
    ///
    /// # Errors
    /// Always, here: [`Signals::arrival`] says another way.
    pub fn on_arrival(&mut self, call: impl Fn() + Send + Sync + 'static) -> io::Result<()> {
        drop(call);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Those that have come since this was last asked, each once.
    pub fn take(&mut self) -> Vec<i32> {
        self.0.pending().collect()
    }
}

impl fmt::Debug for Signals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signals").finish_non_exhaustive()
    }
}
