//! What the programs of the file scene share: what each is to do, how a ticker beside it is read, what is printed.
//!
//! Every program runs as `files-NAME SOURCE TARGET`: it opens and closes a file of SOURCE again and again, one after the
//! other (`open`), then copies what SOURCE holds into TARGET, all files at once in pieces of 64 KiB: first those whose
//! names begin with `small` (`small`), then all (`all`). Meanwhile a ticker sleeps a millisecond again and again, where
//! the library can sleep beside it. What was written is compared with the source after the clock has stopped.

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::{Laps, argument, median};

/// Bytes that are read and written at once.
pub const PIECE: usize = 64 * 1024;
/// How long the ticker sleeps.
pub const TICK: Duration = Duration::from_millis(1);
/// Opens of a batch.
pub const OPENS: u32 = 1000;

/// A file, and where its copy is to be.
pub type Pair = (PathBuf, PathBuf);

/// The files of one program's run.
pub struct Work {
    source: PathBuf,
    target: PathBuf,
}

impl Work {
    /// As the command line says.
    pub fn asked() -> Self {
        Self { source: argument(1, PathBuf::new()), target: argument(2, PathBuf::new()) }
    }

    /// The file that is opened again and again.
    ///
    /// # Errors
    /// Where the source is not to be read, or holds nothing.
    pub fn opened(&self) -> io::Result<PathBuf> {
        self.pairs("small").and_then(|pairs| Ok(pairs.into_iter().next().ok_or(io::ErrorKind::NotFound)?.0))
    }

    /// The copying of those files whose names begin so.
    ///
    /// # Errors
    /// Where the source is not to be read.
    pub fn copying(&self, prefix: &str) -> io::Result<Copying> {
        Ok(Copying::of(self.pairs(prefix)?))
    }

    fn pairs(&self, prefix: &str) -> io::Result<Vec<Pair>> {
        let mut pairs = Vec::new();
        for entry in self.source.read_dir()? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(prefix) {
                pairs.push((entry.path(), self.target.join(entry.file_name())));
            }
        }
        pairs.sort();
        Ok(pairs)
    }
}

/// The longest time between two ticks; the ticks are the caller's.
pub struct Ticker {
    last: Instant,
    worst: Duration,
}

impl Default for Ticker {
    fn default() -> Self {
        Self { last: Instant::now(), worst: Duration::ZERO }
    }
}

impl Ticker {
    /// One tick.
    pub fn tick(&mut self) {
        let now = Instant::now();
        self.worst = self.worst.max(now - self.last);
        self.last = now;
    }
}

/// Copies of the same files again and again, the time of each, and the worst gap of all.
pub struct Copying {
    /// What is copied, all at once.
    pub pairs: Vec<Pair>,
    times: Vec<Duration>,
    worst_gap: Duration,
}

impl Copying {
    /// How often.
    pub const TIMES: u32 = 5;

    fn of(pairs: Vec<Pair>) -> Self {
        Self { pairs, times: Vec::new(), worst_gap: Duration::ZERO }
    }

    /// Takes in what one copying of all took, and clears away what it made.
    ///
    /// # Errors
    /// Where a copy is not what its source is.
    pub fn record(&mut self, time: Duration, ticker: &Ticker) -> io::Result<()> {
        self.times.push(time);
        self.worst_gap = self.worst_gap.max(ticker.worst);
        for (source, target) in &self.pairs {
            if std::fs::read(source)? != std::fs::read(target)? {
                return Err(io::Error::other(format!("{} is not what {} is", target.display(), source.display())));
            }
            std::fs::remove_file(target)?;
        }
        Ok(())
    }

    fn milliseconds(&mut self) -> f64 {
        median(&mut self.times).as_secs_f64() * 1e3
    }
}

/// Prints what the scene found: nanoseconds of an open with its close, milliseconds of each copying (the median of its
/// times) and of the ticker's worst gap.
pub fn print(open: Laps, mut small: Copying, mut all: Copying) {
    let worst_gap = small.worst_gap.max(all.worst_gap).as_secs_f64() * 1e3;
    println!(
        r#"{{"open": {:.0}, "small": {:.3}, "all": {:.3}, "worst_gap": {worst_gap:.3}}}"#,
        open.nanoseconds(),
        small.milliseconds(),
        all.milliseconds(),
    );
}
