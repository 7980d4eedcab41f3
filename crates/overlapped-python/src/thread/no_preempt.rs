//! `no_preempt`: a block in which the thread that runs it gives way at its waits alone.

use std::collections::hash_map::Entry;
use std::sync::{Mutex, MutexGuard, PoisonError};

use overlapped::engine::TaskletId;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::life::runtime;

/// For a `with` statement in which a thread is not preempted.
#[pyclass(frozen, name = "no_preempt", module = "overlapped")]
#[derive(Default)]
pub(crate) struct NoPreemption {
    /// Who is inside, the last to enter at the end.
    inside: Mutex<Vec<TaskletId>>,
}

impl NoPreemption {
    fn inside(&self) -> MutexGuard<'_, Vec<TaskletId>> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl NoPreemption {
    #[new]
    fn new() -> NoPreemption {
        NoPreemption::default()
    }

    fn __enter__(&self, py: Python<'_>) -> PyResult<()> {
        let here = runtime(py)?;
        let me = here.scheduler.current_tasklet();
        *here.greenlets.unpreempted.borrow_mut().entry(me).or_default() += 1;
        self.inside().push(me);
        Ok(())
    }

    #[pyo3(signature = (*_args))]
    fn __exit__(&self, py: Python<'_>, _args: Bound<'_, PyTuple>) -> PyResult<()> {
        let here = runtime(py)?;
        let me = here.scheduler.current_tasklet();
        let left = {
            let mut inside = self.inside();
            inside.iter().rposition(|who| *who == me).map(|place| inside.remove(place))
        };
        if left.is_none() {
            return Err(PyRuntimeError::new_err("a no_preempt block is left by the tasklet that entered it"));
        }
        if let Entry::Occupied(mut depth) = here.greenlets.unpreempted.borrow_mut().entry(me) {
            *depth.get_mut() -= 1;
            if *depth.get() == 0 {
                depth.remove();
            }
        }
        Ok(())
    }
}
