//! asyncio's handles from inside: the slots of `asyncio.Handle` and `asyncio.TimerHandle`, without frames of Python's.
//!
//! What the loop gives out are real handles: of subclasses that add nothing but a native `cancel`, or for those that other
//! threads ask for, one that needs no lock of theirs (see `shared.rs`). Where the slots of a class lie is asked of its
//! descriptors, and tried, at import.
//!
//! A handle that nobody else has when its call was made is kept for the next one: most are dropped by who asked for the call,
//! a task or a future, and making and destroying an object that the collector knows costs as much as the call itself. (CPython
//! does the same with its tuples and frames.) Meanwhile the collector does not know it, and it keeps nothing alive.
//!
//! Rejected: handles of a native class, as uvloop's. They are no `asyncio.Handle`, and whoever patches that, or looks into
//! one, finds nothing.

use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering};

use pyo3::ffi::{self, PyObject};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyTuple, PyType};

use crate::python::slot::{Slot, unknown};

/// asyncio's classes, ours, and their slots.
pub(super) struct Handles {
    pub(super) callback: Slot,
    pub(super) args: Slot,
    pub(super) context: Slot,
    pub(super) of_loop: Slot,
    pub(super) cancelled: Slot,
    pub(super) repr: Slot,
    pub(super) traceback: Slot,
    pub(super) when: Slot,
    pub(super) scheduled: Slot,
    /// `asyncio.Handle` and `asyncio.TimerHandle`.
    theirs: [Py<PyType>; 2],
    /// Ours, by kind.
    ours: [Py<PyType>; KINDS.len()],
    kept: [Kept; KINDS.len()],
    /// `Handle._run` as asyncio has written it; `None` where somebody had patched it already.
    run: Option<Py<PyAny>>,
    /// The versions of our first two classes when they were last found to have it.
    seen: [AtomicU32; 2],
}

/// The kinds, as places in the arrays.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Soon,
    Timer,
    /// One that another thread has asked for, and may cancel while it runs: since Python 3.14.
    Shared,
}

const KINDS: [Kind; 3] = [Kind::Soon, Kind::Timer, Kind::Shared];

static HANDLES: PyOnceLock<Handles> = PyOnceLock::new();

/// What `install_loop` has found.
pub(super) fn handles(py: Python<'_>) -> PyResult<&Handles> {
    HANDLES.get(py).ok_or_else(|| unknown("Handle"))
}

/// Finds out about asyncio's handles; ours are the subclasses.
pub(super) fn load(py: Python<'_>, ours: [&Bound<'_, PyType>; KINDS.len()]) -> PyResult<()> {
    let handles = Handles::find(py, ours)?;
    handles.check(py)?;
    let _ = HANDLES.set(py, handles);
    Ok(())
}

