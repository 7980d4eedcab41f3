//! The trace and the profile function of a thread, in Python's thread state, which alone has them whole: `sys.gettrace` tells
//! of the object, and not of the C function that is called with it. And the exception that is being handled there.
//!
//! They are moved there and back, past `PyEval_SetTrace`: from 3.12 on that counts the threads that are traced, and changes
//! the code of the whole program when the first begins and the last ends. Who has its functions moved away is still counted.

use std::ffi::{c_int, c_void};
use std::ptr;

use pyo3::ffi::{self, Py_tracefunc, PyObject};
use pyo3::prelude::*;

/// How many pointers, and then how many numbers, stand before the fields of interest.
const POINTERS: usize = if cfg!(Py_3_13) { 4 } else { 3 };
const NUMBERS: usize = if cfg!(Py_3_13) { 7 } else { 5 };
/// And how many make up the exception that is on its way.
const RAISED: usize = if cfg!(Py_3_12) { 1 } else { 3 };

/// The beginning of a `PyThreadState` (CPython, Include/cpython/pystate.h), the same within a version of Python.
#[repr(C)]
pub(crate) struct ThreadState {
    pointers: [*mut c_void; POINTERS],
    numbers: [c_int; NUMBERS],
    /// How deep it is in trace and profile functions, which are not traced themselves.
    tracing: c_int,
    event: c_int,
    frame: *mut c_void,
    profile: Option<Py_tracefunc>,
    trace: Option<Py_tracefunc>,
    profile_object: *mut PyObject,
    trace_object: *mut PyObject,
    raised: [*mut PyObject; RAISED],
    handled: *const Handled,
}

/// What is handled, innermost first: each generator that runs has one, and the thread.
#[repr(C)]
struct Handled {
    exception: *mut PyObject,
    outer: *const Handled,
}

/// One of the two functions: the C function, and the object that it is called with.
pub(crate) type Hook = (Option<Py_tracefunc>, Option<Py<PyAny>>);

/// What was taken away from a thread.
pub(crate) struct Hooks {
    tracing: c_int,
    pub(crate) profile: Hook,
    pub(crate) trace: Hook,
}

impl Hooks {
    /// Those of a thread that is not traced.
    pub(crate) const fn none() -> Hooks {
        Hooks { tracing: 0, profile: (None, None), trace: (None, None) }
    }

    /// The same as long as such a function runs, which they do not see.
    pub(crate) fn within(self) -> Hooks {
        Hooks { tracing: self.tracing + 1, ..self }
    }

    /// Such a function runs.
    pub(crate) fn is_in_one(&self) -> bool {
        self.tracing != 0
    }
}

/// The hooks of one thread of Python's, as long as that lives.
#[derive(Clone, Copy)]
pub(crate) struct OfThread(*mut ThreadState);

impl OfThread {
    /// Those of this thread. Where its state is laid out in another way than this file says, there never are any: its hooks
    /// stay where they are.
    pub(crate) fn here(_: Python<'_>) -> OfThread {
        // SAFETY: an attached thread has a state. That begins as above; or it is longer than that, and this reads another
        // number. Nothing of Python's runs between the two calls.
        unsafe {
            let state = ffi::PyThreadState_Get();
            let known = state.cast::<ThreadState>();
            let before = (*known).tracing;
            ffi::PyThreadState_EnterTracing(state);
            let within = ptr::read_volatile(&raw const (*known).tracing);
            ffi::PyThreadState_LeaveTracing(state);
            OfThread(if within == before + 1 { known } else { Box::into_raw(Box::new(std::mem::zeroed())) })
        }
    }

    /// Whether there are any.
    #[inline]
    pub(crate) fn are_set(self, _: Python<'_>) -> bool {
        // SAFETY: the GIL is held, and the caller's thread is alive.
        let state = unsafe { &*self.0 };
        state.trace.is_some() || state.profile.is_some() || state.tracing != 0
    }

    /// The exception that is being handled, as `sys.exception` has it.
    #[inline]
    pub(crate) fn handled(self, py: Python<'_>) -> Option<Py<PyAny>> {
        // SAFETY: as above; those that handle are alive as long as they are in this list.
        unsafe {
            let mut next = (*self.0).handled;
            while let Some(handled) = next.as_ref() {
                if !handled.exception.is_null() && handled.exception != ffi::Py_None() {
                    return Some(Bound::from_borrowed_ptr(py, handled.exception).unbind());
                }
                next = handled.outer;
            }
            None
        }
    }

    /// Takes them away: the thread has none then.
    #[inline(never)]
    pub(crate) fn take(self, py: Python<'_>) -> Hooks {
        self.replace(py, Hooks::none())
    }

    /// Gives it others; returns those that it had.
    #[inline(never)]
    pub(crate) fn replace(self, py: Python<'_>, hooks: Hooks) -> Hooks {
        let pointer = |object: Option<Py<PyAny>>| object.map_or(ptr::null_mut(), Py::into_ptr);
        // SAFETY: this thread's state, and the GIL is held; each object that it names is a reference of its own, which goes
        // along. The two calls work out anew what the interpreter keeps of this (up to Python 3.11).
        unsafe {
            let state = &mut *self.0;
            let object = |object: *mut PyObject| Bound::from_owned_ptr_or_opt(py, object).map(Bound::unbind);
            let before = Hooks {
                tracing: state.tracing,
                profile: (state.profile, object(state.profile_object)),
                trace: (state.trace, object(state.trace_object)),
            };
            state.tracing = hooks.tracing;
            (state.profile, state.profile_object) = (hooks.profile.0, pointer(hooks.profile.1));
            (state.trace, state.trace_object) = (hooks.trace.0, pointer(hooks.trace.1));
            let whole = ffi::PyThreadState_Get();
            ffi::PyThreadState_EnterTracing(whole);
            ffi::PyThreadState_LeaveTracing(whole);
            before
        }
    }
}

/// Whether Python's code runs on this thread: without a frame `PyEval_SetTrace` must not be called, from 3.12 on.
pub(crate) fn has_frame(_: Python<'_>) -> bool {
    // SAFETY: the GIL is held; the result is a borrowed reference or null.
    unsafe { !ffi::PyEval_GetFrame().is_null() }
}

/// Sets a trace function as `PyEval_SetTrace` does, to be called where [`has_frame`].
pub(crate) fn set_trace(_: Python<'_>, hook: &Hook) {
    // SAFETY: the GIL is held, and the object, which is kept, is what its function takes.
    unsafe { ffi::PyEval_SetTrace(hook.0, hook.1.as_ref().map_or(ptr::null_mut(), Py::as_ptr)) }
}

/// Sets a profile function in the same way.
pub(crate) fn set_profile(_: Python<'_>, hook: &Hook) {
    // SAFETY: as above.
    unsafe { ffi::PyEval_SetProfile(hook.0, hook.1.as_ref().map_or(ptr::null_mut(), Py::as_ptr)) }
}
