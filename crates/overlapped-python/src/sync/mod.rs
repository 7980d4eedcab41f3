//! What tasklets wait for of each other, and what stands in for `_thread` and `queue`.

pub(crate) mod channel;
pub(crate) mod event;
pub(crate) mod file_lock;
mod local;
mod lock;
mod queue;
pub(crate) mod semaphore;
mod threads;

use pyo3::prelude::*;

/// Adds what Python sees of this to the module.
pub(crate) fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    // What is made once is made now: while it is, the collector may run a finalizer, which may need it too.
    local::prepare(module.py());
    queue::prepare(module.py())?;
    semaphore::prepare(module.py())?;
    module.add_class::<channel::Channel>()?;
    module.add_class::<event::Event>()?;
    module.add_class::<semaphore::Semaphore>()?;
    module.add_class::<lock::Lock>()?;
    module.add_class::<lock::RLock>()?;
    module.add_class::<local::Local>()?;
    module.add_class::<queue::SimpleQueue>()?;
    for function in [
        wrap_pyfunction!(threads::get_ident, module)?,
        wrap_pyfunction!(threads::start_thread, module)?,
        wrap_pyfunction!(threads::begin_thread, module)?,
        wrap_pyfunction!(threads::thread_of, module)?,
        wrap_pyfunction!(threads::release_at_end, module)?,
        wrap_pyfunction!(threads::call_at_end, module)?,
    ] {
        module.add_function(function)?;
    }
    Ok(())
}
