//! What comes for one of asyncio's streams goes to its reader without the four calls of Python's on the way there:
//! `StreamReaderProtocol.data_received`, `_stream_reader`, `StreamReader.feed_data`, `_wakeup_waiter`.
//!
//! Of a stream that was made by asyncio itself (`start_server`, `open_connection`) the classes are known, and what those do is
//! done here. Everything else about it stays theirs, and so does what they do seldom: a buffer over its limit, a reader after
//! its end. Of other protocols and readers, subclasses of these among them, nothing is known.

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyWeakrefReference};

/// The reader of a stream's protocol.
pub(super) struct StreamReader {
    reader: Py<PyWeakrefReference>,
    /// Where it has more bytes than that, it has the transport pause.
    limit: usize,
}

impl StreamReader {
    /// Of a reference to a `StreamReader`, as its protocol has it, and twice its limit.
    pub(super) fn new((reader, limit): (Bound<'_, PyWeakrefReference>, usize)) -> StreamReader {
        StreamReader { reader: reader.unbind(), limit }
    }

    pub(super) fn clone_ref(&self, py: Python<'_>) -> StreamReader {
        StreamReader { reader: self.reader.clone_ref(py), limit: self.limit }
    }

    /// Gives it bytes; false where its protocol is to be told.
    ///
    /// # Errors
    /// Those that `data_received` would raise.
    pub(super) fn feed(&self, py: Python<'_>, bytes: &[u8]) -> PyResult<bool> {
        let Some(reader) = self.reader.bind(py).upgrade() else { return Ok(false) };
        let buffer = reader.getattr(intern!(py, "_buffer"))?;
        let Ok(buffer) = buffer.cast_exact::<PyByteArray>() else { return Ok(false) };
        let (before, after) = (buffer.len(), buffer.len() + bytes.len());
        if after > self.limit || reader.getattr(intern!(py, "_eof"))?.is_truthy()? {
            return Ok(false);
        }
        buffer.resize(after)?;
        // SAFETY: the GIL is held, and no code of Python's runs in between that might touch the buffer.
        let room = unsafe { buffer.as_bytes_mut() };
        room[before..].copy_from_slice(bytes);
        let waiter = reader.getattr(intern!(py, "_waiter"))?;
        if !waiter.is_none() {
            reader.setattr(intern!(py, "_waiter"), py.None())?;
            if !waiter.call_method0(intern!(py, "cancelled"))?.is_truthy()? {
                waiter.call_method1(intern!(py, "set_result"), (py.None(),))?;
            }
        }
        Ok(true)
    }
}
