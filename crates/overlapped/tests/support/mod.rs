//! What the test binaries share. Each uses a part of it.
#![allow(dead_code, unused_imports, reason = "each test binary uses a part")]

pub(crate) mod children;
pub(crate) mod fuzz;
#[cfg(feature = "hyper")]
pub(crate) mod http;
pub(crate) mod protocols;
pub(crate) mod tls;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;
#[cfg(unix)]
pub(crate) use unix::*;
#[cfg(windows)]
pub(crate) use windows::*;

use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use overlapped::net::{TcpListener, TcpStream};

/// After so long, a test hangs; on a crowded machine after longer, see [`crowd`].
const PATIENCE: Duration = Duration::from_secs(60);

/// Long enough that nothing which should come sooner takes it, short against [`PATIENCE`].
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// `overlapped::run`, in a process that is aborted where that hangs.
pub(crate) fn run<T>(main: impl FnOnce() -> T) -> T {
    run_long(1, main)
}

/// [`run`] of what may take so many times as long.
pub(crate) fn run_long<T>(times: u32, main: impl FnOnce() -> T) -> T {
    let _watch = Watch::long(times);
    overlapped::run(main)
}

/// While it lives, no other test of this program that asks for it runs: descriptors are the process's.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// [`run`], and [`alone`].
pub(crate) fn run_alone<T>(main: impl FnOnce() -> T) -> T {
    let _alone = alone();
    run(main)
}

/// Waits until something holds; other tasklets run meanwhile.
#[track_caller]
pub(crate) fn wait_for(what: &str, holds: impl FnMut() -> bool) {
    wait_long_for(1, what, holds);
}

/// [`wait_for`] what may take so many times as long.
#[track_caller]
pub(crate) fn wait_long_for(times: u32, what: &str, mut holds: impl FnMut() -> bool) {
    let (begun, limit) = (Instant::now(), LONG * times);
    while !holds() {
        let in_time = begun.elapsed() < limit || begun.elapsed() < limit.mul_f64(crowd());
        assert!(in_time, "never: {what}");
        overlapped::sleep(Duration::from_millis(2));
    }
}

/// Aborts the process unless it is dropped in time.
pub(crate) struct Watch(#[allow(dead_code, reason = "dropping it is the message")] mpsc::Sender<()>);

impl Watch {
    pub(crate) fn new() -> Watch {
        Watch::long(1)
    }

    /// [`Watch::new`] over what may take so many times as long.
    pub(crate) fn long(times: u32) -> Watch {
        Watch::of(PATIENCE * times)
    }

    fn of(limit: Duration) -> Watch {
        let (alive, gone) = mpsc::channel();
        let test = std::thread::current().name().unwrap_or("a test").to_owned();
        std::thread::spawn(move || {
            let (begun, mut patience) = (Instant::now(), limit);
            while let Some(left) = patience.checked_sub(begun.elapsed()) {
                if gone.recv_timeout(left) != Err(mpsc::RecvTimeoutError::Timeout) {
                    return;
                }
                // Not before: to look opens files, and there are tests that count descriptors.
                patience = limit.mul_f64(crowd());
            }
            eprintln!("{test} hangs");
            std::process::abort();
        });
        Watch(alive)
    }
}

/// How many wanted each processor in the last minute (the load average, proc(5)), from 1 to 10; 1 where the system tells
/// none. What others keep waiting does not hang.
fn crowd() -> f64 {
    let paths = ["/proc/loadavg", r"Z:\proc\loadavg"];
    let told = paths.iter().find_map(|path| std::fs::read_to_string(path).ok()?.split(' ').next()?.parse::<f64>().ok());
    let processors = std::thread::available_parallelism().map_or(1, |count| count.get());
    (told.unwrap_or(0.0) / processors as f64).clamp(1.0, 10.0)
}

/// Runs a storm so many times, each with a seed of its own, in the scheduler of one [`run`](overlapped::run()): see
/// [`fuzz::random_rounds`].
pub(crate) fn storms(count: u64, mut storm: impl FnMut(&mut fastrand::Rng)) {
    run(|| {
        fuzz::random_rounds(count, |random| {
            storm(random);
            assert_eq!(overlapped::tasklets().len(), 1, "a tasklet is left");
        });
    });
}

/// The program of an example, which `cargo test` has built.
pub(crate) fn example(name: &str) -> PathBuf {
    // The tests are in `target/debug/deps`, the examples are in `target/debug/examples`.
    let mut program = std::env::current_exe().unwrap();
    program.pop();
    program.pop();
    program.extend(["examples", &format!("{name}{}", std::env::consts::EXE_SUFFIX)]);
    program
}

/// Serves each connection in a tasklet of its own, until the run ends.
pub(crate) fn serve(handler: impl Fn(TcpStream) + Clone + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    overlapped::spawn(move || {
        for stream in listener.incoming() {
            let (stream, handler) = (stream?, handler.clone());
            overlapped::spawn(move || handler(stream));
        }
        std::io::Result::Ok(())
    });
    address
}

/// What happened, in order.
#[derive(Clone, Default)]
pub(crate) struct Log(Rc<RefCell<Vec<String>>>);

impl Log {
    pub(crate) fn new() -> Log {
        Log::default()
    }

    pub(crate) fn add(&self, entry: impl Into<String>) {
        self.0.borrow_mut().push(entry.into());
    }

    /// How many entries there are.
    pub(crate) fn len(&self) -> usize {
        self.0.borrow().len()
    }

    /// The entries so far, which are forgotten.
    pub(crate) fn take(&self) -> Vec<String> {
        self.0.take()
    }
}

/// Adds a word to a log when it is dropped.
pub(crate) struct LogsDrop(pub(crate) Log, pub(crate) &'static str);

impl Drop for LogsDrop {
    fn drop(&mut self) {
        self.0.add(self.1);
    }
}

/// Bytes that are not the same anywhere near: `length` of them from `start` on.
pub(crate) fn pattern(start: usize, length: usize) -> Vec<u8> {
    (start..start + length).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}
