//! What the measured programs share: how a server begins and ends, how a cost is timed, how memory is read.
//!
//! Each measured thing is a process of its own, so that the runner (`run.py`) can pin it to a core, read its CPU clock
//! from outside and end it without asking. Programs print one JSON line, or for a server its port. Linux only: the load
//! generator is an io_uring loop, and the runner reads `/proc`.

pub mod files;
pub mod handover;
pub mod http;
pub mod idle;
pub mod load;
pub mod random;
pub mod ring;
pub mod simulation;
pub mod threads;

use std::fmt::Display;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::{Duration, Instant};

/// The most bytes that an echo server takes in one `read`, unless told otherwise.
const READ_SIZE: usize = 4096;

/// What an echo server is asked for on its command line: `echo-NAME [READ_SIZE] [REQUESTS] [UNIX_PATH]`.
#[derive(Clone)]
pub struct Serving {
    /// The most bytes that it takes in one `read`.
    pub read_size: usize,
    /// After so many reads that gave something a connection is closed; no number that a run reaches, where 0 was given.
    pub requests: u64,
    /// Where its Unix socket is to be; TCP on loopback where none was given.
    pub path: Option<PathBuf>,
}

impl Serving {
    /// As the command line says.
    pub fn asked() -> Self {
        let requests = match argument(2, 0) {
            0 => u64::MAX,
            some => some,
        };
        Self { read_size: argument(1, READ_SIZE), requests, path: std::env::args_os().nth(3).map(PathBuf::from) }
    }
}

/// The command-line argument at `position` (the first is 1), or `default` where it is missing.
///
/// # Panics
/// Where the argument does not parse: a benchmark with a mistyped size must not run.
pub fn argument<T: FromStr>(position: usize, default: T) -> T {
    match std::env::args().nth(position) {
        None => default,
        Some(text) => text.parse().unwrap_or_else(|_| panic!("argument {position} is {text:?}: not understood")),
    }
}

/// Tells the runner the port or path that an echo server listens on, and from then on ends the process when stdin closes.
///
/// A blocked thread of the operating system watches stdin: it costs nothing while the server works, needs no support
/// from the runtime that is measured, and a runner that dies takes its servers with it.
///
/// # Panics
/// Where stdout is closed: nobody is there to measure.
pub fn announce(address: impl Display) {
    println!("{address}");
    io::stdout().flush().expect("the runner reads the address from stdout");
    std::thread::spawn(|| {
        let mut byte = [0];
        while matches!(io::stdin().read(&mut byte), Ok(1)) {}
        std::process::exit(0);
    });
}

/// Times a batch again and again, and gives the median cost of one item of it.
///
/// Works in blocking and in async code alike, as the batch is the body of the caller's loop:
/// ```
/// let mut laps = overlapped_benches::Laps::of(1000);
/// while laps.more() {
///     for n in 0..1000 { std::hint::black_box(n); }
/// }
/// assert!(laps.nanoseconds() > 0.0);
/// ```
pub struct Laps {
    items: u32,
    began: Instant,
    lap_began: Option<Instant>,
    laps: Vec<Duration>,
}

impl Laps {
    const LONGEST: Duration = Duration::from_millis(400);
    const FEWEST: usize = 5;

    /// A clock for batches of so many items.
    pub fn of(items: u32) -> Self {
        Self { items, began: Instant::now(), lap_began: None, laps: Vec::with_capacity(10_000) }
    }

    /// Ends a lap and says whether to begin another.
    pub fn more(&mut self) -> bool {
        let now = Instant::now();
        self.laps.extend(self.lap_began.map(|then| now - then));
        self.lap_began = Some(Instant::now());
        now - self.began < Self::LONGEST || self.laps.len() <= Self::FEWEST
    }

    /// The median of the laps, for one item. The first lap warms caches and pools, and does not count.
    pub fn nanoseconds(mut self) -> f64 {
        median(&mut self.laps[1..]).as_nanos() as f64 / f64::from(self.items)
    }
}

/// The middle one of some times.
fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// Items of a batch where each is a tasklet that is spawned and joined.
pub const SPAWNS: u32 = 1000;
/// Items of a batch where each is a switch or a value handed over.
pub const SWITCHES: u32 = 10_000;

/// Prints the costs of the basic moves, in nanoseconds.
///
/// `stream` is one producer and one consumer on one channel, a value; `ping_pong` is two tasklets that answer each
/// other, so that every single value needs a switch.
pub fn print_costs(spawn_join: Laps, switch: Option<Laps>, stream: Laps, ping_pong: Laps) {
    print_named([
        ("spawn_join", Some(spawn_join)),
        ("switch", switch),
        ("stream", Some(stream)),
        ("ping_pong", Some(ping_pong)),
    ]);
}

/// Members of a group in a batch.
pub const MEMBERS: u32 = 100;
/// Waits for the first of two events in a batch.
pub const FIRSTS: u32 = 1000;
/// Turns through a condition in a batch.
pub const TURNS: u32 = 2000;

/// Prints the costs of structure, in nanoseconds.
///
/// `group` is one of a hundred members that return at once, begun, waited for and left; `first` a wait for the first of two
/// events, of which another sets one; `condition` a turn of two that hand it on through one condition.
pub fn print_structure(group: Laps, first: Laps, condition: Laps) {
    print_named([("group", Some(group)), ("first", Some(first)), ("condition", Some(condition))]);
}

fn print_named<const N: usize>(named: [(&str, Option<Laps>); N]) {
    let costs: Vec<_> =
        named.into_iter().filter_map(|(name, laps)| Some(format!(r#""{name}": {:.1}"#, laps?.nanoseconds()))).collect();
    println!("{{{}}}", costs.join(", "));
}
