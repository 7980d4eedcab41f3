//! Buffers and text files on which each call is whole.
//!
//! The standard library's buffers belong to a thread while they wait; to another tasklet of the same thread that would be a
//! reentrant call, which they refuse. Its text files do not: two calls at once mix and lose what they hold. So ours are
//! subclasses whose methods hold the object's lock round the standard library's.
//!
//! A line takes 25 ns to be read, and a method in Python round it ten times as long. So these methods are native, find the
//! object's locks at a fixed place in it (a slot), and call the C function that is behind the standard library's method.
//! Iteration goes past the look-up of `readline` too, where nobody has made a subclass that might have its own. What a buffer or
//! a text file has at hand needs neither the lock nor that function: see [`buffered`] and [`text`].
//!
//! Rejected: no lock until a second tasklet is seen to use the file, for the first is then in the middle of a call that holds
//! none; to let iteration run in the standard library's own way, which is for its own classes alone.

use std::ffi::CString;
use std::ptr;
use std::sync::OnceLock;

use pyo3::exceptions::PySystemError;
use pyo3::ffi::{self, PyObject};
use pyo3::prelude::*;
use pyo3::type_object::PyTypeInfo;
use pyo3::types::{PyTuple, PyType};

use super::buffered::{self, Raw};
use super::file;
use super::text::{self, Below};
use crate::python::class::install;
use crate::sync::file_lock::FileLock;

/// The attribute, a slot of the class, in which an object has its locks.
const SLOT: &str = "_whole";

/// The locks of one buffer or text file.
#[pyclass(frozen, module = "overlapped._engine")]
pub(crate) struct Whole {
    writing: FileLock,
    /// Its own, where what is read and what is written are two streams; a file has one position.
    reading: Option<FileLock>,
}

#[pymethods]
impl Whole {
    #[new]
    #[pyo3(signature = (two_streams=false))]
    fn new(two_streams: bool) -> Whole {
        Whole { writing: FileLock::new(), reading: two_streams.then(FileLock::new) }
    }

    /// Takes the lock of what is written.
    fn __enter__(&self, py: Python<'_>) -> PyResult<()> {
        self.writing.take(py)
    }

    #[pyo3(signature = (*_error))]
    fn __exit__(&self, _error: Bound<'_, PyTuple>) {
        self.writing.give_back();
    }
}

/// The methods that are made whole: those that read first.
const NAMES: [&str; 15] = [
    "peek",
    "read",
    "read1",
    "readinto",
    "readinto1",
    "readline",
    "readlines",
    "close",
    "detach",
    "flush",
    "seek",
    "tell",
    "truncate",
    "write",
    "writelines",
];
const READS: usize = 7;
const READ: usize = 1;
const READLINE: usize = 5;
const WRITE: usize = 13;

/// The classes of the standard library that ours are made from.
const BASES: [&str; 5] = ["BufferedReader", "BufferedWriter", "BufferedRandom", "BufferedRWPair", "TextIOWrapper"];
const CLASSES: usize = BASES.len();
const PAIR: usize = 3;
const TEXT: usize = 4;

/// A method of the standard library's.
struct Base {
    how: How,
    object: Py<PyAny>,
}

/// The C function behind it, where it has a form that is called straight.
#[derive(Clone, Copy)]
enum How {
    Positional(ffi::PyCFunctionFast),
    Nothing(ffi::PyCFunction),
    One(ffi::PyCFunction),
    Otherwise,
}

/// A class of ours.
struct Class {
    itself: Py<PyType>,
    /// Where its objects have their locks, in bytes from their start.
    slot: usize,
    methods: [Option<Base>; NAMES.len()],
    next: Option<ffi::iternextfunc>,
    at_hand: Option<AtHand>,
}

/// What must be below an object whose calls may be done at once.
enum AtHand {
    Buffer(Raw),
    Text(Below),
}

static TABLE: [OnceLock<Class>; CLASSES] = [const { OnceLock::new() }; CLASSES];

