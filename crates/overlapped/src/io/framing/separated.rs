//! Frames that end with a separator.

use super::codec::{Codec, DEFAULT_LIMIT, FrameError, check};

/// Bytes up to a separator, such as a NUL or `\r\n\r\n`, which cannot be in them.
#[derive(Clone, Debug)]
pub struct Separated {
    separator: Vec<u8>,
    limit: usize,
}

impl Separated {
    /// Frames between which `separator` stands, of at most 1 MiB.
    ///
    /// # Panics
    /// Where the separator is empty.
    pub fn by(separator: impl Into<Vec<u8>>) -> Separated {
        let separator = separator.into();
        assert!(!separator.is_empty(), "overlapped: frames cannot be separated by nothing");
        Separated { separator, limit: DEFAULT_LIMIT }
    }

    /// Allows frames of at most `bytes`, the separator not counted.
    pub fn limit(mut self, bytes: usize) -> Separated {
        self.limit = bytes;
        self
    }

    /// Where the first separator begins.
    fn find(&self, bytes: &[u8], seen: usize) -> Option<usize> {
        // It may have begun in what was seen.
        let from = seen.saturating_sub(self.separator.len() - 1);
        bytes[from..].windows(self.separator.len()).position(|window| window == self.separator).map(|at| from + at)
    }
}

impl Codec for Separated {
    type Frame = Vec<u8>;
    type Written = [u8];

    fn decode(&mut self, bytes: &[u8], seen: usize) -> Result<Option<(Vec<u8>, usize)>, FrameError> {
        let Some(at) = self.find(bytes, seen) else {
            // The last bytes may be a part of the separator.
            check(bytes.len().saturating_sub(self.separator.len() - 1) as u64, self.limit)?;
            return Ok(None);
        };
        check(at as u64, self.limit)?;
        Ok(Some((bytes[..at].to_vec(), at + self.separator.len())))
    }

    fn encode(&mut self, frame: &[u8], bytes: &mut Vec<u8>) -> Result<(), FrameError> {
        check(frame.len() as u64, self.limit)?;
        let before = bytes.len();
        bytes.extend_from_slice(frame);
        bytes.extend_from_slice(&self.separator);
        // It must be read as it is: the first separator is the one that was added.
        if self.find(&bytes[before..], 0) != Some(frame.len()) {
            bytes.truncate(before);
            return Err(FrameError::Malformed("the separator is in the frame"));
        }
        Ok(())
    }
}

/// Lines of text in UTF-8, without their ends: `\n` or `\r\n` when read, `\n` when written. The last line of a stream may
/// lack its end.
#[derive(Clone, Debug)]
pub struct Lines {
    limit: usize,
}

impl Lines {
    /// Lines of at most 1 MiB.
    pub fn new() -> Lines {
        Lines { limit: DEFAULT_LIMIT }
    }

    /// Allows lines of at most `bytes`, the end not counted.
    pub fn limit(mut self, bytes: usize) -> Lines {
        self.limit = bytes;
        self
    }

    fn line(&self, bytes: &[u8]) -> Result<String, FrameError> {
        let line = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        check(line.len() as u64, self.limit)?;
        match std::str::from_utf8(line) {
            Ok(line) => Ok(line.to_owned()),
            Err(_) => Err(FrameError::Malformed("a line that is not UTF-8")),
        }
    }
}

impl Default for Lines {
    fn default() -> Lines {
        Lines::new()
    }
}

impl Codec for Lines {
    type Frame = String;
    type Written = str;

    fn decode(&mut self, bytes: &[u8], seen: usize) -> Result<Option<(String, usize)>, FrameError> {
        match bytes[seen..].iter().position(|byte| *byte == b'\n') {
            Some(at) => Ok(Some((self.line(&bytes[..seen + at])?, seen + at + 1))),
            None => {
                let length = bytes.strip_suffix(b"\r").unwrap_or(bytes).len();
                check(length as u64, self.limit)?;
                Ok(None)
            }
        }
    }

    fn decode_end(&mut self, bytes: &[u8]) -> Result<String, FrameError> {
        self.line(bytes)
    }

    fn encode(&mut self, line: &str, bytes: &mut Vec<u8>) -> Result<(), FrameError> {
        check(line.len() as u64, self.limit)?;
        if line.contains('\n') || line.ends_with('\r') {
            return Err(FrameError::Malformed("a line's end is in the line"));
        }
        bytes.extend_from_slice(line.as_bytes());
        bytes.push(b'\n');
        Ok(())
    }
}
