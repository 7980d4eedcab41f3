//! The messages as bytes: see the table in [`super`].

use crate::io::framing::{Codec, FrameError, LengthPrefixed};
use crate::workers::sys::TOLD;

/// The most bytes that can go with a connection: 1 MiB.
pub const UNREAD_LIMIT: usize = 1 << 20;

/// The variable of a worker's environment that says which of its descriptors is the channel.
pub const VARIABLE: &str = "OVERLAPPED_PREFORK";

/// The versions of the protocol that this speaks.
pub(super) const VERSIONS: (u16, u16) = (1, 1);

const GREETING: &[u8] = b"overlapped prefork";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message {
    Hello { lowest: u16, highest: u16, process: Option<u32> },
    Welcome { version: u16, listeners: u16, process: Option<u32> },
    Refused { why: String },
    Listener { told: Vec<u8>, name: String },
    Ready,
    Drain { moving: bool },
    Connection { number: u64, listener: u16, told: Vec<u8>, unread: Vec<u8> },
    Taken { number: u64 },
    Back { number: u64 },
    Alive,
    Retire,
}

impl Message {
    /// What it is called in an error.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Message::Hello { .. } => "hello",
            Message::Welcome { .. } => "welcome",
            Message::Refused { .. } => "refused",
            Message::Listener { .. } => "listener",
            Message::Ready => "ready",
            Message::Drain { .. } => "drain",
            Message::Connection { .. } => "connection",
            Message::Taken { .. } => "taken",
            Message::Back { .. } => "back",
            Message::Alive => "alive",
            Message::Retire => "retire",
        }
    }

    /// What is told of the socket that goes along, if one does.
    pub(super) fn told(&self) -> Option<&[u8]> {
        match self {
            Message::Listener { told, .. } | Message::Connection { told, .. } => Some(told),
            _ => None,
        }
    }

    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, FrameError> {
        match self {
            Message::Hello { lowest, highest, process } => {
                frame(1, &[GREETING, &two_and_process(*lowest, *highest, *process)].concat())
            }
            Message::Welcome { version, listeners, process } => {
                frame(2, &two_and_process(*version, *listeners, *process))
            }
            Message::Refused { why } => frame(3, why.as_bytes()),
            Message::Listener { told, name } => frame(4, &[told, name.as_bytes()].concat()),
            Message::Ready => frame(5, &[]),
            Message::Drain { moving } => frame(6, &[u8::from(*moving)]),
            Message::Connection { number, listener, told, unread } => {
                frame(7, &[&number.to_be_bytes()[..], &listener.to_be_bytes(), told, unread].concat())
            }
            Message::Taken { number } => frame(8, &number.to_be_bytes()),
            Message::Back { number } => frame(9, &number.to_be_bytes()),
            Message::Alive => frame(10, &[]),
            Message::Retire => frame(11, &[]),
        }
    }
}

/// The most bytes in a frame.
const FRAME_LIMIT: usize = 1 + 8 + 2 + TOLD + UNREAD_LIMIT;

fn frames() -> LengthPrefixed {
    LengthPrefixed::u32().limit(FRAME_LIMIT)
}

fn frame(kind: u8, body: &[u8]) -> Result<Vec<u8>, FrameError> {
    let mut bytes = Vec::with_capacity(5 + body.len());
    frames().encode(&[&[kind], body].concat(), &mut bytes)?;
    Ok(bytes)
}

/// Takes the first message in `bytes`, with how many of them it took; `None` where more have to come.
pub(super) fn decode(bytes: &[u8]) -> Result<Option<(Message, usize)>, FrameError> {
    let Some((frame, taken)) = frames().decode(bytes, 0)? else { return Ok(None) };
    let Some((kind, body)) = frame.split_first() else { return Err(FrameError::Malformed("it has no kind")) };
    let number = || body.try_into().ok().map(u64::from_be_bytes);
    let message = match kind {
        1 => body.strip_prefix(GREETING).and_then(first_words).map(|(lowest, highest, process)| Message::Hello {
            lowest,
            highest,
            process,
        }),
        2 => first_words(body).map(|(version, listeners, process)| Message::Welcome { version, listeners, process }),
        3 => text(body).map(|why| Message::Refused { why }),
        4 => listener(body),
        5 => body.is_empty().then_some(Message::Ready),
        6 => match body {
            [0] => Some(Message::Drain { moving: false }),
            [1] => Some(Message::Drain { moving: true }),
            _ => None,
        },
        7 => connection(body),
        8 => number().map(|number| Message::Taken { number }),
        9 => number().map(|number| Message::Back { number }),
        10 => body.is_empty().then_some(Message::Alive),
        11 => body.is_empty().then_some(Message::Retire),
        _ => return Err(FrameError::Malformed("it is of a kind that there is not")),
    };
    match message {
        Some(message) => Ok(Some((message, taken))),
        None => Err(FrameError::Malformed("its body is not as its kind's")),
    }
}

/// What each side's first words end with: two numbers, and its process's where sockets are shared with that.
fn first_words(body: &[u8]) -> Option<(u16, u16, Option<u32>)> {
    let ([a, b, c, d], process) = body.split_first_chunk()?;
    let process = if process.is_empty() { None } else { Some(u32::from_be_bytes(process.try_into().ok()?)) };
    Some((u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d]), process))
}

