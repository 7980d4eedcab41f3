//! What the handles of tasklets have in common.

use super::{JoinError, JoinHandle};
use crate::sync::Queue;
use crate::wait_list::Place;

/// A handle to a tasklet that can be joined: [`JoinHandle`] and [`ScopedJoinHandle`](crate::ScopedJoinHandle). It is what
/// [`wait`](crate::wait()), [`first_completed`](crate::first_completed()) and [`as_completed`](crate::as_completed()) take.
#[allow(private_bounds, reason = "the handles there are, are this crate's")]
pub trait Join: Watched + Sized {
    /// What the tasklet returns.
    type Output;

    /// Waits until the tasklet has ended, and takes its result: [`JoinHandle::join`].
    ///
    /// # Errors
    /// As for [`JoinHandle::join`].
    fn join(self) -> Result<Self::Output, JoinError>;

    /// Ends the tasklet early: [`JoinHandle::cancel`].
    fn cancel(&self);

    /// Whether the tasklet has ended.
    fn is_finished(&self) -> bool;
}

/// How those who wait for several ends look at each.
pub(crate) trait Watched {
    /// Has `number` put into `ended` at the tasklet's end, or now; the place is for [`Watched::unwatch`].
    fn watch(&self, ended: &Queue<usize>, number: usize) -> Place;

    /// Ends what [`Watched::watch`] began.
    fn unwatch(&self, place: Place);
}

impl<T> Join for JoinHandle<T> {
    type Output = T;

    fn join(self) -> Result<T, JoinError> {
        JoinHandle::join(self)
    }

    fn cancel(&self) {
        JoinHandle::cancel(self);
    }

    fn is_finished(&self) -> bool {
        JoinHandle::is_finished(self)
    }
}
