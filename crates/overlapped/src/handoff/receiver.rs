//! The reading end of a channel: bytes and descriptors to messages, each with its socket.

use std::io;

use super::wire::{self, Message};
use crate::workers::incoming::Incoming;
use crate::workers::sys::{self, OwnedSocket, Stream};

/// A message, and the socket that came with it.
#[derive(Debug)]
pub(super) enum Arrived {
    Message(Message),
    Given {
        number: u64,
        context: Vec<u8>,
        /// `None` where it was lost on its way: this process had no descriptor left, or the server could not share it.
        socket: Option<OwnedSocket>,
    },
}

pub(super) struct Receiver(Incoming);

impl Receiver {
    /// A server's, which takes no sockets.
    pub(super) fn of_server() -> Receiver {
        Receiver(Incoming::new(0))
    }

    pub(super) fn of_worker() -> Receiver {
        Receiver(Incoming::new(64))
    }

    /// The next message; `None` at the end. Left early, what has come stays for the next call.
    ///
    /// # Errors
    /// `InvalidData` for what breaks the rules, `UnexpectedEof` for an end within a frame; what the system says.
    pub(super) fn receive(&mut self, stream: &Stream) -> io::Result<Option<Arrived>> {
        let Some(message) = self.0.receive(stream, wire::decode, |what| breach(what.to_owned()))? else {
            return Ok(None);
        };
        let Message::Give { number, told, context } = message else { return Ok(Some(Arrived::Message(message))) };
        let Some(socket) = sys::own(&told, &mut self.0.sockets) else {
            return Err(breach(format!("number {number} came without its descriptor")));
        };
        Ok(Some(Arrived::Given { number, context, socket }))
    }
}

