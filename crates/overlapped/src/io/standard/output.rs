//! Standard output and standard error.

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use overlapped_port::Op;
use overlapped_port::sys::{RawFile, raw_file};

use super::or_closed;
use crate::blocking::count;
use crate::interrupt::level_in;
use crate::sync::{RLock, RLockGuard};
use crate::time::deadline_after;

/// So much of a line without an end is kept, in bytes: the next write finds it too long, and writes it.
const LONGEST: usize = 8 << 10;

/// One of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    Output,
    Error,
}

impl Stream {
    fn file(self) -> RawFile {
        match self {
            Stream::Output => raw_file(&io::stdout()),
            Stream::Error => raw_file(&io::stderr()),
        }
    }

    fn is_terminal(self) -> bool {
        match self {
            Stream::Output => io::stdout().is_terminal(),
            Stream::Error => io::stderr().is_terminal(),
        }
    }

    /// One write; only the calling tasklet waits.
    fn write(self, bytes: &[u8], deadline: Option<Instant>) -> io::Result<usize> {
        #[cfg(windows)]
        if self.is_terminal() {
            return super::console::write(self, bytes);
        }
        or_closed(count(Op::Write { file: self.file(), buffer: bytes, offset: None }, deadline), bytes.len())
    }
}

/// Whether an error says that the tasklet is to leave.
fn was_told(error: &io::Error) -> bool {
    level_in(error).is_some()
}

/// A stream with whose turn it is.
struct Shared {
    stream: Stream,
    turn: RLock,
    /// The output's line that has no end yet. Who has the turn looks here, and not while it waits.
    rest: Mutex<Vec<u8>>,
}

static OUTPUT: OnceLock<Shared> = OnceLock::new();
static ERROR: OnceLock<Shared> = OnceLock::new();

impl Shared {
    fn new(stream: Stream) -> Shared {
        Shared { stream, turn: RLock::new(), rest: Mutex::default() }
    }

    fn rest(&self) -> MutexGuard<'_, Vec<u8>> {
        self.rest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is being written; the part that was not is put back where this is dropped.
struct Leaving<'a> {
    shared: &'a Shared,
    bytes: Vec<u8>,
    written: usize,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.bytes.drain(..self.written);
        *self.shared.rest() = std::mem::take(&mut self.bytes);
    }
}

/// The turn at a stream.
struct Turn {
    shared: &'static Shared,
    _guard: RLockGuard<'static>,
}

impl Turn {
    fn wait(shared: &'static Shared) -> Turn {
        Turn { shared, _guard: shared.turn.acquire() }
    }

    fn wait_or_told(shared: &'static Shared) -> io::Result<Turn> {
        Ok(Turn { shared, _guard: shared.turn.acquire_or_told()? })
    }

    /// Writes what is kept: all of it, or what is whole lines or too long.
    fn send(&self, all: bool, deadline: Option<Instant>) -> io::Result<()> {
        let mut leaving = Leaving { shared: self.shared, bytes: std::mem::take(&mut *self.shared.rest()), written: 0 };
        let end = match leaving.bytes.iter().rposition(|byte| *byte == b'\n') {
            _ if all => leaving.bytes.len(),
            Some(last) => last + 1,
            None if leaving.bytes.len() >= LONGEST => leaving.bytes.len(),
            None => 0,
        };
        while leaving.written < end {
            match self.shared.stream.write(&leaving.bytes[leaving.written..end], deadline)? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                length => leaving.written += length,
            }
        }
        Ok(())
    }

    /// Takes bytes of the output's, and returns how the lines among them went out.
    ///
    /// # Errors
    /// Where they were not taken: what has kept earlier ones from going out.
    fn take(&self, bytes: &[u8]) -> io::Result<io::Result<()>> {
        self.send(false, None)?;
        let mut rest = self.shared.rest();
        rest.try_reserve(bytes.len())?;
        rest.extend_from_slice(bytes);
        drop(rest);
        Ok(self.send(false, None))
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self.shared.stream {
            Stream::Error => self.shared.stream.write(bytes, None),
            // Taken is taken: an error that comes then shows at the next call.
            Stream::Output => self.take(bytes).map(|_| bytes.len()),
        }
    }

    fn write_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        match self.shared.stream {
            Stream::Error => {
                while !bytes.is_empty() {
                    match self.write(bytes)? {
                        0 => return Err(io::ErrorKind::WriteZero.into()),
                        length => bytes = &bytes[length..],
                    }
                }
                Ok(())
            }
            // Where the tasklet is told to leave and the bytes are taken, the next wait tells it.
            Stream::Output => match self.take(bytes)? {
                Err(error) if !was_told(&error) => Err(error),
                _ => Ok(()),
            },
        }
    }

    /// The text in one piece: nothing comes between its parts.
    fn write_fmt(&self, arguments: fmt::Arguments<'_>) -> io::Result<()> {
        match arguments.as_str() {
            Some(text) => self.write_all(text.as_bytes()),
            None => {
                let mut text = String::new();
                fmt::write(&mut text, arguments).map_err(|_| io::Error::other("a formatter has failed"))?;
                self.write_all(text.as_bytes())
            }
        }
    }

    fn flush(&self) -> io::Result<()> {
        self.send(true, None)
    }
}

