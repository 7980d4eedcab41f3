//! tungstenite on tasklets, as it is. Each rule of RFC 6455 that a server keeps is a case, as in the Autobahn test suite:
//! frames as they are on the wire, in several deliveries, and what must come back for them.

mod support;

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};

use overlapped::net::TcpStream;
use overlapped::{spawn, tasklets, yield_now};
use support::{pattern, run, run_long, serve, wait_for};
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Error, Message, WebSocket, accept};

/// Sends back what comes; says why it closes where the client breaks the protocol (RFC 6455, 7.4.1).
fn echo(stream: TcpStream) {
    let Ok(mut socket) = accept(stream) else { return };
    loop {
        let code = match socket.read() {
            Ok(message @ (Message::Text(_) | Message::Binary(_))) => match socket.send(message) {
                Ok(()) => continue,
                Err(_) => return,
            },
            // The answers to these are tungstenite's.
            Ok(_) => continue,
            // Its answer to the client's close has been sent.
            Err(Error::ConnectionClosed) => break,
            Err(Error::Utf8(_)) => CloseCode::Invalid,
            Err(Error::Protocol(_)) => CloseCode::Protocol,
            Err(Error::Capacity(_)) => CloseCode::Size,
            Err(_) => return,
        };
        let _ = socket.close(Some(CloseFrame { code, reason: "".into() }));
        break;
    }
    // What the client still sends is let in: a reset could take the reason from it.
    let _ = socket.get_ref().disconnect();
}

fn connect(server: SocketAddr) -> WebSocket<TcpStream> {
    tungstenite::client("ws://localhost/", TcpStream::connect(server).unwrap()).unwrap().0
}

// Opcodes (5.2), and the bit of a message's last frame.
const CONTINUES: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
const LAST: u8 = 0x80;

/// A frame's head: its length as RFC 6455, 5.2 has it, with the bit that says whether it is masked.
fn head(first: u8, masked: u8, length: usize) -> Vec<u8> {
    match length {
        ..=125 => vec![first, masked | length as u8],
        126..=0xffff => [&[first, masked | 126][..], &(length as u16).to_be_bytes()].concat(),
        _ => [&[first, masked | 127][..], &(length as u64).to_be_bytes()].concat(),
    }
}

/// A frame of a client's, masked.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x12, 0xab, 0x00, 0xff];
    let mut frame = head(first, 0x80, payload.len());
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// A close that says why.
fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(LAST | CLOSE, &[&code.to_be_bytes()[..], reason].concat())
}

/// A message in frames of so many bytes.
fn in_parts(kind: u8, payload: &[u8], length: usize) -> Vec<Vec<u8>> {
    let mut parts: Vec<_> = payload.chunks(length).map(|part| frame(CONTINUES, part)).collect();
    parts[0][0] = kind;
    parts.last_mut().unwrap()[0] |= LAST;
    parts
}

/// What a server's frame says: its first byte, and its payload, which is not masked.
fn read_frame(stream: &mut impl Read) -> io::Result<(u8, Vec<u8>)> {
    let mut start = [0; 2];
    stream.read_exact(&mut start)?;
    let mut length = [0; 8];
    let bytes = match start[1] {
        126 => &mut length[6..],
        127 => &mut length[..],
        short => {
            length[7] = short;
            &mut []
        }
    };
    stream.read_exact(bytes)?;
    let mut payload = vec![0; u64::from_be_bytes(length) as usize];
    stream.read_exact(&mut payload)?;
    Ok((start[0], payload))
}

/// How what a client sends comes to the server.
#[derive(Clone, Copy, Debug)]
enum Delivery {
    Whole,
    Frames,
    Bytes,
    /// In pieces of up to so many bytes.
    Random(u64),
}

impl Delivery {
    fn send(self, mut stream: &TcpStream, frames: &[Vec<u8>]) -> io::Result<()> {
        let all = frames.concat();
        let mut piece = |bytes: &[u8]| {
            yield_now();
            stream.write_all(bytes)
        };
        match self {
            Delivery::Whole => piece(&all),
            Delivery::Frames => frames.iter().try_for_each(|frame| piece(frame)),
            Delivery::Bytes => all.chunks(1).try_for_each(piece),
            Delivery::Random(seed) => {
                let (mut random, mut rest) = (fastrand::Rng::with_seed(seed), &all[..]);
                while !rest.is_empty() {
                    let most = 1 << random.u32(1..16);
                    let length = random.usize(1..=rest.len().min(most));
                    piece(&rest[..length])?;
                    rest = &rest[length..];
                }
                Ok(())
            }
        }
    }
}

