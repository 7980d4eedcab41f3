//! A tasklet that belongs to a future.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::tasklet::{JoinError, JoinHandle, spawn};

/// Runs a function in a tasklet of its own, beside whoever polls; the future is ready when that has ended. Dropped before, as
/// futures are that nobody wants any more, it cancels the tasklet ([leaving early](crate#leaving-early)).
///
/// ```
/// use overlapped::{block_on, ecosystem::in_tasklet, sleep};
/// use std::time::Duration;
/// overlapped::run(|| {
///     let slow = in_tasklet(|| {
///         sleep(Duration::from_millis(1));
///         42
///     });
///     assert_eq!(block_on(slow).unwrap(), 42);
/// });
/// ```
///
/// # Panics
/// As [`spawn`].
#[track_caller]
pub fn in_tasklet<T: 'static>(function: impl FnOnce() -> T + 'static) -> InTasklet<T> {
    InTasklet(spawn(function))
}

/// The end of a tasklet, which is cancelled when this is dropped: see [`in_tasklet()`].
#[must_use = "dropping it cancels the tasklet"]
pub struct InTasklet<T>(JoinHandle<T>);

impl<T> Future for InTasklet<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context)
    }
}

impl<T> Drop for InTasklet<T> {
    fn drop(&mut self) {
        // One that has ended is left alone.
        self.0.cancel();
    }
}

impl<T> fmt::Debug for InTasklet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("InTasklet").field(&self.0).finish()
    }
}
