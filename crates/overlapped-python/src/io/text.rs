//! The lines that a text file has at hand, and the writes that it keeps: what needs no wait.
//!
//! The standard library's text file reads and decodes 8 KiB at once and hands out lines of that; what is written it gathers, up
//! to as much. So of two hundred calls one waits. The others are done here, on the standard library's own object, when
//! nobody has the file's lock: they let nobody else run, so they need not take it. Whatever is out of the ordinary (no whole
//! line at hand, another line ending than `\n`, an encoding that is no superset of ASCII, a flush that is due) is `None`, and
//! the standard library's method's, with the lock held.
//!
//! It also looks at what that method looks at first, whether the file is closed, without two properties in between: on a
//! subclass the standard library finds the answer by name, which takes longer than the line. (Rejected: that method under a
//! cheaper lock. With no lock at all a line took 1.6 times what it takes in plain python, for that reason.)
//!
//! The structures' first fields have been the same in every CPython that this package is built for (`Modules/_io/textio.c`);
//! [`is_as_said`] makes sure at import.

use std::ffi::{c_char, c_int, c_void};
use std::ptr;
use std::sync::OnceLock;

use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString, PyType};

use super::buffered::Raw;

/// An `_io.TextIOWrapper`.
#[repr(C)]
struct TextObject {
    head: PyObject,
    ok: c_int,
    detached: c_int,
    chunk_size: isize,
    buffer: *mut PyObject,
    encoding: *mut PyObject,
    encoder: *mut PyObject,
    decoder: *mut PyObject,
    readnl: *mut PyObject,
    errors: *mut PyObject,
    /// What is written for `\n`; null for itself.
    writenl: *const c_char,
    line_buffering: c_char,
    write_through: c_char,
    readuniversal: c_char,
    /// Every line's end has become `\n` when it was decoded.
    readtranslate: c_char,
    writetranslate: c_char,
    seekable: c_char,
    has_read1: c_char,
    /// Whether `tell` is allowed: not while the file is iterated over.
    telling: c_char,
    finalizing: c_char,
    /// What encodes where the encoding is a known one.
    encodefunc: *const c_void,
    encoding_start_of_stream: c_char,
    /// What was decoded last, a string or null, and how much of it was read.
    decoded_chars: *mut PyObject,
    decoded_chars_used: isize,
    /// What is to be written: null, a bytes object, an ASCII string that need not be encoded, or a list of these; and its
    /// length in bytes.
    pending_bytes: *mut PyObject,
    pending_bytes_count: isize,
    snapshot: *mut PyObject,
}

/// The functions that leave ASCII as it is: of ASCII, Latin-1 and UTF-8, as addresses.
static LEAVE_ASCII: OnceLock<[usize; 3]> = OnceLock::new();

/// The classes of ours under a text file of which this knows whether it is open.
pub(super) struct Below {
    pub(super) raw: Raw,
    pub(super) buffers: [Py<PyType>; 3],
}

impl Below {
    /// Whether a text file is open, and what is under it of these classes.
    ///
    /// # Safety
    /// It is an `_io.TextIOWrapper`, and the GIL is held.
    #[inline]
    unsafe fn is_open(&self, text: *const TextObject) -> bool {
        // SAFETY: the buffer is an object or null.
        unsafe {
            let buffer = (*text).buffer;
            !buffer.is_null()
                && self.buffers.iter().any(|class| class.as_ptr() == ffi::Py_TYPE(buffer).cast())
                && self.raw.is_open(buffer)
        }
    }
}

/// The next line, where it is at hand: a new reference, or null with an error set.
///
/// # Safety
/// `object` is an initialised `_io.TextIOWrapper`, whose lock is free; the GIL is held.
#[inline]
pub(super) unsafe fn line_at_hand(object: *mut PyObject, below: &Below) -> Option<*mut PyObject> {
    let text = object.cast::<TextObject>();
    // SAFETY: the caller's promise. Strings are no garbage that is collected, so that nothing else runs meanwhile.
    unsafe {
        let (chars, used) = ((*text).decoded_chars, (*text).decoded_chars_used);
        if chars.is_null() || (*text).readtranslate == 0 || !(*text).pending_bytes.is_null() || !below.is_open(text) {
            return None;
        }
        let length = ffi::PyUnicode_GET_LENGTH(chars);
        let found = ffi::PyUnicode_FindChar(chars, '\n'.into(), used, length, 1);
        if found < used {
            return None;
        }
        let line = ffi::PyUnicode_Substring(chars, used, found + 1);
        if !line.is_null() {
            (*text).decoded_chars_used = found + 1;
        }
        Some(line)
    }
}

