//! What the servers on several threads share: what a request costs beside its I/O, and who has served how many.

use std::cell::OnceCell;
use std::fmt::Display;
use std::hint::black_box;
use std::io::{self, BufRead, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::argument;

/// Bytes of a request. A client may send several at once.
pub const REQUEST: usize = 64;

/// What a server on several threads is asked for: `threads-NAME [THREADS] [STEPS] [REQUESTS] [HOW]`.
#[derive(Clone)]
pub struct Asked {
    /// How many threads serve.
    pub threads: usize,
    /// What each request has computed: so many multiplications, each of which waits for the one before.
    pub steps: u32,
    /// After so many reads that gave something a connection is closed; 0: never.
    pub requests: u64,
    /// How connections come to the threads, where there is a choice.
    pub how: String,
}

impl Asked {
    /// As the command line says.
    pub fn here() -> Self {
        let requests = match argument(3, 0) {
            0 => u64::MAX,
            some => some,
        };
        Self { threads: argument(1, 2), steps: argument(2, 0), requests, how: argument(4, String::new()) }
    }

    /// Computes what the requests cost that were read, and counts them for this thread.
    pub fn serve(&self, read: &[u8]) {
        thread_local! {
            static COUNT: OnceCell<Arc<AtomicU64>> = const { OnceCell::new() };
        }
        let requests = read.len().div_ceil(REQUEST) as u64;
        let steps = u64::from(self.steps) * requests;
        black_box((0..steps).fold(black_box(1_u64), |value, step| (value ^ step).wrapping_mul(0x9e37_79b9)));
        COUNT.with(|count| {
            let new = || {
                let count = Arc::<AtomicU64>::default();
                counts(|counts| counts.push(Arc::clone(&count)));
                count
            };
            count.get_or_init(new).fetch_add(requests, Ordering::Relaxed);
        });
    }
}

fn counts<R>(look: impl FnOnce(&mut Vec<Arc<AtomicU64>>) -> R) -> R {
    static COUNTS: Mutex<Vec<Arc<AtomicU64>>> = Mutex::new(Vec::new());
    look(&mut COUNTS.lock().unwrap_or_else(PoisonError::into_inner))
}

/// As [`announce`](crate::announce); at each line of stdin it prints which part of the requests the busiest thread has
/// served since the one before: `{"busiest": 0.5}` where two have shared them evenly.
///
/// # Panics
/// Where stdout is closed: nobody is there to measure.
pub fn announce_counting(address: impl Display) {
    println!("{address}");
    io::stdout().flush().expect("the runner reads the address from stdout");
    std::thread::spawn(|| {
        for line in io::stdin().lock().lines() {
            if line.is_err() {
                break;
            }
            let served: Vec<u64> =
                counts(|counts| counts.iter().map(|count| count.swap(0, Ordering::Relaxed)).collect());
            let (most, all) = (served.iter().max().copied().unwrap_or(0), served.iter().sum::<u64>().max(1));
            println!(r#"{{"busiest": {:.3}}}"#, most as f64 / all as f64);
            let _ = io::stdout().flush();
        }
        std::process::exit(0);
    });
}
