//! Blocking functions on the port's threads.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use overlapped_port::Lane;

use crate::interrupt::is_cancelled;
use crate::scheduler;
use crate::tasklet::{Builder, JoinError, JoinHandle};
use crate::time::uncancellable;

/// What the tasklet and the thread share. The function lies here and not in what the port is given, so that where no
/// thread has begun it, its captures are dropped by the tasklet that leaves, where destructors may wait.
enum Job<F, T> {
    Waits(F),
    /// Begun, or left.
    Taken,
    Ended(std::thread::Result<T>),
}

struct Place<F, T>(Mutex<Job<F, T>>);

impl<F: FnOnce() -> T, T> Place<F, T> {
    fn lock(&self) -> MutexGuard<'_, Job<F, T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Job<F, T> {
        std::mem::replace(&mut *self.lock(), Job::Taken)
    }

    /// The thread's part.
    fn run(&self) {
        let Job::Waits(function) = self.take() else { return };
        let result = catch_unwind(AssertUnwindSafe(function));
        *self.lock() = Job::Ended(result);
    }
}

/// Runs a function that blocks the thread on one of the port's pool of threads, and returns what it returns; only the
/// calling tasklet waits.
///
/// Where the tasklet is cancelled or its time is up, it does not wait for the function: one that no thread has begun
/// never runs, one that has begun goes on, and its result is dropped. At the end of [`run`](crate::run) such functions
/// are waited for, some seconds at most.
///
/// The pool has a few threads for such functions ([`overlapped_port::Config::threads`]); more functions than threads wait in
/// line. What this crate itself runs on threads (file names, name look-up) does not wait for them. One that waits for what
/// others do, perhaps for ever, is better off in a lane of its own: [`offload_in`].
///
/// A function that never runs is dropped here, in the calling tasklet, with all that it has captured.
///
/// ```
/// overlapped::run(|| {
///     let sum = overlapped::offload(|| (1..=1000).sum::<u64>()).unwrap();
///     assert_eq!(sum, 500_500);
/// });
/// ```
///
/// # Errors
/// Outside of [`run`](crate::run); where no thread can be started; and where the tasklet is told to leave
/// ([`is_cancelled`], or `TimedOut`).
///
/// # Panics
/// With the panic of `function`.
pub fn offload<T: Send + 'static>(function: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    offload_in(Lane::Long, function)
}

/// As [`offload`], on a thread of the kind that [`Lane`] says: a function that may wait without end, for another thread or
/// for a lock of another process's, holds back no other in [`Lane::Endless`].
///
/// ```
/// use overlapped::{Lane, offload_in};
///
/// overlapped::run(|| {
///     let (sender, receiver) = std::sync::mpsc::channel();
///     std::thread::spawn(move || sender.send("some time").unwrap());
///     let received = offload_in(Lane::Endless, move || receiver.recv()).unwrap();
///     assert_eq!(received, Ok("some time"));
/// });
/// ```
///
/// # Errors
/// As for [`offload`]; and `WouldBlock` where as many functions wait without end as [`Lane::Endless`] allows.
///
/// # Panics
/// With the panic of `function`.
pub fn offload_in<T: Send + 'static>(lane: Lane, function: impl FnOnce() -> T + Send + 'static) -> io::Result<T> {
    let place = Arc::new(Place(Mutex::new(Job::Waits(function))));
    let theirs = Arc::clone(&place);
    let job = move || {
        theirs.run();
        Ok(0)
    };
    let called = scheduler::current().and_then(|scheduler| scheduler.call(lane, job, None));
    let left = place.take();
    if let Err(error) = called {
        // Whoever leaves may be told at every wait, but these destructors know nothing of that.
        uncancellable(|| drop(left));
        return Err(error);
    }
    match left {
        Job::Ended(Ok(value)) => Ok(value),
        Job::Ended(Err(payload)) => resume_unwind(payload),
        Job::Waits(_) | Job::Taken => unreachable!("a function that has ended has left its result"),
    }
}

/// Starts a function that blocks the thread on one of the pool's threads, and goes on: [`offload`], waited for by a tasklet of
/// its own. (It has the name that tokio's users look for.)
///
/// Where the tasklet is cancelled, a function that no thread has begun never runs, and one that has begun goes on; its result
/// is then dropped.
///
/// ```
/// overlapped::run(|| {
///     let sum = overlapped::spawn_blocking(|| (1..=1000).sum::<u64>());
///     // … meanwhile …
///     assert_eq!(sum.join().unwrap(), 500_500);
/// });
/// ```
///
/// # Panics
/// As [`spawn`](crate::spawn()). The panic of `function`, and that no thread can be started, is told to who joins.
#[track_caller]
pub fn spawn_blocking<T: Send + 'static>(function: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let judge = |result: Result<io::Result<T>, JoinError>| {
        result?.map_err(|error| if is_cancelled(&error) { JoinError::cancelled() } else { JoinError::no_thread(error) })
    };
    Builder::new()
        .spawn_judged(|| offload(function), judge, |_| Box::new(()), |body| body)
        .unwrap_or_else(|error| panic!("overlapped::spawn_blocking: {error}"))
}

/// As [`offload`], for a short function of this crate's own, with errors of its own.
pub(crate) fn offload_io<T: Send + 'static>(
    function: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    offload_in(Lane::Short, function)?
}
