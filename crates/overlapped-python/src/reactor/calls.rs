//! The methods by which calls are asked for: `call_soon`, `call_soon_threadsafe`, `call_later`, `call_at`, `time`,
//! `_run_once` of the loop, and `cancel` of its handles.
//!
//! Each does what asyncio's does where that is simple. In debug mode, of a loop that is closed, with too few arguments or ones
//! that are named, asyncio's own method is called: it knows the errors, and where a handle was made.

use pyo3::exceptions::PyTypeError;
use pyo3::ffi::{self, PyObject};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyFloat, PyTuple, PyType};

use super::event_loop::{self, LoopCore};
use super::handles::{self, Kind, handles};
use super::standard::standard;
use crate::python::class::{all_given, fast, give, install, keywords};

/// Puts the native methods on the class of our loops and on those of its handles.
#[pyfunction]
pub(crate) fn install_loop(
    py: Python<'_>,
    event_loop: &Bound<'_, PyType>,
    soon: &Bound<'_, PyType>,
    timer: &Bound<'_, PyType>,
    shared: &Bound<'_, PyType>,
) -> PyResult<()> {
    handles::load(py, [soon, timer, shared])?;
    let methods = vec![
        keywords(c"call_soon", call_soon, c"Call a function in the next turn; as asyncio.loop.call_soon."),
        keywords(
            c"call_soon_threadsafe",
            call_soon_threadsafe,
            c"Call a function in the next turn, from any thread; as asyncio.loop.call_soon_threadsafe.",
        ),
        keywords(c"call_later", call_later, c"Call a function after a delay, in seconds; as asyncio.loop.call_later."),
        keywords(c"call_at", call_at, c"Call a function at a point of the loop's time; as asyncio.loop.call_at."),
        fast(c"time", time, c"The loop's time in seconds; as asyncio.loop.time."),
        fast(c"_run_once", turn, c"One turn; several for `run_forever`."),
    ];
    install(event_loop, methods)?;
    install(soon, vec![fast(c"cancel", cancel_soon, c"Cancel the call.")])?;
    install(timer, vec![fast(c"cancel", cancel_timer, c"Cancel the call.")])
}

/// What a method was called with.
struct Asked<'a, 'py> {
    event_loop: Bound<'py, PyAny>,
    core: &'a LoopCore,
    args: &'a [*mut PyObject],
    context: Option<Bound<'py, PyAny>>,
    /// Whether all is as usual: so many arguments at the least, and none named but the context.
    is_usual: bool,
    given: Given<'a>,
}

/// The arguments as they came.
#[derive(Clone, Copy)]
struct Given<'a> {
    all: &'a [*mut PyObject],
    count: usize,
    names: *mut PyObject,
}

impl<'a, 'py> Asked<'a, 'py> {
    /// # Safety
    /// The arguments are those of a method of the class's that Python calls with names, `event_loop` is an instance, and the
    /// GIL is held.
    unsafe fn new(
        py: Python<'py>,
        event_loop: &'a *mut PyObject,
        args: *const *mut PyObject,
        count: isize,
        names: *mut PyObject,
        least: usize,
    ) -> Asked<'a, 'py> {
        // SAFETY: the caller's promise: there are as many as are said, and all live as long as the call.
        unsafe {
            let (all, count) = (all_given(args, count, names), count as usize);
            let named = all.len() - count;
            let is_context = named == 1 && is_named_context(py, ffi::PyTuple_GET_ITEM(names, 0));
            let context = if is_context { Some(all[count]) } else { None };
            let context = context.filter(|context| *context != ffi::Py_None());
            Asked {
                event_loop: Bound::from_borrowed_ptr(py, *event_loop),
                core: core_of(*event_loop),
                args: &all[..count],
                context: context.map(|context| Bound::from_borrowed_ptr(py, context)),
                is_usual: count >= least && (named == 0 || is_context),
                given: Given { all, count, names },
            }
        }
    }