fn two_and_process(one: u16, other: u16, process: Option<u32>) -> Vec<u8> {
    let process = process.map(u32::to_be_bytes);
    let process = process.as_ref().map_or(&[][..], |number| number);
    [&one.to_be_bytes(), &other.to_be_bytes(), process].concat()
}

fn text(bytes: &[u8]) -> Option<String> {
    std::str::from_utf8(bytes).ok().map(str::to_owned)
}

fn listener(body: &[u8]) -> Option<Message> {
    let (told, name) = body.split_at_checked(TOLD)?;
    Some(Message::Listener { told: told.to_vec(), name: text(name)? })
}

fn connection(body: &[u8]) -> Option<Message> {
    let (number, rest) = body.split_first_chunk()?;
    let (listener, rest) = rest.split_first_chunk()?;
    let (told, unread) = rest.split_at_checked(TOLD)?;
    Some(Message::Connection {
        number: u64::from_be_bytes(*number),
        listener: u16::from_be_bytes(*listener),
        told: told.to_vec(),
        unread: unread.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn one_of_each() -> Vec<Message> {
        vec![
            Message::Hello { lowest: 1, highest: 258, process: None },
            Message::Hello { lowest: 1, highest: 258, process: Some(1 << 24) },
            Message::Welcome { version: 1, listeners: 3, process: None },
            Message::Welcome { version: 1, listeners: 3, process: Some(5) },
            Message::Refused { why: "für später".to_owned() },
            Message::Listener { told: vec![b't'; TOLD], name: "http".to_owned() },
            Message::Ready,
            Message::Drain { moving: true },
            Message::Drain { moving: false },
            Message::Connection {
                number: u64::MAX - 1,
                listener: 2,
                told: vec![b't'; TOLD],
                unread: b"GET / HT".to_vec(),
            },
            Message::Connection { number: 0, listener: 0, told: vec![b't'; TOLD], unread: Vec::new() },
            Message::Taken { number: 7 },
            Message::Back { number: 1 << 40 },
            Message::Alive,
            Message::Retire,
        ]
    }

    #[test]
    fn messages_come_back_as_they_were_and_no_part_of_one_is_one() {
        for message in one_of_each() {
            let bytes = message.to_bytes().unwrap();
            for cut in 0..bytes.len() {
                assert_eq!(decode(&bytes[..cut]), Ok(None), "{message:?} cut at {cut}");
            }
            let more = [&bytes[..], b"more"].concat();
            assert_eq!(decode(&more), Ok(Some((message, bytes.len()))));
        }
    }

    #[test]
    fn the_bytes_are_those_of_the_table() {
        let told = vec![b't'; TOLD];
        let expected: [[&[u8]; 3]; 15] = [
            [b"\x01overlapped prefork\0\x01\x01\x02", b"", b""],
            [b"\x01overlapped prefork\0\x01\x01\x02\x01\0\0\0", b"", b""],
            [b"\x02\0\x01\0\x03", b"", b""],
            [b"\x02\0\x01\0\x03\0\0\0\x05", b"", b""],
            [b"\x03f\xc3\xbcr sp\xc3\xa4ter", b"", b""],
            [b"\x04", &told, b"http"],
            [b"\x05", b"", b""],
            [b"\x06\x01", b"", b""],
            [b"\x06\0", b"", b""],
            [b"\x07\xff\xff\xff\xff\xff\xff\xff\xfe\0\x02", &told, b"GET / HT"],
            [b"\x07\0\0\0\0\0\0\0\0\0\0", &told, b""],
            [b"\x08\0\0\0\0\0\0\0\x07", b"", b""],
            [b"\x09\0\0\x01\0\0\0\0\0", b"", b""],
            [b"\x0a", b"", b""],
            [b"\x0b", b"", b""],
        ];
        for (message, frame) in one_of_each().into_iter().zip(expected) {
            let frame = frame.concat();
            let bytes = [&(frame.len() as u32).to_be_bytes()[..], &frame].concat();
            assert_eq!(message.to_bytes().unwrap(), bytes, "{message:?}");
        }
        let told = || vec![0; TOLD];
        let with =
            |length| Message::Connection { number: 1, listener: 0, told: told(), unread: vec![0; length] }.to_bytes();
        assert!(with(UNREAD_LIMIT).is_ok());
        assert!(with(UNREAD_LIMIT + 1).is_err());
    }

    #[test]
    fn what_breaks_the_rules_is_said() {
        let most = format!("where {} are allowed", 11 + TOLD + UNREAD_LIMIT);
        let broken: [(&[u8], &str); 6] = [
            (b"\0\0\0\0", "no kind"),
            (b"\0\0\0\x01\x0c", "a kind that there is not"),
            (b"\0\0\0\x02\x05x", "not as its kind's"),
            (b"\0\0\0\x02\x06\x02", "not as its kind's"),
            (b"\0\0\0\x0a\x07123456789", "not as its kind's"),
            (b"\xff\xff\xff\xff", &most),
        ];
        for (bytes, why) in broken {
            let error = decode(bytes).unwrap_err().to_string();
            assert!(error.contains(why), "{bytes:?}: {error}");
        }
    }
}

#[cfg(test)]
mod fuzz {
    use super::tests::one_of_each;
    use super::{FRAME_LIMIT, decode};
    use crate::fuzz;

    #[test]
    fn messages_are_taken_whole_and_written_the_same_whatever_comes_between_them() {
        fuzz::check_wire(&one_of_each(), FRAME_LIMIT, decode, |message| message.to_bytes().unwrap());
    }
}
