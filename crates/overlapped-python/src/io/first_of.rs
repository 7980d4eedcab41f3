//! Waiting for the first of several things, from Python: the branches of [`overlapped::first_of`].
//!
//! What a branch is made of must outlive the wait, in which any Python code runs. So each branch's primitive is cloned out of
//! its object first (clones are the same thing), and no object is borrowed while the tasklet waits.

use std::time::Instant;

use overlapped::engine::first_of_as;
use overlapped::{Acquiring, Branch, Ready, Receiving, Sending, Waiting};
use overlapped_port::Interest;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use super::descriptor::{self, SocketNumber};
use crate::python::time::deadline;
use crate::sync::channel::{Channel, Item, closed};
use crate::sync::event::Event;
use crate::sync::semaphore::Semaphore;
use crate::thread::deadlock::FIRST_OF_ANYBODY;
use crate::thread::life::runtime;
use crate::thread::runtime::{Runtime, to_error};

/// Something to wait for.
enum Thing {
    Channel(overlapped::Channel<Item>),
    /// With what is to be sent, until there is a branch that has it.
    Sending(overlapped::Channel<Item>, Option<Item>),
    Socket(SocketNumber, Interest),
    Event(overlapped::Event),
    Semaphore(overlapped::Semaphore),
    Time(Instant, overlapped::Event),
}

impl Thing {
    fn new(object: &Bound<'_, PyAny>) -> PyResult<Thing> {
        if let Ok(channel) = object.cast::<Channel>() {
            return Ok(Thing::Channel(channel.get().inner.clone()));
        }
        if let Ok(event) = object.cast::<Event>() {
            return Ok(Thing::Event(event.get().inner.clone()));
        }
        if let Ok(semaphore) = object.cast::<Semaphore>() {
            return Ok(Thing::Semaphore(semaphore.get().inner.clone()));
        }
        if let Ok((channel, value)) = object.extract::<(Bound<'_, Channel>, Py<PyAny>)>() {
            return Ok(Thing::Sending(channel.get().inner.clone(), Some(Item::Value(value))));
        }
        if let Ok((socket, interest)) = object.extract::<(SocketNumber, u8)>() {
            return Ok(Thing::Socket(socket, Interest(interest)));
        }
        match object.extract::<f64>() {
            Ok(seconds) => {
                let due = deadline(Some(seconds))?.expect("a number of seconds was given");
                Ok(Thing::Time(due, overlapped::Event::new()))
            }
            Err(_) => {
                let given = object.repr()?;
                Err(PyTypeError::new_err(format!("first_of() cannot wait for {given}")))
            }
        }
    }

    fn branch(&mut self) -> Wait<'_> {
        match self {
            Thing::Channel(channel) => Wait::Receiving(channel.receiving()),
            Thing::Sending(channel, value) => {
                Wait::Sending(channel.sending(value.take().expect("one branch is made of it")))
            }
            Thing::Socket(socket, interest) => {
                // SAFETY: whoever waits for it keeps it open meanwhile, or closes it by a call that awaits the end of this
                // poll; as for `Runtime::operate`.
                Wait::Ready(unsafe { Ready::of(descriptor::socket(*socket), *interest) })
            }
            Thing::Event(event) | Thing::Time(_, event) => Wait::Waiting(event.waiting()),
            Thing::Semaphore(semaphore) => Wait::Acquiring(semaphore.acquiring()),
        }
    }
}

/// The wait for it.
enum Wait<'a> {
    Receiving(Receiving<'a, Item>),
    Sending(Sending<'a, Item>),
    Ready(Ready<'a>),
    Waiting(Waiting<'a>),
    Acquiring(Acquiring<'a>),
}

impl Wait<'_> {
    fn as_branch(&mut self) -> &mut dyn Branch {
        match self {
            Wait::Receiving(branch) => branch,
            Wait::Sending(branch) => branch,
            Wait::Ready(branch) => branch,
            Wait::Waiting(branch) => branch,
            Wait::Acquiring(branch) => branch,
        }
    }

    /// What came: a channel's value, else None. One of a semaphore is the caller's from now on.
    fn take(&mut self, py: Python<'_>, runtime: &Runtime) -> PyResult<Py<PyAny>> {
        match self {
            Wait::Sending(branch) => match branch.take().expect("this one is the first") {
                Ok(()) => Ok(py.None()),
                Err(_) => Err(closed()),
            },
            Wait::Ready(branch) => match branch.take().expect("this one is the first") {
                Ok(()) => Ok(py.None()),
                Err(error) => Err(to_error(py, runtime, error)),
            },
            Wait::Receiving(branch) => Channel::received(py, branch.take().expect("this one is the first")),
            Wait::Waiting(_) => Ok(py.None()),
            Wait::Acquiring(branch) => {
                branch.take().expect("this one is the first").forget();
                Ok(py.None())
            }
        }
    }
}

/// Waits for the first of these: a channel's value, a channel's receiver of a value (a pair of both), a descriptor that is
/// ready for what it is given with (a pair of numbers, 1 readable, 2 writable), an event, one of a semaphore, or so many
/// seconds. Returns its place, and what came. Nothing is taken from the others, or sent. `of_anybody`: others than tasklets
/// may bring one of these, see [`deadlock`](crate::thread::deadlock).
#[pyfunction]
#[pyo3(signature = (branches, of_anybody=true))]
pub(crate) fn first_of(
    py: Python<'_>,
    branches: Vec<Bound<'_, PyAny>>,
    of_anybody: bool,
) -> PyResult<(usize, Py<PyAny>)> {
    let waits_for = if of_anybody { FIRST_OF_ANYBODY } else { "the first of several" };
    let runtime = runtime(py)?;
    let mut things = branches.iter().map(Thing::new).collect::<PyResult<Vec<Thing>>>()?;
    drop(branches);
    let timers: Vec<_> = things
        .iter()
        .filter_map(|thing| match thing {
            Thing::Time(due, event) => {
                let event = event.clone();
                Some(runtime.scheduler.call_at(*due, move |_| event.set()))
            }
            _ => None,
        })
        .collect();
    let mut waits: Vec<Wait<'_>> = things.iter_mut().map(Thing::branch).collect();
    let first = first_of_as(&mut waits.iter_mut().map(Wait::as_branch).collect::<Vec<_>>(), waits_for);
    for timer in timers {
        runtime.scheduler.clear(timer);
    }
    match first {
        Ok(place) => Ok((place, waits[place].take(py, &runtime)?)),
        Err(error) => Err(to_error(py, &runtime, error)),
    }
}
