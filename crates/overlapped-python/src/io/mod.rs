//! Sockets, files and what is ready: the standard library's objects, with the port's operations.

mod buffered;
mod calls;
pub(crate) mod descriptor;
mod file;
mod first_of;
#[cfg(windows)]
mod handle;
mod message;
mod process;
mod readiness;
mod settle;
#[cfg(unix)]
mod simulated;
mod socket;
mod stdlib;
mod text;
mod transfer;
mod whole;

use pyo3::prelude::*;

/// Adds what Python sees of this to the module.
pub(crate) fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    stdlib::check(module.py())?;
    module.add_class::<whole::Whole>()?;
    for function in [
        wrap_pyfunction!(socket::install_socket, module)?,
        wrap_pyfunction!(socket::retry, module)?,
        wrap_pyfunction!(socket::call_without_waiting, module)?,
        wrap_pyfunction!(socket::accept, module)?,
        wrap_pyfunction!(socket::connect, module)?,
        wrap_pyfunction!(message::port_receives, module)?,
        wrap_pyfunction!(message::receive_message, module)?,
        wrap_pyfunction!(message::receive_message_into, module)?,
        wrap_pyfunction!(socket::shutdown, module)?,
        wrap_pyfunction!(socket::wait, module)?,
        wrap_pyfunction!(socket::cancel_socket, module)?,
        wrap_pyfunction!(socket::numeric_address, module)?,
        wrap_pyfunction!(readiness::wait_any, module)?,
        wrap_pyfunction!(first_of::first_of, module)?,
        wrap_pyfunction!(readiness::give_way, module)?,
        wrap_pyfunction!(readiness::read_descriptor, module)?,
        wrap_pyfunction!(readiness::write_descriptor, module)?,
        wrap_pyfunction!(file::install_file, module)?,
        wrap_pyfunction!(whole::install_whole, module)?,
        wrap_pyfunction!(descriptor::open, module)?,
        wrap_pyfunction!(file::read_at, module)?,
        wrap_pyfunction!(file::cancel_file, module)?,
        wrap_pyfunction!(file::fsync, module)?,
    ] {
        module.add_function(function)?;
    }
    // To Python its name is `sleep`, as that of the one that stands in the module already.
    module.add("sleep_as_time", wrap_pyfunction!(readiness::sleep_as_time, module)?)?;
    #[cfg(windows)]
    handle::add_to(module)?;
    #[cfg(unix)]
    simulated::add_to(module)?;
    process::add_to(module)
}
