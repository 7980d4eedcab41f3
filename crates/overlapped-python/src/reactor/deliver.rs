//! The loop's side: the receives in flight of one run, and what they brought.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;

use overlapped::engine::Started;
use overlapped_port::{Interest, Op, Outcome};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use slab::Slab;

use super::reading::take_what_is_there;
use super::receiving::{Came, Receiving, Source, is_cancelled};
use super::wait::LoopWait;
use crate::io::descriptor::{SocketNumber, socket};
use crate::thread::life::runtime;
use crate::thread::runtime::existing;

/// A completion that no protocol has been told of. It names its receive by number: it comes without the GIL.
struct Landed {
    key: usize,
    result: io::Result<Outcome>,
    more: bool,
}

/// What has come, and the event that wakes the loop.
struct Inbox {
    landed: RefCell<VecDeque<Landed>>,
    /// The descriptor that is watched has become readable.
    readable: Cell<bool>,
    watch: Cell<Option<Started>>,
    woken: overlapped::Event,
}

impl Inbox {
    fn put(&self, landed: Landed) {
        let was_empty = {
            let mut all = self.landed.borrow_mut();
            all.push_back(landed);
            all.len() == 1
        };
        if was_empty {
            self.woken.set();
        }
    }
}

/// The receives of a loop's transports, while the loop runs.
#[pyclass(unsendable, module = "overlapped")]
pub(crate) struct Reactor {
    inbox: Rc<Inbox>,
    /// Those whose receives are in flight: the port has their sockets.
    receives: RefCell<Slab<Py<Receiving>>>,
    /// Those that read again and have kept something.
    resumed: RefCell<Vec<Py<Receiving>>>,
    /// The run is over: what comes is kept.
    rests: Cell<bool>,
}

#[pymethods]
impl Reactor {
    /// `wait` is the loop's, which is woken when something has come.
    #[new]
    fn new(wait: &LoopWait) -> Reactor {
        let inbox = Inbox {
            landed: RefCell::default(),
            readable: Cell::new(false),
            watch: Cell::new(None),
            woken: wait.event(),
        };
        Reactor {
            inbox: Rc::new(inbox),
            receives: RefCell::default(),
            resumed: RefCell::default(),
            rests: Cell::new(false),
        }
    }

    /// Has a transport that wants to read do so.
    fn start(&self, py: Python<'_>, receiving: &Bound<'_, Receiving>) -> PyResult<()> {
        let (is_idle, has_kept) = {
            let state = receiving.get().state();
            (state.flight.is_none(), !state.unread.is_empty())
        };
        if has_kept {
            self.resumed.borrow_mut().push(receiving.clone().unbind());
            self.inbox.woken.set();
        }
        // One that is being cancelled is begun anew when it has ended.
        if is_idle { self.receive(py, receiving) } else { Ok(()) }
    }

    /// Has a transport that does not want to read any more stop; what comes all the same is kept for when it does again.
    fn stop(&self, receiving: &Bound<'_, Receiving>) {
        if let (Some(flight), Some(runtime)) = (receiving.get().state().flight, existing()) {
            runtime.scheduler.cancel(flight);
        }
    }

    /// Has nothing in flight any more for a transport that is stopped and closed; what has come for it is dropped.
    ///
    /// # Errors
    /// The port's.
    fn end(&self, py: Python<'_>, receiving: &Bound<'_, Receiving>) -> PyResult<()> {
        let runtime = runtime(py)?;
        self.stop(receiving);
        while receiving.get().in_flight() {
            // The system has taken up the cancel when this returns; that it ends what waits for a socket or pipe is certain.
            runtime.scheduler.turn(Some(std::time::Duration::ZERO)).map_err(crate::python::error::from_io)?;
            let last = {
                let (landed, receives) = (self.inbox.landed.borrow(), self.receives.borrow());
                landed.iter().find(|landed| !landed.more && receives[landed.key].is(receiving)).map(|landed| landed.key)
            };
            if let Some(key) = last {
                self.inbox.landed.borrow_mut().retain(|landed| landed.key != key);
                let its = self.receives.borrow_mut().remove(key);
                receiving.get().state().flight = None;
                drop(its);
            }
        }
        Ok(())
    }

    /// Watches a descriptor, which stays open, until it is readable; nothing new where one is watched already.
    pub(super) fn watch(&self, py: Python<'_>, descriptor: SocketNumber) -> PyResult<()> {
        if self.inbox.watch.get().is_some() || self.inbox.readable.get() {
            return Ok(());
        }
        let runtime = runtime(py)?;
        let inbox = Rc::clone(&self.inbox);
        // SAFETY: the descriptor is the selector's, which closes it when the run is over, after `rest`.
        let watch = unsafe {
            runtime.scheduler.start(
                (),
                |()| Op::Poll { socket: socket(descriptor), interest: Interest::READABLE },
                move |_, (), result| {
                    inbox.watch.set(None);
                    inbox.readable.set(!matches!(&result, Err(error) if is_cancelled(error)));
                    inbox.woken.set();
                },
            )
        };
        self.inbox.watch.set(Some(watch));
        Ok(())
    }

    /// Whether that descriptor has become readable; told once.
    pub(super) fn take_readable(&self) -> bool {
        self.inbox.readable.take()
    }

    /// Whether something has come that no protocol has been told of.
    #[getter]
    fn has_come(&self) -> bool {
        self.any_has_come()
    }

