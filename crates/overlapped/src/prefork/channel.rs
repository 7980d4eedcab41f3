//! The channel between a supervisor and a worker: messages, and the sockets that go along with some.
//!
//! The hand-off's channel gives sockets in one direction; here they go in both, with other messages between them.

use std::io;

use super::wire::{self, Message};
use crate::sync::Semaphore;
use crate::time::uncancellable;
use crate::workers::incoming::Incoming;
use crate::workers::sys::{self, BorrowedSocket, OwnedSocket, Stream};

/// How many connections may be on their way in one direction and not taken over yet. Those on their way count against
/// the user's limit of descriptors as well (unix(7), `ETOOMANYREFS`).
pub(super) const ON_THE_WAY: usize = 64;

/// What a peer should not have done.
pub(super) fn breach(what: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the rules of the channel are broken: {what}"))
}

/// The writing end.
pub(super) struct Sender {
    stream: Stream,
    /// A frame goes out as a whole, whoever else sends.
    turn: Semaphore,
}

impl Sender {
    pub(super) fn new(stream: Stream) -> Sender {
        Sender { stream, turn: Semaphore::new(1) }
    }

    pub(super) fn stream(&self) -> &Stream {
        &self.stream
    }

    /// What a message is to tell of the socket that goes along with it.
    pub(super) fn tell(&self, socket: BorrowedSocket<'_>) -> Vec<u8> {
        sys::tell(&self.stream, socket).to_vec()
    }

    /// Sends a message. Who is told to leave sends it all the same.
    pub(super) fn send(&self, message: &Message, socket: Option<BorrowedSocket<'_>>) -> io::Result<()> {
        let bytes = message.to_bytes()?;
        uncancellable(|| {
            let _turn = self.turn.acquire();
            sys::send(&self.stream, &bytes, socket)
        })
    }

    /// Lets a receive end with what has come.
    pub(super) fn cut(&self) {
        sys::cut(&self.stream);
    }
}

/// The reading end.
pub(super) struct Receiver(Incoming);

impl Default for Receiver {
    fn default() -> Receiver {
        Receiver(Incoming::new(ON_THE_WAY))
    }
}

impl Receiver {
    /// The next message, with what came along; `None` at the end. A socket that belongs to it and is not there was lost:
    /// this process had no descriptor left, or the other could not share it. Left early, what has come stays for the next
    /// call.
    ///
    /// # Errors
    /// `InvalidData` for what breaks the rules, `UnexpectedEof` for an end within a frame; what the system says.
    pub(super) fn receive(&mut self, stream: &Stream) -> io::Result<Option<(Message, Option<OwnedSocket>)>> {
        let Some(message) = self.0.receive(stream, wire::decode, breach)? else { return Ok(None) };
        let Some(told) = message.told() else { return Ok(Some((message, None))) };
        match sys::own(told, &mut self.0.sockets) {
            Some(socket) => Ok(Some((message, socket))),
            None => Err(breach(format!("{} came without its descriptor", message.name()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;

    fn some_socket() -> OwnedSocket {
        std::net::UdpSocket::bind("127.0.0.1:0").unwrap().into()
    }

    fn connection(told: Vec<u8>, number: u64, length: usize) -> Message {
        Message::Connection { number, listener: 0, told, unread: vec![7; length] }
    }

    #[test]
    fn each_message_has_its_own_socket_though_they_come_in_pieces() {
        crate::run(|| {
            let (ours, theirs) = Stream::pair().unwrap();
            let sender = Sender::new(ours);
            let writer = crate::spawn(move || {
                for number in 0..20 {
                    let socket = some_socket();
                    let socket = sys::borrow(&socket);
                    let message = connection(sender.tell(socket), number, number as usize * 10_000);
                    sender.send(&message, Some(socket)).unwrap();
                    sender.send(&Message::Taken { number }, None).unwrap();
                }
            });
            let mut receiver = Receiver::default();
            for number in 0..20 {
                let (message, socket) = receiver.receive(&theirs).unwrap().unwrap();
                let told = message.told().unwrap().to_vec();
                assert_eq!((message, socket.is_some()), (connection(told, number, number as usize * 10_000), true));
                let (message, socket) = receiver.receive(&theirs).unwrap().unwrap();
                assert_eq!((message, socket.is_some()), (Message::Taken { number }, false));
            }
            writer.join().unwrap();
            assert!(receiver.receive(&theirs).unwrap().is_none());
        });
    }

    #[cfg(unix)]
    #[test]
    fn a_descriptor_without_its_frame_and_a_frame_without_its_descriptor_break_the_rules() {
        crate::run(|| {
            for (message, with_socket, why) in [
                (connection(Vec::new(), 1, 0), false, "connection came without its descriptor"),
                (Message::Taken { number: 1 }, true, "belongs to no frame"),
            ] {
                let (ours, theirs) = Stream::pair().unwrap();
                let socket = some_socket();
                let sender = Sender::new(ours);
                sender.send(&message, with_socket.then(|| sys::borrow(&socket))).unwrap();
                drop(sender);
                let mut receiver = Receiver::default();
                let error = loop {
                    match receiver.receive(&theirs) {
                        Ok(Some(_)) => {}
                        Ok(None) => panic!("nothing was wrong, where {why}"),
                        Err(error) => break error,
                    }
                };
                assert_eq!(error.kind(), ErrorKind::InvalidData);
                assert!(error.to_string().contains(why), "{error}");
            }
        });
    }

    #[cfg(windows)]
    #[test]
    fn a_socket_that_could_not_be_shared_is_lost_and_what_follows_is_not() {
        crate::run(|| {
            let (ours, theirs) = Stream::pair().unwrap();
            let sender = Sender::new(ours);
            sender.send(&connection(vec![0; sys::TOLD], 1, 9), None).unwrap();
            let socket = some_socket();
            sender.send(&connection(sender.tell(sys::borrow(&socket)), 2, 0), None).unwrap();
            let mut receiver = Receiver::default();
            for is_there in [false, true] {
                let (_, socket) = receiver.receive(&theirs).unwrap().unwrap();
                assert_eq!(socket.is_some(), is_there);
            }
        });
    }

    #[test]
    fn an_end_within_a_frame_is_an_error() {
        crate::run(|| {
            let (ours, theirs) = Stream::pair().unwrap();
            sys::send(&ours, &Message::Ready.to_bytes().unwrap()[..4], None).unwrap();
            drop(ours);
            assert_eq!(Receiver::default().receive(&theirs).unwrap_err().kind(), ErrorKind::UnexpectedEof);
        });
    }
}
