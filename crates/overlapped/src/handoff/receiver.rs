//! The reading end of a channel: bytes and descriptors to messages, each with its socket.

use std::collections::VecDeque;
use std::io;

use super::sys::{self, OwnedSocket, Received, Stream};
use super::wire::{self, Message};

/// What is read at once.
const ROOM: usize = 64 * 1024;

/// A message, and the socket that came with it.
#[derive(Debug)]
pub(super) enum Arrived {
    Message(Message),
    Given {
        number: u64,
        context: Vec<u8>,
        /// `None` where it was lost on its way: this process had no descriptor left.
        socket: Option<OwnedSocket>,
    },
}

/// Keeps what has come of a message that is not complete.
pub(super) struct Receiver {
    bytes: Vec<u8>,
    /// Which have come before the frames that they belong to were complete, in the frames' order; `None` for one that
    /// was lost. A receive ends after one that came (`unix_stream_read_generic` in Linux), so it loses one at most.
    sockets: VecDeque<Option<OwnedSocket>>,
    /// How many can come at once; a server takes none.
    most: usize,
}

impl Receiver {
    pub(super) fn of_server() -> Receiver {
        Receiver { bytes: Vec::new(), sockets: VecDeque::new(), most: 0 }
    }

    pub(super) fn of_worker() -> Receiver {
        Receiver { most: 64, ..Receiver::of_server() }
    }

    /// The next message; `None` at the end. Left early, what has come stays for the next call.
    ///
    /// # Errors
    /// `InvalidData` for what breaks the rules, `UnexpectedEof` for an end within a frame; what the system says.
    pub(super) fn receive(&mut self, stream: &Stream) -> io::Result<Option<Arrived>> {
        let mut room = Vec::new();
        loop {
            if let Some(arrived) = self.decoded()? {
                return Ok(Some(arrived));
            }
            room.resize(ROOM, 0);
            let received = sys::receive(stream, &mut room, self.most)?;
            if received.length == 0 {
                return if self.bytes.is_empty() { Ok(None) } else { Err(self.cut()) };
            }
            let length = received.length;
            self.came(&room[..length], received)?;
        }
    }

    fn cut(&self) -> io::Error {
        crate::io::framing::FrameError::Truncated { had: self.bytes.len() }.into()
    }

    fn came(&mut self, bytes: &[u8], received: Received) -> io::Result<()> {
        self.bytes.extend_from_slice(bytes);
        if self.most == 0 && received.lost {
            return Err(breach("a descriptor came from a worker, which has none to give".to_owned()));
        }
        self.sockets.extend(received.sockets.into_iter().map(Some));
        if received.lost {
            self.sockets.push_back(None);
        }
        Ok(())
    }

    fn decoded(&mut self) -> io::Result<Option<Arrived>> {
        let Some((message, taken)) = wire::decode(&self.bytes)? else {
            // The frame that has begun may have one.
            if self.sockets.len() > usize::from(!self.bytes.is_empty()) {
                return Err(breach("a descriptor came that belongs to no frame".to_owned()));
            }
            return Ok(None);
        };
        self.bytes.drain(..taken);
        let Message::Give { number, context } = message else { return Ok(Some(Arrived::Message(message))) };
        let Some(socket) = self.sockets.pop_front() else {
            return Err(breach(format!("number {number} came without its descriptor")));
        };
        Ok(Some(Arrived::Given { number, context, socket }))
    }
}

/// What a peer should not have done.
pub(super) fn breach(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the hand-off's rules are broken: {what}"))
}