    fn py(&self) -> Python<'py> {
        self.event_loop.py()
    }

    /// Whether it is to be done here.
    #[inline]
    fn is_plain(&self) -> bool {
        self.is_usual && self.core.is_plain()
    }

    /// Has asyncio's method do it.
    #[cold]
    fn leave_to(&self, method: &Py<PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let (py, given) = (self.py(), self.given);
        let all: Vec<_> = std::iter::once(self.event_loop.as_ptr()).chain(given.all.iter().copied()).collect();
        // SAFETY: the loop and what the caller has given, with the names of the last of them.
        let made = unsafe {
            let made = ffi::PyObject_Vectorcall(method.as_ptr(), all.as_ptr(), given.count + 1, given.names);
            Bound::from_owned_ptr_or_err(py, made)?
        };
        self.core.wake_sleeper(py);
        Ok(made)
    }

    /// Makes the handle of `callback(*args)`, the arguments from that place on.
    #[inline]
    fn handle(&mut self, kind: Kind, callback: usize) -> PyResult<Bound<'py, PyAny>> {
        let py = self.py();
        let rest = &self.args[callback + 1..];
        // SAFETY: the arguments live, and a tuple takes references of its own.
        let args = unsafe {
            let args = ffi::PyTuple_New(rest.len() as isize);
            for (place, argument) in rest.iter().enumerate() {
                ffi::PyTuple_SET_ITEM(args, place as isize, ffi::Py_NewRef(*argument));
            }
            Bound::from_owned_ptr_or_err(py, args)?.cast_into_unchecked::<PyTuple>()
        };
        handles(py)?.make(kind, &self.event_loop, self.args[callback], args, self.context.take())
    }

    /// Sets a timer for a call, whose function is the second argument.
    fn set_timer(&mut self, when: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = self.py();
        let handles = handles(py)?;
        let timer = self.handle(Kind::Timer, 1)?;
        // SAFETY: it is a timer, and the GIL is held; the reference is the slot's.
        unsafe { handles.when.put(timer.as_ptr(), when.into_ptr()) };
        self.core.add_timer(handles, &timer)?;
        self.core.wake_sleeper(py);
        Ok(timer)
    }
}

/// # Safety
/// `event_loop` is a loop of ours, and lives.
unsafe fn core_of<'a>(event_loop: *mut PyObject) -> &'a LoopCore {
    // SAFETY: the caller's promise: what is ours begins as its base, and is there for as long as the object.
    unsafe {
        let event_loop = Borrowed::from_ptr(Python::assume_attached(), event_loop);
        let core: *const LoopCore = event_loop.cast_unchecked::<LoopCore>().get();
        &*core
    }
}

/// # Safety
/// `name` is a string.
unsafe fn is_named_context(py: Python<'_>, name: *mut PyObject) -> bool {
    let context = intern!(py, "context").as_ptr();
    // SAFETY: two strings.
    name == context || unsafe { ffi::PyUnicode_Compare(name, context) == 0 }
}

/// A method of the class's that Python calls with names: what `$how` does, given so many arguments at the least.
macro_rules! method {
    ($name:ident, $least:literal, $how:ident) => {
        unsafe extern "C" fn $name(
            this: *mut PyObject,
            args: *const *mut PyObject,
            count: ffi::Py_ssize_t,
            names: *mut PyObject,
        ) -> *mut PyObject {
            // SAFETY: called by Python, as a method of the class's.
            let mut asked = unsafe { Asked::new(Python::assume_attached(), &this, args, count, names, $least) };
            give($how(&mut asked).map(Bound::into_ptr))
        }
    };
}

method!(call_soon, 1, soon);

fn soon<'py>(asked: &mut Asked<'_, 'py>) -> PyResult<Bound<'py, PyAny>> {
    let py = asked.py();
    if !asked.is_plain() {
        return asked.leave_to(&standard(py)?.call_soon);
    }
    let handle = asked.handle(Kind::Soon, 0)?;
    asked.core.add_ready(&handle)?;
    asked.core.wake_sleeper(py);
    Ok(handle)
}

method!(call_soon_threadsafe, 1, threadsafe);

fn threadsafe<'py>(asked: &mut Asked<'_, 'py>) -> PyResult<Bound<'py, PyAny>> {
    let py = asked.py();
    let standard = standard(py)?;
    if !asked.is_plain() {
        return asked.leave_to(&standard.call_soon_threadsafe);
    }
    let handle = asked.handle(if standard.has_threadsafe_handles { Kind::Shared } else { Kind::Soon }, 0)?;
    asked.core.add_ready(&handle)?;
    asked.core.wake(py);
    Ok(handle)
}

method!(call_later, 2, later);