impl Handles {
    fn find(py: Python<'_>, ours: [&Bound<'_, PyType>; KINDS.len()]) -> PyResult<Handles> {
        let events = py.import("asyncio.events")?;
        let (handle, timer_handle) = (events.getattr("Handle")?, events.getattr("TimerHandle")?);
        let (run, cancel) = (handle.getattr("_run")?, handle.getattr("cancel")?);
        let as_written = match (file_of(&run), file_of(&cancel)) {
            (Ok(run), Ok(cancel)) => run.eq(cancel)?,
            _ => false,
        };
        Ok(Handles {
            callback: Slot::of(&handle, "_callback")?,
            args: Slot::of(&handle, "_args")?,
            context: Slot::of(&handle, "_context")?,
            of_loop: Slot::of(&handle, "_loop")?,
            cancelled: Slot::of(&handle, "_cancelled")?,
            repr: Slot::of(&handle, "_repr")?,
            traceback: Slot::of(&handle, "_source_traceback")?,
            when: Slot::of(&timer_handle, "_when")?,
            scheduled: Slot::of(&timer_handle, "_scheduled")?,
            theirs: [handle.cast_into::<PyType>()?.unbind(), timer_handle.cast_into::<PyType>()?.unbind()],
            ours: ours.map(|class| class.clone().unbind()),
            kept: Default::default(),
            run: as_written.then(|| run.unbind()),
            seen: Default::default(),
        })
    }

    /// Tries whether what is put in a slot is the attribute.
    fn check(&self, py: Python<'_>) -> PyResult<()> {
        for (kind, name, slot) in [
            (Kind::Soon, "_callback", self.callback),
            (Kind::Soon, "_args", self.args),
            (Kind::Soon, "_context", self.context),
            (Kind::Soon, "_loop", self.of_loop),
            (Kind::Soon, "_cancelled", self.cancelled),
            (Kind::Soon, "_repr", self.repr),
            (Kind::Soon, "_source_traceback", self.traceback),
            (Kind::Timer, "_when", self.when),
            (Kind::Timer, "_scheduled", self.scheduled),
        ] {
            let sign = PyTuple::new(py, [name])?;
            let handle =
                self.ours[kind as usize].bind(py).call_method1("__new__", (self.ours[kind as usize].bind(py),))?;
            handle.setattr(name, &sign)?;
            // SAFETY: it was made of the class a line above.
            if unsafe { slot.get(handle.as_ptr()) } != sign.as_ptr() {
                return Err(unknown(name));
            }
        }
        Ok(())
    }

    /// Whether handles run as asyncio has written it: nobody has patched `Handle._run`.
    #[inline]
    pub(super) fn run_as_written(&self, py: Python<'_>) -> PyResult<bool> {
        // A class has another version, or none (0), when it or one above it was changed.
        let known = self.ours.iter().zip(&self.seen).all(|(class, seen)| {
            let version = version_of(class);
            version != 0 && version == seen.load(Ordering::Relaxed)
        });
        if known { Ok(true) } else { self.look_at_run(py) }
    }

    #[cold]
    fn look_at_run(&self, py: Python<'_>) -> PyResult<bool> {
        let Some(run) = &self.run else { return Ok(false) };
        for (class, seen) in self.ours.iter().zip(&self.seen) {
            if !class.bind(py).getattr(intern!(py, "_run"))?.is(run) {
                return Ok(false);
            }
            seen.store(version_of(class), Ordering::Relaxed);
        }
        Ok(true)
    }

    /// Whether it is of one of theirs or ours, and not of another subclass.
    #[inline]
    pub(super) fn is_plain(&self, handle: &Bound<'_, PyAny>) -> bool {
        let class = handle.get_type_ptr().cast();
        let is = |known: &Py<PyType>| known.as_ptr() == class;
        self.ours.iter().any(is) || self.theirs.iter().any(is)
    }

    /// Whether it is one of ours.
    #[inline]
    pub(super) fn is_our(&self, kind: Kind, handle: *mut PyObject) -> bool {
        // SAFETY: a live object.
        unsafe { ffi::Py_TYPE(handle).cast() == self.ours[kind as usize].as_ptr() }
    }

    /// Whether it is a `TimerHandle`, of whatever subclass.
    ///
    /// # Safety
    /// A live object.
    #[inline]
    pub(super) unsafe fn is_timer(&self, handle: *mut PyObject) -> bool {
        // SAFETY: the caller's promise; and the class is one.
        self.is_our(Kind::Timer, handle)
            || unsafe { ffi::PyObject_TypeCheck(handle, self.theirs[1].as_ptr().cast()) != 0 }
    }

    /// Makes a handle for a call, in a copy of the current context where none is given.
    ///
    /// # Errors
    /// `MemoryError`.
    #[inline]
    pub(super) fn make<'py>(
        &self,
        kind: Kind,
        event_loop: &Bound<'py, PyAny>,
        callback: *mut PyObject,
        args: Bound<'py, PyTuple>,
        context: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = event_loop.py();
        let context = match context {
            Some(context) => context,
            // SAFETY: the GIL is held; a new reference, or null with an error set.
            None => unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyContext_CopyCurrent())? },
        };
        // SAFETY: the slots are those of what is made, which nobody else knows yet; `callback` is alive, as an argument.
        unsafe {
            let handle = match self.kept[kind as usize].take(self.args) {
                Some(handle) => handle,
                None => self.fresh(py, kind)?,
            };
            self.callback.place(handle).write(ffi::Py_NewRef(callback));
            self.args.place(handle).write(args.into_ptr());
            self.context.place(handle).write(context.into_ptr());
            self.of_loop.place(handle).write(event_loop.clone().into_ptr());
            ffi::PyObject_GC_Track(handle.cast());
            Ok(Bound::from_owned_ptr(py, handle))
        }
    }

    /// A handle that the collector does not know, and whose other slots are as those of every new one.
    ///
    /// # Safety
    /// The GIL is held.
    unsafe fn fresh(&self, py: Python<'_>, kind: Kind) -> PyResult<*mut PyObject> {
        // SAFETY: a class of Python's makes its instances so, all slots empty; and nobody knows this one.
        unsafe {
            let handle = ffi::PyType_GenericAlloc(self.ours[kind as usize].as_ptr().cast(), 0);
            if handle.is_null() {
                return Err(PyErr::fetch(py));
            }
            ffi::PyObject_GC_UnTrack(handle.cast());
            self.cancelled.place(handle).write(ffi::Py_NewRef(ffi::Py_False()));
            self.repr.place(handle).write(ffi::Py_NewRef(ffi::Py_None()));
            self.traceback.place(handle).write(ffi::Py_NewRef(ffi::Py_None()));
            if kind == Kind::Timer {
                self.scheduled.place(handle).write(ffi::Py_NewRef(ffi::Py_False()));
            }
            Ok(handle)
        }
    }

    /// Gives up a handle whose call was made, or is not to be; it is kept where nobody else has it.
    #[inline]
    pub(super) fn give_up(&self, handle: Bound<'_, PyAny>) {
        let handle = handle.into_ptr();
        let kind = KINDS.into_iter().find(|kind| self.is_our(*kind, handle));
        // SAFETY: the GIL is held, and the reference is ours to drop. What a handle of ours has lost of its slots nobody but
        // this function sees: it has the only reference, and the collector does not know it.
        unsafe {
            let is_to_be_kept = |kind: &Kind| {
                ffi::Py_REFCNT(handle) == 1
                    && self.repr.get(handle) == ffi::Py_None()
                    && self.traceback.get(handle) == ffi::Py_None()
                    && weak_references(handle).is_null()
                    && self.kept[*kind as usize].has_room()
            };
            let Some(kind) = kind.filter(is_to_be_kept) else {
                ffi::Py_DECREF(handle);
                return;
            };
            ffi::PyObject_GC_UnTrack(handle.cast());
            let [callback, args, context, of_loop] = [self.callback, self.args, self.context, self.of_loop]
                .map(|slot| slot.place(handle).replace(ptr::null_mut()));
            self.cancelled.put(handle, ffi::Py_NewRef(ffi::Py_False()));
            if kind == Kind::Timer {
                self.when.put(handle, ptr::null_mut());
                self.scheduled.put(handle, ffi::Py_NewRef(ffi::Py_False()));
            }
            self.kept[kind as usize].keep(self.args, handle);
            for object in [callback, args, context, of_loop] {
                ffi::Py_XDECREF(object);
            }
        }
    }
}

