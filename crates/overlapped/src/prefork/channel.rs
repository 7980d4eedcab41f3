//! The channel between a supervisor and a worker: messages, and the sockets that go along with some.
//!
//! The hand-off's channel gives sockets in one direction; here they go in both, with other messages between them.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::wire::{self, Message, VARIABLE};
use crate::handoff::incoming::Incoming;
use crate::handoff::sys::{put_nothing_at, unix_stream};
use crate::net::{Shutdown, UnixStream};
use crate::sync::Semaphore;
use crate::time::uncancellable;

/// How many connections may be on their way in one direction and not taken over yet. Those on their way count against
/// the user's limit of descriptors as well (unix(7), `ETOOMANYREFS`).
pub(super) const ON_THE_WAY: usize = 64;

/// A worker's end of its channel, taken from the environment.
pub(super) fn inherited() -> io::Result<UnixStream> {
    match std::env::var(VARIABLE) {
        Ok(number) if number == "0" => {}
        Ok(number) => return Err(no_worker(format!("{VARIABLE} is {number:?}, and no 0"))),
        Err(_) => return Err(no_worker(format!("{VARIABLE} is not set"))),
    }
    let channel = io::stdin().as_fd().try_clone_to_owned().map_err(|error| no_worker(error.to_string()))?;
    let channel =
        unix_stream(channel).ok_or_else(|| no_worker("its standard input is no Unix stream socket".to_owned()))?;
    put_nothing_at(0)?;
    Ok(channel)
}

fn no_worker(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("this process was not started as a worker: {why}"))
}

/// What a peer should not have done.
pub(super) fn breach(what: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the rules of the channel are broken: {what}"))
}

/// The writing end.
pub(super) struct Sender {
    stream: UnixStream,
    /// A frame goes out as a whole, whoever else sends.
    turn: Semaphore,
}

impl Sender {
    pub(super) fn new(stream: UnixStream) -> Sender {
        Sender { stream, turn: Semaphore::new(1) }
    }

    pub(super) fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// Sends a message. Who is told to leave sends it all the same; where that is not to be had, half a frame is the end
    /// of the channel.
    pub(super) fn send(&self, message: &Message, socket: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let bytes = message.to_bytes()?;
        uncancellable(|| {
            let _turn = self.turn.acquire();
            let mut sent = 0;
            while sent < bytes.len() {
                let along = if sent == 0 { socket.as_slice() } else { &[] };
                match self.stream.send_with_fds(&bytes[sent..], along) {
                    Ok(more) => sent += more,
                    Err(error) => {
                        if sent > 0 {
                            self.cut();
                        }
                        return Err(error);
                    }
                }
            }
            Ok(())
        })
    }

    /// Lets a receive end with what has come.
    pub(super) fn cut(&self) {
        // One whose other side is gone has ended anyway.
        let _ = self.stream.shutdown(Shutdown::Both);
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
    /// this process had no descriptor left. Left early, what has come stays for the next call.
    ///
    /// # Errors
    /// `InvalidData` for what breaks the rules, `UnexpectedEof` for an end within a frame; what the system says.
    pub(super) fn receive(&mut self, stream: &UnixStream) -> io::Result<Option<(Message, Option<OwnedFd>)>> {
        let Some(message) = self.0.receive(stream, wire::decode, breach)? else { return Ok(None) };
        if !message.has_socket() {
            return Ok(Some((message, None)));
        }
        match self.0.sockets.pop_front() {
            Some(socket) => Ok(Some((message, socket))),
            None => Err(breach(format!("{} came without its descriptor", message.name()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, Write};

    use super::*;

    fn some_socket() -> OwnedFd {
        std::net::UdpSocket::bind("127.0.0.1:0").unwrap().into()
    }

    fn connection(number: u64, length: usize) -> Message {
        Message::Connection { number, listener: 0, unread: vec![7; length] }
    }

    #[test]
    fn each_message_has_its_own_socket_though_they_come_in_pieces() {
        crate::run(|| {
            let (ours, theirs) = UnixStream::pair().unwrap();
            let sender = Sender::new(ours);
            let writer = crate::spawn(move || {
                for number in 0..20 {
                    sender.send(&connection(number, number as usize * 10_000), Some(some_socket().as_fd())).unwrap();
                    sender.send(&Message::Taken { number }, None).unwrap();
                }
            });
            let mut receiver = Receiver::default();
            for number in 0..20 {
                let (message, socket) = receiver.receive(&theirs).unwrap().unwrap();
                assert_eq!((message, socket.is_some()), (connection(number, number as usize * 10_000), true));
                let (message, socket) = receiver.receive(&theirs).unwrap().unwrap();
                assert_eq!((message, socket.is_some()), (Message::Taken { number }, false));
            }
            writer.join().unwrap();
            assert!(receiver.receive(&theirs).unwrap().is_none());
        });
    }

    #[test]
    fn a_descriptor_without_its_frame_and_a_frame_without_its_descriptor_break_the_rules() {
        crate::run(|| {
            for (message, with_socket, why) in [
                (connection(1, 0), false, "connection came without its descriptor"),
                (Message::Taken { number: 1 }, true, "belongs to no frame"),
            ] {
                let (ours, theirs) = UnixStream::pair().unwrap();
                let socket = some_socket();
                let sender = Sender::new(ours);
                sender.send(&message, with_socket.then(|| socket.as_fd())).unwrap();
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

    #[test]
    fn an_end_within_a_frame_is_an_error() {
        crate::run(|| {
            let (mut ours, theirs) = UnixStream::pair().unwrap();
            ours.write_all(&Message::Ready.to_bytes().unwrap()[..4]).unwrap();
            drop(ours);
            assert_eq!(Receiver::default().receive(&theirs).unwrap_err().kind(), ErrorKind::UnexpectedEof);
        });
    }
}
