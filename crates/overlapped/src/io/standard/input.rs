//! Standard input.

use std::io::{self, BufRead, IsTerminal, Lines, Read};
use std::sync::OnceLock;

use overlapped_port::Op;
use overlapped_port::sys::raw_file;

use super::or_closed;
use crate::blocking::{count, fillable};
use crate::sync::{Lock, LockGuard};

/// The room for what is read ahead, in bytes.
const ROOM: usize = 8 << 10;

/// What was read ahead and nobody has taken: from `start` to `end`.
struct Input {
    bytes: Box<[u8]>,
    start: usize,
    end: usize,
}

fn input() -> &'static Lock<Input> {
    static INPUT: OnceLock<Lock<Input>> = OnceLock::new();
    INPUT.get_or_init(|| Lock::new(Input { bytes: vec![0; ROOM].into(), start: 0, end: 0 }))
}

/// One read; only the calling tasklet waits.
fn read(buffer: &mut [u8]) -> io::Result<usize> {
    #[cfg(windows)]
    if io::stdin().is_terminal() {
        return super::console::read(buffer);
    }
    or_closed(count(Op::Read { file: raw_file(&io::stdin()), buffer: fillable(buffer), offset: None }, None), 0)
}

/// Standard input, as [`std::io::Stdin`]: see the [module](super) for what is shared. Reads of several tasklets take turns;
/// [`Stdin::lock`] keeps the turn.
///
/// A read that is left early (a time-out, a cancel) takes nothing; [`Stdin::read_line`] leaves in the line what has come of
/// it, and can be called again with that.
#[derive(Debug)]
pub struct Stdin(());

/// Standard input of the process.
///
/// ```no_run
/// use std::time::Duration;
///
/// overlapped::run(|| {
///     let ticker = overlapped::spawn(|| {
///         for _ in overlapped::every(Duration::from_secs(1)) {
///             eprintln!("waiting");
///         }
///     });
///     for line in overlapped::io::stdin().lines() {
///         println!("{}", line?.to_uppercase());
///     }
///     ticker.cancel();
///     std::io::Result::Ok(())
/// })?;
/// # std::io::Result::Ok(())
/// ```
pub fn stdin() -> Stdin {
    Stdin(())
}

impl Stdin {
    /// Keeps others from reading until the result is dropped; waits for its turn.
    pub fn lock(&self) -> StdinLock {
        StdinLock(input().acquire())
    }

    fn told_lock(&self) -> io::Result<StdinLock> {
        input().acquire_or_told().map(StdinLock)
    }

    /// Reads a line with its end, `\n`, and appends it; returns how many bytes, 0 at the end of the input.
    ///
    /// # Errors
    /// `InvalidData` where it is not UTF-8; what the system says; where the tasklet is told to leave.
    pub fn read_line(&self, line: &mut String) -> io::Result<usize> {
        self.told_lock()?.read_line(line)
    }

    /// The lines that are left, without their ends; others do not read meanwhile.
    pub fn lines(self) -> Lines<StdinLock> {
        self.lock().lines()
    }

    /// Whether it is a terminal.
    pub fn is_terminal(&self) -> bool {
        io::stdin().is_terminal()
    }
}

impl Read for &Stdin {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.told_lock()?.read(buffer)
    }

    fn read_to_end(&mut self, bytes: &mut Vec<u8>) -> io::Result<usize> {
        self.told_lock()?.read_to_end(bytes)
    }

    fn read_to_string(&mut self, text: &mut String) -> io::Result<usize> {
        self.told_lock()?.read_to_string(text)
    }

    fn read_exact(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        self.told_lock()?.read_exact(buffer)
    }
}

impl Read for Stdin {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buffer)
    }

    fn read_to_end(&mut self, bytes: &mut Vec<u8>) -> io::Result<usize> {
        (&*self).read_to_end(bytes)
    }

    fn read_to_string(&mut self, text: &mut String) -> io::Result<usize> {
        (&*self).read_to_string(text)
    }

    fn read_exact(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        (&*self).read_exact(buffer)
    }
}

/// Standard input, from which nobody else reads until this is dropped.
pub struct StdinLock(LockGuard<'static, Input>);

impl Read for StdinLock {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let is_empty = self.0.start == self.0.end;
        if is_empty && buffer.len() >= ROOM {
            return read(buffer);
        }
        let mut ahead = self.fill_buf()?;
        let length = ahead.read(buffer)?;
        self.consume(length);
        Ok(length)
    }
}

impl BufRead for StdinLock {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        let input = &mut *self.0;
        if input.start == input.end {
            (input.start, input.end) = (0, 0);
            input.end = read(&mut input.bytes)?;
        }
        Ok(&input.bytes[input.start..input.end])
    }

    fn consume(&mut self, length: usize) {
        self.0.start = self.0.end.min(self.0.start + length);
    }
}

impl std::fmt::Debug for StdinLock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StdinLock").field("ahead", &(self.0.end - self.0.start)).finish()
    }
}