/// What a client sends, and the frames that must come back; after the last of these the server ends the connection where
/// the last is a close.
struct Case {
    what: String,
    frames: Vec<Vec<u8>>,
    answers: Vec<(u8, Vec<u8>)>,
}

fn case(what: impl Into<String>, frames: Vec<Vec<u8>>, answers: Vec<(u8, Vec<u8>)>) -> Case {
    Case { what: what.into(), frames, answers }
}

/// Some frames that are in order, one that is not, and a message that nobody must answer any more.
fn refused(what: impl Into<String>, mut frames: Vec<Vec<u8>>, code: u16) -> Case {
    frames.push(frame(LAST | TEXT, b"too late"));
    case(what, frames, vec![(LAST | CLOSE, code.to_be_bytes().to_vec())])
}

impl Case {
    fn check(&self, server: SocketAddr, delivery: Delivery) {
        let socket = connect(server);
        let stream = std::rc::Rc::new(socket.into_inner());
        stream.set_nodelay(true).unwrap();
        let (sends, frames) = (stream.clone(), self.frames.clone());
        let closes = self.answers.last().is_some_and(|(first, _)| *first == LAST | CLOSE);
        let sender = spawn(move || {
            // A server that closes needs not take the rest.
            let sent = delivery.send(&sends, &frames);
            assert!(closes || sent.is_ok(), "{sent:?}");
            sends.shutdown(Shutdown::Write)
        });
        let mut reader = &*stream;
        for (at, expected) in self.answers.iter().enumerate() {
            let came = read_frame(&mut reader)
                .unwrap_or_else(|error| panic!("{}, {delivery:?}: instead of answer {at}: {error}", self.what));
            let told =
                |(first, payload): &(u8, Vec<u8>)| format!("{first:#x} {:?}", payload.escape_ascii().to_string());
            // tungstenite adds a reason to some codes.
            let is_it = came == *expected
                || (expected.0 == LAST | CLOSE && came.0 == expected.0 && came.1.get(..2) == Some(&expected.1));
            if !is_it {
                let (mut came, mut expected) = (told(&came), told(expected));
                came.truncate(300);
                expected.truncate(300);
                panic!("{}, {delivery:?}: answer {at} is {came}, not {expected}", self.what);
            }
        }
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest).unwrap_or_else(|error| panic!("{}, {delivery:?}: at its end {error}", self.what));
        // A client that has gone without a close may be told that this is none.
        assert!(rest.is_empty() || (!closes && rest[0] == LAST | CLOSE), "{}, {delivery:?}: {rest:?}", self.what);
        let _ = sender.join().unwrap();
    }
}

