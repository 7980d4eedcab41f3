//! Who notices that a run has not ended: a loop that never waits, and so passes no time and is asked nothing, cannot be ended from
//! inside of the thread.

use std::cell::RefCell;
use std::fmt;
use std::io::{self, Write};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::Origin;

thread_local! {
    static RUN: RefCell<Origin> = const { RefCell::new(Origin::Seed(0)) };
}

/// What runs on this thread.
pub(super) fn origin() -> Origin {
    RUN.with_borrow(Origin::clone)
}

/// Says what has failed, and ends the process. It is said past what a harness of tests keeps to itself, which goes with the
/// process.
pub(super) fn end_process(origin: &Origin, what: fmt::Arguments<'_>) -> ! {
    let _ = writeln!(io::stderr(), "{origin} fails: {what}");
    std::process::abort();
}

/// Ends the process, and says which run it was, where one takes longer than the limit; until it is dropped.
pub(super) struct Watchdog {
    run: Arc<Mutex<(Instant, Option<Origin>)>>,
    _over: Sender<()>,
}

impl Watchdog {
    /// With a limit in real time. Where the system has no thread for it, nobody watches.
    pub(super) fn start(limit: Duration) -> Watchdog {
        let run = Arc::new(Mutex::new((Instant::now(), None)));
        let (sender, over) = channel();
        let watched = Arc::clone(&run);
        let watch = move || {
            while over.recv_timeout(limit / 8) == Err(RecvTimeoutError::Timeout) {
                let (begun, origin) = &*watched.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(origin) = origin
                    && begun.elapsed() > limit
                {
                    end_process(origin, format_args!("it has not ended after {limit:?} of real time"));
                }
            }
        };
        let builder = std::thread::Builder::new().name("overlapped-sim".into());
        drop(overlapped_port::sys::start_thread(builder, watch));
        Watchdog { run, _over: sender }
    }

    /// A run begins.
    pub(super) fn begin(&self, origin: &Origin) {
        RUN.set(origin.clone());
        *self.run.lock().unwrap_or_else(PoisonError::into_inner) = (Instant::now(), Some(origin.clone()));
    }
}