/// Iteration begins, or goes on: until it comes to its end, or the file is flushed, `tell` is refused.
///
/// # Safety
/// `object` is an `_io.TextIOWrapper`, and the GIL is held.
#[inline]
pub(super) unsafe fn iterates(object: *mut PyObject) {
    // SAFETY: the caller's promise.
    unsafe { (*object.cast::<TextObject>()).telling = 0 }
}

/// Iteration has come to its end: as the standard library's own does then.
///
/// # Safety
/// As for [`iterates`].
pub(super) unsafe fn iterated(object: *mut PyObject) {
    // SAFETY: the caller's promise; the snapshot is an object or null, and is not to be seen when it is let go.
    unsafe {
        let text = object.cast::<TextObject>();
        (*text).telling = (*text).seekable;
        ffi::Py_XDECREF(ptr::replace(&raw mut (*text).snapshot, ptr::null_mut()));
    }
}

/// Keeps `string`, to be written when there is more, where it can be kept as it is: returns its length, as `write` does.
///
/// # Safety
/// As for [`line_at_hand`]; `string` is any object.
#[inline]
pub(super) unsafe fn keep(object: *mut PyObject, string: *mut PyObject, below: &Below) -> Option<*mut PyObject> {
    let text = object.cast::<TextObject>();
    // SAFETY: the caller's promise.
    unsafe {
        if ffi::PyUnicode_CheckExact(string) == 0 || !is_ascii(string) {
            return None;
        }
        let length = ffi::PyUnicode_GET_LENGTH(string);
        let is_plain = (*text).writenl.is_null() || (*text).writetranslate == 0;
        let flushes = (*text).line_buffering != 0 || (*text).write_through != 0;
        let reads = !(*text).decoder.is_null() || !(*text).decoded_chars.is_null() || !(*text).snapshot.is_null();
        let encode = (*text).encodefunc as usize;
        let is_full = (*text).pending_bytes_count + length >= (*text).chunk_size;
        if !is_plain
            || flushes
            || reads
            || is_full
            || !LEAVE_ASCII.get()?.contains(&encode)
            || !below.is_open(text)
            || !add(text, string)
        {
            return None;
        }
        (*text).pending_bytes_count += length;
        Some(ffi::PyLong_FromSsize_t(length))
    }
}

/// Whether a string has ASCII alone.
///
/// # Safety
/// It is a string, and the GIL is held.
#[inline]
unsafe fn is_ascii(string: *mut PyObject) -> bool {
    // SAFETY: the caller's promise.
    #[cfg(not(Py_3_14))]
    return unsafe { ffi::PyUnicode_IS_ASCII(string) } != 0;
    // An ASCII string's characters stand right behind the smaller of the heads that strings have (PEP 393); the field that
    // says so has another place in each build since 3.14, and the macro that knows it is C's alone.
    // SAFETY: the same.
    #[cfg(Py_3_14)]
    return unsafe { ffi::PyUnicode_DATA(string) == string.cast::<ffi::PyASCIIObject>().add(1).cast() };
}

