//! The loop's timers: a heap in a list, as `heapq` keeps it, which programs and their tests look into.
//!
//! A timer that is set goes to the end of the list, and rises to where it belongs only with the next turn, or when somebody
//! looks: many are taken back before, as the time limits of what was there already. How much of the list is a heap is noted with
//! the loop.
//!
//! `heapq` itself asks `TimerHandle.__lt__` for each comparison, which is Python code: of a hundred timers, one that is set
//! costs seven such calls. Here the times are read from the handles. Where many are due at once they are taken out together
//! and sorted: one by one, each would have another sink to where it belongs.

use std::os::raw::c_int;

use pyo3::exceptions::{PyAttributeError, PyRuntimeError, PyTypeError};
use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::types::{PyFloat, PyList};

use super::handles::Handles;

/// As asyncio's, in `base_events`: a list of more than so many, of which more than half are cancelled, is cleared of them.
const MANY: isize = 100;

/// Where fewer than one in so many are due, they are taken out one by one.
const FEW: usize = 4;

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
    fn first(&self) -> PyResult<Option<Bound<'py, PyAny>>> {
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

    /// Takes out what is due before a point in time, first what is due first, and gives it to `take`.
    ///
    /// # Errors
    /// What `take` returns, and what comparing times raises.
    pub(super) fn take_due(
        &self,
        end: &Bound<'py, PyAny>,
        mut take: impl FnMut(&Bound<'py, PyAny>) -> PyResult<()>,
    ) -> PyResult<()> {
        if let Ok(end) = end.cast_exact::<PyFloat>()
            && let Some(due) = self.places_due(end.value())
            && due.len() * FEW >= self.len()
        {
            return self.take_out(&due)?.iter().try_for_each(take);
        }
        while let Some(first) = self.first()? {
            if !self.is_due(&first, end)? {
                break;
            }
            drop(first);
            take(&self.pop()?)?;
        }
        Ok(())
    }

    /// The places of what is due before a point in time, in their order; `None` where one of them has a time that is no float.
    fn places_due(&self, end: f64) -> Option<Vec<usize>> {
        let mut due = Vec::new();
        if self.len() > 0 && self.seconds(0)? < end {
            due.push(0);
        }
        let mut next = 0;
        // Below one that is not due is none that is.
        while let Some(above) = due.get(next) {
            let below = 2 * above + 1;
            for place in below..(below + 2).min(self.len()) {
                if self.seconds(place)? < end {
                    due.push(place);
                }
            }
            next += 1;
        }
        Some(due)
    }

    /// Takes out what is at some places, whose times are floats; returns it in the order of its times.
    fn take_out(&self, places: &[usize]) -> PyResult<Vec<Bound<'py, PyAny>>> {
        let length = self.len();
        let kept = length - places.len();
        let mut wanted = places.iter().peekable();
        let mut out = Vec::with_capacity(places.len());
        // SAFETY: the list's own references, which change their places and are as many as before; the GIL is held, and nothing
        // runs meanwhile.
        let mut out: Vec<_> = unsafe {
            let items = (*self.heap.as_ptr().cast::<ffi::PyListObject>()).ob_item;
            let items = std::slice::from_raw_parts_mut(items, length);
            for place in 0..length {
                if wanted.next_if_eq(&&place).is_some() {
                    out.push(items[place]);
                } else {
                    items[place - out.len()] = items[place];
                }
            }
            items[kept..].copy_from_slice(&out);
            out.into_iter().map(|timer| Bound::from_borrowed_ptr(self.heap.py(), timer)).collect()
        };
        self.heap.del_slice(kept, length)?;
        self.order()?;
        // SAFETY: the caller's promise, and the GIL is held.
        out.sort_by(|one, other| unsafe {
            let [one, other] = [one, other].map(|timer| ffi::PyFloat_AS_DOUBLE(self.handles.when.get(timer.as_ptr())));
            one.total_cmp(&other)
        });
        Ok(out)
    }

    /// When that at a place is due, where its time is a float.
    fn seconds(&self, place: usize) -> Option<f64> {
        let timer = self.item(place);
        // SAFETY: what is in the list lives; the slot is asked of a timer alone.
        unsafe {
            if !self.handles.is_timer(timer) {
                return None;
            }
            let when = self.handles.when.get(timer);
            (!when.is_null() && ffi::PyFloat_CheckExact(when) != 0).then(|| ffi::PyFloat_AS_DOUBLE(when))
        }
    }

    /// Whether the first is due before a point in time; one that is not says when it is.
    fn is_due(&self, timer: &Bound<'py, PyAny>, end: &Bound<'py, PyAny>) -> PyResult<bool> {
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
        self.clean_last(0, || ())?;
        self.order()
    }

    /// Adds a timer at the end of the list.
    pub(super) fn push(&self, timer: &Bound<'py, PyAny>) -> PyResult<()> {
        self.heap.append(timer)?;
        self.note(timer, true);
        Ok(())
    }

    /// Takes one back that is at the end of the list, as one is that compares with no other.
    pub(super) fn take_back(&self, timer: &Bound<'py, PyAny>) -> PyResult<()> {
        if self.len() > 0 && self.item(self.len() - 1) == timer.as_ptr() {
            drop(self.take_last()?);
            self.note(timer, false);
        }
        Ok(())
    }

    /// Whether what is at the end of a heap may stay there.
    pub(super) fn is_in_place(&self, place: usize) -> PyResult<bool> {
        Ok(place == 0 || !self.is_before(place, (place - 1) / 2)?)
    }

    /// Makes a heap of a list of which that is true of the first `ordered`.
    pub(super) fn order_last(&self, ordered: usize) -> PyResult<()> {
        if ordered > self.len() {
            // Somebody has taken some out.
            return self.order();
        }
        (ordered..self.len()).try_for_each(|place| self.rise(place, 0))
    }

    /// Throws out those behind the first `ordered` that are cancelled.
    pub(super) fn clean_last(&self, ordered: usize, mut gone: impl FnMut()) -> PyResult<()> {
        let length = self.len();
        let is_gone = |place: &usize| {
            // SAFETY: it lives, and the slot is asked of a timer alone.
            unsafe {
                let timer = self.item(*place);
                self.handles.is_timer(timer) && self.handles.cancelled.get(timer) == ffi::Py_True()
            }
        };
        let Some(first) = (ordered..length).find(is_gone) else { return Ok(()) };
        let mut end = first;
        for place in first..length {
            if !is_gone(&place) {
                self.swap(end, place);
                end += 1;
            }
        }
        let out: Vec<_> = self.heap.get_slice(end, length).iter().collect();
        self.heap.del_slice(end, length)?;
        for timer in out {
            gone();
            self.note(&timer, false);
            self.handles.give_up(timer);
        }
        Ok(())
    }

    /// Takes the first out, which there is.
    fn pop(&self) -> PyResult<Bound<'py, PyAny>> {
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

    /// Makes a heap of what is in any order.
    fn order(&self) -> PyResult<()> {
        (0..self.len() / 2).rev().try_for_each(|place| self.sink(place))
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
