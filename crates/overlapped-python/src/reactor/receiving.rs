//! One transport's side: whether it reads, what has come for it, and how its protocol is told.

use std::collections::VecDeque;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use overlapped::engine::Started;
use overlapped_port::Address;
use pyo3::exceptions::{PyKeyboardInterrupt, PyRuntimeError, PySystemExit};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyWeakrefReference};
use pyo3::{ffi, intern};

use super::stream_reader::StreamReader;
use crate::io::descriptor::SocketNumber;
use crate::python::buffer::View;
use crate::python::error::from_io;
use crate::python::slot::Slot;

/// What a receive brought, to be kept: the port has its buffer back.
pub(super) enum Came {
    Bytes(Vec<u8>),
    End,
    Failed(io::Error),
}

pub(super) fn is_cancelled(error: &io::Error) -> bool {
    error.raw_os_error() == Some(overlapped_port::sys::CANCELLED)
}

#[derive(Default)]
pub(super) struct State {
    /// None when it is closed.
    transport: Option<Py<PyAny>>,
    /// Whether the transport reads: else what comes is kept.
    pub(super) wanted: bool,
    /// The receive in flight.
    pub(super) flight: Option<Started>,
    /// Came while the transport did not read; or after such.
    pub(super) unread: VecDeque<Came>,
    /// In which what is told runs: that in which the transport began to read.
    pub(super) context: Option<Py<PyAny>>,
    /// Whether the protocol gives the buffer (`asyncio.BufferedProtocol`).
    buffered: bool,
    /// Where the protocol is that of one of asyncio's streams.
    reader: Option<StreamReader>,
    /// Who has sent the last datagram.
    pub(super) sender: Option<(Py<PyAny>, Address)>,
    /// Whether more than one datagram was there when it was last looked, and how often one was taken.
    pub(super) together: bool,
    pub(super) looks: u8,
}

/// What a transport reads from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A receive is in flight, whose bytes the protocol is told of.
    Stream,
    /// The same with a read.
    #[cfg(unix)]
    Pipe,
    Datagrams,
    /// The transport itself reads where something is there, or only wants to know that.
    Other,
}

/// What a transport receives. It keeps the transport, as asyncio's handle for its reader does.
#[pyclass(frozen, module = "overlapped")]
pub(crate) struct Receiving {
    #[pyo3(get)]
    pub(super) descriptor: SocketNumber,
    pub(super) source: Source,
    /// Where the transport has its protocol, if it has a slot for it.
    protocol: Option<Slot>,
    state: Mutex<State>,
}

impl Receiving {
    /// Never held while code of Python's runs.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn transport<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        self.state().transport.as_ref().map(|transport| transport.bind(py).clone())
    }
}

impl State {
    fn context(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.context.as_ref().map(|context| context.clone_ref(py))
    }

    /// None where the transport is closed.
    fn telling<'py>(&self, py: Python<'py>) -> Option<Telling<'py>> {
        let transport = self.transport.as_ref()?.bind(py).clone();
        let reader = self.reader.as_ref().map(|reader| reader.clone_ref(py));
        Some(Telling { transport, context: self.context(py), buffered: self.buffered, reader })
    }

    /// Whether the end is what comes next, and wanted.
    fn is_at_end(&self) -> bool {
        self.wanted && matches!(self.unread.front(), Some(Came::End | Came::Failed(_)))
    }
}

#[pymethods]
impl Receiving {
    /// `source` is `"stream"`, `"datagrams"`, `"pipe"`, or something else for a transport that reads by its `_read_ready`.
    #[new]
    fn new(transport: Bound<'_, PyAny>, descriptor: SocketNumber, source: &str) -> Receiving {
        let source = match source {
            "stream" => Source::Stream,
            "datagrams" => Source::Datagrams,
            #[cfg(unix)]
            "pipe" => Source::Pipe,
            _ => Source::Other,
        };
        let protocol = Slot::of(&transport.get_type(), "_protocol").ok();
        let state = State { transport: Some(transport.unbind()), ..State::default() };
        Receiving { descriptor, source, protocol, state: Mutex::new(state) }
    }

    /// Whether the protocol gives the buffer.
    #[getter]
    fn buffered(&self) -> bool {
        self.state().buffered
    }

    #[setter]
    fn set_buffered(&self, buffered: bool) {
        self.state().buffered = buffered;
    }

