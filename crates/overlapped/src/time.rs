//! Sleeping and time-outs.
//!
//! A time-out is a scope ([`crate::interrupt`]): its deadline is a timer of the port's, and lies with the block, which can
//! look at it and move it. (Rejected: a deadline for each tasklet, the nearest of all: what is told could not say of which.)

use std::cell::Cell;
use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;
use std::time::{Duration, Instant};

use overlapped_port::sim::now;

use crate::interrupt::{self, Level, Telling};
use crate::scheduler::{Scheduler, TaskletId, Timer, raise, try_current, wait};

/// The time when `duration` will have passed; one that the clock cannot show is a century from now.
pub(crate) fn deadline_after(duration: Duration) -> Instant {
    later(now(), duration)
}

/// The time that is `duration` after `time`; one that the clock cannot show is a century after it.
pub(crate) fn later(time: Instant, duration: Duration) -> Instant {
    time.checked_add(duration).unwrap_or_else(|| time + Duration::from_secs(100 * 365 * 24 * 3600))
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
    sleep_until(deadline_after(duration));
}

/// Waits until `deadline`; where that has passed, lets others run, and no more. As [`sleep`] in all else.
///
/// ```
/// # use std::time::{Duration, Instant};
/// overlapped::run(|| {
///     let noon = Instant::now() + Duration::from_millis(5);
///     overlapped::sleep_until(noon);
///     assert!(Instant::now() >= noon);
/// });
/// ```
pub fn sleep_until(deadline: Instant) {
    if now() >= deadline {
        return crate::yield_now();
    }
    while now() < deadline {
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
    Deadline::run(duration, |_| body())
}

/// As [`timeout()`], with the time at which it is up: for a limit that several calls have together.
///
/// ```
/// # use std::time::{Duration, Instant};
/// use overlapped::{sleep, timeout_at};
/// overlapped::run(|| {
///     let deadline = Instant::now() + Duration::from_millis(5);
///     assert_eq!(timeout_at(deadline, || "in time"), Ok("in time"));
///     assert!(timeout_at(deadline, || sleep(Duration::from_secs(60))).is_err());
/// });
/// ```
///
/// # Errors
/// As for [`timeout()`]; a body that waits is told at its first wait where the time is up already.
///
/// # Panics
/// As [`timeout()`].
pub fn timeout_at<T>(deadline: Instant, body: impl FnOnce() -> T) -> Result<T, Elapsed> {
    Deadline::run_until(deadline, |_| body())
}

/// The deadline of a [`timeout()`], for a body that asks how much time is left, moves it, or has to know which of several
/// nested ones an error is of.
///
/// ```
/// use overlapped::{Deadline, Event, first_of};
/// use std::time::Duration;
/// overlapped::run(|| {
///     let never = Event::new();
///     let done = Deadline::run(Duration::from_secs(60), |whole| {
///         let step = Deadline::run(Duration::from_millis(5), |step| {
///             let error = first_of(&mut [&mut never.waiting()]).unwrap_err();
///             assert!(step.is_of(&error) && !whole.is_of(&error));
///         });
///         assert!(step.is_err() && !whole.remaining().is_zero());
///         whole.reschedule(Duration::from_millis(5));
///         never.wait();
///     });
///     assert!(done.is_err());
/// });
/// ```
pub struct Deadline {
    scheduler: Rc<Scheduler>,
    tasklet: TaskletId,
    scope: Level,
    /// From its beginning on.
    limit: Cell<Duration>,
    at: Cell<Instant>,
    timer: Cell<Option<Timer>>,
}

impl Deadline {
    /// Runs `body` for at most `duration`, as [`timeout()`] does.
    ///
    /// # Errors
    /// As for [`timeout()`].
    ///
    /// # Panics
    /// As [`timeout()`].
    pub fn run<T>(duration: Duration, body: impl FnOnce(&Deadline) -> T) -> Result<T, Elapsed> {
        Deadline::begin(duration, deadline_after(duration), body)
    }

    /// Runs `body` until `deadline` at most, as [`timeout_at`] does.
    ///
    /// # Errors
    /// As for [`timeout_at`].
    ///
    /// # Panics
    /// As [`timeout()`].
    pub fn run_until<T>(deadline: Instant, body: impl FnOnce(&Deadline) -> T) -> Result<T, Elapsed> {
        Deadline::begin(deadline.saturating_duration_since(now()), deadline, body)
    }

    fn begin<T>(limit: Duration, at: Instant, body: impl FnOnce(&Deadline) -> T) -> Result<T, Elapsed> {
        let scheduler = try_current().expect("overlapped::timeout: call it inside overlapped::run");
        let scope = scheduler.begin_scope(Level::OutOfTime);
        let deadline = Deadline {
            tasklet: scheduler.current_tasklet(),
            scheduler,
            scope,
            limit: Cell::new(limit),
            at: Cell::new(at),
            timer: Cell::new(None),
        };
        deadline.set(at);
        let result = catch_unwind(AssertUnwindSafe(|| body(&deadline)));
        deadline.clear();
        let was_told = deadline.scheduler.end_scope(scope);
        match result {
            Err(payload) if interrupt::level_of(&*payload).is_some_and(|level| level != scope) => {
                // On its way to an outer scope, or to the tasklet's end.
                resume_unwind(payload)
            }
            _ if was_told => Err(Elapsed(deadline.limit.get())),
            Ok(value) => Ok(value),
            Err(payload) => resume_unwind(payload),
        }
    }

    fn set(&self, at: Instant) {
        let (tasklet, scope) = (self.tasklet, self.scope);
        self.at.set(at);
        let timer = self.scheduler.call_at(at, move |scheduler| scheduler.expire_scope(tasklet, scope));
        self.timer.set(Some(timer));
    }

    fn clear(&self) {
        if let Some(timer) = self.timer.take() {
            self.scheduler.clear(timer);
        }
    }

    /// How much time is left; zero once it is up.
    pub fn remaining(&self) -> Duration {
        self.at.get().saturating_duration_since(now())
    }

    /// Moves it: `duration` is left from now on. Once the time is up it stays so, and this says false.
    pub fn reschedule(&self, duration: Duration) -> bool {
        let has_time = !self.remaining().is_zero();
        if has_time {
            let passed = self.limit.get().saturating_sub(self.remaining());
            self.limit.set(passed.saturating_add(duration));
            self.clear();
            self.set(deadline_after(duration));
        }
        has_time
    }

    /// Whether `error`, of a wait inside, says that the time of this one was up, and not of another round it or inside.
    pub fn is_of(&self, error: &io::Error) -> bool {
        interrupt::level_in(error) == Some(self.scope)
    }
}

impl fmt::Debug for Deadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deadline").field("remaining", &self.remaining()).finish()
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
