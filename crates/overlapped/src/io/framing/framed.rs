//! A stream of frames.

use std::fmt;
use std::io::{self, Read, Write};

use super::Codec;
use super::unread::Unread;

/// A stream that is read and written in whole frames.
pub struct Framed<S, C> {
    stream: S,
    codec: C,
    /// What was read and is in no frame yet.
    unread: Unread,
    ended: bool,
    written: Vec<u8>,
}

impl<S, C> Framed<S, C> {
    /// Frames of `codec` on `stream`.
    pub fn new(stream: S, codec: C) -> Framed<S, C> {
        Framed::with_bytes(stream, codec, Vec::new())
    }

    /// The same, where some bytes of the stream were read already.
    pub fn with_bytes(stream: S, codec: C, bytes: Vec<u8>) -> Framed<S, C> {
        Framed { stream, codec, unread: Unread::of(bytes), ended: false, written: Vec::new() }
    }

    /// The stream.
    pub fn stream(&self) -> &S {
        &self.stream
    }

    /// The stream, to set its options: what is read from it here is missing in the frames.
    pub fn stream_mut(&mut self) -> &mut S {
        &mut self.stream
    }

    /// The codec, to change its limit.
    pub fn codec_mut(&mut self) -> &mut C {
        self.unread.forget_seen();
        &mut self.codec
    }

    /// The stream, and the bytes that were read from it and are in no frame yet.
    pub fn into_parts(self) -> (S, Vec<u8>) {
        (self.stream, self.unread.into_bytes())
    }
}

impl<S: Read, C: Codec> Framed<S, C> {
    /// Reads the next frame, waiting for the whole of it; `None` at the end of the stream.
    ///
    /// Left early (a time-out, a cancel), it loses nothing: call it again.
    ///
    /// # Errors
    /// The stream's; `InvalidData` where the bytes are no frame or one beyond the codec's limit, `UnexpectedEof` where the
    /// stream ends within one: a [`FrameError`](super::FrameError) is then the source. Such a stream is to be given up: the
    /// bytes stay, and so does the error.
    pub fn read_frame(&mut self) -> io::Result<Option<C::Frame>> {
        loop {
            if let Some(frame) = self.unread.take(&mut self.codec)? {
                return Ok(Some(frame));
            }
            if self.ended {
                return Ok(self.unread.take_last(&mut self.codec)?);
            }
            self.fill()?;
        }
    }

    /// Reads one piece more.
    fn fill(&mut self) -> io::Result<()> {
        let room = self.unread.room()?;
        let came = loop {
            match self.stream.read(room) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                came => break came?,
            }
        };
        self.unread.fill(came);
        self.ended = came == 0;
        Ok(())
    }
}

impl<S: Write, C: Codec> Framed<S, C> {
    /// Writes a frame, and waits until the stream has taken all of it.
    ///
    /// # Errors
    /// `InvalidData` where the codec cannot write it, nothing was written then; the stream's, where some of it may have
    /// been: the stream is to be given up.
    pub fn write_frame(&mut self, frame: &C::Written) -> io::Result<()> {
        self.written.clear();
        self.codec.encode(frame, &mut self.written)?;
        self.stream.write_all(&self.written)?;
        self.stream.flush()
    }
}

impl<S: fmt::Debug, C: fmt::Debug> fmt::Debug for Framed<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Framed")
            .field("stream", &self.stream)
            .field("codec", &self.codec)
            .field("read", &self.unread.len())
            .finish_non_exhaustive()
    }
}