/// What a peer should not have done.
pub(super) fn breach(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the hand-off's rules are broken: {what}"))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    pub(super) fn some_socket() -> OwnedSocket {
        std::net::UdpSocket::bind("127.0.0.1:0").unwrap().into()
    }

    fn give(stream: &Stream, number: u64, socket: &OwnedSocket, context: &[u8]) -> Vec<u8> {
        wire::give(number, &sys::tell(stream, sys::borrow(socket)), context).unwrap()
    }

    fn number_of(arrived: Option<Arrived>) -> u64 {
        match arrived {
            Some(Arrived::Given { number, socket: Some(_), .. }) => number,
            arrived => panic!("{arrived:?}"),
        }
    }

    #[test]
    fn each_frame_has_its_own_socket_though_they_come_in_pieces_and_before_their_ends() {
        crate::run(|| {
            let (ours, theirs) = Stream::pair().unwrap();
            let writer = crate::spawn(move || {
                for number in 0..20 {
                    let socket = some_socket();
                    let bytes = give(&ours, number, &socket, &vec![7; number as usize * 1000]);
                    let (first, rest) = bytes.split_at(1 + number as usize % 13);
                    sys::send(&ours, first, Some(sys::borrow(&socket))).unwrap();
                    crate::yield_now();
                    sys::send(&ours, rest, None).unwrap();
                }
            });
            let mut receiver = Receiver::of_worker();
            for number in 0..20 {
                assert_eq!(number_of(receiver.receive(&theirs).unwrap()), number);
            }
            writer.join().unwrap();
            assert!(receiver.receive(&theirs).unwrap().is_none());
        });
    }

    #[cfg(windows)]
    #[test]
    fn a_socket_that_could_not_be_shared_is_lost_and_what_follows_is_not() {
        crate::run(|| {
            let (ours, theirs) = Stream::pair().unwrap();
            sys::send(&ours, &wire::give(1, &[0; sys::TOLD], b"context").unwrap(), None).unwrap();
            sys::send(&ours, &give(&ours, 2, &some_socket(), b""), None).unwrap();
            let mut receiver = Receiver::of_worker();
            match receiver.receive(&theirs).unwrap() {
                Some(Arrived::Given { number: 1, socket: None, context }) => assert_eq!(context, b"context"),
                arrived => panic!("{arrived:?}"),
            }
            assert_eq!(number_of(receiver.receive(&theirs).unwrap()), 2);
        });
    }

    #[test]
    fn what_came_before_a_cut_is_received_and_then_the_end() {
        crate::run(|| {
            let (ours, theirs) = Stream::pair().unwrap();
            let taken = Message::Taken { number: 4 }.to_bytes().unwrap();
            let reader = crate::spawn(move || {
                let mut receiver = Receiver::of_server();
                let mut numbers = Vec::new();
                while let Some(arrived) = receiver.receive(&ours).unwrap() {
                    match arrived {
                        Arrived::Message(Message::Taken { number }) => numbers.push(number),
                        arrived => panic!("{arrived:?}"),
                    }
                    sys::cut(&ours);
                }
                numbers
            });
            crate::yield_now();
            sys::send(&theirs, &[&taken[..], &taken].concat(), None).unwrap();
            assert_eq!(reader.join().unwrap(), [4, 4], "and the other end is open still");
            drop(theirs);
        });
    }

    #[test]
    fn a_cut_ends_a_receive_that_waits() {
        crate::run(|| {
            let (ours, theirs) = Stream::pair().unwrap();
            let ours = std::rc::Rc::new(ours);
            let reading = std::rc::Rc::clone(&ours);
            let reader = crate::spawn(move || Receiver::of_server().receive(&reading).unwrap().is_none());
            crate::yield_now();
            sys::cut(&ours);
            assert!(reader.join().unwrap());
            drop(theirs);
        });
    }

    #[test]
    fn what_came_before_a_time_out_is_there_after_it() {
        crate::run(|| {
            let (ours, theirs) = Stream::pair().unwrap();
            let socket = some_socket();
            let bytes = give(&ours, 5, &socket, b"context");
            sys::send(&ours, &bytes[..9], Some(sys::borrow(&socket))).unwrap();
            let mut receiver = Receiver::of_worker();
            let late = crate::timeout(Duration::from_millis(5), || receiver.receive(&theirs));
            assert!(late.is_err());
            sys::send(&ours, &bytes[9..], None).unwrap();
            assert_eq!(number_of(receiver.receive(&theirs).unwrap()), 5);
        });
    }

    #[cfg(unix)]
    #[test]
    fn a_descriptor_without_its_frame_and_a_frame_without_its_descriptor_break_the_rules() {
        crate::run(|| {
            let taken = Message::Taken { number: 1 }.to_bytes().unwrap();
            for (bytes, with_socket, of_server, why) in [
                (wire::give(1, &[], b"").unwrap(), false, false, "number 1 came without its descriptor"),
                (taken.clone(), true, false, "belongs to no frame"),
                (taken, true, true, "a worker, which has none to give"),
            ] {
                let (ours, theirs) = Stream::pair().unwrap();
                let socket = with_socket.then(some_socket);
                sys::send(&ours, &bytes, socket.as_ref().map(sys::borrow)).unwrap();
                drop(ours);
                let mut receiver = if of_server { Receiver::of_server() } else { Receiver::of_worker() };
                let error = loop {
                    match receiver.receive(&theirs) {
                        Ok(Some(_)) => {}
                        Ok(None) => panic!("nothing was wrong, where {why}"),
                        Err(error) => break error,
                    }
                };
                assert_eq!(error.kind(), io::ErrorKind::InvalidData);
                assert!(error.to_string().contains(why), "{error}");
            }
        });
    }
}

#[cfg(test)]
mod fuzz {
    use super::tests::some_socket;
    use super::*;
    use crate::fuzz;
    use crate::handoff::wire::tests::one_of_each;

    #[test]
    fn noise_ends_a_channel_with_an_error_or_at_its_end() {
        crate::run(|| {
            let valid: Vec<_> = one_of_each().iter().map(|message| message.to_bytes().unwrap()).collect();
            fuzz::inputs(300, &valid, |random, input| {
                let (ours, theirs) = Stream::pair().unwrap();
                let pieces = fuzz::pieces(random, input).into_iter();
                let pieces: Vec<_> =
                    pieces.map(|piece| (piece.to_vec(), (random.u8(..4) == 0).then(some_socket))).collect();
                let sender = crate::spawn(move || {
                    let send = |(piece, socket): &(Vec<u8>, Option<_>)| {
                        sys::send(&ours, piece, socket.as_ref().map(sys::borrow))
                    };
                    pieces.iter().try_for_each(send)
                });
                let mut receiver = if random.bool() { Receiver::of_worker() } else { Receiver::of_server() };
                let mut came = 0;
                while let Ok(Some(_)) = receiver.receive(&theirs) {
                    came += 1;
                    assert!(came <= input.len(), "more messages than bytes");
                }
                drop((theirs, receiver));
                let _ = sender.join().unwrap();
            });
        });
    }
}