/// Makes the methods of `class` whole that its base has, but for those that are to be left alone. `sample` is an object of the
/// base.
#[pyfunction]
#[pyo3(signature = (class, sample, leave=Vec::new()))]
pub(crate) fn install_whole(class: &Bound<'_, PyType>, sample: &Bound<'_, PyAny>, leave: Vec<String>) -> PyResult<()> {
    let (py, base) = (class.py(), sample.get_type());
    let slot = base.getattr("__basicsize__")?.extract()?;
    check_slot(class, slot)?;
    let mut methods = [const { None }; NAMES.len()];
    for (method, name) in methods.iter_mut().zip(NAMES) {
        if base.hasattr(name)? && !leave.iter().any(|left| left == name) {
            *method = Some(Base { how: how(&sample.getattr(name)?), object: base.getattr(name)?.unbind() });
        }
    }
    let name = base.name()?.extract::<String>()?;
    let number = BASES.iter().position(|base| *base == name);
    let number = number.ok_or_else(|| PySystemError::new_err(format!("{name} is no buffer and no text file")))?;
    let mut definitions = Vec::new();
    for (name, (method, function)) in methods.iter().zip(functions(number)).enumerate() {
        if let Some(method) = method {
            definitions.push(definition(py, NAMES[name], &method.object, function)?);
        }
    }
    install(class.as_any(), definitions)?;
    // SAFETY: a type's slots may be read, and those of a class that was just made set, before it has an object or a subclass.
    let next = unsafe {
        let (ours, theirs) = (class.as_type_ptr(), base.as_type_ptr());
        let next = (*theirs).tp_iternext;
        if next.is_some() && methods[READLINE].is_some() {
            (*ours).tp_iternext = Some(nexts(number));
        }
        next
    };
    let entry = Class { itself: class.clone().unbind(), slot, methods, next, at_hand: at_hand(py, number) };
    // Where the module is imported anew, all but the class is as it was; the new one iterates as a subclass does.
    let _ = TABLE[number].set(entry);
    Ok(())
}

/// Our classes below the one with this number, which are made before it.
fn at_hand(py: Python<'_>, number: usize) -> Option<AtHand> {
    let raw = Raw(file::class(py)?);
    match number {
        TEXT => {
            let [reader, writer, both, ..] =
                TABLE.each_ref().map(|class| class.get().map(|class| class.itself.clone_ref(py)));
            Some(AtHand::Text(Below { raw, buffers: [reader?, writer?, both?] }))
        }
        // A pair is two buffers.
        PAIR => None,
        _ => Some(AtHand::Buffer(raw)),
    }
}

/// Whether the slot of the class is where a subclass with one slot has it: after all that its base has.
fn check_slot(class: &Bound<'_, PyType>, slot: usize) -> PyResult<()> {
    let object = class.call_method1("__new__", (class,))?;
    let whole = Py::new(class.py(), Whole::new(false))?;
    object.setattr(SLOT, &whole)?;
    let size: usize = class.getattr("__basicsize__")?.extract()?;
    // SAFETY: the object has that size at least, and the place is aligned for a pointer.
    let found = size >= slot + size_of::<*mut PyObject>()
        && unsafe { *object.as_ptr().byte_add(slot).cast::<*mut PyObject>() } == whole.as_ptr();
    if found { Ok(()) } else { Err(PySystemError::new_err(format!("{class} has its slot elsewhere"))) }
}

/// How a bound method is called straight.
fn how(bound: &Bound<'_, PyAny>) -> How {
    // SAFETY: the object is looked at first; a function of these flags has the type that they say (C API reference, "Common
    // Object Structures").
    unsafe {
        if ffi::PyCFunction_Check(bound.as_ptr()) == 0 {
            return How::Otherwise;
        }
        let Some(function) = ffi::PyCFunction_GetFunction(bound.as_ptr()) else { return How::Otherwise };
        match ffi::PyCFunction_GetFlags(bound.as_ptr()) {
            ffi::METH_FASTCALL => {
                How::Positional(std::mem::transmute::<ffi::PyCFunction, ffi::PyCFunctionFast>(function))
            }
            ffi::METH_NOARGS => How::Nothing(function),
            ffi::METH_O => How::One(function),
            _ => How::Otherwise,
        }
    }
}

