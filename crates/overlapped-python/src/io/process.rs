//! What ties a child process to others, for `overlapped.subprocess`: the child is started by the standard library's code,
//! and these are called in between.

use pyo3::prelude::*;

#[cfg(unix)]
mod system {
    use pyo3::prelude::*;

    use crate::python::error::from_io;

    /// Has this process, which was just forked off `parent`, ended by force when the thread that has forked ends.
    #[pyfunction]
    fn end_with_parent(parent: i32) -> PyResult<()> {
        overlapped_port::end_with(parent).map_err(from_io)
    }

    pub(super) fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add_function(wrap_pyfunction!(end_with_parent, module)?)
    }
}

#[cfg(windows)]
mod system {
    use std::os::windows::io::BorrowedHandle;

    use overlapped_port::{Job, Ties, resume_thread, tie};
    use pyo3::prelude::*;

    use crate::python::error::from_io;

    /// What a child is in with all that it starts.
    #[pyclass(frozen, module = "overlapped._engine")]
    struct Tree(Option<Job>);

    #[pymethods]
    impl Tree {
        /// Ends all that is in it; without effect where the child was started without.
        fn kill(&self) -> PyResult<()> {
            self.0.as_ref().map_or(Ok(()), Job::kill).map_err(from_io)
        }
    }

    /// Ties a child that has begun suspended, and lets its thread go on.
    #[pyfunction]
    fn tie_and_resume(process: isize, thread: isize, tree: bool, with_parent: bool) -> PyResult<Tree> {
        // SAFETY: the caller holds both handles, and the GIL is held meanwhile.
        let [process, thread] = [process, thread].map(|handle| unsafe { BorrowedHandle::borrow_raw(handle as _) });
        let tied = tie(process, Ties { tree, ends_with_parent: with_parent });
        let tied = tied.and_then(|job| resume_thread(thread).map(|()| job));
        tied.map(Tree).map_err(from_io)
    }

    pub(super) fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add_class::<Tree>()?;
        module.add_function(wrap_pyfunction!(tie_and_resume, module)?)
    }
}

/// Adds what the system has of this to the module.
pub(super) fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    system::add_to(module)
}
