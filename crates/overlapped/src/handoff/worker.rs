//! A worker's side.

use std::fmt;
use std::io;
use std::rc::Rc;

use super::given::{Given, Sender};
use super::receiver::{Arrived, Receiver, breach};
use super::wire::{Message, VARIABLE, VERSIONS};
use crate::workers::sys;

/// The channel of a process that a [`Server`](super::Server) has started, in Rust or in Python.
///
/// Dropped, with all that it gave, its end tells the server that this worker wants nothing more.
pub struct Worker {
    receiver: Receiver,
    sender: Rc<Sender>,
    /// The server has said that nothing more comes.
    is_over: bool,
}

impl Worker {
    /// Takes the channel that this process has inherited, and agrees on the protocol's version with the server. Once:
    /// the descriptor is `/dev/null` after that.
    ///
    /// # Errors
    /// `NotFound` where this process was not started as a worker, or has called this before; `Unsupported` where the
    /// server does not speak this version, with its words; `UnexpectedEof` where it is gone.
    pub fn from_environment() -> io::Result<Worker> {
        let stream = sys::inherited(VARIABLE)?;
        let sender = Rc::new(Sender::new(stream));
        let mut worker = Worker { receiver: Receiver::of_worker(), sender, is_over: false };
        let (lowest, highest) = VERSIONS;
        worker.sender.send(&Message::Hello { lowest, highest, process: sys::process() })?;
        match worker.receiver.receive(worker.sender.stream())? {
            Some(Arrived::Message(Message::Welcome { version })) if (lowest..=highest).contains(&version) => Ok(worker),
            Some(Arrived::Message(Message::Refused { why })) => {
                Err(io::Error::new(io::ErrorKind::Unsupported, format!("the server refuses this worker: {why}")))
            }
            Some(Arrived::Message(message)) => Err(breach(format!("the first message is {}", message.name()))),
            Some(Arrived::Given { .. }) => Err(breach("the first message is give".to_owned())),
            None => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server was gone before it said welcome")),
        }
    }

    /// Waits for the next socket; `None` once the server gives no more: finish what is begun, and end.
    ///
    /// # Errors
    /// `InvalidData` where the server breaks the rules, after which nothing more comes; an error without a number of the
    /// system where a socket was lost on its way, most likely for this process had no descriptor left for it, and went
    /// back: the next call goes on.
    #[allow(clippy::should_implement_trait, reason = "it can fail and go on, which an iterator's users do not expect")]
    pub fn next(&mut self) -> io::Result<Option<Given>> {
        if self.is_over {
            return Ok(None);
        }
        match self.receiver.receive(self.sender.stream())? {
            None => Ok(None),
            Some(Arrived::Message(Message::End)) => {
                self.is_over = true;
                Ok(None)
            }
            Some(Arrived::Given { number, context, socket: Some(socket) }) => {
                Ok(Some(Given::new(number, context, socket, Rc::clone(&self.sender))))
            }
            Some(Arrived::Given { number, socket: None, .. }) => {
                self.sender.send(&Message::Back { number })?;
                Err(io::Error::other(
                    "a socket came and was lost, most likely for this process has no descriptor left: it goes back",
                ))
            }
            Some(Arrived::Message(message)) => Err(breach(format!("{} came from the server", message.name()))),
        }
    }
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Worker")
    }
}
