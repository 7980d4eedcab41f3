//! Errors of the system's with words about their likely cause. An `io::Error` has the system's number or words: so that the
//! number is not lost, the error itself is the source of the one with the words.

use std::error::Error;
use std::fmt;
use std::io;

#[derive(Debug)]
struct Explained {
    text: String,
    error: io::Error,
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for Explained {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.error)
    }
}

/// An error of the kind of `error`, in these words, whose source `error` is.
pub(crate) fn explained(error: io::Error, text: String) -> io::Error {
    io::Error::new(error.kind(), Explained { text, error })
}
