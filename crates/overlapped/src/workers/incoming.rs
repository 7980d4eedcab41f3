//! The reading end of a framed channel: bytes to messages, and the sockets that come along.
//!
//! The hand-off and prefork have messages of their own, and this in common.

use std::collections::VecDeque;
use std::io;

use super::sys::{self, OwnedSocket, Stream};
use crate::io::framing::FrameError;

/// What is read at once.
const ROOM: usize = 64 * 1024;

/// Takes the first message in some bytes, with how many of them it took; `None` where more have to come.
pub(crate) type Decode<M> = fn(&[u8]) -> Result<Option<(M, usize)>, FrameError>;

/// Keeps what has come of a message that is not complete.
pub(crate) struct Incoming {
    bytes: Vec<u8>,
    /// Which have come before the frames that they belong to were complete, in the frames' order; `None` for one that
    /// was lost. A receive ends after one that came (`unix_stream_read_generic` in Linux), so it loses one at most.
    pub(crate) sockets: VecDeque<Option<OwnedSocket>>,
    /// How many can come at once.
    most: usize,
}

impl Incoming {
    pub(crate) fn new(most: usize) -> Incoming {
        Incoming { bytes: Vec::new(), sockets: VecDeque::new(), most }
    }

    /// The next message; `None` at the end. Left early, what has come stays for the next call. `breach` makes the error of
    /// what breaks the rules.
    ///
    /// # Errors
    /// That, `UnexpectedEof` for an end within a frame; what the system says.
    pub(crate) fn receive<M>(
        &mut self,
        stream: &Stream,
        decode: Decode<M>,
        breach: fn(&'static str) -> io::Error,
    ) -> io::Result<Option<M>> {
        let mut room = Vec::new();
        loop {
            if let Some((message, taken)) = decode(&self.bytes)? {
                self.bytes.drain(..taken);
                return Ok(Some(message));
            }
            // The frame that has begun may have one.
            if self.sockets.len() > usize::from(!self.bytes.is_empty()) {
                return Err(breach("a descriptor came that belongs to no frame"));
            }
            room.resize(ROOM, 0);
            let received = sys::receive(stream, &mut room, self.most)?;
            if received.length == 0 {
                let had = self.bytes.len();
                return if had == 0 { Ok(None) } else { Err(FrameError::Truncated { had }.into()) };
            }
            self.bytes.extend_from_slice(&room[..received.length]);
            if self.most == 0 && received.lost {
                return Err(breach("a descriptor came from a worker, which has none to give"));
            }
            self.sockets.extend(received.sockets.into_iter().map(Some));
            self.sockets.extend(received.lost.then_some(None));
        }
    }
}
