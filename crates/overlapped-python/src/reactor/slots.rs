//! The slots of the classes of our transports: what each receive and each write looks at.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use crate::python::slot::{Slot, unknown};

/// A class's slots by their names there; each class is told of once, when the module is imported.
macro_rules! slots {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $attribute:literal),* $(,)? }) => {
        $(#[$doc])*
        pub(super) struct $name {
            $(pub(super) $field: Slot,)*
        }

        impl $name {
            fn place() -> &'static PyOnceLock<$name> {
                static FOUND: PyOnceLock<$name> = PyOnceLock::new();
                &FOUND
            }

            /// Finds out where they lie.
            pub(super) fn load(class: &Bound<'_, PyAny>) -> PyResult<()> {
                let found = $name { $($field: Slot::of(class, $attribute)?,)* };
                let _ = $name::place().set(class.py(), found);
                Ok(())
            }

            /// What was found; there is no transport before.
            pub(super) fn known(py: Python<'_>) -> PyResult<&$name> {
                $name::place().get(py).ok_or_else(|| unknown(stringify!($name)))
            }
        }
    };
}

slots!(
    /// Of the transports of streams.
    Stream {
        buffer: "_buffer",
        eof: "_eof",
        lost: "_conn_lost",
        empty_waiter: "_empty_waiter",
        descriptor: "_sock_fd",
    }
);

slots!(
    /// Of those of datagrams.
    Datagrams {
        buffer: "_buffer",
        lost: "_conn_lost",
        address: "_address",
        extra: "_extra",
        receiving: "_receiving",
    }
);

#[cfg(unix)]
slots!(
    /// Of those that write to pipes.
    WritePipe { buffer: "_buffer", closing: "_closing", lost: "_conn_lost", descriptor: "_fileno" }
);
