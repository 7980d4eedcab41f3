//! Frames after their length.

use super::codec::{Codec, DEFAULT_LIMIT, FrameError, check};

/// Bytes after their number, which is in network order (the highest byte first) unless told otherwise.
#[derive(Clone, Debug)]
pub struct LengthPrefixed {
    /// Of the prefix, in bytes.
    width: usize,
    little_endian: bool,
    limit: usize,
}

impl LengthPrefixed {
    fn of(width: usize) -> LengthPrefixed {
        LengthPrefixed { width, little_endian: false, limit: DEFAULT_LIMIT }
    }

    /// The length in one byte.
    pub fn u8() -> LengthPrefixed {
        LengthPrefixed::of(1)
    }

    /// The length in two bytes.
    pub fn u16() -> LengthPrefixed {
        LengthPrefixed::of(2)
    }

    /// The length in four bytes.
    pub fn u32() -> LengthPrefixed {
        LengthPrefixed::of(4)
    }

    /// The length in eight bytes.
    pub fn u64() -> LengthPrefixed {
        LengthPrefixed::of(8)
    }

    /// The lowest byte of the length first.
    pub fn little_endian(mut self) -> LengthPrefixed {
        self.little_endian = true;
        self
    }

    /// Allows frames of at most `bytes`, the length itself not counted: 1 MiB unless told.
    pub fn limit(mut self, bytes: usize) -> LengthPrefixed {
        self.limit = bytes;
        self
    }
}

impl Codec for LengthPrefixed {
    type Frame = Vec<u8>;
    type Written = [u8];

    fn decode(&mut self, bytes: &[u8], _seen: usize) -> Result<Option<(Vec<u8>, usize)>, FrameError> {
        let Some((prefix, rest)) = bytes.split_at_checked(self.width) else { return Ok(None) };
        let mut eight = [0; 8];
        let length = if self.little_endian {
            eight[..self.width].copy_from_slice(prefix);
            u64::from_le_bytes(eight)
        } else {
            eight[8 - self.width..].copy_from_slice(prefix);
            u64::from_be_bytes(eight)
        };
        check(length, self.limit)?;
        let length = length as usize;
        Ok(rest.get(..length).map(|frame| (frame.to_vec(), self.width + length)))
    }

    fn encode(&mut self, frame: &[u8], bytes: &mut Vec<u8>) -> Result<(), FrameError> {
        let length = frame.len() as u64;
        let most = u64::MAX >> (64 - 8 * self.width);
        check(length, self.limit.min(usize::try_from(most).unwrap_or(usize::MAX)))?;
        if self.little_endian {
            bytes.extend_from_slice(&length.to_le_bytes()[..self.width]);
        } else {
            bytes.extend_from_slice(&length.to_be_bytes()[8 - self.width..]);
        }
        bytes.extend_from_slice(frame);
        Ok(())
    }
}
