//! Who is inside of a `with` statement that several tasklets may enter, each more than once.

use std::sync::{Mutex, PoisonError};

use overlapped::engine::Waiter;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

/// Those inside, the last to enter at the end, each with what it needs to leave.
pub(super) struct Inside<T>(Mutex<Vec<(Waiter, T)>>);

impl<T> Default for Inside<T> {
    fn default() -> Inside<T> {
        Inside(Mutex::default())
    }
}

impl<T> Inside<T> {
    /// The calling tasklet is inside, once more.
    pub(super) fn enter(&self, to_leave: T) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((Waiter::current(), to_leave));
    }

    /// It leaves the one that it has entered last.
    ///
    /// # Errors
    /// It is not inside of such a block, which goes by that name.
    pub(super) fn leave(&self, name: &str) -> PyResult<T> {
        let me = Waiter::current();
        let mut inside = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match inside.iter().rposition(|(who, _)| *who == me) {
            Some(place) => Ok(inside.remove(place).1),
            None => Err(PyRuntimeError::new_err(format!("{name} block is left by the tasklet that entered it"))),
        }
    }
}