/// Adds to what is to be written; false where it is as it was.
///
/// # Safety
/// As for [`keep`].
#[inline]
unsafe fn add(text: *mut TextObject, string: *mut PyObject) -> bool {
    // SAFETY: the caller's promise; a list that was just made has room for two.
    unsafe {
        let first = (*text).pending_bytes;
        if first.is_null() {
            (*text).pending_bytes = ffi::Py_NewRef(string);
            return true;
        }
        if ffi::PyList_CheckExact(first) != 0 {
            if ffi::PyList_Append(first, string) == 0 {
                return true;
            }
        } else {
            let list = ffi::PyList_New(2);
            // A new list may have garbage collected, and a finalizer may have written, or waited while others did.
            if !list.is_null() && (*text).pending_bytes == first {
                ffi::PyList_SET_ITEM(list, 0, first);
                ffi::PyList_SET_ITEM(list, 1, ffi::Py_NewRef(string));
                (*text).pending_bytes = list;
                return true;
            }
            ffi::Py_XDECREF(list);
        }
        // The standard library's method tells what there is to tell.
        ffi::PyErr_Clear();
        false
    }
}

/// Whether the structures are what they are taken for; notes what leaves ASCII as it is.
pub(super) fn is_as_said(py: Python<'_>) -> PyResult<bool> {
    let io = py.import("_io")?;
    let file = |bytes: &[u8], encoding: &str, newline: Option<&str>, flushes: bool| -> PyResult<Bound<'_, PyAny>> {
        let options = PyDict::new(py);
        options.set_item("encoding", encoding)?;
        options.set_item("newline", newline)?;
        options.set_item("line_buffering", flushes)?;
        options.set_item("write_through", flushes)?;
        let memory = io.getattr("BytesIO")?.call1((bytes,))?;
        let buffer =
            io.getattr(if bytes.is_empty() { "BufferedWriter" } else { "BufferedReader" })?.call1((memory,))?;
        io.getattr("TextIOWrapper")?.call((buffer,), Some(&options))
    };
    // SAFETY: these are text files that were just made, whose pointers are objects or null.
    let inside = |file: &Bound<'_, PyAny>| unsafe { ptr::read(file.as_ptr().cast::<TextObject>()) };

    let read = file(b"ab\ncde\n", "utf-8", None, false)?;
    read.call_method0("readline")?;
    let (after, buffer) = (inside(&read), read.getattr("buffer")?);
    let mut as_said = after.chunk_size == read.getattr("_CHUNK_SIZE")?.extract::<isize>()?
        && after.buffer == buffer.as_ptr()
        && after.encoding == read.getattr("encoding")?.as_ptr()
        && (after.readuniversal, after.readtranslate, after.writetranslate) == (1, 1, 1)
        && (after.seekable, after.has_read1, after.telling) == (1, 1, 1)
        && after.encoder.is_null()
        && !after.decoder.is_null()
        && after.pending_bytes.is_null()
        && !after.snapshot.is_null()
        && !after.decoded_chars.is_null()
        && after.decoded_chars_used == 3;
    read.try_iter()?.next();
    as_said &= (inside(&read).seekable, inside(&read).telling) == (1, 0);
    let as_it_comes = inside(&file(b"a", "utf-8", Some(""), false)?);
    as_said &= (as_it_comes.readuniversal, as_it_comes.readtranslate, as_it_comes.writetranslate) == (1, 0, 0);
    let flushing = inside(&file(b"", "utf-8", Some("\r\n"), true)?);
    as_said &= (flushing.line_buffering, flushing.write_through) == (1, 1) && !flushing.writenl.is_null();

    let mut leave_ascii = [0; 3];
    for (encoding, function) in ["ascii", "latin-1", "utf-8"].iter().zip(&mut leave_ascii) {
        let written = file(b"", encoding, Some("\n"), false)?;
        let string = PyString::new(py, "as it is");
        written.call_method1("write", (&string,))?;
        let after = inside(&written);
        as_said &= (after.line_buffering, after.write_through) == (0, 0)
            && after.writenl.is_null()
            && after.decoder.is_null()
            && after.decoded_chars.is_null()
            && after.snapshot.is_null()
            && after.pending_bytes == string.as_ptr()
            && after.pending_bytes_count == 8
            && !after.encodefunc.is_null();
        *function = after.encodefunc as usize;
    }
    let other = inside(&file(b"", "utf-16", None, false)?).encodefunc as usize;
    as_said &= !leave_ascii.contains(&other);
    let _ = LEAVE_ASCII.set(leave_ascii);
    Ok(as_said)
}