    /// Of a protocol of one of asyncio's streams: the weak reference to its reader, and twice that one's limit.
    #[setter]
    fn set_reader(&self, reader: Option<(Bound<'_, PyWeakrefReference>, usize)>) {
        let before = std::mem::replace(&mut self.state().reader, reader.map(StreamReader::new));
        drop(before);
    }

    /// Whether a receive is in flight: then the socket is to stay open.
    #[getter]
    pub(super) fn in_flight(&self) -> bool {
        self.state().flight.is_some()
    }

    /// Says that the transport reads from now on: its protocol is told in a copy of the current context.
    fn begin(&self, py: Python<'_>) -> PyResult<()> {
        // SAFETY: the GIL is held; a new reference, or null with an error set.
        let context = unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyContext_CopyCurrent())? };
        let before = {
            let mut state = self.state();
            state.wanted = true;
            state.context.replace(context.unbind())
        };
        drop(before);
        Ok(())
    }

    /// Says that it reads no more.
    fn end(&self) {
        self.state().wanted = false;
    }

    /// Tells the protocol of the end, or ends the transport with the error that came in its place.
    pub(super) fn tell_end(&self, py: Python<'_>) -> PyResult<()> {
        let end = {
            let mut state = self.state();
            if state.is_at_end() { state.unread.pop_front() } else { None }
        };
        let (Some(end), Some(transport)) = (end, self.transport(py)) else { return Ok(()) };
        let _inside = self.enter(py)?;
        match end {
            Came::Failed(error) => {
                let what = match self.source {
                    #[cfg(unix)]
                    Source::Pipe => intern!(py, "Fatal read error on pipe transport"),
                    _ => intern!(py, "Fatal read error on socket transport"),
                };
                fatal(py, &transport, from_io(error), what)
            }
            Came::End | Came::Bytes(_) => transport.call_method0(intern!(py, "_read_ready__on_eof")).map(drop),
        }
    }

    /// The transport is closed.
    fn forget(&self) {
        let objects = {
            let mut state = self.state();
            state.unread.clear();
            (state.transport.take(), state.context.take(), state.sender.take(), state.reader.take())
        };
        drop(objects);
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // Held by another thread only while that is inside of this module: then it is not garbage.
        if let Ok(state) = self.state.try_lock() {
            visit.call(&state.transport)?;
            visit.call(&state.context)?;
        }
        Ok(())
    }

    fn __clear__(&self) {
        self.forget();
    }
}

impl Receiving {
    /// Tells the protocol of bytes as they lie in the port's buffer.
    ///
    /// # Errors
    /// `SystemExit` and `KeyboardInterrupt`, as asyncio's transports; all else is the transport's own.
    pub(super) fn tell_bytes(&self, py: Python<'_>, bytes: &[u8]) -> PyResult<()> {
        let telling = self.state().telling(py);
        telling.map_or(Ok(()), |telling| self.tell(py, telling, bytes))
    }

    /// The same of bytes that have just come, where they are wanted and nothing comes before them; else false.
    pub(super) fn tell_bytes_at_once(&self, py: Python<'_>, bytes: &[u8]) -> PyResult<bool> {
        let telling = {
            let state = self.state();
            if !state.wanted || !state.unread.is_empty() {
                return Ok(false);
            }
            state.telling(py)
        };
        telling.map_or(Ok(()), |telling| self.tell(py, telling, bytes)).map(|()| true)
    }

    fn tell(&self, py: Python<'_>, telling: Telling<'_>, bytes: &[u8]) -> PyResult<()> {
        let _inside = Inside::enter(py, telling.context)?;
        if telling.buffered {
            self.fill(py, &telling.transport, bytes)
        } else {
            self.hand_over(py, &telling.transport, telling.reader.as_ref(), bytes)
        }
    }

    /// Gives the protocol a bytes object, or its `reader` the bytes.
    fn hand_over(
        &self,
        py: Python<'_>,
        transport: &Bound<'_, PyAny>,
        reader: Option<&StreamReader>,
        bytes: &[u8],
    ) -> PyResult<()> {
        let fed = reader.map_or(Ok(false), |reader| reader.feed(py, bytes));
        let told = fed.and_then(|is_fed| {
            if is_fed {
                return Ok(());
            }
            let protocol = self.protocol(transport)?;
            protocol.call_method1(intern!(py, "data_received"), (PyBytes::new(py, bytes),)).map(drop)
        });
        told.or_else(|error| match self.source {
            #[cfg(unix)]
            Source::Pipe => reader_failed(py, transport, error),
            _ => fatal(py, transport, error, intern!(py, "Fatal error: protocol.data_received() call failed.")),
        })
    }

