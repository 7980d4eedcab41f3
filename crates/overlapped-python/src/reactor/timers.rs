//! The loop's timers: a heap in a list, as `heapq` keeps it, which programs and their tests look into.
//!
//! `heapq` itself asks `TimerHandle.__lt__` for each comparison, which is Python code: of a hundred timers, one that is set
//! costs seven such calls. Here the times are read from the handles.

use std::os::raw::c_int;

use pyo3::exceptions::{PyAttributeError, PyRuntimeError, PyTypeError};
use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::types::{PyFloat, PyList};

use super::handles::Handles;

/// As asyncio's, in `base_events`: a list of more than so many, of which more than half are cancelled, is cleared of them.
const MANY: isize = 100;

/// A heap of timers, the one that is due first in front.
pub(super) struct Timers<'a, 'py> {
    pub(super) heap: &'a Bound<'py, PyList>,
    pub(super) handles: &'a Handles,
}

impl<'py> Timers<'_, 'py> {
    fn len(&self) -> usize {
        self.heap.len()
    }

    /// The one that is due first.
    ///
    /// # Errors
    /// What is no `TimerHandle` has no business there.
    pub(super) fn first(&self) -> PyResult<Option<Bound<'py, PyAny>>> {
        if self.len() == 0 {
            return Ok(None);
        }
        let first = self.heap.get_item(0)?;
        if self.is_timer(&first) { Ok(Some(first)) } else { Err(no_timer(&first)) }
    }

    fn is_timer(&self, object: &Bound<'py, PyAny>) -> bool {
        // SAFETY: it lives.
        unsafe { self.handles.is_timer(object.as_ptr()) }
    }

    /// Whether the first is due before a point in time; one that is not says when it is.
    pub(super) fn is_due(&self, timer: &Bound<'py, PyAny>, end: &Bound<'py, PyAny>) -> PyResult<bool> {
        let when = self.when(timer)?;
        match (when.cast_exact::<PyFloat>(), end.cast_exact::<PyFloat>()) {
            (Ok(when), Ok(end)) => Ok(when.value() < end.value()),
            _ => when.lt(end),
        }
    }

    /// When it is due.
    pub(super) fn when(&self, timer: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        // SAFETY: a timer, and the GIL is held.
        let when = unsafe { self.handles.when.taken(timer.py(), timer.as_ptr()) };
        when.ok_or_else(|| PyAttributeError::new_err("_when"))
    }

    /// The first, where it is not cancelled; those that are go.
    pub(super) fn first_wanted(&self, mut gone: impl FnMut()) -> PyResult<Option<Bound<'py, PyAny>>> {
        while let Some(first) = self.first()? {
            if !self.is_cancelled(&first) {
                return Ok(Some(first));
            }
            gone();
            drop(first);
            let cancelled = self.pop()?;
            self.note(&cancelled, false);
            self.handles.give_up(cancelled);
        }
        Ok(None)
    }

    /// Whether so many cancelled ones are too many.
    pub(super) fn has_too_many(&self, cancelled: isize) -> bool {
        let all = self.len() as isize;
        all > MANY && 2 * cancelled > all
    }

    /// Throws out what is cancelled.
    pub(super) fn clean(&self) -> PyResult<()> {
        let py = self.heap.py();
        let (mut wanted, mut gone) = (Vec::with_capacity(self.len()), Vec::new());
        for timer in self.heap.iter() {
            if self.is_timer(&timer) && self.is_cancelled(&timer) {
                self.note(&timer, false);
                gone.push(timer);
            } else {
                wanted.push(timer);
            }
        }
        self.heap.set_slice(0, self.len(), PyList::new(py, wanted)?.as_any())?;
        for place in (0..self.len() / 2).rev() {
            self.sink(place)?;
        }
        gone.into_iter().for_each(|timer| self.handles.give_up(timer));
        Ok(())
    }

    /// Adds a timer.
    pub(super) fn push(&self, timer: &Bound<'py, PyAny>) -> PyResult<()> {
        self.heap.append(timer)?;
        self.note(timer, true);
        self.rise(self.len() - 1, 0)
    }

    /// Takes the first out, which there is.
    pub(super) fn pop(&self) -> PyResult<Bound<'py, PyAny>> {
        let last = self.len() - 1;
        self.swap(0, last);
        let first = self.take_last()?;
        if last > 1 {
            self.sink(0)?;
        }
        Ok(first)
    }

    /// Takes the last out of the list, which gives memory back only where it has much to give: `del` does so, and costs more.
    fn take_last(&self) -> PyResult<Bound<'py, PyAny>> {
        let last = self.len() - 1;
        // SAFETY: the list's own fields, with the GIL held; the reference that it had is the caller's.
        unsafe {
            let list = self.heap.as_ptr().cast::<ffi::PyListObject>();
            if (last as isize) >= (*list).allocated / 4 {
                (*list).ob_base.ob_size = last as isize;
                return Ok(Bound::from_owned_ptr(self.heap.py(), *(*list).ob_item.add(last)));
            }
        }
        let item = self.heap.get_item(last)?;
        self.heap.del_item(last)?;
        Ok(item)
    }

    /// Whether it is cancelled.
    #[inline]
    pub(super) fn is_cancelled(&self, timer: &Bound<'py, PyAny>) -> bool {
        // SAFETY: a timer, and the GIL is held.
        unsafe { self.handles.cancelled.get(timer.as_ptr()) == ffi::Py_True() }
    }

    /// Notes whether it is in the heap.
    pub(super) fn note(&self, timer: &Bound<'py, PyAny>, scheduled: bool) {
        // SAFETY: a timer, and the GIL is held; these are references of their own.
        unsafe {
            let scheduled = if scheduled { ffi::Py_True() } else { ffi::Py_False() };
            self.handles.scheduled.put(timer.as_ptr(), ffi::Py_NewRef(scheduled));
        }
    }

    /// Has what is at `place` rise to where it belongs, not above `top`.
    fn rise(&self, mut place: usize, top: usize) -> PyResult<()> {
        while place > top {
            let above = (place - 1) / 2;
            if !self.is_before(place, above)? {
                break;
            }
            self.swap(place, above);
            place = above;
        }
        Ok(())
    }

    /// Has what is at `top` sink to where it belongs. It goes down all the way first, and rises then: what was last belongs
    /// far down, and so half of the comparisons are saved (as in `heapq`).
    fn sink(&self, top: usize) -> PyResult<()> {
        let mut place = top;
        loop {
            let mut first = 2 * place + 1;
            if first >= self.len() {
                return self.rise(place, top);
            }
            if first + 1 < self.len() && self.is_before(first + 1, first)? {
                first += 1;
            }
            self.swap(first, place);
            place = first;
        }
    }

    fn swap(&self, one: usize, other: usize) {
        // SAFETY: both are in the list, whose length nobody changes meanwhile: the GIL is held. The list keeps both.
        unsafe {
            let items = (*self.heap.as_ptr().cast::<ffi::PyListObject>()).ob_item;
            items.add(one).swap(items.add(other));
        }
    }

    fn item(&self, place: usize) -> *mut PyObject {
        // SAFETY: it is in the list.
        unsafe { ffi::PyList_GET_ITEM(self.heap.as_ptr(), place as isize) }
    }

    /// Whether one is due before another.
    fn is_before(&self, one: usize, other: usize) -> PyResult<bool> {
        let py = self.heap.py();
        // SAFETY: both are in the list; what is read is kept by them, or held here while Python's code may run.
        unsafe {
            let [one, other] = [one, other].map(|place| self.item(place));
            if let Some(item) = [one, other].into_iter().find(|item| !self.handles.is_timer(*item)) {
                return Err(no_timer(&Bound::from_borrowed_ptr(py, item)));
            }
            let [one, other] = [one, other].map(|timer| self.handles.when.get(timer));
            if ffi::PyFloat_CheckExact(one) != 0 && ffi::PyFloat_CheckExact(other) != 0 {
                return Ok(ffi::PyFloat_AS_DOUBLE(one) < ffi::PyFloat_AS_DOUBLE(other));
            }
            let length = self.len();
            let [one, other] = [one, other].map(|when| Bound::from_borrowed_ptr(py, when));
            let before: c_int = ffi::PyObject_RichCompareBool(one.as_ptr(), other.as_ptr(), ffi::Py_LT);
            if before < 0 {
                return Err(PyErr::fetch(py));
            }
            if length != self.len() {
                return Err(PyRuntimeError::new_err("a comparison of times has set or taken back a timer"));
            }
            Ok(before == 1)
        }
    }
}

fn no_timer(object: &Bound<'_, PyAny>) -> PyErr {
    PyTypeError::new_err(format!("{object} is no timer, and is among the loop's"))
}