/// With the documentation of the method that it stands for.
fn definition(
    py: Python<'_>,
    name: &str,
    base: &Py<PyAny>,
    function: ffi::PyCFunctionFast,
) -> PyResult<ffi::PyMethodDef> {
    let text = |attribute| -> PyResult<String> {
        let value: Option<String> = base.getattr(py, attribute)?.extract(py)?;
        Ok(value.unwrap_or_default())
    };
    let doc = match text("__text_signature__")? {
        signature if signature.is_empty() => text("__doc__")?,
        signature => format!("{name}{signature}\n--\n\n{}", text("__doc__")?),
    };
    // The definitions live as long as the process.
    let leak = |text: &str| CString::new(text).map(|text| text.into_raw().cast_const());
    Ok(ffi::PyMethodDef {
        ml_name: leak(name)?,
        ml_meth: ffi::PyMethodDefPointer { PyCFunctionFast: function },
        ml_flags: ffi::METH_FASTCALL,
        ml_doc: leak(&doc)?,
    })
}

impl Base {
    /// Calls the standard library's method.
    ///
    /// # Safety
    /// The GIL is held; `slf` is an object of the class's, and there are `count` arguments.
    #[inline]
    unsafe fn call(&self, slf: *mut PyObject, args: *mut *mut PyObject, count: isize) -> *mut PyObject {
        // SAFETY: the caller's promise, and the flags that `how` has looked at.
        unsafe {
            match (self.how, count) {
                (How::Positional(function), _) => function(slf, args, count),
                (How::Nothing(function), 0) => function(slf, ptr::null_mut()),
                (How::One(function), 1) => function(slf, *args),
                _ => self.call_object(slf, args, count),
            }
        }
    }

    /// The same as Python does it.
    ///
    /// # Safety
    /// As for [`Base::call`].
    #[cold]
    #[inline(never)]
    unsafe fn call_object(&self, slf: *mut PyObject, args: *mut *mut PyObject, count: isize) -> *mut PyObject {
        let mut all = vec![slf];
        // SAFETY: the caller's promise; the vector lives through the call.
        unsafe {
            all.extend((0..count).map(|place| *args.offset(place)));
            ffi::PyObject_Vectorcall(self.object.as_ptr(), all.as_ptr(), all.len(), ptr::null_mut())
        }
    }
}

/// A method of the class `CLASS`, its base's with the object's lock held.
///
/// # Safety
/// Python calls it, as a method of that class.
unsafe extern "C" fn method<const CLASS: usize, const NAME: usize>(
    slf: *mut PyObject,
    args: *mut *mut PyObject,
    count: isize,
) -> *mut PyObject {
    let entry = TABLE[CLASS].get();
    let Some((class, base)) = entry.and_then(|class| Some((class, class.methods[NAME].as_ref()?))) else {
        return ptr::null_mut();
    };
    // SAFETY: called from Python, with an object of the class.
    unsafe {
        let py = Python::assume_attached();
        // Without locks it was not initialised: its base says so.
        let Some(whole) = class.whole(py, slf) else { return base.call(slf, args, count) };
        let whole = whole.get();
        let lock = whole.lock::<NAME>();
        if lock.is_free()
            && let Some(done) = class.at_once::<NAME>(slf, args, count)
        {
            return done;
        }
        if let Err(error) = lock.take(py) {
            error.restore(py);
            return ptr::null_mut();
        }
        let result = base.call(slf, args, count);
        lock.give_back();
        result
    }
}