fn later<'py>(asked: &mut Asked<'_, 'py>) -> PyResult<Bound<'py, PyAny>> {
    let py = asked.py();
    if !asked.is_plain() || is_none(asked.args[0]) {
        return asked.leave_to(&standard(py)?.call_later);
    }
    // SAFETY: an argument lives as long as the call.
    let delay = unsafe { Bound::from_borrowed_ptr(py, asked.args[0]) };
    let now = asked.event_loop.call_method0(intern!(py, "time"))?;
    let when = match (now.cast_exact::<PyFloat>(), delay.cast_exact::<PyFloat>()) {
        (Ok(now), Ok(delay)) => PyFloat::new(py, now.value() + delay.value()).into_any(),
        _ => now.add(delay)?,
    };
    asked.set_timer(when)
}

method!(call_at, 2, at);

fn at<'py>(asked: &mut Asked<'_, 'py>) -> PyResult<Bound<'py, PyAny>> {
    let py = asked.py();
    if !asked.is_plain() || is_none(asked.args[0]) {
        return asked.leave_to(&standard(py)?.call_at);
    }
    // SAFETY: an argument lives as long as the call.
    let when = unsafe { Bound::from_borrowed_ptr(py, asked.args[0]) };
    asked.set_timer(when)
}

fn is_none(object: *mut PyObject) -> bool {
    // SAFETY: it is only compared.
    object == unsafe { ffi::Py_None() }
}

/// `loop.time()`.
unsafe extern "C" fn time(_: *mut PyObject, _: *mut *mut PyObject, count: ffi::Py_ssize_t) -> *mut PyObject {
    // SAFETY: called by Python.
    let py = unsafe { Python::assume_attached() };
    give(none_given("time", count).and_then(|()| standard(py)?.now(py)).map(Bound::into_ptr))
}

unsafe extern "C" fn turn(this: *mut PyObject, _: *mut *mut PyObject, count: ffi::Py_ssize_t) -> *mut PyObject {
    // SAFETY: called by Python, as a method of the class's, which keeps the loop for the call.
    let (this, core) = unsafe { (Bound::from_borrowed_ptr(Python::assume_attached(), this), core_of(this)) };
    let done = none_given("_run_once", count).and_then(|()| event_loop::run(&this, core));
    give(done.map(|()| this.py().None().into_ptr()))
}

unsafe extern "C" fn cancel_soon(this: *mut PyObject, _: *mut *mut PyObject, count: ffi::Py_ssize_t) -> *mut PyObject {
    // SAFETY: called by Python, as a method of the class of such handles.
    unsafe { cancel(this, count, Kind::Soon) }
}

unsafe extern "C" fn cancel_timer(this: *mut PyObject, _: *mut *mut PyObject, count: ffi::Py_ssize_t) -> *mut PyObject {
    // SAFETY: as above.
    unsafe { cancel(this, count, Kind::Timer) }
}

/// # Safety
/// `this` is a handle of that kind, and the GIL is held.
unsafe fn cancel(this: *mut PyObject, count: isize, kind: Kind) -> *mut PyObject {
    // SAFETY: the caller's promise.
    let (py, this) = unsafe { (Python::assume_attached(), Bound::from_borrowed_ptr(Python::assume_attached(), this)) };
    give(none_given("cancel", count).and_then(|()| {
        let handles = handles(py)?;
        let inside = this.as_ptr();
        // SAFETY: a handle with its slots; those of a timer are asked of a timer alone.
        unsafe {
            if handles.cancelled.get(inside) == ffi::Py_True() {
                return Ok(py.None().into_ptr());
            }
            let event_loop = handles.of_loop.taken(py, inside);
            let event_loop = event_loop.as_ref().and_then(|event_loop| event_loop.cast::<LoopCore>().ok());
            let Some(core) = event_loop.map(Bound::get).filter(|core| !core.debug()) else {
                return standard(py)?.cancel[kind as usize].bind(py).call1((this,)).map(Bound::into_ptr);
            };
            if kind == Kind::Timer && handles.scheduled.get(inside) == ffi::Py_True() {
                core.count_cancelled();
            }
            handles.cancelled.put(inside, ffi::Py_NewRef(ffi::Py_True()));
            handles.callback.put(inside, ffi::Py_NewRef(ffi::Py_None()));
            handles.args.put(inside, ffi::Py_NewRef(ffi::Py_None()));
        }
        Ok(py.None().into_ptr())
    }))
}

fn none_given(method: &str, count: isize) -> PyResult<()> {
    if count == 0 {
        Ok(())
    } else {
        Err(PyTypeError::new_err(format!("{method}() takes no arguments ({count} given)")))
    }
}
