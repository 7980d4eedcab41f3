//! What a buffer has at hand: the line, or the bytes, that a read asks for, and room for what is written.
//!
//! As with [text files](super::text): of some hundred calls one waits, and the others are done here, on the standard library's
//! own object, when nobody has the file's lock. Whatever is out of the ordinary is `None`, and the standard library's
//! method's, with the lock held. That method would also look for the file by name, to see whether it is closed, since a
//! subclass of `FileIO` might say so in its own way.
//!
//! The structure's fields are those of `Modules/_io/bufferedio.c`; [`is_as_said`] makes sure at import.

use std::ffi::{c_char, c_int};
use std::{ptr, slice};

use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyType};

use super::stdlib::file_descriptor;

/// An `_io.BufferedReader`, `_io.BufferedWriter` or `_io.BufferedRandom`.
#[repr(C)]
pub(super) struct BufferObject {
    head: PyObject,
    raw: *mut PyObject,
    /// Positive where it was initialised, and is not detached.
    ok: c_int,
    detached: c_int,
    readable: c_int,
    writable: c_int,
    others: (c_char, c_int),
    absolute_position: i64,
    /// Null where it is closed.
    buffer: *mut u8,
    position: i64,
    raw_position: i64,
    /// Where what was read ends; -1 where nothing was.
    read_end: i64,
    /// Where what is yet to be written begins and ends; -1 where nothing is.
    write_position: i64,
    write_end: i64,
    lock: [usize; 2],
    buffer_size: isize,
}

/// The class of ours of raw files, of which this knows whether they are open.
pub(super) struct Raw(pub(super) Py<PyType>);

impl Raw {
    /// Whether a buffer is open, over a raw file of this class.
    ///
    /// # Safety
    /// It is one of [`BufferObject`]'s, and the GIL is held.
    #[inline]
    pub(super) unsafe fn is_open(&self, object: *mut PyObject) -> bool {
        // SAFETY: the caller's promise; a buffer's raw file is an object or null.
        unsafe {
            let buffer = object.cast::<BufferObject>();
            let raw = (*buffer).raw;
            (*buffer).ok > 0
                && !(*buffer).buffer.is_null()
                && !raw.is_null()
                && ffi::Py_TYPE(raw).cast() == self.0.as_ptr()
                && file_descriptor(raw) >= 0
        }
    }
}

/// What was read and not yet handed out.
///
/// # Safety
/// The buffer is [open](Raw::is_open), the GIL is held, and nothing else is done with it while the slice is in use.
#[inline]
unsafe fn at_hand<'a>(buffer: *const BufferObject) -> &'a [u8] {
    // SAFETY: the caller's promise; the position and the end lie within the buffer, or the end is -1.
    unsafe {
        let (position, end) = ((*buffer).position, (*buffer).read_end);
        if (*buffer).readable == 0 || position < 0 || end <= position {
            return &[];
        }
        slice::from_raw_parts((*buffer).buffer.offset(position as isize), (end - position) as usize)
    }
}

/// Hands out `length` bytes of those at hand: a new reference, or null with an error set.
///
/// # Safety
/// As for [`at_hand`]; there are as many.
#[inline]
unsafe fn hand_out(buffer: *mut BufferObject, length: usize) -> *mut PyObject {
    // SAFETY: the caller's promise. Bytes are no garbage that is collected, so that nothing else runs meanwhile.
    unsafe {
        let bytes = ffi::PyBytes_FromStringAndSize(at_hand(buffer).as_ptr().cast(), length as isize);
        if !bytes.is_null() {
            (*buffer).position += length as i64;
        }
        bytes
    }
}

/// The next line, where it is at hand: a new reference, or null with an error set.
///
/// # Safety
/// `object` is one of [`BufferObject`]'s, whose lock is free; the GIL is held.
#[inline]
pub(super) unsafe fn line_at_hand(object: *mut PyObject, raw: &Raw) -> Option<*mut PyObject> {
    let buffer = object.cast::<BufferObject>();
    // SAFETY: the caller's promise.
    unsafe {
        if !raw.is_open(object) {
            return None;
        }
        let end = memchr::memchr(b'\n', at_hand(buffer))?;
        Some(hand_out(buffer, end + 1))
    }
}

