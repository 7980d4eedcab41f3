//! How a port is made: its sizes, and which backend it gets.

use std::io;

use crate::backend::{self, Kind, Settings};
use crate::port::Port;

/// How to make a [`Port`].
///
/// ```
/// use overlapped_port::{Config, Kind};
/// let plainest = *Kind::ALL.last().unwrap();
/// let port = Config::new().backend(plainest).start()?;
/// assert_eq!(port.report().backend, plainest.name());
/// # std::io::Result::Ok(())
/// ```
#[derive(Clone, Debug)]
pub struct Config {
    backend: Option<Kind>,
    pub(crate) settings: Settings,
    pub(crate) threads: usize,
}

impl Default for Config {
    fn default() -> Config {
        Config::new()
    }
}

impl Config {
    /// What [`Port::new`] uses.
    pub fn new() -> Config {
        Config {
            backend: None,
            settings: Settings { capacity: 1 << 15, buffers: 256, buffer_size: 16 << 10 },
            threads: 8,
        }
    }

    /// Takes this backend or none, instead of the best that works or the one that `OVERLAPPED_BACKEND` names.
    pub fn backend(mut self, kind: Kind) -> Config {
        self.backend = Some(kind);
        self
    }

    /// The most operations in flight at once, from 8 to 32768 (32768 unless told). More are held back, in order,
    /// until one has ended: so where all are receives on idle sockets, a send waits with them. Choose more than what may
    /// idle. What never waits, a close or a shutdown, goes ahead, unless an operation on the same handle is held back.
    pub fn capacity(mut self, operations: usize) -> Config {
        self.settings.capacity = operations.clamp(8, 1 << 15);
        self
    }

    /// How many provided buffers the port has, up to 32768, and the bytes in each (256 of 16 KiB unless told).
    /// A backend may round the number up to a power of two.
    pub fn buffers(mut self, count: u16, size: usize) -> Config {
        self.settings.buffers = count.clamp(1, 1 << 15);
        self.settings.buffer_size = size.clamp(1, 1 << 20);
        self
    }

    /// The most threads for blocking calls (8 unless told).
    pub fn threads(mut self, most: usize) -> Config {
        self.threads = most.max(1);
        self
    }

    /// Makes the port.
    ///
    /// # Errors
    /// Where a backend was named (here or in `OVERLAPPED_BACKEND`): the reason for which it does not start, or
    /// `InvalidInput` for a name that is none. Else only where no backend starts: the system is out of descriptors
    /// or memory. The words tell the likely cause; the system's own error, with its number, is their
    /// [`source`](std::error::Error::source).
    pub fn start(self) -> io::Result<Port> {
        let named = match self.backend {
            Some(kind) => Some(kind),
            None => kind_from_environment()?,
        };
        let kinds = named.as_ref().map_or(Kind::ALL, std::slice::from_ref);
        let mut refused = Vec::new();
        for kind in kinds {
            match backend::start(*kind, &self.settings) {
                Ok(backend) => return Ok(Port::with(backend, refused, &self)),
                Err(error) if named.is_some() || kinds.last() == Some(kind) => return Err(error),
                Err(error) => refused.push(error.to_string()),
            }
        }
        unreachable!("Kind::ALL is not empty, and its last error is returned")
    }
}

fn kind_from_environment() -> io::Result<Option<Kind>> {
    let Some(name) = std::env::var_os("OVERLAPPED_BACKEND").filter(|name| !name.is_empty()) else {
        return Ok(None);
    };
    let known = Kind::ALL.iter().find(|kind| name.to_str() == Some(kind.name()));
    known.copied().map(Some).ok_or_else(|| {
        let choices: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("OVERLAPPED_BACKEND={} is no backend here; use one of: {}", name.display(), choices.join(", ")),
        )
    })
}
