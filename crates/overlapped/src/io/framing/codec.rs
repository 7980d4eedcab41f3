//! What a codec is.

use std::fmt;
use std::io;

/// The most bytes in a frame unless its codec was told otherwise: 1 MiB.
pub const DEFAULT_LIMIT: usize = 1 << 20;

/// Where a frame ends, and how one is written.
pub trait Codec {
    /// What is read.
    type Frame;
    /// What is written, where it may be borrowed.
    type Written: ?Sized;

    /// Takes the first frame in `bytes`, with how many of them it took; `None` where more have to come. `seen` of the
    /// bytes were there when this was last asked, and it said `None`.
    ///
    /// # Errors
    /// Where no frame of this codec can begin like this: what follows is lost too.
    fn decode(&mut self, bytes: &[u8], seen: usize) -> Result<Option<(Self::Frame, usize)>, FrameError>;

    /// Takes the last frame, of bytes after which nothing comes, in which [`Codec::decode`] has found none.
    ///
    /// # Errors
    /// [`FrameError::Truncated`], unless the codec says otherwise.
    fn decode_end(&mut self, bytes: &[u8]) -> Result<Self::Frame, FrameError> {
        Err(FrameError::Truncated { had: bytes.len() })
    }

    /// Appends a frame to `bytes`.
    ///
    /// # Errors
    /// Where it cannot be written so that it is read as it is; nothing is appended then.
    fn encode(&mut self, frame: &Self::Written, bytes: &mut Vec<u8>) -> Result<(), FrameError>;
}

/// Why bytes are no frame, or a frame cannot be written.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FrameError {
    /// It is longer than the codec's limit.
    TooLong {
        /// How many bytes it has, or has at least.
        length: u64,
        /// How many are allowed.
        limit: usize,
    },
    /// The stream ended within a frame.
    Truncated {
        /// So many bytes of it had come.
        had: usize,
    },
    /// It breaks the codec's rules.
    Malformed(&'static str),
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameError::TooLong { length, limit } => {
                write!(f, "a frame of {length} bytes or more, where {limit} are allowed")
            }
            FrameError::Truncated { had } => {
                write!(f, "the stream ended within a frame, {had} bytes after its beginning")
            }
            FrameError::Malformed(why) => write!(f, "no frame: {why}"),
        }
    }
}

impl std::error::Error for FrameError {}

impl From<FrameError> for io::Error {
    /// `UnexpectedEof` for a frame that was cut, else `InvalidData`; the error is its source.
    fn from(error: FrameError) -> io::Error {
        let kind = match error {
            FrameError::Truncated { .. } => io::ErrorKind::UnexpectedEof,
            _ => io::ErrorKind::InvalidData,
        };
        io::Error::new(kind, error)
    }
}

/// Whether a frame of so many bytes is within the limit.
pub(super) fn check(length: u64, limit: usize) -> Result<(), FrameError> {
    if length > limit as u64 { Err(FrameError::TooLong { length, limit }) } else { Ok(()) }
}
