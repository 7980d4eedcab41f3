//! Frames on streams: each codec by its rules, cut at every place, beyond its limit, and fed with noise.

mod support;

use std::collections::VecDeque;
use std::error::Error;
use std::io::{self, Read, Write};
use std::time::Duration;

use overlapped::io::framing::{AgentX, Codec, FrameError, Framed, LengthPrefixed, Lines, Netstrings, Pdu, Separated};
use overlapped::net::{TcpListener, TcpStream};
use overlapped::{run, timeout};

/// A stream that gives its bytes in pieces of these lengths, again and again, and keeps what is written.
struct Pieces {
    bytes: VecDeque<u8>,
    lengths: Vec<usize>,
    turn: usize,
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.lengths[self.turn % self.lengths.len()].min(buffer.len()).min(self.bytes.len());
        self.turn += 1;
        buffer.iter_mut().zip(self.bytes.drain(..length)).for_each(|(to, from)| *to = from);
        Ok(length)
    }
}

/// All frames of some bytes, and how they end: well, or with an error.
fn frames<C: Codec>(codec: C, bytes: &[u8], lengths: &[usize]) -> (Vec<C::Frame>, Option<FrameError>) {
    let stream = Pieces { bytes: bytes.iter().copied().collect(), lengths: lengths.to_vec(), turn: 0 };
    let (mut framed, mut found) = (Framed::new(stream, codec), Vec::new());
    loop {
        match framed.read_frame() {
            Ok(Some(frame)) => found.push(frame),
            Ok(None) => return (found, None),
            Err(error) => return (found, Some(why(&error))),
        }
    }
}

fn why(error: &io::Error) -> FrameError {
    error.get_ref().and_then(|inner| inner.downcast_ref::<FrameError>()).expect("a frame's error").clone()
}

fn encoded<C: Codec>(mut codec: C, frame: &C::Written) -> Result<Vec<u8>, FrameError> {
    let mut bytes = b"before".to_vec();
    let result = codec.encode(frame, &mut bytes);
    assert!(bytes.starts_with(b"before"), "it appends");
    assert!(result.is_ok() || bytes == b"before", "what failed has appended nothing");
    result.map(|()| bytes.split_off(6))
}

fn pdu(flags: u8, payload: &[u8]) -> Pdu {
    Pdu { kind: 18, flags, session: 7, transaction: 0x0102_0304, packet: 9, payload: payload.to_vec() }
}

#[test]
fn frames_are_on_the_wire_as_their_rules_say() {
    assert_eq!(encoded(Lines::new(), "text"), Ok(b"text\n".to_vec()));
    assert_eq!(encoded(Separated::by("\r\n"), b"a\rb"), Ok(b"a\rb\r\n".to_vec()));
    assert_eq!(encoded(LengthPrefixed::u8(), b"abc"), Ok(b"\x03abc".to_vec()));
    assert_eq!(encoded(LengthPrefixed::u16(), b"abc"), Ok(b"\x00\x03abc".to_vec()));
    assert_eq!(encoded(LengthPrefixed::u32().little_endian(), b"abc"), Ok(b"\x03\x00\x00\x00abc".to_vec()));
    assert_eq!(encoded(LengthPrefixed::u64(), b"abc"), Ok(b"\0\0\0\0\0\0\0\x03abc".to_vec()));
    assert_eq!(encoded(Netstrings::new(), b"hello world!"), Ok(b"12:hello world!,".to_vec()));
    assert_eq!(encoded(Netstrings::new(), b""), Ok(b"0:,".to_vec()));
    // The header of RFC 2741, section 6.1, in both orders.
    let big = b"\x01\x12\x10\x00\0\0\0\x07\x01\x02\x03\x04\0\0\0\x09\0\0\0\x04load";
    assert_eq!(encoded(AgentX::new(), &pdu(0x10, b"load")), Ok(big.to_vec()));
    let little = b"\x01\x12\x00\x00\x07\0\0\0\x04\x03\x02\x01\x09\0\0\0\0\0\0\0";
    assert_eq!(encoded(AgentX::new(), &pdu(0, b"")), Ok(little.to_vec()));
    assert_eq!(frames(AgentX::new(), little, &[64]), (vec![pdu(0, b"")], None));
}

