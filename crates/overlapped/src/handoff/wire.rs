//! The messages as bytes: see the table in [`super`].

use crate::io::framing::{Codec, FrameError, LengthPrefixed};
use crate::workers::sys::TOLD;

/// The most bytes of context that can go with a socket: 1 MiB.
pub const CONTEXT_LIMIT: usize = 1 << 20;

/// The variable of a worker's environment that says which of its descriptors is the channel: `0`, its standard input.
pub const VARIABLE: &str = "OVERLAPPED_HANDOFF";

/// The versions of the protocol that this speaks.
pub(super) const VERSIONS: (u16, u16) = (1, 1);

const GREETING: &[u8] = b"overlapped hand-off";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message {
    Hello { lowest: u16, highest: u16, process: Option<u32> },
    Welcome { version: u16 },
    Refused { why: String },
    Give { number: u64, told: Vec<u8>, context: Vec<u8> },
    Taken { number: u64 },
    Back { number: u64 },
    End,
}

impl Message {
    /// What it is called in an error.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Message::Hello { .. } => "hello",
            Message::Welcome { .. } => "welcome",
            Message::Refused { .. } => "refused",
            Message::Give { .. } => "give",
            Message::Taken { .. } => "taken",
            Message::Back { .. } => "back",
            Message::End => "end",
        }
    }

    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, FrameError> {
        match self {
            Message::Hello { lowest, highest, process } => {
                let process = process.map(u32::to_be_bytes);
                let process = process.as_ref().map_or(&[][..], |number| number);
                frame(1, &[GREETING, &lowest.to_be_bytes(), &highest.to_be_bytes(), process].concat())
            }
            Message::Welcome { version } => frame(2, &version.to_be_bytes()),
            Message::Refused { why } => frame(3, why.as_bytes()),
            Message::Give { number, told, context } => give(*number, told, context),
            Message::Taken { number } => frame(5, &number.to_be_bytes()),
            Message::Back { number } => frame(6, &number.to_be_bytes()),
            Message::End => frame(7, &[]),
        }
    }
}

/// A `give`, whose parts need not be owned: what the system tells of the socket, and its context.
pub(super) fn give(number: u64, told: &[u8], context: &[u8]) -> Result<Vec<u8>, FrameError> {
    frame(4, &[&number.to_be_bytes(), told, context].concat())
}

/// The most bytes in a frame.
const FRAME_LIMIT: usize = 1 + 8 + TOLD + CONTEXT_LIMIT;

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
    let message = match kind {
        1 => body.strip_prefix(GREETING).and_then(hello),
        2 => body.try_into().ok().map(|version| Message::Welcome { version: u16::from_be_bytes(version) }),
        3 => std::str::from_utf8(body).ok().map(|why| Message::Refused { why: why.to_owned() }),
        4 => given(body),
        5 => body.try_into().ok().map(|number| Message::Taken { number: u64::from_be_bytes(number) }),
        6 => body.try_into().ok().map(|number| Message::Back { number: u64::from_be_bytes(number) }),
        7 => body.is_empty().then_some(Message::End),
        _ => return Err(FrameError::Malformed("it is of a kind that there is not")),
    };
    match message {
        Some(message) => Ok(Some((message, taken))),
        None => Err(FrameError::Malformed("its body is not as its kind's")),
    }
}

fn hello(body: &[u8]) -> Option<Message> {
    let ([a, b, c, d], process) = body.split_first_chunk()?;
    let process = if process.is_empty() { None } else { Some(u32::from_be_bytes(process.try_into().ok()?)) };
    let (lowest, highest) = (u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d]));
    Some(Message::Hello { lowest, highest, process })
}

fn given(body: &[u8]) -> Option<Message> {
    let (number, rest) = body.split_first_chunk()?;
    let (told, context) = rest.split_at_checked(TOLD)?;
    Some(Message::Give { number: u64::from_be_bytes(*number), told: told.to_vec(), context: context.to_vec() })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::handoff) fn one_of_each() -> Vec<Message> {
        vec![
            Message::Hello { lowest: 1, highest: 258, process: None },
            Message::Hello { lowest: 1, highest: 258, process: Some(1 << 24) },
            Message::Welcome { version: 1 },
            Message::Refused { why: "für später".to_owned() },
            Message::Give { number: u64::MAX - 1, told: vec![7; TOLD], context: b"GET / HTTP/1.1\r\n".to_vec() },
            Message::Give { number: 0, told: vec![0; TOLD], context: Vec::new() },
            Message::Taken { number: 7 },
            Message::Back { number: 1 << 40 },
            Message::End,
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
        let hello = |process| Message::Hello { lowest: 1, highest: 2, process }.to_bytes().unwrap();
        assert_eq!(hello(None), b"\0\0\0\x18\x01overlapped hand-off\0\x01\0\x02");
        assert_eq!(hello(Some(3)), b"\0\0\0\x1c\x01overlapped hand-off\0\x01\0\x02\0\0\0\x03");
        assert_eq!(Message::Welcome { version: 1 }.to_bytes().unwrap(), b"\0\0\0\x03\x02\0\x01");
        assert_eq!(Message::Refused { why: "no".into() }.to_bytes().unwrap(), b"\0\0\0\x03\x03no");
        assert_eq!(give(3, b"told", b"ab").unwrap(), b"\0\0\0\x0f\x04\0\0\0\0\0\0\0\x03toldab");
        assert_eq!(Message::Taken { number: 4 }.to_bytes().unwrap(), b"\0\0\0\x09\x05\0\0\0\0\0\0\0\x04");
        assert_eq!(Message::Back { number: 5 }.to_bytes().unwrap(), b"\0\0\0\x09\x06\0\0\0\0\0\0\0\x05");
        assert_eq!(Message::End.to_bytes().unwrap(), b"\0\0\0\x01\x07");
    }

    #[test]
    fn what_breaks_the_rules_is_said() {
        let most = format!("where {} are allowed", 9 + TOLD + CONTEXT_LIMIT);
        let broken: [(&[u8], &str); 9] = [
            (b"\0\0\0\0", "no kind"),
            (b"\0\0\0\x01\0", "a kind that there is not"),
            (b"\0\0\0\x01\x08", "a kind that there is not"),
            (b"\0\0\0\x02\x07a", "not as its kind's"),
            (b"\0\0\0\x04\x05abc", "not as its kind's"),
            (b"\0\0\0\x0a\x06123456789", "not as its kind's"),
            (b"\0\0\0\x02\x03\xff", "not as its kind's"),
            (b"\0\0\0\x18\x01overlapped hand-on!\0\x01\0\x02", "not as its kind's"),
            (b"\xff\xff\xff\xff", &most),
        ];
        for (bytes, why) in broken {
            let error = decode(bytes).unwrap_err().to_string();
            assert!(error.contains(why), "{bytes:?}: {error}");
        }
        assert!(give(1, &[0; TOLD], &vec![0; CONTEXT_LIMIT]).is_ok());
        assert!(give(1, &[0; TOLD], &vec![0; CONTEXT_LIMIT + 1]).is_err());
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