/// Writes what standard output has kept, for `limit` at most: the end of [`run`](crate::run()).
pub(crate) fn flush_at_end(limit: Duration) {
    let Some(shared) = OUTPUT.get().filter(|shared| !shared.rest().is_empty()) else { return };
    if let Ok(guard) = shared.turn.acquire_timeout(limit) {
        let turn = Turn { shared, _guard: guard };
        // There is nobody to tell.
        let _ = turn.send(true, Some(deadline_after(limit)));
    }
}

macro_rules! standard_stream {
    (
        $(#[$about:meta])* $stream:ident, $(#[$about_lock:meta])* $lock:ident,
        $(#[$about_function:meta])* $function:ident, $static:ident, $which:expr
    ) => {
        $(#[$about])*
        #[derive(Debug)]
        pub struct $stream(());

        $(#[$about_lock])*
        pub struct $lock(Turn);

        $(#[$about_function])*
        pub fn $function() -> $stream {
            $stream(())
        }

        impl $stream {
            fn shared() -> &'static Shared {
                $static.get_or_init(|| Shared::new($which))
            }

            /// Keeps others from writing until the result is dropped; waits for its turn. The tasklet that has it may write,
            /// and lock, as before.
            pub fn lock(&self) -> $lock {
                $lock(Turn::wait(Self::shared()))
            }

            /// Whether it is a terminal.
            pub fn is_terminal(&self) -> bool {
                $which.is_terminal()
            }
        }

        /// Each call waits for its turn, and then for the stream.
        impl Write for &$stream {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                Turn::wait_or_told($stream::shared())?.write(bytes)
            }

            fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
                Turn::wait_or_told($stream::shared())?.write_all(bytes)
            }

            fn write_fmt(&mut self, arguments: fmt::Arguments<'_>) -> io::Result<()> {
                Turn::wait_or_told($stream::shared())?.write_fmt(arguments)
            }

            fn flush(&mut self) -> io::Result<()> {
                Turn::wait_or_told($stream::shared())?.flush()
            }
        }

        impl Write for $stream {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                (&*self).write(bytes)
            }

            fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
                (&*self).write_all(bytes)
            }

            fn write_fmt(&mut self, arguments: fmt::Arguments<'_>) -> io::Result<()> {
                (&*self).write_fmt(arguments)
            }

            fn flush(&mut self) -> io::Result<()> {
                (&*self).flush()
            }
        }

        impl Write for $lock {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.write(bytes)
            }

            fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
                self.0.write_all(bytes)
            }

            fn write_fmt(&mut self, arguments: fmt::Arguments<'_>) -> io::Result<()> {
                self.0.write_fmt(arguments)
            }

            fn flush(&mut self) -> io::Result<()> {
                self.0.flush()
            }
        }

        impl fmt::Debug for $lock {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($lock))
            }
        }
    };
}

standard_stream! {
    /// Standard output, as [`std::io::Stdout`]: see the [module](super) for what is shared. It is written by lines; where the
    /// reader is slow, only the tasklet that writes waits.
    ///
    /// Told to leave (a time-out, a cancel), a call has taken all of its bytes, and says so, or none of them, and is an error.
    /// What was taken and not written stays, and goes out before what is written next.
    Stdout,
    /// Standard output, to which nobody else writes until this is dropped.
    StdoutLock,
    /// Standard output of the process.
    ///
    /// ```
    /// use std::io::Write;
    ///
    /// overlapped::run(|| {
    ///     let mut output = overlapped::io::stdout().lock();
    ///     writeln!(output, "two lines")?;
    ///     writeln!(output, "that nobody comes between")
    /// })?;
    /// # std::io::Result::Ok(())
    /// ```
    stdout, OUTPUT, Stream::Output
}

standard_stream! {
    /// Standard error, as [`std::io::Stderr`]: see the [module](super) for what is shared. It keeps nothing; a `write!`
    /// goes out in one piece.
    Stderr,
    /// Standard error, to which nobody else writes until this is dropped.
    StderrLock,
    /// Standard error of the process.
    ///
    /// ```
    /// use std::io::Write;
    ///
    /// overlapped::run(|| writeln!(overlapped::io::stderr(), "no luck with {}", "that"))?;
    /// # std::io::Result::Ok(())
    /// ```
    stderr, ERROR, Stream::Error
}