    /// The transport's protocol, as it is now.
    pub(super) fn protocol<'py>(&self, transport: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = transport.py();
        let slot = self.protocol.and_then(|slot| {
            // SAFETY: a slot of the transport's class, and the GIL is held.
            unsafe { slot.taken(py, transport.as_ptr()) }
        });
        slot.map_or_else(|| transport.getattr(intern!(py, "_protocol")), Ok)
    }

    /// The address that the system knows who has sent the last datagram by, where it is that object.
    pub(super) fn address_of(&self, sender: &Bound<'_, PyAny>) -> Option<Address> {
        let state = self.state();
        let (object, address) = state.sender.as_ref()?;
        object.is(sender).then(|| address.clone())
    }

    /// The next bytes that were kept, where they are wanted.
    pub(super) fn take_kept(&self) -> Option<Vec<u8>> {
        let mut state = self.state();
        if !state.wanted {
            return None;
        }
        match state.unread.pop_front()? {
            Came::Bytes(bytes) => Some(bytes),
            end => {
                state.unread.push_front(end);
                None
            }
        }
    }

    /// Has the loop call [`Receiving::tell_end`] where the end is next.
    ///
    /// # Errors
    /// What `call_soon` raises.
    pub(super) fn tell_end_soon(&self, py: Python<'_>) -> PyResult<()> {
        if !self.state().is_at_end() {
            return Ok(());
        }
        let Some(transport) = self.transport(py) else { return Ok(()) };
        transport.call_method0(intern!(py, "_end_soon")).map(drop)
    }

    /// Copies the bytes to buffers of the protocol's, as many as it takes; what comes after a pause is kept.
    fn fill(&self, py: Python<'_>, transport: &Bound<'_, PyAny>, mut bytes: &[u8]) -> PyResult<()> {
        while !bytes.is_empty() {
            if !self.state().wanted {
                self.state().unread.push_front(Came::Bytes(bytes.to_vec()));
                break;
            }
            let protocol = self.protocol(transport)?;
            if !self.state().buffered {
                // It was replaced in between by one of the other kind.
                return self.hand_over(py, transport, None, bytes);
            }
            let count = match copy_to(py, &protocol, bytes) {
                Ok(count) => count,
                Err(error) => {
                    return fatal(py, transport, error, intern!(py, "Fatal error: protocol.get_buffer() call failed."));
                }
            };
            bytes = &bytes[count..];
            if let Err(error) = protocol.call_method1(intern!(py, "buffer_updated"), (count,)) {
                let what = intern!(py, "Fatal error: protocol.buffer_updated() call failed.");
                return fatal(py, transport, error, what);
            }
        }
        Ok(())
    }

    /// Goes to the context in which the transport began to read.
    pub(super) fn enter(&self, py: Python<'_>) -> PyResult<Inside> {
        let context = self.state().context(py);
        Inside::enter(py, context)
    }
}

/// Who is told of bytes, and how.
struct Telling<'py> {
    transport: Bound<'py, PyAny>,
    context: Option<Py<PyAny>>,
    buffered: bool,
    reader: Option<StreamReader>,
}

/// The context is left when this is dropped.
pub(super) struct Inside(Option<Py<PyAny>>);

impl Inside {
    fn enter(py: Python<'_>, context: Option<Py<PyAny>>) -> PyResult<Inside> {
        if let Some(context) = &context {
            // SAFETY: the GIL is held, and it is a context.
            if unsafe { ffi::PyContext_Enter(context.as_ptr()) } != 0 {
                return Err(PyErr::fetch(py));
            }
        }
        Ok(Inside(context))
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        if let Some(context) = &self.0 {
            // SAFETY: the GIL is held where one is made and dropped, and it was entered there.
            if unsafe { ffi::PyContext_Exit(context.as_ptr()) } != 0 {
                // SAFETY: an error is set, and the context is a live object.
                unsafe { ffi::PyErr_WriteUnraisable(context.as_ptr()) };
            }
        }
    }
}

/// Copies what fits to a buffer of the protocol's; returns how much.
fn copy_to(py: Python<'_>, protocol: &Bound<'_, PyAny>, bytes: &[u8]) -> PyResult<usize> {
    let buffer = protocol.call_method1(intern!(py, "get_buffer"), (-1,))?;
    if buffer.len()? == 0 {
        return Err(PyRuntimeError::new_err("get_buffer() returned an empty buffer"));
    }
    // SAFETY: a live object; the GIL is held here and at the drop.
    let Some(mut view) = (unsafe { View::new(buffer.as_ptr(), ffi::PyBUF_WRITABLE) }) else {
        return Err(PyErr::fetch(py));
    };
    let count = view.len().min(bytes.len());
    view.initialized()[..count].copy_from_slice(&bytes[..count]);
    Ok(count)
}

/// What went wrong ends the transport, by its own method; what is to end the program is raised.
pub(super) fn fatal(
    py: Python<'_>,
    transport: &Bound<'_, PyAny>,
    error: PyErr,
    what: &Bound<'_, pyo3::types::PyString>,
) -> PyResult<()> {
    if ends_program(py, &error) {
        return Err(error);
    }
    transport.call_method1(intern!(py, "_fail"), (error.into_value(py), what)).map(drop)
}

/// What a callback has raised that asyncio's transport would not have caught either goes to the exception handler, as where
/// its reader was called for a handle; what is to end the program is raised.
pub(super) fn reader_failed(py: Python<'_>, transport: &Bound<'_, PyAny>, error: PyErr) -> PyResult<()> {
    if ends_program(py, &error) {
        return Err(error);
    }
    transport.call_method1(intern!(py, "_reader_failed"), (error.into_value(py),)).map(drop)
}

fn ends_program(py: Python<'_>, error: &PyErr) -> bool {
    error.is_instance_of::<PySystemExit>(py) || error.is_instance_of::<PyKeyboardInterrupt>(py)
}
