//! Frames on streams: each codec by its rules, cut at every place, beyond its limit, and fed with noise.

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

/// Frames of random content come back as they were, whatever pieces they come in.
#[test]
fn frames_come_back_as_they_were_in_whatever_pieces_they_come() {
    fn check<C: Codec<Frame: PartialEq + std::fmt::Debug + std::borrow::Borrow<C::Written>>>(
        codec: impl Fn() -> C,
        mut random: impl FnMut(&mut fastrand::Rng) -> C::Frame,
    ) {
        let mut rng = fastrand::Rng::with_seed(7);
        for _ in 0..200 {
            let sent: Vec<C::Frame> = (0..rng.usize(..6)).map(|_| random(&mut rng)).collect();
            let mut bytes = Vec::new();
            sent.iter().for_each(|frame| codec().encode(std::borrow::Borrow::borrow(frame), &mut bytes).unwrap());
            let lengths: Vec<usize> = (0..4).map(|_| rng.usize(1..9)).collect();
            assert_eq!(frames(codec(), &bytes, &lengths), (sent, None));
        }
    }
    fn bytes(rng: &mut fastrand::Rng) -> Vec<u8> {
        (0..rng.usize(..30)).map(|_| rng.u8(..)).collect()
    }
    check(Lines::new, |rng| (0..rng.usize(..20)).map(|_| rng.char('!'..'\u{2000}')).collect());
    check(|| Separated::by("\0\0"), |rng| bytes(rng).into_iter().map(|byte| byte | 1).collect());
    check(LengthPrefixed::u8, bytes);
    check(|| LengthPrefixed::u32().little_endian(), bytes);
    check(Netstrings::new, bytes);
    check(AgentX::new, |rng| {
        let mut payload = bytes(rng);
        payload.resize(payload.len().next_multiple_of(4), 0);
        Pdu { session: rng.u32(..), ..pdu(rng.u8(..), &payload) }
    });
}

/// Whatever comes: no panic, and the same frames and the same end, in one piece and byte by byte.
#[test]
fn noise_gives_the_same_frames_and_errors_in_whatever_pieces_it_comes() {
    fn check<C: Codec<Frame: PartialEq + std::fmt::Debug>>(codec: impl Fn() -> C, alphabet: &[u8]) {
        let mut rng = fastrand::Rng::with_seed(11);
        for _ in 0..1000 {
            let noise: Vec<u8> = (0..rng.usize(..40)).map(|_| alphabet[rng.usize(..alphabet.len())]).collect();
            let whole = frames(codec(), &noise, &[4096]);
            for lengths in [&[1][..], &[2, 1], &[7, 3, 1]] {
                let (found, error) = frames(codec(), &noise, lengths);
                assert_eq!(found, whole.0, "{noise:?}");
                // Which error comes first may depend on what has come: that there is one may not.
                assert_eq!(error.is_some(), whole.1.is_some(), "{noise:?}: {error:?}, {:?}", whole.1);
            }
        }
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