/// What CPython's caches of attributes know the state of a class by.
#[inline]
fn version_of(class: &Py<PyType>) -> u32 {
    // SAFETY: it is a class, and lives.
    unsafe { (*class.as_ptr().cast::<ffi::PyTypeObject>()).tp_version_tag }
}

/// The head of an object's weak references; null where it has none.
///
/// # Safety
/// A handle, with the GIL held.
unsafe fn weak_references(handle: *mut PyObject) -> *mut PyObject {
    // SAFETY: asyncio's handles have a place for weak references, and their class says where.
    unsafe { *handle.byte_offset((*ffi::Py_TYPE(handle)).tp_weaklistoffset).cast::<*mut PyObject>() }
}

/// Handles that wait for their next call, chained by the slot of their arguments. All is done with the GIL held.
#[derive(Default)]
struct Kept {
    first: AtomicPtr<PyObject>,
    count: AtomicUsize,
}

impl Kept {
    /// More than are often asked for in one turn. What is made anew counts for the collector, which then looks at all of them.
    const MOST: usize = 1024;

    fn has_room(&self) -> bool {
        self.count.load(Ordering::Relaxed) < Kept::MOST
    }

    /// # Safety
    /// The GIL is held, and nobody else has the handle; `chain` is a slot of its that is empty.
    unsafe fn keep(&self, chain: Slot, handle: *mut PyObject) {
        // SAFETY: the caller's promise. The next in the chain is no reference that anybody counts.
        unsafe { chain.place(handle).write(self.first.swap(handle, Ordering::Relaxed)) };
        self.count.store(self.count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// # Safety
    /// The GIL is held, and `chain` is the slot that `keep` was given.
    unsafe fn take(&self, chain: Slot) -> Option<*mut PyObject> {
        let handle = self.first.load(Ordering::Relaxed);
        if handle.is_null() {
            return None;
        }
        // SAFETY: the caller's promise.
        self.first.store(unsafe { chain.place(handle).replace(ptr::null_mut()) }, Ordering::Relaxed);
        self.count.store(self.count.load(Ordering::Relaxed) - 1, Ordering::Relaxed);
        Some(handle)
    }
}

/// The file in which a function is written.
fn file_of<'py>(function: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    function.getattr("__code__")?.getattr("co_filename")
}
