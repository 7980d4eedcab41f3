//! Bytes that have come and are in no frame yet.

use std::io;

use super::{Codec, FrameError};

/// How many bytes are asked for at once.
const PIECE: usize = 8 << 10;

/// Bytes of a stream, from which a codec takes frames.
#[derive(Default)]
pub(crate) struct Unread {
    /// From `start` to `end`. What lies behind is room for more.
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    /// So many of them had no whole frame when the codec was last asked.
    seen: usize,
}

impl Unread {
    pub(super) fn of(bytes: Vec<u8>) -> Unread {
        Unread { end: bytes.len(), bytes, start: 0, seen: 0 }
    }

    pub(super) fn into_bytes(mut self) -> Vec<u8> {
        self.bytes.truncate(self.end);
        self.bytes.drain(..self.start);
        self.bytes
    }

    /// Takes the bytes that are left, as they are.
    pub(crate) fn take_rest(&mut self) -> Vec<u8> {
        std::mem::take(self).into_bytes()
    }

    /// How many bytes there are.
    pub(super) fn len(&self) -> usize {
        self.end - self.start
    }

    /// The codec may decide anew about what is there.
    pub(super) fn forget_seen(&mut self) {
        self.seen = 0;
    }

    /// Takes the first frame; `None` where more bytes have to come.
    pub(crate) fn take<C: Codec>(&mut self, codec: &mut C) -> Result<Option<C::Frame>, FrameError> {
        let bytes = &self.bytes[self.start..self.end];
        let Some((frame, took)) = codec.decode(bytes, self.seen)? else {
            self.seen = bytes.len();
            return Ok(None);
        };
        self.start += took;
        self.seen = 0;
        Ok(Some(frame))
    }

    /// Takes the last frame, of bytes after which nothing comes and in which [`Unread::take`] has found none.
    pub(crate) fn take_last<C: Codec>(&mut self, codec: &mut C) -> Result<Option<C::Frame>, FrameError> {
        if self.len() == 0 {
            return Ok(None);
        }
        let frame = codec.decode_end(&self.bytes[self.start..self.end])?;
        self.start = self.end;
        self.seen = 0;
        Ok(Some(frame))
    }

    /// Room for a piece more.
    pub(super) fn room(&mut self) -> io::Result<&mut [u8]> {
        self.close_up();
        if self.bytes.len() - self.end < PIECE {
            // At most as much again as is there: a frame of some size is not read in many small pieces.
            let more = self.end.clamp(PIECE, 16 * PIECE);
            self.bytes.try_reserve(more).map_err(|_| io::ErrorKind::OutOfMemory)?;
            self.bytes.resize(self.end + more, 0);
        }
        Ok(&mut self.bytes[self.end..])
    }

    /// So many bytes have come into the room.
    pub(super) fn fill(&mut self, count: usize) {
        self.end += count;
    }

    /// Bytes have come.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.close_up();
        self.bytes.truncate(self.end);
        self.bytes.extend_from_slice(bytes);
        self.end = self.bytes.len();
    }

    fn close_up(&mut self) {
        if self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
    }
}
