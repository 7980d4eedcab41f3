//! The Python face: greenlets and Python buffers on the engine, and no policy of its own.
//!
//! `overlapped._engine` is private to the package; `python/overlapped` makes the modules that users see of it. The folders
//! are floors, and a file imports from its own floor or one below:
//!
//! ```text
//!   reactor  asyncio's loop; what its transports receive and write (Unix only, as yet)
//!   io       sockets, files, readiness, descriptors
//!   sync     channels, events, locks, queues; threads that are tasklets
//!   thread   the tasklets of a thread: greenlets, runtime, workers, exceptions that are thrown in
//!   python   greenlet, the C interface, buffers, errors
//! ```

mod io;
mod python;
mod reactor;
mod sync;
mod thread;

use pyo3::prelude::*;

#[pymodule]
fn _engine(module: &Bound<'_, PyModule>) -> PyResult<()> {
    python::greenlet::load(module.py())?;
    module.add_function(wrap_pyfunction!(python::builtin::as_builtin, module)?)?;
    module.add_class::<python::frameless::Frameless>()?;
    thread::add_to(module)?;
    sync::add_to(module)?;
    reactor::add_to(module)?;
    io::add_to(module)
}
