//! The Python face: greenlets and Python buffers on the engine, and no policy of its own.
//!
//! `overlapped._engine` is private to the package; `python/overlapped` makes the modules that users see of it.

mod asyncio;
mod capi;
mod descriptor;
mod error;
mod explain;
mod file;
mod greenlet;
mod local;
mod queue;
mod readiness;
mod runtime;
mod signal;
mod socket;
mod stdlib;
mod sync;
mod tasklet;
mod thread;
mod thrown;
mod worker;

use pyo3::prelude::*;
use pyo3::types::PyDict;

/// Every tasklet of this thread that has not ended, the main one first: a dict each with `number`, `name`, `waits_for`
/// and `since` (seconds).
#[pyfunction]
fn tasklets(py: Python<'_>) -> PyResult<Vec<Py<PyDict>>> {
    let listed = runtime::runtime(py)?.scheduler.tasklets();
    let describe = |status: overlapped::Status| {
        let entry = PyDict::new(py);
        entry.set_item("number", status.number)?;
        entry.set_item("name", status.name)?;
        entry.set_item("waits_for", status.waits_for)?;
        entry.set_item("since", status.since.as_secs_f64())?;
        Ok(entry.unbind())
    };
    listed.into_iter().map(describe).collect()
}

/// The name of the backend under this thread's port: `"uring"`, `"poll"`, `"iocp"`.
#[pyfunction]
fn backend(py: Python<'_>) -> PyResult<&'static str> {
    Ok(runtime::runtime(py)?.scheduler.port().borrow().report().backend)
}

/// What this thread's port is, why not a better one, what it did and what is in flight: some lines of text.
#[pyfunction]
fn report(py: Python<'_>) -> PyResult<String> {
    Ok(runtime::runtime(py)?.scheduler.port().borrow().report().to_string())
}

/// How many operations this thread's port has in flight.
#[pyfunction]
fn in_flight(py: Python<'_>) -> PyResult<usize> {
    Ok(runtime::runtime(py)?.scheduler.port().borrow().in_flight())
}

#[pyfunction]
fn after_fork_in_child() {
    runtime::after_fork();
}

/// Whether `forget` was called: nothing can wait on the port any more.
#[pyfunction]
fn program_ends() -> bool {
    runtime::program_ends()
}

#[pyfunction]
fn forget(py: Python<'_>) {
    runtime::forget(py);
}

#[pymodule]
fn _engine(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    greenlet::load(py)?;
    stdlib::check(py)?;
    runtime::learn_main_thread(py)?;
    module.add("TaskletExit", tasklet::exit_type(py))?;
    module.add_class::<tasklet::Tasklet>()?;
    module.add_class::<tasklet::Alarm>()?;
    module.add_class::<sync::Channel>()?;
    module.add_class::<sync::Event>()?;
    module.add_class::<sync::Semaphore>()?;
    module.add_class::<sync::Lock>()?;
    module.add_class::<sync::RLock>()?;
    module.add_class::<local::Local>()?;
    module.add_class::<queue::SimpleQueue>()?;
    module.add_class::<signal::MainHandler>()?;
    for function in [
        wrap_pyfunction!(tasklet::spawn, module)?,
        wrap_pyfunction!(tasklet::current, module)?,
        wrap_pyfunction!(tasklet::sleep, module)?,
        wrap_pyfunction!(tasklet::run, module)?,
        wrap_pyfunction!(tasklets, module)?,
        wrap_pyfunction!(explain::explain, module)?,
        wrap_pyfunction!(explain::watch, module)?,
        wrap_pyfunction!(backend, module)?,
        wrap_pyfunction!(report, module)?,
        wrap_pyfunction!(in_flight, module)?,
        wrap_pyfunction!(after_fork_in_child, module)?,
        wrap_pyfunction!(forget, module)?,
        wrap_pyfunction!(program_ends, module)?,
        wrap_pyfunction!(socket::install_socket, module)?,
        wrap_pyfunction!(socket::retry, module)?,
        wrap_pyfunction!(socket::call_without_waiting, module)?,
        wrap_pyfunction!(socket::accept, module)?,
        wrap_pyfunction!(socket::connect, module)?,
        wrap_pyfunction!(socket::receive_from, module)?,
        wrap_pyfunction!(socket::shutdown, module)?,
        wrap_pyfunction!(socket::wait, module)?,
        wrap_pyfunction!(socket::cancel_socket, module)?,
        wrap_pyfunction!(socket::address_to_python, module)?,
        wrap_pyfunction!(socket::numeric_address, module)?,
        wrap_pyfunction!(socket::offload, module)?,
        wrap_pyfunction!(readiness::wait_any, module)?,
        wrap_pyfunction!(readiness::give_way, module)?,
        wrap_pyfunction!(asyncio::keep_loops_apart, module)?,
        wrap_pyfunction!(readiness::read_descriptor, module)?,
        wrap_pyfunction!(readiness::write_descriptor, module)?,
        wrap_pyfunction!(readiness::sleep_as_time, module)?,
        wrap_pyfunction!(thread::get_ident, module)?,
        wrap_pyfunction!(thread::start_thread, module)?,
        wrap_pyfunction!(thread::thread_of, module)?,
        wrap_pyfunction!(thread::release_at_end, module)?,
        wrap_pyfunction!(file::install_file, module)?,
        wrap_pyfunction!(descriptor::open, module)?,
        wrap_pyfunction!(file::read_at, module)?,
        wrap_pyfunction!(file::cancel_file, module)?,
        wrap_pyfunction!(file::fsync, module)?,
    ] {
        module.add_function(function)?;
    }
    Ok(())
}
