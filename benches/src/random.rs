//! What the programs that read a file at random share: where to read, what must have come, how it is timed.
//!
//! Every program runs as `random-NAME FILE`, a file of pages that begin with their number each, and has [`READERS`] readers,
//! each with one read after the other of a page anywhere. Some turns find everything in the page cache, for all of it was read
//! before; before each of the others the cache is told to forget the file (posix_fadvise(2)).

use std::fs::File;
use std::io;
use std::mem;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::{argument, median};

/// Bytes that are read at once.
pub const PAGE: usize = 4096;
/// Readers at once.
pub const READERS: u32 = 64;
/// Reads of each in a turn.
pub const READS: u32 = 200;

/// Turns of each kind that count.
const TURNS: usize = 5;

/// The turns of a program: `while turns.more()? { … }`, with all the reads of one in the body.
pub struct Turns {
    /// The file.
    pub path: PathBuf,
    pages: u64,
    begun: Option<Clock>,
    done: usize,
    cached: Costs,
    cold: Costs,
}

/// The wall's clock, and the processor's: all threads of the process, its time in the kernel too.
#[derive(Clone, Copy)]
struct Clock {
    wall: Instant,
    cpu: Duration,
}

#[derive(Default)]
struct Costs {
    wall: Vec<Duration>,
    cpu: Vec<Duration>,
}

impl Turns {
    /// As the command line says. The cache has all of the file then.
    ///
    /// # Errors
    /// Where the file is not to be read.
    pub fn asked() -> io::Result<Self> {
        let path = argument(1, PathBuf::new());
        let pages = io::copy(&mut File::open(&path)?, &mut io::sink())? / PAGE as u64;
        Ok(Self { path, pages, begun: None, done: 0, cached: Costs::default(), cold: Costs::default() })
    }

    /// Ends a turn and says whether to begin another. The first of each kind does not count.
    ///
    /// # Errors
    /// Where the cache does not forget the file.
    pub fn more(&mut self) -> io::Result<bool> {
        if let Some(begun) = self.begun.take() {
            let kind = if self.done <= TURNS { &mut self.cached } else { &mut self.cold };
            let now = Clock::now();
            kind.wall.push(now.wall - begun.wall);
            kind.cpu.push(now.cpu - begun.cpu);
            self.done += 1;
        }
        if self.done > 2 * TURNS + 1 {
            return Ok(false);
        }
        if self.done > TURNS {
            self.forget()?;
        }
        self.begun = Some(Clock::now());
        Ok(true)
    }

    /// Where a reader is to read: each at places of its own.
    pub fn places(&self, reader: u32) -> Places {
        // Knuth's multiplicative hash: no two readers begin near each other.
        Places { state: u64::from(reader + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15), pages: self.pages }
    }

    fn forget(&self) -> io::Result<()> {
        let file = File::open(&self.path)?;
        // SAFETY: posix_fadvise(2) touches no memory of ours, and the descriptor is open.
        match unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) } {
            0 => Ok(()),
            error => Err(io::Error::from_raw_os_error(error)),
        }
    }

    /// Prints what a read took, in nanoseconds, by both clocks.
    pub fn print(mut self) {
        let each = |times: &mut Vec<Duration>| median(&mut times[1..]).as_nanos() as f64 / f64::from(READERS * READS);
        println!(
            r#"{{"cached": {:.0}, "cached_cpu": {:.0}, "cold": {:.0}, "cold_cpu": {:.0}}}"#,
            each(&mut self.cached.wall),
            each(&mut self.cached.cpu),
            each(&mut self.cold.wall),
            each(&mut self.cold.cpu),
        );
    }
}

impl Clock {
    fn now() -> Self {
        // SAFETY: a timespec of zeros is one, and clock_gettime(2) writes no more than it.
        let cpu = unsafe {
            let mut time: libc::timespec = mem::zeroed();
            assert_eq!(libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &raw mut time), 0, "Linux has this clock");
            Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
        };
        Self { wall: Instant::now(), cpu }
    }
}

/// Where one reader is to read (xorshift64, Marsaglia 2003).
pub struct Places {
    state: u64,
    pages: u64,
}

impl Iterator for Places {
    type Item = u64;

    /// The number of a page.
    fn next(&mut self) -> Option<u64> {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        Some(self.state % self.pages)
    }
}

/// The offset of a page.
pub fn offset(page: u64) -> u64 {
    page * PAGE as u64
}

/// Looks whether it is that page which has come.
///
/// # Panics
/// Where it is not.
pub fn check(page: u64, bytes: &[u8]) {
    assert_eq!(bytes.len(), PAGE);
    assert_eq!(bytes[..8], page.to_le_bytes(), "page {page} is another one");
}
