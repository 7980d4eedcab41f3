//! Beginning to open a file, on Unix.
//!
//! An open may wait: for a FIFO's other end, a device, a disk, a dead mount. So it is a thread's business, of which the pool
//! has more when they are stuck. (io_uring's own way would wait on a thread of the kernel's, of which it has as many for this
//! as for all file work: eight opens of FIFOs would stop all of it.) The thread has a path of its own, for it may still wait
//! for the other end of a FIFO when the operation was cancelled and is over.
//!
//! Most opens need not wait, and the way to a thread and back costs several times what they do. Linux can tell beforehand
//! ([`cached`]).

use super::Started;
use crate::sys::{self, OpenHow, SystemPath};

#[cfg(target_os = "linux")]
mod cached;

/// Opens the file at once where that cannot wait, else hands it to a thread.
pub(super) fn open(path: &SystemPath, how: OpenHow) -> Started {
    let (learns, reader) = match cached::open(path, how) {
        cached::Open::Done(result) => return Started::Done(result, None),
        cached::Open::MayWait { learns, reader } => (learns, reader),
    };
    let path = path.clone();
    Started::Open(Box::new(move |patience| {
        let _reader = reader;
        let file = sys::open(&path, how, patience)?;
        if learns {
            cached::learn(file);
        }
        Ok(file)
    }))
}

/// Elsewhere nothing tells.
#[cfg(not(target_os = "linux"))]
mod cached {
    use crate::sys::{OpenHow, OwnedFile, SystemPath};

    pub(super) enum Open {
        #[allow(dead_code, reason = "nothing says that it need not wait")]
        Done(std::io::Result<usize>),
        MayWait {
            learns: bool,
            reader: Option<OwnedFile>,
        },
    }

    pub(super) fn open(_: &SystemPath, _: OpenHow) -> Open {
        Open::MayWait { learns: false, reader: None }
    }

    pub(super) fn learn(_: usize) {}
}