/// The cases, in the order of RFC 6455: framing (5.2), fragmentation (5.4), control frames (5.5), text (8.1), closing (7).
fn cases() -> Vec<Case> {
    let text = |payload: &[u8]| frame(LAST | TEXT, payload);
    let ping = |payload: &[u8]| frame(LAST | PING, payload);
    let is_text = |payload: &[u8]| (LAST | TEXT, payload.to_vec());
    let is_pong = |payload: &[u8]| (LAST | PONG, payload.to_vec());
    let mut cases = Vec::new();

    for length in [0, 1, 125, 126, 127, 128, 65_535, 65_536] {
        for kind in [TEXT, BINARY] {
            let payload = vec![b'*'; length];
            cases.push(case(
                format!("{length} bytes of kind {kind}"),
                vec![frame(LAST | kind, &payload)],
                vec![(LAST | kind, payload)],
            ));
        }
    }
    let zero_mask = [&head(LAST | TEXT, 0x80, 2)[..], &[0; 4], b"hi"].concat();
    cases.push(case("a mask of zeros", vec![zero_mask], vec![is_text(b"hi")]));
    let bytes: Vec<u8> = (0..=255).collect();
    cases.push(case("all bytes", vec![frame(LAST | BINARY, &bytes)], vec![(LAST | BINARY, bytes)]));
    let many = (0..50).map(|number: usize| number.to_string().into_bytes());
    cases.push(case(
        "fifty messages at once",
        many.clone().map(|number| text(&number)).collect(),
        many.map(|number| is_text(&number)).collect(),
    ));
    let unmasked = [&head(LAST | TEXT, 0, 2)[..], b"hi"].concat();
    cases.push(refused("a frame without a mask", vec![unmasked], 1002));
    for bits in 1..8 {
        let reserved = bits << 4;
        let what = format!("reserved bits {bits}");
        cases.push(refused(format!("{what} of a text"), vec![frame(LAST | reserved | TEXT, b"hi")], 1002));
        cases.push(refused(format!("{what} of a ping"), vec![frame(LAST | reserved | PING, b"")], 1002));
        cases.push(refused(format!("{what} of a close"), vec![frame(LAST | reserved | CLOSE, b"")], 1002));
    }
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        for payload in [&b""[..], b"hi"] {
            let frames = vec![frame(LAST | opcode, payload)];
            cases.push(refused(format!("opcode {opcode} with {} bytes", payload.len()), frames, 1002));
        }
    }
    // What came before is answered.
    let mut late = refused("a reserved opcode after a message", vec![text(b"hi"), frame(LAST | 5, b"")], 1002);
    late.answers.insert(0, is_text(b"hi"));
    cases.push(late);

    for parts in [1, 2, 3, 7] {
        let payload = b"a text in parts";
        cases.push(case(format!("parts of {parts} bytes"), in_parts(TEXT, payload, parts), vec![is_text(payload)]));
    }
    let empty = vec![frame(TEXT, b""), frame(CONTINUES, b""), frame(LAST | CONTINUES, b"")];
    cases.push(case("parts of nothing", empty, vec![is_text(b"")]));
    let between = vec![frame(TEXT, b""), frame(CONTINUES, b"middle"), frame(LAST | CONTINUES, b"")];
    cases.push(case("something between parts of nothing", between, vec![is_text(b"middle")]));
    let pinged = vec![
        frame(TEXT, b"one "),
        ping(b"first"),
        frame(CONTINUES, b"two "),
        frame(LAST | PONG, b"unasked"),
        ping(b"second"),
        frame(LAST | CONTINUES, b"three"),
        text(b"whole"),
    ];
    let answers = vec![is_pong(b"first"), is_pong(b"second"), is_text(b"one two three"), is_text(b"whole")];
    cases.push(case("control frames between parts", pinged, answers));
    for (what, first) in [("a last part of nothing", LAST | CONTINUES), ("a part of nothing", CONTINUES)] {
        cases.push(refused(what, vec![frame(first, b"x")], 1002));
    }
    for kind in [TEXT, BINARY] {
        let frames = vec![frame(TEXT, b"a"), frame(LAST | kind, b"b")];
        cases.push(refused(format!("a message of kind {kind} within another"), frames, 1002));
    }
    let mut after = refused("a part after the last", in_parts(TEXT, b"ab", 1), 1002);
    after.frames.insert(2, frame(LAST | CONTINUES, b"c"));
    after.answers.insert(0, is_text(b"ab"));
    cases.push(after);

    for length in [0, 1, 124, 125] {
        let payload = pattern(length, length);
        cases.push(case(format!("a ping of {length} bytes"), vec![ping(&payload)], vec![is_pong(&payload)]));
    }
    let pings = (0..20_u8).map(|number| vec![number; 3]);
    cases.push(case(
        "twenty pings at once",
        pings.clone().map(|payload| ping(&payload)).collect(),
        pings.map(|payload| is_pong(&payload)).collect(),
    ));
    let pongs = vec![frame(LAST | PONG, b""), frame(LAST | PONG, b"unasked"), ping(b"asked")];
    cases.push(case("pongs that nobody asked for", pongs, vec![is_pong(b"asked")]));
    for (kind, what) in [(PING, "ping"), (PONG, "pong"), (CLOSE, "close")] {
        cases.push(refused(format!("a {what} in parts"), vec![frame(kind, b""), frame(LAST | CONTINUES, b"")], 1002));
        for length in [126, 127, 70_000] {
            let payload = [&1000_u16.to_be_bytes()[..], &vec![b'x'; length - 2]].concat();
            cases.push(refused(format!("a {what} of {length} bytes"), vec![frame(LAST | kind, &payload)], 1002));
        }
    }

    // The limits of the encoding and of its ranges are characters, too.
    for valid in
        ["κόσμε", "grüße, 你好, 🦀", "\0\u{7f}\u{80}\u{7ff}\u{800}\u{d7ff}\u{e000}\u{fffd}\u{ffff}\u{10000}\u{10ffff}"]
    {
        cases.push(case(format!("{valid:?}"), vec![text(valid.as_bytes())], vec![is_text(valid.as_bytes())]));
        let parts = in_parts(TEXT, valid.as_bytes(), 1);
        cases.push(case(format!("{valid:?} in bytes"), parts, vec![is_text(valid.as_bytes())]));
    }
    for (what, invalid) in [
        ("a byte of none", &b"\xff"[..]),
        ("a byte that goes on with nothing", b"\x80"),
        ("a character that is cut off", b"\xce\xba\xe1\xbd"),
        ("an overlong slash", b"\xc0\xaf"),
        ("an overlong character of three bytes", b"\xe0\x80\xaf"),
        ("an overlong character of four bytes", b"\xf0\x80\x80\xaf"),
        ("the first surrogate", b"\xed\xa0\x80"),
        ("the last surrogate", b"\xed\xbf\xbf"),
        ("one past the last character", b"\xf4\x90\x80\x80"),
        ("a character of five bytes", b"\xf8\x88\x80\x80\x80"),
    ] {
        cases.push(refused(what, vec![text(&[b"a text, ", invalid].concat())], 1007));
        let parts = vec![frame(TEXT, b"a text, "), ping(b""), frame(LAST | CONTINUES, invalid)];
        let mut in_the_last = refused(format!("{what}, in the last part"), parts, 1007);
        in_the_last.answers.insert(0, is_pong(b""));
        cases.push(in_the_last);
        cases.push(refused(format!("{what}, in a reason"), vec![close(1000, invalid)], 1007));
        let bytes = vec![frame(LAST | BINARY, invalid)];
        cases.push(case(format!("{what}, among bytes"), bytes, vec![(LAST | BINARY, invalid.to_vec())]));
    }

    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999] {
        let reason = vec![b'x'; 123];
        for reason in [&b""[..], b"bye", "grüße".as_bytes(), &reason] {
            // Nothing that comes after a close is answered.
            let frames = vec![close(code, reason), ping(b"late"), text(b"late"), close(1001, b"")];
            let answer = (LAST | CLOSE, [&code.to_be_bytes()[..], reason].concat());
            cases.push(case(format!("a close with {code} and {} bytes", reason.len()), frames, vec![answer]));
        }
    }
    cases.push(case("a close that says nothing", vec![frame(LAST | CLOSE, b"")], vec![(LAST | CLOSE, Vec::new())]));
    cases.push(refused("a close with half a code", vec![frame(LAST | CLOSE, b"\x03")], 1002));
    for code in [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535] {
        cases.push(refused(format!("a close with {code}"), vec![close(code, b"")], 1002));
    }
    let mut within = refused("a close within a message", vec![frame(TEXT, b"never"), close(1000, b"")], 1000);
    within.frames.push(frame(LAST | CONTINUES, b"complete"));
    cases.push(within);
    cases
}

