//! Netstrings: `12:hello world!,` (D. J. Bernstein, "Netstrings", 1997).

use super::codec::{Codec, DEFAULT_LIMIT, FrameError, check};

/// More digits than these no limit has.
const MOST_DIGITS: usize = 20;

/// Bytes after their number in decimal digits and a colon, and before a comma.
#[derive(Clone, Debug)]
pub struct Netstrings {
    limit: usize,
}

impl Netstrings {
    /// Frames of at most 1 MiB.
    pub fn new() -> Netstrings {
        Netstrings { limit: DEFAULT_LIMIT }
    }

    /// Allows frames of at most `bytes`.
    pub fn limit(mut self, bytes: usize) -> Netstrings {
        self.limit = bytes;
        self
    }
}

impl Default for Netstrings {
    fn default() -> Netstrings {
        Netstrings::new()
    }
}

impl Codec for Netstrings {
    type Frame = Vec<u8>;
    type Written = [u8];

    fn decode(&mut self, bytes: &[u8], _seen: usize) -> Result<Option<(Vec<u8>, usize)>, FrameError> {
        let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits > 1 && bytes[0] == b'0' {
            return Err(FrameError::Malformed("a netstring's length has a zero before it"));
        }
        let length = bytes[..digits.min(MOST_DIGITS)]
            .iter()
            .fold(0_u64, |length, digit| length.saturating_mul(10).saturating_add((digit - b'0').into()));
        // Also where its end has not come: the peer might send digits for ever.
        check(length, self.limit)?;
        match bytes.get(digits) {
            None => return Ok(None),
            Some(b':') if digits > 0 => {}
            Some(_) => return Err(FrameError::Malformed("a netstring begins with its length and a colon")),
        }
        let (start, end) = (digits + 1, digits + 1 + length as usize);
        match bytes.get(end) {
            None => Ok(None),
            Some(b',') => Ok(Some((bytes[start..end].to_vec(), end + 1))),
            Some(_) => Err(FrameError::Malformed("a netstring ends with a comma")),
        }
    }

    fn encode(&mut self, frame: &[u8], bytes: &mut Vec<u8>) -> Result<(), FrameError> {
        check(frame.len() as u64, self.limit)?;
        bytes.extend_from_slice(format!("{}:", frame.len()).as_bytes());
        bytes.extend_from_slice(frame);
        bytes.push(b',');
        Ok(())
    }
}