/// As many bytes as `length` says, where they are at hand: a new reference, or null with an error set.
///
/// # Safety
/// As for [`line_at_hand`]; `length` is any object.
#[inline]
pub(super) unsafe fn bytes_at_hand(object: *mut PyObject, length: *mut PyObject, raw: &Raw) -> Option<*mut PyObject> {
    let buffer = object.cast::<BufferObject>();
    // SAFETY: the caller's promise.
    unsafe {
        if ffi::PyLong_CheckExact(length) == 0 || !raw.is_open(object) || (*buffer).readable == 0 {
            return None;
        }
        let length = ffi::PyLong_AsSsize_t(length);
        if length == -1 {
            // Too large a number, or all that there is.
            ffi::PyErr_Clear();
        }
        let length = usize::try_from(length).ok().filter(|length| *length <= at_hand(buffer).len())?;
        Some(hand_out(buffer, length))
    }
}

/// Keeps `bytes`, to be written when there is more, where something is kept already and there is room: returns their length, as
/// `write` does.
///
/// # Safety
/// As for [`line_at_hand`]; `bytes` is any object.
#[inline]
pub(super) unsafe fn keep(object: *mut PyObject, bytes: *mut PyObject, raw: &Raw) -> Option<*mut PyObject> {
    let buffer = object.cast::<BufferObject>();
    // SAFETY: the caller's promise; the bytes end within the buffer.
    unsafe {
        if ffi::PyBytes_CheckExact(bytes) == 0 || !raw.is_open(object) || (*buffer).readable != 0 {
            return None;
        }
        let length = ffi::PyBytes_Size(bytes);
        let (position, end) = ((*buffer).position, (*buffer).write_end);
        if end == -1 || (*buffer).write_position > position || length >= (*buffer).buffer_size - position as isize {
            return None;
        }
        let to = (*buffer).buffer.offset(position as isize);
        ptr::copy_nonoverlapping(ffi::PyBytes_AS_STRING(bytes).cast(), to, length as usize);
        (*buffer).position += length as i64;
        (*buffer).write_end = end.max((*buffer).position);
        Some(ffi::PyLong_FromSsize_t(length))
    }
}

/// Whether the structure is what it is taken for.
pub(super) fn is_as_said(py: Python<'_>) -> PyResult<bool> {
    let io = py.import("_io")?;
    let made = |class: &str, bytes: &[u8]| io.getattr(class)?.call1((io.getattr("BytesIO")?.call1((bytes,))?, 16));
    // SAFETY: these are buffers that were just made, whose pointers are objects, memory of theirs, or null.
    let inside = |buffer: &Bound<'_, PyAny>| unsafe { ptr::read(buffer.as_ptr().cast::<BufferObject>()) };

    let reader = made("BufferedReader", b"ab\ncde\n")?;
    reader.call_method0("readline")?;
    let after = inside(&reader);
    let mut as_said = after.raw == reader.getattr("raw")?.as_ptr()
        && (after.ok, after.detached, after.readable, after.writable) == (1, 0, 1, 0)
        && (after.position, after.read_end, after.buffer_size) == (3, 7, 16)
        // SAFETY: the buffer was read into, up to there.
        && unsafe { slice::from_raw_parts(after.buffer, 7) } == b"ab\ncde\n";

    let writer = made("BufferedWriter", b"")?;
    as_said &= inside(&writer).write_end == -1;
    writer.call_method1("write", (PyBytes::new(py, b"abc"),))?;
    let after = inside(&writer);
    as_said &= (after.ok, after.readable, after.writable) == (1, 0, 1)
        && (after.position, after.write_position, after.write_end, after.buffer_size) == (3, 0, 3, 16);
    let raw = writer.call_method0("detach")?;
    as_said &= inside(&writer).ok == 0 && !raw.is_none();
    Ok(as_said)
}
