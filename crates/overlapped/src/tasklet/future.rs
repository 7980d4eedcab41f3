//! A tasklet's end, as futures wait for it.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::{JoinError, JoinHandle};
use crate::scheduler::Waiter;

/// A tasklet can be awaited, on whatever thread and by whatever polls futures, as [`JoinHandle::join`] waits for it: for its
/// result, which is taken once. A future has no clock: that a cancelled tasklet does not end ([`JoinError::is_overdue`]), it is
/// not told.
///
/// ```
/// overlapped::run(|| {
///     let (one, other) = (overlapped::spawn(|| 40), overlapped::spawn(|| 2));
///     let sum = overlapped::block_on(async { one.await.unwrap() + other.await.unwrap() });
///     assert_eq!(sum, 42);
/// });
/// ```
impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let before = {
            let mut state = self.packet.state();
            if let Some(result) = state.result.take() {
                return Poll::Ready(result);
            }
            state.joiner.replace(Waiter::polling(context))
        };
        // A waker's destructor is somebody else's code.
        drop(before);
        Poll::Pending
    }
}