    /// Tells the protocols what has come so far.
    pub(super) fn deliver(&self, py: Python<'_>) -> PyResult<()> {
        if !self.any_has_come() {
            return Ok(());
        }
        self.deliver_kept(py)?;
        let mut left = self.inbox.landed.borrow().len();
        while left > 0 {
            left -= 1;
            let Some(landed) = self.inbox.landed.borrow_mut().pop_front() else { break };
            if let Err(error) = self.take(py, landed) {
                // The rest is for the next run.
                self.inbox.woken.set();
                return Err(error);
            }
        }
        if self.any_has_come() {
            self.inbox.woken.set();
        }
        Ok(())
    }

    /// Looks at the port, for a loop that does not wait.
    pub(super) fn poll(&self, py: Python<'_>) -> PyResult<()> {
        let runtime = runtime(py)?;
        runtime.scheduler.turn(Some(std::time::Duration::ZERO)).map_err(crate::python::error::from_io)
    }

    /// Ends all receives, and waits until nothing is in flight. Transports that read go on in the next run.
    fn rest(&self, py: Python<'_>) -> PyResult<()> {
        self.rests.set(true);
        let runtime = runtime(py)?;
        let flights: Vec<_> =
            self.receives.borrow().iter().filter_map(|(_, receiving)| receiving.get().state().flight).collect();
        for flight in flights.into_iter().chain(self.inbox.watch.get()) {
            runtime.scheduler.cancel(flight);
        }
        loop {
            self.inbox.woken.clear();
            while let Some(landed) = self.inbox.landed.borrow_mut().pop_front() {
                self.take(py, landed)?;
            }
            if self.receives.borrow().is_empty() && self.inbox.watch.get().is_none() {
                return Ok(());
            }
            self.inbox.woken.wait_until(None).map_err(|_| runtime.raise(py))?;
        }
    }
}

impl Reactor {
    fn any_has_come(&self) -> bool {
        !self.inbox.landed.borrow().is_empty() || !self.resumed.borrow().is_empty()
    }

    /// Puts a receive in flight.
    fn receive(&self, py: Python<'_>, receiving: &Bound<'_, Receiving>) -> PyResult<()> {
        if self.rests.get() {
            return Err(PyRuntimeError::new_err("the loop has stopped"));
        }
        let runtime = runtime(py)?;
        let key = self.receives.borrow_mut().insert(receiving.clone().unbind());
        let inbox = Rc::clone(&self.inbox);
        let socket = socket(receiving.get().descriptor);
        let many = match receiving.get().source {
            Source::Stream => Some(Op::RecvMultishot { socket }),
            #[cfg(unix)]
            Source::Pipe => Some(Op::ReadMultishot { file: socket }),
            Source::Datagrams | Source::Other => None,
        };
        // SAFETY: the transport ends what is in flight before it closes its descriptor (`Reactor::end`), and is kept until then.
        let started = unsafe {
            match many {
                Some(op) => runtime
                    .scheduler
                    .start_multishot(op, move |_, result, more| inbox.put(Landed { key, result, more })),
                None => runtime.scheduler.start(
                    (),
                    |()| Op::Poll { socket, interest: Interest::READABLE },
                    move |_, (), result| inbox.put(Landed { key, result, more: false }),
                ),
            }
        };
        receiving.get().state().flight = Some(started);
        Ok(())
    }

    /// Tells of what was kept, for as long as it is wanted.
    fn deliver_kept(&self, py: Python<'_>) -> PyResult<()> {
        for receiving in self.resumed.take() {
            let mut has_told = false;
            while let Some(bytes) = receiving.get().take_kept() {
                has_told = true;
                receiving.get().tell_bytes(py, &bytes)?;
            }
            // As asyncio, which reads once a turn.
            if has_told {
                receiving.get().tell_end_soon(py)?;
            } else {
                receiving.get().tell_end(py)?;
            }
        }
        Ok(())
    }

    /// A poll has ended: what is there is taken, where it is still wanted.
    fn take_poll(&self, receiving: &Bound<'_, Receiving>, result: &io::Result<Outcome>) -> PyResult<()> {
        let (py, this) = (receiving.py(), receiving.get());
        let is_wanted = || this.state().wanted && !self.rests.get();
        if is_wanted() && !matches!(result, Err(error) if is_cancelled(error)) {
            // An error of the poll's shows in the read.
            take_what_is_there(py, this)?;
        }
        let again = is_wanted() && this.state().flight.is_none();
        if again { self.receive(py, receiving) } else { Ok(()) }
    }

    fn take(&self, py: Python<'_>, landed: Landed) -> PyResult<()> {
        let Landed { key, result, more } = landed;
        let receiving = if more {
            self.receives.borrow()[key].clone_ref(py)
        } else {
            let receiving = self.receives.borrow_mut().remove(key);
            receiving.get().state().flight = None;
            receiving
        };
        let this = receiving.get();
        if matches!(this.source, Source::Datagrams | Source::Other) {
            return self.take_poll(receiving.bind(py), &result);
        }
        let end = match result {
            Ok(Outcome::Provided(Some(buffer))) if !buffer.is_empty() => {
                if self.rests.get() || !this.tell_bytes_at_once(py, &buffer)? {
                    this.state().unread.push_back(Came::Bytes(buffer.to_vec()));
                }
                None
            }
            Ok(_) => Some(Came::End),
            Err(error) if is_cancelled(&error) => None,
            Err(error) => Some(Came::Failed(error)),
        };
        let ended = end.is_some();
        if let Some(end) = end {
            this.state().unread.push_back(end);
            // With the next turn, so that the end does not come in one with the bytes before it: programs expect that what
            // they have begun for these has run by then.
            self.resumed.borrow_mut().push(receiving.clone_ref(py));
        }
        let again = !more && !ended && !self.rests.get() && {
            let state = this.state();
            state.wanted && state.flight.is_none()
        };
        if again { self.receive(py, receiving.bind(py)) } else { Ok(()) }
    }
}