#[test]
fn a_line_ends_as_unix_or_windows_ends_it_and_the_last_need_not() {
    let found = frames(Lines::new(), "one\r\ntwo\n\nthr\u{e9}e\r".as_bytes(), &[64]);
    assert_eq!(found, (vec!["one".into(), "two".into(), String::new(), "thr\u{e9}e".into()], None));
    assert_eq!(frames(Lines::new(), b"\xff\n", &[64]).1, Some(FrameError::Malformed("a line that is not UTF-8")));
}

#[test]
fn what_would_be_read_otherwise_is_not_written() {
    assert!(encoded(Lines::new(), "one\ntwo").is_err());
    assert!(encoded(Lines::new(), "one\r").is_err());
    assert!(encoded(Separated::by("ab"), b"xaby").is_err());
    assert!(encoded(Separated::by("aa"), b"xa").is_err(), "the first separator would begin in the frame");
    assert!(encoded(AgentX::new(), &pdu(0, b"odd")).is_err());
    assert_eq!(encoded(LengthPrefixed::u8(), &[0; 256]), Err(FrameError::TooLong { length: 256, limit: 255 }));
}

#[test]
fn a_frame_at_the_limit_is_read_and_one_beyond_is_an_error_before_it_has_come() {
    fn check<C: Codec<Frame: std::fmt::Debug>>(codec: impl Fn() -> C, at_the_limit: &[u8], beyond: &[u8]) {
        let (found, error) = frames(codec(), at_the_limit, &[1]);
        assert!(found.len() == 1 && error.is_none(), "{found:?} {error:?}");
        let (found, error) = frames(codec(), beyond, &[1]);
        assert!(found.is_empty(), "{found:?}");
        assert!(matches!(error, Some(FrameError::TooLong { limit: 4, .. })), "{error:?}");
    }
    check(|| Lines::new().limit(4), b"1234\r\n", b"12345");
    check(|| Separated::by("--").limit(4), b"1234--", b"123456");
    check(|| LengthPrefixed::u32().limit(4), b"\0\0\0\x041234", b"\0\0\0\x05");
    check(|| LengthPrefixed::u64().limit(4), b"\0\0\0\0\0\0\0\x041234", &[0xff; 8]);
    check(|| Netstrings::new().limit(4), b"4:1234,", b"5");
    check(|| Netstrings::new().limit(4), b"4:1234,", &[b'9'; 100]);
    let unit = |payload| encoded(AgentX::new(), &pdu(0, payload)).unwrap();
    check(|| AgentX::new().limit(4), &unit(b"load"), &unit(b"payload.")[..20]);
}

#[test]
fn a_stream_that_ends_within_a_frame_says_so() {
    for (codec, bytes) in [(LengthPrefixed::u16(), &b"\0\x03ab"[..]), (LengthPrefixed::u16(), b"\0")] {
        let (found, error) = frames(codec, bytes, &[64]);
        assert!(found.is_empty());
        assert_eq!(error, Some(FrameError::Truncated { had: bytes.len() }));
    }
    let mut framed = Framed::new(&b"5:hell"[..], Netstrings::new());
    let error = framed.read_frame().unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    assert!(error.source().is_none_or(|source| source.is::<FrameError>()), "{error}");
    assert!(error.to_string().contains("6 bytes after its beginning"), "{error}");
}

