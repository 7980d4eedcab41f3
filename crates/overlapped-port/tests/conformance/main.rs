//! The conformance suite: one body for each promise, run on every backend.
//!
//! A module holds plain functions that take a [`Config`], and lists them in [`on_every_backend`], which makes a test of
//! each for each backend: `sockets::uring::name`, `sockets::poll::name`, `sockets::sim::name` (by the seed in `OVERLAPPED_SIM`);
//! and `sockets::chosen::name`, where the port chooses as it does for a program. The `chosen` ones run a second time in a child
//! process to which a seccomp filter denies io_uring ([`unix::denied`]). A function that is not listed is dead code, and the
//! compiler says so.
//!
//! [`driver::Driver`] is how a test speaks to a port: it keeps what an operation borrows until its final completion, so
//! that the tests themselves hold no unsafe code, and checks on the way what must hold for each completion.
//!
//! - `OVERLAPPED_SKIP=uring` leaves a backend out that the machine cannot run; without it, its tests fail and say why.
//! - `OVERLAPPED_SEED=number` replays the randomised tests.

mod cancel;
mod child;
mod datagrams;
mod disconnect;
mod driver;
mod errors;
mod files;
mod limits;
mod loopback;
mod messages;
mod multishot;
mod nonblocking;
mod order;
mod patience;
mod provided;
mod random;
mod readiness;
mod report;
mod scarce;
mod shutdown;
mod sockets;
mod threads;
mod timers;
#[cfg(unix)]
mod unix;
mod wake;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
use unix::system;
#[cfg(windows)]
use windows::system;

use std::sync::{Once, PoisonError, RwLock, mpsc};
use std::time::{Duration, Instant};

use overlapped_port::{Config, Kind};

/// Longer than any test takes on a slow machine; on a busy one it is more.
const TEST_LIMIT: Duration = Duration::from_secs(60);

/// Makes a test of each function for each backend. Those after `alone:` look at what the whole process has (its
/// descriptors), and run while no other does.
macro_rules! on_every_backend {
    (@tests $kind:expr, $($name:ident)*, $($alone:ident)*) => {
        $(
            #[test]
            fn $name() {
                $crate::run_together(concat!(module_path!(), "::", stringify!($name)), $kind, super::$name);
            }
        )*
        $(
            #[test]
            fn $alone() {
                $crate::run_alone(concat!(module_path!(), "::", stringify!($alone)), $kind, super::$alone);
            }
        )*
    };
    ($($name:ident),* $(,)? $(; alone: $($alone:ident),+ $(,)?)?) => {
        #[cfg(target_os = "linux")]
        mod uring {
            $crate::on_every_backend!(@tests Some(overlapped_port::Kind::Uring), $($name)*, $($($alone)*)?);
        }
        #[cfg(unix)]
        mod poll {
            $crate::on_every_backend!(@tests Some(overlapped_port::Kind::Poll), $($name)*, $($($alone)*)?);
        }
        #[cfg(windows)]
        mod iocp {
            $crate::on_every_backend!(@tests Some(overlapped_port::Kind::Iocp), $($name)*, $($($alone)*)?);
        }
        // Over a port of Windows it is the same code, and costs Wine minutes.
        #[cfg(unix)]
        mod sim {
            $crate::on_every_backend!(@tests Some(overlapped_port::Kind::Sim), $($name)*, $($($alone)*)?);
        }
        mod chosen {
            $crate::on_every_backend!(@tests None, $($name)*, $($($alone)*)?);
        }
    };
}
use on_every_backend;

static TOGETHER: RwLock<()> = RwLock::new(());

fn run_together(name: &'static str, kind: Option<Kind>, test: fn(Config)) {
    let _others_may_run = TOGETHER.read().unwrap_or_else(PoisonError::into_inner);
    run(name, kind, test);
}

fn run_alone(name: &'static str, kind: Option<Kind>, test: fn(Config)) {
    let _no_other_runs = TOGETHER.write().unwrap_or_else(PoisonError::into_inner);
    run(name, kind, test);
}

fn run(name: &'static str, kind: Option<Kind>, test: fn(Config)) {
    static PREPARED: Once = Once::new();
    PREPARED.call_once(system::prepare);
    if kind.is_some_and(is_skipped) {
        return;
    }
    let _limit = Limit::start(name);
    let config = match kind {
        // What a test sends in one piece it may count in one.
        Some(kind) => Config::new().backend(kind).short_transfers(0),
        None => Config::new(),
    };
    match system::cannot_show(name) {
        None => test(config),
        Some(reason) => {
            let ended = std::panic::catch_unwind(|| test(config));
            assert!(ended.is_err(), "{name} passes: take it off the list that says of it: {reason}");
        }
    }
}

fn is_skipped(kind: Kind) -> bool {
    std::env::var("OVERLAPPED_SKIP").is_ok_and(|names| names.split(',').any(|name| name == kind.name()))
}

/// Ends the process when a test hangs, for nothing else would.
struct Limit {
    _over: mpsc::Sender<()>,
}

impl Limit {
    fn start(name: &'static str) -> Limit {
        let (sender, over) = mpsc::channel();
        std::thread::spawn(move || {
            let (begun, mut limit) = (Instant::now(), TEST_LIMIT);
            while let Some(left) = limit.checked_sub(begun.elapsed()) {
                if over.recv_timeout(left) != Err(mpsc::RecvTimeoutError::Timeout) {
                    return;
                }
                limit = patience::crowded(TEST_LIMIT);
            }
            eprintln!("{name} hangs: it has not ended within {limit:?}");
            std::process::abort();
        });
        Limit { _over: sender }
    }
}
