//! What a file is opened for.

use std::io;

/// What a file is opened for, in the words of [`std::fs::OpenOptions`]; `OpenHow::new` of [`sys`](crate::sys) turns it
/// into the system's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenMode {
    /// To read it.
    pub read: bool,
    /// To write it.
    pub write: bool,
    /// To write at its end, always.
    pub append: bool,
    /// Cuts it to no bytes first.
    pub truncate: bool,
    /// Makes it where it does not exist.
    pub create: bool,
    /// Makes it, and fails where it exists.
    pub create_new: bool,
}

impl OpenMode {
    /// Says no to what makes no sense, as the standard library does.
    ///
    /// # Errors
    /// `InvalidInput`, with the reason.
    pub fn check(&self) -> io::Result<()> {
        let writes = self.write || self.append;
        let complaint = if !self.read && !writes {
            "a file is opened to read, to write or to append: none of them was asked for"
        } else if !writes && (self.truncate || self.create || self.create_new) {
            "to make or to truncate a file, open it to write or to append"
        } else if self.append && self.truncate && !self.create_new {
            "a file is opened to append or to be truncated, not both"
        } else {
            return Ok(());
        };
        Err(io::Error::new(io::ErrorKind::InvalidInput, complaint))
    }
}

/// How long an open may wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// As long as it takes: until a FIFO's other end is opened.
    Endless,
    /// Not at all: it fails with `WouldBlock` where it might.
    None,
}