#[test]
fn what_breaks_the_rules_is_an_error_each_time_it_is_asked_for() {
    for bytes in [&b"x:"[..], b":", b"01:a,", b"1:ab", b"-1:,"] {
        assert!(matches!(frames(Netstrings::new(), bytes, &[64]).1, Some(FrameError::Malformed(_))), "{bytes:?}");
    }
    assert!(matches!(frames(AgentX::new(), b"\x02", &[64]).1, Some(FrameError::Malformed(_))));
    let mut framed = Framed::new(&b"x:"[..], Netstrings::new());
    for _ in 0..2 {
        assert_eq!(framed.read_frame().unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}

/// What comes from outside, by each codec: whole frames, damaged ones, and noise.
mod fuzz {
    use std::borrow::Borrow;
    use std::fmt::Debug;
    use std::io::{self, Read};

    use fastrand::Rng;
    use overlapped::io::framing::{
        AgentX, Codec, FrameError, Framed, LengthPrefixed, Lines, Netstrings, Pdu, Separated,
    };

    use super::support::fuzz::{inputs, one_of, rounds, shortest};
    use super::{frames, pdu};

    /// So much is read at once, at most: what [`Framed`] asks for grows with what is there.
    const AT_ONCE: usize = 32 << 10;
    /// More than a head and a separator of any of these codecs has.
    const OVERHEAD: usize = 64;

    /// A stream without end.
    struct Endless<'a> {
        bytes: &'a [u8],
        taken: usize,
    }

    impl Read for Endless<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = buffer.len().min(AT_ONCE);
            buffer[..length].iter_mut().for_each(|byte| {
                *byte = self.bytes[self.taken % self.bytes.len()];
                self.taken += 1;
            });
            Ok(length)
        }
    }

    #[test]
    fn an_input_that_fails_is_made_as_short_and_plain_as_it_still_fails() {
        let fails = |input: &[u8]| input.contains(&b'x') && input.len() > 3;
        assert_eq!(shortest(b"what has an x, and four bytes".to_vec(), fails), b"00x0");
    }

    /// Holds a codec with this limit to the promises of each: `some` makes frames, some of them beyond it, and `length` tells
    /// what the limit is about.
    fn check<C: Codec<Frame: PartialEq + Debug + Borrow<C::Written>>>(
        with_limit: impl Fn(usize) -> C,
        limit: usize,
        some: impl Fn(&mut Rng) -> C::Frame,
        length: impl Fn(&C::Frame) -> usize,
    ) {
        let (codec, wide) = (|| with_limit(limit), || with_limit(2 * limit));
        let written = |sent: &[C::Frame]| {
            let mut bytes = Vec::new();
            sent.iter().for_each(|frame| wide().encode(frame.borrow(), &mut bytes).unwrap());
            bytes
        };
        let lengths = |random: &mut Rng| -> Vec<usize> { (0..4).map(|_| random.usize(1..9)).collect() };

        // Frames come back as they were, whatever pieces they come in.
        rounds(200, |random| {
            let sent: Vec<C::Frame> = (0..random.usize(..6)).map(|_| some(random)).collect();
            assert_eq!(frames(wide(), &written(&sent), &lengths(random)), (sent, None));
        });

        let mut random = Rng::with_seed(0);
        let valid: Vec<Vec<u8>> =
            (0..20).map(|_| written(&[some(&mut random)])).filter(|one| !one.is_empty()).collect();
        inputs(2000, &valid, |random, input| {
            // The same frames, and an end of the same kind: which error comes first may depend on what has come.
            let (whole, error) = frames(codec(), input, &[4096]);
            let (found, other) = frames(codec(), input, &lengths(random));
            assert_eq!((&found, other.is_some()), (&whole, error.is_some()), "{error:?} and {other:?}");
            for frame in &whole {
                assert!(length(frame) <= limit, "{} are more than {limit}", length(frame));
                let mut bytes = Vec::new();
                // What would be read otherwise, as text that ends in a carriage return, is not written.
                if codec().encode(frame.borrow(), &mut bytes).is_ok() {
                    assert_eq!(frames(codec(), &bytes, &[64]).0.as_slice(), std::slice::from_ref(frame));
                }
            }
            if input.is_empty() {
                return;
            }
            // However it goes on, a frame or an error comes before much more than the limit was read and kept.
            let mut framed = Framed::new(Endless { bytes: input, taken: 0 }, codec());
            let mut used = 0;
            for _ in 0..20 {
                let before = framed.stream().taken;
                let came = framed.read_frame();
                let taken = framed.stream().taken;
                assert!(taken - before <= limit + OVERHEAD + AT_ONCE, "{} bytes for one frame", taken - before);
                match came {
                    Ok(Some(_)) => used += 1,
                    Ok(None) => panic!("the stream has no end"),
                    Err(_) => break,
                }
            }
            let (_, kept) = framed.into_parts();
            assert!(kept.len() <= limit + OVERHEAD + AT_ONCE, "{} bytes are kept after {used} frames", kept.len());
        });
    }

    fn bytes(random: &mut Rng) -> Vec<u8> {
        (0..*one_of(random, &[0, 1, 2, 5, 29, 30, 31, 32])).map(|_| random.u8(..)).collect()
    }

    const LIMIT: usize = 30;

    #[test]
    fn lines() {
        let text = |random: &mut Rng| (0..random.usize(..14)).map(|_| random.char('!'..'\u{2000}')).collect();
        check(|limit| Lines::new().limit(limit), LIMIT, text, String::len);
    }

    #[test]
    fn separated() {
        let some = |random: &mut Rng| bytes(random).into_iter().map(|byte| byte | 1).collect();
        check(|limit| Separated::by("\0\0").limit(limit), LIMIT, some, Vec::len);
        let some = |random: &mut Rng| bytes(random).into_iter().map(|byte| b'b' + byte % 3).collect();
        check(|limit| Separated::by("aab").limit(limit), LIMIT, some, Vec::len);
    }

    #[test]
    fn length_prefixed() {
        check(|limit| LengthPrefixed::u8().limit(limit), LIMIT, bytes, Vec::len);
        check(|limit| LengthPrefixed::u16().limit(limit), LIMIT, bytes, Vec::len);
        check(|limit| LengthPrefixed::u32().little_endian().limit(limit), LIMIT, bytes, Vec::len);
        check(|limit| LengthPrefixed::u64().limit(limit), LIMIT, bytes, Vec::len);
        check(|limit| LengthPrefixed::u32().limit(limit), 100_000, bytes, Vec::len);
    }

    #[test]
    fn netstrings() {
        check(|limit| Netstrings::new().limit(limit), LIMIT, bytes, Vec::len);
    }

    #[test]
    fn agentx() {
        let some = |random: &mut Rng| {
            let mut payload = bytes(random);
            payload.truncate(payload.len() / 4 * 4);
            Pdu { session: random.u32(..), ..pdu(random.u8(..), &payload) }
        };
        check(|limit| AgentX::new().limit(limit), LIMIT, some, |pdu| pdu.payload.len());
    }

    /// Bytes of no codec's, from few that mean something to it, so that it comes far.
    #[test]
    fn noise() {
        fn check<C: Codec<Frame: PartialEq + Debug>>(codec: impl Fn() -> C, alphabet: &[u8]) {
            rounds(1000, |random| {
                let noise: Vec<u8> = (0..random.usize(..40)).map(|_| *one_of(random, alphabet)).collect();
                let whole: (_, Option<FrameError>) = frames(codec(), &noise, &[4096]);
                for lengths in [&[1][..], &[2, 1], &[7, 3, 1]] {
                    let (found, error) = frames(codec(), &noise, lengths);
                    assert_eq!(found, whole.0, "{noise:?}");
                    assert_eq!(error.is_some(), whole.1.is_some(), "{noise:?}: {error:?}, {:?}", whole.1);
                }
            });
        }
        let all: Vec<u8> = (0..=255).collect();
        check(|| Lines::new().limit(8), b"ab\r\n\n\xc3\xa9");
        check(|| Separated::by("aab").limit(8), b"aaab");
        check(|| LengthPrefixed::u8().limit(8), b"\0\x01\x02\x05\x08\x09");
        check(|| LengthPrefixed::u16().limit(8), b"\0\0\x01\x02");
        check(|| Netstrings::new().limit(30), b"0123:,:,");
        check(|| AgentX::new().limit(16), b"\x01\0\0\x10\x04");
        check(Netstrings::new, &all);
        check(AgentX::new, &all);
    }
}

#[test]
fn a_time_out_in_the_middle_of_a_frame_loses_nothing() {
    run(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut stream = Framed::new(listener.accept().unwrap().0, Netstrings::new());
        peer.write_all(b"12:hello ").unwrap();
        assert!(timeout(Duration::from_millis(5), || stream.read_frame()).is_err());
        stream.stream().set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        assert_eq!(stream.read_frame().unwrap_err().kind(), io::ErrorKind::TimedOut);
        stream.stream().set_read_timeout(None).unwrap();
        peer.write_all(b"world!,").unwrap();
        assert_eq!(stream.read_frame().unwrap().unwrap(), b"hello world!");
    });
}

#[test]
fn the_bytes_behind_a_frame_go_on_with_the_stream() {
    let mut lines = Framed::new(&b"upgrade\n\x00\x02hi\x00"[..], Lines::new());
    assert_eq!(lines.read_frame().unwrap().unwrap(), "upgrade");
    let (stream, rest) = lines.into_parts();
    let mut frames = Framed::with_bytes(stream, LengthPrefixed::u16(), rest);
    assert_eq!(frames.read_frame().unwrap().unwrap(), b"hi");
    assert_eq!(frames.read_frame().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
}
