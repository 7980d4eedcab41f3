//! A callback that panics harms nobody but itself.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::tasklet::text_of;

/// Runs a callback that belongs to nobody. Where it panics, the message has been printed, and the loop goes on.
pub(crate) fn guarded(callback: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(callback)) {
        discard(payload);
    }
}

/// Runs a connection's callback.
///
/// # Errors
/// What the connection is lost for, where it panics.
pub(super) fn guarded_for<R>(callback: impl FnOnce() -> R) -> io::Result<R> {
    catch_unwind(AssertUnwindSafe(callback)).map_err(|payload| {
        let message = text_of(&*payload).unwrap_or("(no text)");
        let error = io::Error::other(format!("a callback of the protocol panicked: {message}"));
        discard(payload);
        error
    })
}

/// Drops a panic's payload, whose destructor may panic as well.
fn discard(payload: Box<dyn Any + Send>) {
    if let Err(another) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        std::mem::forget(another);
    }
}