/// The next line of an object of the class `CLASS`.
///
/// # Safety
/// Python calls it with an object of that class, or of a subclass.
unsafe extern "C" fn next<const CLASS: usize>(slf: *mut PyObject) -> *mut PyObject {
    let Some(class) = TABLE[CLASS].get() else { return ptr::null_mut() };
    // SAFETY: called from Python, with an object of the class.
    unsafe {
        let py = Python::assume_attached();
        if ffi::Py_TYPE(slf).cast() != class.itself.as_ptr() {
            // Its `readline` may be its own.
            return class.next.map_or(ptr::null_mut(), |next| next(slf));
        }
        if CLASS == TEXT {
            text::iterates(slf);
        }
        if let Some(whole) = class.whole(py, slf)
            && whole.get().lock::<READLINE>().is_free()
            && let Some(line) = class.at_once::<READLINE>(slf, ptr::null_mut(), 0)
        {
            return line;
        }
        let line = method::<CLASS, READLINE>(slf, ptr::null_mut(), 0);
        if line.is_null() || ffi::PyObject_Size(line) != 0 {
            return line;
        }
        if CLASS == TEXT {
            text::iterated(slf);
        }
        ffi::Py_DECREF(line);
        ptr::null_mut()
    }
}

impl Whole {
    /// The lock of the method with this number.
    #[inline]
    fn lock<const NAME: usize>(&self) -> &FileLock {
        self.reading.as_ref().filter(|_| NAME < READS).unwrap_or(&self.writing)
    }
}

impl Class {
    /// What a method returns, where that needs no wait: a new reference, or null with an error set.
    ///
    /// # Safety
    /// The GIL is held; `slf` is an object of this class whose lock is free, and there are `count` arguments.
    #[inline]
    unsafe fn at_once<const NAME: usize>(
        &self,
        slf: *mut PyObject,
        args: *mut *mut PyObject,
        count: isize,
    ) -> Option<*mut PyObject> {
        // SAFETY: the caller's promise. A subclass may have more to say on what is closed.
        unsafe {
            let at_hand = self.at_hand.as_ref().filter(|_| ffi::Py_TYPE(slf).cast() == self.itself.as_ptr())?;
            match (at_hand, NAME, count) {
                (AtHand::Buffer(raw), READLINE, 0) => buffered::line_at_hand(slf, raw),
                (AtHand::Buffer(raw), READ, 1) => buffered::bytes_at_hand(slf, *args, raw),
                (AtHand::Buffer(raw), WRITE, 1) => buffered::keep(slf, *args, raw),
                (AtHand::Text(below), READLINE, 0) => text::line_at_hand(slf, below),
                (AtHand::Text(below), WRITE, 1) => text::keep(slf, *args, below),
                _ => None,
            }
        }
    }

    /// The locks of an object, where it was initialised.
    ///
    /// # Safety
    /// It is an object of this class.
    #[inline]
    unsafe fn whole<'py>(&self, py: Python<'py>, object: *mut PyObject) -> Option<Bound<'py, Whole>> {
        // SAFETY: `check_slot` has found the slot there: it holds an object, or null. The program may have put another there.
        unsafe {
            let whole = *object.byte_add(self.slot).cast::<*mut PyObject>();
            if whole.is_null() || ffi::Py_TYPE(whole) != Whole::type_object_raw(py) {
                return None;
            }
            Some(Bound::from_borrowed_ptr(py, whole).cast_into_unchecked())
        }
    }
}

macro_rules! of_every_name {
    ($class:literal) => {
        [
            method::<$class, 0>,
            method::<$class, 1>,
            method::<$class, 2>,
            method::<$class, 3>,
            method::<$class, 4>,
            method::<$class, 5>,
            method::<$class, 6>,
            method::<$class, 7>,
            method::<$class, 8>,
            method::<$class, 9>,
            method::<$class, 10>,
            method::<$class, 11>,
            method::<$class, 12>,
            method::<$class, 13>,
            method::<$class, 14>,
        ]
    };
}

/// The methods of the class with this number.
fn functions(class: usize) -> [ffi::PyCFunctionFast; NAMES.len()] {
    let all: [[ffi::PyCFunctionFast; NAMES.len()]; CLASSES] =
        [of_every_name!(0), of_every_name!(1), of_every_name!(2), of_every_name!(3), of_every_name!(4)];
    all[class]
}

/// What iterates over objects of the class with this number.
fn nexts(class: usize) -> ffi::iternextfunc {
    let all: [ffi::iternextfunc; CLASSES] = [next::<0>, next::<1>, next::<2>, next::<3>, next::<4>];
    all[class]
}
