//! The channel between a supervisor and a worker: messages, and the sockets that go along with some.
//!
//! The hand-off's channel gives sockets in one direction; here they go in both, with other messages between them.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use socket2::{SockRef, Type};

use super::wire::{self, Message, VARIABLE};
use crate::net::{Shutdown, UnixStream};
use crate::sync::Semaphore;
use crate::time::uncancellable;

/// How many connections may be on their way in one direction and not taken over yet. Those on their way count against
/// the user's limit of descriptors as well (unix(7), `ETOOMANYREFS`).
pub(super) const ON_THE_WAY: usize = 64;

/// What is read at once.
const ROOM: usize = 64 * 1024;

/// A worker's end of its channel, taken from the environment.
pub(super) fn inherited() -> io::Result<UnixStream> {
    match std::env::var(VARIABLE) {
        Ok(number) if number == "0" => {}
        Ok(number) => return Err(no_worker(format!("{VARIABLE} is {number:?}, and no 0"))),
        Err(_) => return Err(no_worker(format!("{VARIABLE} is not set"))),
    }
    let channel = io::stdin().as_fd().try_clone_to_owned().map_err(|error| no_worker(error.to_string()))?;
    let socket = SockRef::from(&channel);
    let is_unix = socket.local_addr().is_ok_and(|address| address.is_unix());
    if !is_unix || socket.r#type().ok() != Some(Type::STREAM) {
        return Err(no_worker("its standard input is no Unix stream socket".to_owned()));
    }
    // So that this process's own children get no end of it.
    replace_standard_input(File::open("/dev/null")?.as_fd())?;
    Ok(channel.into())
}

fn no_worker(why: String) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("this process was not started as a worker: {why}"))
}

#[allow(unsafe_code, reason = "the standard library replaces no descriptor")]
fn replace_standard_input(with: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the number is that of the channel, which whoever started this process has given to this function alone.
    if unsafe { libc::dup2(with.as_raw_fd(), 0) } == -1 { Err(io::Error::last_os_error()) } else { Ok(()) }
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

/// The reading end. Keeps what has come of a message that is not complete.
#[derive(Default)]
pub(super) struct Receiver {
    bytes: Vec<u8>,
    /// Which have come before the frames that they belong to were complete, in the frames' order; `None` for one that
    /// was lost. A receive ends after one that came (`unix_stream_read_generic` in Linux), so it loses one at most.
    sockets: VecDeque<Option<OwnedFd>>,
}

impl Receiver {
    /// The next message, with what came along; `None` at the end. A socket that belongs to it and is not there was lost:
    /// this process had no descriptor left. Left early, what has come stays for the next call.
    ///
    /// # Errors
    /// `InvalidData` for what breaks the rules, `UnexpectedEof` for an end within a frame; what the system says.
    pub(super) fn receive(&mut self, stream: &UnixStream) -> io::Result<Option<(Message, Option<OwnedFd>)>> {
        let mut room = Vec::new();
        loop {
            if let Some(arrived) = self.decoded()? {
                return Ok(Some(arrived));
            }
            room.resize(ROOM, 0);
            let length = match stream.recv_with_fds(&mut room, ON_THE_WAY) {
                Ok(got) => {
                    self.bytes.extend_from_slice(&room[..got.length]);
                    self.sockets.extend(got.fds.into_iter().map(Some));
                    self.sockets.extend(got.fds_truncated.then_some(None));
                    got.length
                }
                // It has ended with something unread; all that it had written was read before.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => 0,
                Err(error) => return Err(error),
            };
            match length {
                0 if self.bytes.is_empty() => return Ok(None),
                0 => return Err(crate::io::framing::FrameError::Truncated { had: self.bytes.len() }.into()),
                _ => {}
            }
        }
    }

    fn decoded(&mut self) -> io::Result<Option<(Message, Option<OwnedFd>)>> {
        let Some((message, taken)) = wire::decode(&self.bytes)? else {
            // The frame that has begun may have one.
            if self.sockets.len() > usize::from(!self.bytes.is_empty()) {
                return Err(breach("a descriptor came that belongs to no frame"));
            }
            return Ok(None);
        };
        self.bytes.drain(..taken);
        if !message.has_socket() {
            return Ok(Some((message, None)));
        }
        match self.sockets.pop_front() {
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