#[test]
fn a_server_answers_frames_as_the_protocol_says_however_they_come() {
    run_long(4, || {
        let server = serve(echo);
        let seed = fastrand::u64(..);
        let mut other = connect(server);
        for (number, case) in cases().into_iter().enumerate() {
            let length: usize = case.frames.iter().map(Vec::len).sum();
            case.check(server, Delivery::Whole);
            case.check(server, Delivery::Frames);
            case.check(server, Delivery::Random(seed.wrapping_add(number as u64)));
            if length < 2000 {
                case.check(server, Delivery::Bytes);
            }
        }
        // All that was no other's concern, and nobody has stayed.
        other.send(Message::text("still here")).unwrap();
        assert_eq!(other.read().unwrap(), Message::text("still here"));
        drop(other);
        wait_for("the connections have ended", || tasklets().len() == 2);
    });
}

#[test]
fn large_messages_come_back_whole_in_one_frame_or_in_many() {
    run_long(4, || {
        let server = serve(echo);
        for length in [1, 4, 16].map(|megabytes| megabytes << 20) {
            let payload = pattern(length, length);
            let answers = vec![(LAST | BINARY, payload.clone())];
            for (parts, delivery) in [
                (length, Delivery::Whole),
                (length, Delivery::Random(length as u64)),
                (64 << 10, Delivery::Whole),
                ((64 << 10) + 1, Delivery::Frames),
                (997, Delivery::Whole),
            ] {
                let what = format!("{length} bytes in parts of {parts}");
                case(what, in_parts(BINARY, &payload, parts), answers.clone()).check(server, delivery);
            }
        }
        // Of a frame that is larger than the server takes, its head says enough.
        let too_large = [head(LAST | BINARY, 0x80, (16 << 20) + 1), vec![0; 4]].concat();
        let answer = (LAST | CLOSE, 1009_u16.to_be_bytes().to_vec());
        case("a frame that is too large", vec![too_large], vec![answer.clone()]).check(server, Delivery::Whole);
        let whole = vec![b'x'; 1 << 20];
        let mut parts = in_parts(BINARY, &whole, whole.len());
        parts[0][0] = BINARY;
        parts.extend((0..64).map(|_| frame(CONTINUES, &whole)));
        case("a message that is too large", parts, vec![answer]).check(server, Delivery::Whole);
    });
}

