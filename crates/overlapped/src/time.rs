//! Sleeping and time-outs.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

use crate::interrupt::{self, Level, Telling};
use crate::scheduler::{raise, try_current, wait};

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
        if let Err(interrupted) = wait(Telling::Unwinding, Some(deadline), "sleep") {
            raise(interrupted);
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

/// Runs `body` for at most `duration`. When the time is up, what it waits for is cancelled and says so, and so does every
/// further wait until `body` has ended: by an error of kind [`TimedOut`](io::ErrorKind::TimedOut), or by unwinding to here
/// where it has no result ([the whole story](crate#leaving-early)). Scopes nest; of several whose time is up, the outermost
/// is told. A body that does not wait is not disturbed.
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
/// **What is lost.** The value of a body that was told is dropped. What it has put into variables of its caller's stays:
/// `timeout(limit, || reader.read_until(b'\n', &mut line))` leaves in `line` what has come, and can be called again
/// (`read_line` too, but that it takes back a part that ends within a character). A value on its way into a channel comes
/// back in the error, and is dropped with it: [`Channel::send_timeout`](crate::Channel::send_timeout) gives it back to you.
///
/// # Errors
/// [`Elapsed`] where a wait of `body` was told that the time is up, whatever `body` then did, a panic included (which has
/// printed its message).
///
/// # Panics
/// Outside [`run`](crate::run), and with the panic of `body`.
pub fn timeout<T>(duration: Duration, body: impl FnOnce() -> T) -> Result<T, Elapsed> {
    let scheduler = try_current().expect("overlapped::timeout: call it inside overlapped::run");
    let me = scheduler.current_tasklet();
    let scope = scheduler.begin_scope(Level::OutOfTime);
    let timer = scheduler.call_at(deadline_after(duration), move |scheduler| scheduler.expire_scope(me, scope));
    let result = catch_unwind(AssertUnwindSafe(body));
    scheduler.clear(timer);
    let was_told = scheduler.end_scope(scope);
    match result {
        Err(payload) if interrupt::level_of(&*payload).is_some_and(|level| level != scope) => {
            // On its way to an outer scope, or to the tasklet's end.
            resume_unwind(payload)
        }
        _ if was_told => Err(Elapsed(duration)),
        Ok(value) => Ok(value),
        Err(payload) => resume_unwind(payload),
    }
}

/// Until it is dropped, the current tasklet's waits are not told of what stands outside.
struct Unmask<'a>(&'a crate::scheduler::Scheduler, interrupt::Mask);

impl Drop for Unmask<'_> {
    fn drop(&mut self) {
        self.0.unmask(self.1);
    }
}

/// Runs `body` without telling its waits that the tasklet was cancelled or that the time of a [`timeout`] round this is up:
/// for cleanup that has to wait. Once the cleanup limit ([`Config::cleanup`](crate::Config::cleanup)) has passed since, they
/// are told nevertheless. A [`timeout`] inside of `body` counts as ever. Calls nest.
///
/// ```
/// use overlapped::{sleep, spawn, uncancellable};
/// use std::time::Duration;
/// overlapped::run(|| {
///     let worker = spawn(|| {
///         uncancellable(|| sleep(Duration::from_millis(5)));
///         "done with care"
///     });
///     overlapped::yield_now();
///     worker.cancel();
///     assert_eq!(worker.join().unwrap(), "done with care");
/// });
/// ```
pub fn uncancellable<T>(body: impl FnOnce() -> T) -> T {
    let Some(scheduler) = try_current() else { return body() };
    let _unmask = Unmask(&scheduler, scheduler.mask());
    body()
}
