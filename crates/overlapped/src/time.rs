//! Sleeping and time-outs.

use std::cell::Cell;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

use crate::interrupt::{self, Cause};
use crate::scheduler::{self, try_current};

/// The time when `duration` will have passed; one that the clock cannot show is a century from now.
pub(crate) fn deadline_after(duration: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(duration).unwrap_or_else(|| now + Duration::from_secs(100 * 365 * 24 * 3600))
}

/// Lets `duration` pass; only the calling tasklet waits. Outside [`run`](crate::run), the thread sleeps.
///
/// ```
/// # use std::time::{Duration, Instant};
/// overlapped::run(|| {
///     let start = Instant::now();
///     overlapped::sleep(Duration::from_millis(5));
///     assert!(start.elapsed() >= Duration::from_millis(5));
/// });
/// ```
pub fn sleep(duration: Duration) {
    if duration.is_zero() {
        return crate::yield_now();
    }
    let deadline = deadline_after(duration);
    while Instant::now() < deadline {
        if let Err(interrupted) = scheduler::park(Some(deadline), "sleep") {
            interrupted.raise_here();
            return;
        }
    }
}

/// The time was up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed(Duration);

impl Elapsed {
    pub(crate) fn after(duration: Duration) -> Elapsed {
        Elapsed(duration)
    }
}

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "timed out after {:?}", self.0)
    }
}

impl std::error::Error for Elapsed {}

impl From<Elapsed> for io::Error {
    fn from(elapsed: Elapsed) -> io::Error {
        io::Error::new(io::ErrorKind::TimedOut, elapsed)
    }
}

thread_local! {
    static SCOPES: Cell<u64> = const { Cell::new(0) };
}

/// Runs `body` for at most `duration`: then what it waits for is cancelled, and its stack unwinds to here. Scopes nest.
/// A body that does not wait is not disturbed.
///
/// ```
/// # use std::time::Duration;
/// use overlapped::{sleep, timeout};
/// overlapped::run(|| {
///     assert_eq!(timeout(Duration::from_secs(60), || 1), Ok(1));
///     assert!(timeout(Duration::from_millis(5), || sleep(Duration::from_secs(60))).is_err());
/// });
/// ```
///
/// # Errors
/// [`Elapsed`] where the time was up while `body` waited.
///
/// # Panics
/// Outside [`run`](crate::run), and with the panic of `body`.
pub fn timeout<T>(duration: Duration, body: impl FnOnce() -> T) -> Result<T, Elapsed> {
    let scheduler = try_current().expect("overlapped::timeout: call it inside overlapped::run");
    let cause = Cause::Timeout(SCOPES.replace(SCOPES.get() + 1));
    let me = scheduler.current_tasklet();
    let timer = scheduler.call_at(deadline_after(duration), move |scheduler| scheduler.interrupt(me, cause));
    let result = catch_unwind(AssertUnwindSafe(body));
    scheduler.clear(timer);
    scheduler.withdraw(me, cause);
    result.or_else(|payload| match interrupt::cause(&*payload) {
        Some(raised) if raised == cause => Err(Elapsed(duration)),
        _ => resume_unwind(payload),
    })
}
