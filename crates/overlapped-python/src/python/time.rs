//! Seconds of Python's as points in time.

use std::time::{Duration, Instant};

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// The point in time `timeout` seconds from now; `None` for never.
pub(crate) fn deadline(timeout: Option<f64>) -> PyResult<Option<Instant>> {
    let Some(seconds) = timeout else { return Ok(None) };
    if seconds.is_nan() {
        return Err(PyValueError::new_err("a timeout cannot be NaN"));
    }
    let duration = Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(FOREVER).min(FOREVER);
    Ok(Some(Instant::now() + duration))
}

/// Longer than any program runs, and still within what an `Instant` can hold.
pub(crate) const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