#[test]
fn a_client_that_goes_in_the_middle_of_a_frame_takes_its_tasklet_along() {
    run(|| {
        let server = serve(echo);
        let frames = [frame(LAST | TEXT, b"half"), in_parts(BINARY, &pattern(0, 300), 100).concat()];
        for frames in frames {
            for sent in 0..frames.len() {
                for resets in [false, true] {
                    let mut client = connect(server).into_inner();
                    client.write_all(&frames[..sent]).unwrap();
                    if resets {
                        client.set_linger(Some(std::time::Duration::ZERO)).unwrap();
                    }
                }
            }
        }
        wait_for("the connections have ended", || tasklets().len() == 2);
        case("another", vec![frame(LAST | TEXT, b"here")], vec![(LAST | TEXT, b"here".to_vec())])
            .check(server, Delivery::Whole);
    });
}

#[test]
fn tungstenite_is_a_client_of_its_own_server() {
    run(|| {
        let server = serve(echo);
        let mut socket = connect(server);
        for length in [0, 1, 125, 126, 127, 65_535, 65_536, 1 << 20] {
            let bytes = pattern(length, length);
            socket.send(Message::binary(bytes.clone())).unwrap();
            assert!(socket.read().unwrap() == Message::binary(bytes), "{length} bytes");
        }
        let text = "grüße, 你好, 🦀 ".repeat(100);
        socket.send(Message::text(text.clone())).unwrap();
        assert_eq!(socket.read().unwrap(), Message::text(text));
        socket.send(Message::Ping(b"are you there?"[..].into())).unwrap();
        assert_eq!(socket.read().unwrap(), Message::Pong(b"are you there?"[..].into()));
        let frame = CloseFrame { code: CloseCode::Normal, reason: "done".into() };
        socket.close(Some(frame.clone())).unwrap();
        assert_eq!(socket.read().unwrap(), Message::Close(Some(frame)));
        assert!(matches!(socket.read(), Err(Error::ConnectionClosed)));
    });
}

#[test]
fn a_hundred_websockets_talk_at_once() {
    run_long(2, || {
        let server = serve(echo);
        let clients: Vec<_> = (0..100)
            .map(|number| {
                spawn(move || {
                    let mut socket = connect(server);
                    for round in 0..20 {
                        let message = Message::text(format!("{number}: {round}"));
                        socket.send(message.clone()).unwrap();
                        assert_eq!(socket.read().unwrap(), message);
                    }
                    socket.close(None).unwrap();
                    while socket.read().is_ok() {}
                })
            })
            .collect();
        clients.into_iter().for_each(|client| client.join().unwrap());
    });
}
