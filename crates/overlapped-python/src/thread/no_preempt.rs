//! `no_preempt`: a block in which the thread that runs it gives way at its waits alone.

use std::collections::hash_map::Entry;

use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::inside::Inside;
use super::life::runtime;

/// For a `with` statement in which a thread is not preempted.
#[pyclass(frozen, name = "no_preempt", module = "overlapped")]
#[derive(Default)]
pub(crate) struct NoPreemption {
    inside: Inside<()>,
}

#[pymethods]
impl NoPreemption {
    #[new]
    fn new() -> NoPreemption {
        NoPreemption::default()
    }

    fn __enter__(&self, py: Python<'_>) -> PyResult<()> {
        let here = runtime(py)?;
        *here.greenlets.unpreempted.borrow_mut().entry(here.scheduler.current_tasklet()).or_default() += 1;
        self.inside.enter(());
        Ok(())
    }

    #[pyo3(signature = (*_args))]
    fn __exit__(&self, py: Python<'_>, _args: Bound<'_, PyTuple>) -> PyResult<()> {
        self.inside.leave("a no_preempt")?;
        let here = runtime(py)?;
        if let Entry::Occupied(mut depth) =
            here.greenlets.unpreempted.borrow_mut().entry(here.scheduler.current_tasklet())
        {
            *depth.get_mut() -= 1;
            if *depth.get() == 0 {
                depth.remove();
            }
        }
        Ok(())
    }
}
