//! How a port is made: its sizes, and which backend it gets.

use std::io;

use crate::backend::{self, Kind, Settings};
use crate::port::Port;
use crate::sim::{self, Origin};
use crate::sys;

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
    settings: Settings,
}

impl Default for Config {
    fn default() -> Config {
        Config::new()
    }
}

impl Config {
    /// What [`Port::new`] uses.
    pub fn new() -> Config {
        Config { backend: None, settings: Settings::default() }
    }

    /// Takes this backend or none, instead of the best that works or the one that `OVERLAPPED_BACKEND` names (in a simulated
    /// world: [`Kind::Sim`]).
    pub fn backend(mut self, kind: Kind) -> Config {
        self.backend = Some(kind);
        self
    }

    /// How many completions fit into the queue that io_uring shares with the port, from 512 to 32768 (32768 unless told), at
    /// 16 bytes each. It is no limit to the operations in flight: there is none but memory. More completions than fit wait in
    /// the kernel, and are somewhat slower.
    pub fn capacity(mut self, completions: usize) -> Config {
        self.settings.capacity = completions.clamp(1, 1 << 15);
        self
    }

    /// How many provided buffers the port has, up to 32768, and the bytes in each. Unless told, they are 256 of 16 KiB; with
    /// io_uring up to 1024, of which those that were never needed cost no memory. A backend may round the number up to a power
    /// of two.
    pub fn buffers(mut self, count: u16, size: usize) -> Config {
        self.settings.buffers = Some(count.clamp(1, 1 << 15));
        self.settings.buffer_size = size.clamp(1, 1 << 20);
        self
    }

    /// How many blocking calls of a kind run at once (8 unless told): the port's own short ones, opens, and functions that
    /// take long ([`Lane`](crate::Lane)) share no threads. Short ones and opens that turn out to wait, such as that of a FIFO,
    /// make room for others, up to 256 threads.
    pub fn threads(mut self, most: usize) -> Config {
        self.settings.threads = most.max(1);
        self
    }

    /// How much stack the threads for blocking calls have, in bytes; unless told, that of a thread of the standard library.
    pub fn thread_stack(mut self, bytes: usize) -> Config {
        self.settings.thread_stack = Some(bytes);
        self
    }

    /// What [`Kind::Sim`] begins with: a seed, or the decisions of an earlier run. Unless told, `OVERLAPPED_SIM` says it.
    pub fn sim(mut self, origin: impl Into<Origin>) -> Config {
        self.settings.origin = Some(origin.into());
        self
    }

    /// Of how many receives and sends on streams [`Kind::Sim`] cuts one short (16 unless told; 0: none). A send of all is not
    /// cut, nor a receive that waits for all.
    pub fn short_transfers(mut self, once_in: u32) -> Config {
        self.settings.short_transfers = once_in;
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
            None if sim::is_simulated() => Some(Kind::Sim),
            None => kind_from_environment()?,
        };
        let _kept = sys::keep_standard_numbers();
        let kinds = named.as_ref().map_or(Kind::ALL, std::slice::from_ref);
        let mut refused = Vec::new();
        for kind in kinds {
            match backend::start(*kind, &self.settings) {
                Ok(backend) => return Ok(Port::with(backend, refused, &self.settings)),
                Err(error) if named.is_some() || kinds.last() == Some(kind) => return Err(error),
                Err(error) => refused.push(error.to_string()),
            }
        }
        unreachable!("Kind::ALL is not empty, and its last error is returned")
    }
}

impl Port {
    /// A port on the best backend that works here, or on the one that `OVERLAPPED_BACKEND` names.
    ///
    /// # Errors
    /// As for [`Config::start`].
    pub fn new() -> io::Result<Port> {
        Config::new().start()
    }
}

fn kind_from_environment() -> io::Result<Option<Kind>> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let Some(name) = set("OVERLAPPED_BACKEND") else {
        return Ok(set("OVERLAPPED_SIM").map(|_| Kind::Sim));
    };
    let named = || Kind::ALL.iter().copied().chain([Kind::Sim]);
    named().find(|kind| name.to_str() == Some(kind.name())).map(Some).ok_or_else(|| {
        let choices: Vec<&str> = named().map(Kind::name).collect();
        io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("OVERLAPPED_BACKEND={} is no backend here; use one of: {}", name.display(), choices.join(", ")),
        )
    })
}
