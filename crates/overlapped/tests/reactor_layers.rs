//! What stands beside and on streams of the reactor: frames, datagrams, child processes.

mod support;

use std::io::{self, ErrorKind, Write};
use std::net::Shutdown;

use overlapped::Queue;
use overlapped::io::framing::{AgentX, Codec, FrameError, Framed, LengthPrefixed, Lines, Netstrings, Pdu, Separated};
use overlapped::net::{SocketAddr, UdpSocket};
use overlapped::reactor::{
    self, DatagramProtocol, DatagramTransport, FrameProtocol, FrameTransport, Frames, attach, attach_datagrams,
};
use support::{run, stream_pair};

/// Passes on frames, and the end.
struct Tells<C: Codec>(Queue<Told<C>>);

type Told<C> = Result<<C as Codec>::Frame, Option<FrameError>>;

impl<C: Codec + 'static> FrameProtocol<C> for Tells<C> {
    fn frame_received(&mut self, _: &FrameTransport<C>, frame: C::Frame) {
        self.0.try_put(Ok(frame)).ok().unwrap();
    }
    fn connection_lost(&mut self, reason: io::Result<()>) {
        self.0.try_put(Err(reason.err().map(|error| why(&error)))).ok().unwrap();
    }
}

/// The codec's error. How long a frame is at least depends on how much of it had come.
fn why(error: &io::Error) -> FrameError {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<FrameError>()).expect("a frame's error") {
        FrameError::TooLong { limit, .. } => FrameError::TooLong { length: 0, limit: *limit },
        other => other.clone(),
    }
}

/// What a protocol is told of bytes that come in such pieces.
fn told<C: Codec + 'static>(
    codec: C,
    bytes: &[u8],
    mut cut: impl FnMut() -> usize,
) -> (Vec<C::Frame>, Option<FrameError>) {
    let (one, mut other) = stream_pair();
    let queue = Queue::new();
    attach(one, Frames::new(codec, Tells(queue.clone()))).unwrap();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (piece, more) = rest.split_at(cut().clamp(1, rest.len()));
        rest = more;
        if other.write_all(piece).is_err() {
            // It was given up.
            break;
        }
        let (turned, set) = (overlapped::Event::new(), rest.len().is_multiple_of(3));
        let tell = turned.clone();
        reactor::call_soon(move || tell.set());
        if set {
            turned.wait();
        }
    }
    let _ = other.shutdown(Shutdown::Write);
    let mut frames = Vec::new();
    loop {
        match queue.get().unwrap() {
            Ok(frame) => frames.push(frame),
            Err(end) => return (frames, end),
        }
    }
}

/// What a blocking reader finds in the same bytes.
fn read<C: Codec>(codec: C, bytes: &[u8]) -> (Vec<C::Frame>, Option<FrameError>) {
    let (mut framed, mut frames) = (Framed::new(bytes, codec), Vec::new());
    loop {
        match framed.read_frame() {
            Ok(Some(frame)) => frames.push(frame),
            Ok(None) => return (frames, None),
            Err(error) => return (frames, Some(why(&error))),
        }
    }
}

/// Frames of chance, noise in some of them, cut anywhere: the protocol is told what a blocking reader finds.
fn fuzz<C>(codec: C, mut write: impl FnMut(&mut fastrand::Rng, &mut C, &mut Vec<u8>) -> bool)
where
    C: Codec<Frame: PartialEq + std::fmt::Debug> + Clone + 'static,
{
    support::fuzz::random_rounds(60, |random| {
        let (mut bytes, mut count, mut writer) = (Vec::new(), 0, codec.clone());
        for _ in 0..random.usize(..12) {
            count += usize::from(write(random, &mut writer, &mut bytes));
        }
        let noise = random.usize(..3) == 0;
        if noise {
            for _ in 0..=random.usize(..4) {
                match (random.u8(..3), bytes.len()) {
                    (0, 1..) => bytes.truncate(random.usize(..bytes.len())),
                    (1, 1..) => {
                        let at = random.usize(..bytes.len());
                        bytes[at] = random.u8(..);
                    }
                    _ => bytes.extend(std::iter::repeat_with(|| random.u8(..)).take(5)),
                }
            }
        }
        let expected = read(codec.clone(), &bytes);
        if !noise {
            assert_eq!((expected.0.len(), &expected.1), (count, &None));
        }
        let longest = [1, 7, 5000][random.usize(..3)];
        assert_eq!(told(codec.clone(), &bytes, || random.usize(1..=longest)), expected, "{bytes:?}");
    });
}

/// Bytes of chance, sometimes beyond the limit of 64.
fn chance(random: &mut fastrand::Rng) -> Vec<u8> {
    let length = random.usize(..70);
    std::iter::repeat_with(|| random.u8(..)).take(length).collect()
}

#[test]
fn lines_are_told_as_they_are_read() {
    run(|| {
        fuzz(Lines::new().limit(64), |random, codec, bytes| {
            let text: String = (0..random.usize(..70)).map(|_| random.char('a'..='\u{e9}')).collect();
            codec.encode(&text, bytes).is_ok()
        });
    });
}

#[test]
fn what_separators_separate_is_told_as_it_is_read() {
    run(|| {
        fuzz(Separated::by("\r\n").limit(64), |random, codec, bytes| codec.encode(&chance(random), bytes).is_ok());
    });
}

#[test]
fn frames_after_their_length_are_told_as_they_are_read() {
    run(|| {
        fuzz(LengthPrefixed::u16().limit(64), |random, codec, bytes| codec.encode(&chance(random), bytes).is_ok());
        fuzz(LengthPrefixed::u32().little_endian().limit(64), |random, codec, bytes| {
            codec.encode(&chance(random), bytes).is_ok()
        });
    });
}

#[test]
fn netstrings_are_told_as_they_are_read() {
    run(|| fuzz(Netstrings::new().limit(64), |random, codec, bytes| codec.encode(&chance(random), bytes).is_ok()));
}

#[test]
fn agentx_units_are_told_as_they_are_read() {
    run(|| {
        fuzz(AgentX::new().limit(64), |random, codec, bytes| {
            let (session, transaction, packet) = (random.u32(..), random.u32(..), random.u32(..));
            let flags = if random.bool() { 0x10 } else { 0 };
            let pdu = Pdu { kind: random.u8(1..19), flags, session, transaction, packet, payload: chance(random) };
            codec.encode(&pdu, bytes).is_ok()
        });
    });
}

/// Closes at the first frame.
struct Closes(Queue<String>);

impl FrameProtocol<Lines> for Closes {
    fn frame_received(&mut self, transport: &FrameTransport<Lines>, line: String) {
        assert!(transport.write_frame("no\nline").is_err(), "what the codec cannot write is an error");
        transport.write_frame(&line).unwrap();
        transport.transport().close();
        self.0.try_put(line).unwrap();
    }
}

#[test]
fn no_frame_is_told_after_the_connection_was_closed() {
    run(|| {
        let (one, mut other) = stream_pair();
        let queue = Queue::new();
        attach(one, Frames::new(Lines::new(), Closes(queue.clone()))).unwrap();
        other.write_all(b"first\nsecond\n").unwrap();
        assert_eq!(queue.get().unwrap(), "first");
        assert_eq!(Framed::new(other, Lines::new()).read_frame().unwrap().as_deref(), Some("first"));
        assert!(queue.is_empty());
    });
}

/// A datagram and who sent it; or the end, and what it was.
type Received = Queue<Result<(Vec<u8>, SocketAddr), Option<ErrorKind>>>;

/// Passes on datagrams, and the end.
struct Datagrams(Received);

impl DatagramProtocol for Datagrams {
    fn datagram_received(&mut self, transport: &DatagramTransport, bytes: &[u8], from: SocketAddr) {
        match bytes {
            b"panic" => panic!("as asked"),
            b"wait" => overlapped::yield_now(),
            _ => transport.send_to(bytes, from),
        }
        self.0.try_put(Ok((bytes.to_vec(), from))).unwrap();
    }
    fn connection_lost(&mut self, reason: io::Result<()>) {
        self.0.try_put(Err(reason.err().map(|error| error.kind()))).unwrap();
    }
}

fn datagrams() -> (DatagramTransport, SocketAddr, Received) {
    let told = Queue::new();
    let server = attach_datagrams(UdpSocket::bind("127.0.0.1:0").unwrap(), Datagrams(told.clone())).unwrap();
    let address = server.local_addr().unwrap().ip().unwrap();
    (server, address, told)
}

#[test]
fn datagrams_are_told_with_their_sender_and_sent_before_the_socket_closes() {
    run(|| {
        let (server, address, told) = datagrams();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        let here = client.local_addr().unwrap();
        for n in 0..50_u8 {
            client.send_to(&[n; 100], address).unwrap();
            assert_eq!(told.get().unwrap(), Ok((vec![n; 100], here)));
            let mut answer = [0; 200];
            assert_eq!(client.recv_from(&mut answer).unwrap(), (100, address));
            assert_eq!(answer[0], n);
        }
        for n in 0..20_u8 {
            server.send_to(&[n], here);
        }
        server.close();
        server.send_to(b"too late", here);
        for n in 0..20_u8 {
            let mut answer = [0; 20];
            assert_eq!((client.recv_from(&mut answer).unwrap().0, answer[0]), (1, n));
        }
        assert_eq!(told.get().unwrap(), Err(None));
    });
}

#[test]
fn a_datagram_callback_that_panics_or_waits_costs_its_own_socket() {
    for message in ["panic", "wait"] {
        run(|| {
            let (_server, address, told) = datagrams();
            let client = UdpSocket::bind("127.0.0.1:0").unwrap();
            client.send_to(message.as_bytes(), address).unwrap();
            assert_eq!(told.get().unwrap(), Err(Some(ErrorKind::Other)));
        });
    }
}

#[test]
fn datagram_sockets_are_lost_when_the_run_ends_begun_or_not() {
    let (begun, not_begun) = run(|| {
        let (_one, _, begun) = datagrams();
        overlapped::yield_now();
        let (_two, _, not_begun) = datagrams();
        (begun, not_begun)
    });
    for told in [begun, not_begun] {
        assert_eq!(told.try_get().unwrap(), Err(Some(ErrorKind::ConnectionAborted)));
    }
}

#[cfg(unix)]
mod processes {
    use super::*;
    use overlapped::process::{Command, ExitStatus, Stdio};
    use overlapped::reactor::{ChildOutput, ProcessProtocol, ProcessTransport, spawn_process};
    use overlapped::spawn;

    #[derive(Debug, PartialEq)]
    enum Of {
        Started,
        Bytes(ChildOutput, Vec<u8>),
        OutputEnded(ChildOutput),
        Exited(Option<ExitStatus>),
        Ended,
    }

    struct Child(Queue<Of>);

    impl ProcessProtocol for Child {
        fn process_started(&mut self, _: &ProcessTransport) {
            self.0.try_put(Of::Started).unwrap();
        }
        fn output_received(&mut self, _: &ProcessTransport, output: ChildOutput, bytes: &[u8]) {
            self.0.try_put(Of::Bytes(output, bytes.to_vec())).unwrap();
        }
        fn output_ended(&mut self, _: &ProcessTransport, output: ChildOutput, _: io::Result<()>) {
            self.0.try_put(Of::OutputEnded(output)).unwrap();
        }
        fn process_exited(&mut self, _: &ProcessTransport, status: io::Result<ExitStatus>) {
            self.0.try_put(Of::Exited(status.ok())).unwrap();
        }
        fn process_ended(&mut self) {
            self.0.try_put(Of::Ended).unwrap();
        }
    }

    fn shell(script: &str) -> (ProcessTransport, Queue<Of>) {
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let told = Queue::new();
        (spawn_process(&mut command, Child(told.clone())).unwrap(), told)
    }

    #[test]
    fn a_child_tells_its_outputs_and_its_end() {
        run(|| {
            let (child, told) = shell("cat; echo wrong >&2; exit 3");
            let much = vec![b'x'; 300_000];
            child.stdin().unwrap().write(&much);
            child.stdin().unwrap().write_eof();
            assert_eq!(told.get().unwrap(), Of::Started);
            let (mut out, mut err, mut rest) = (Vec::new(), Vec::new(), Vec::new());
            loop {
                match told.get().unwrap() {
                    Of::Bytes(ChildOutput::Stdout, bytes) => out.extend(bytes),
                    Of::Bytes(ChildOutput::Stderr, bytes) => err.extend(bytes),
                    Of::Ended => break,
                    other => rest.push(other),
                }
            }
            assert!(out == much && err == b"wrong\n");
            assert_eq!(rest.len(), 3);
            assert!(rest.contains(&Of::OutputEnded(ChildOutput::Stdout)));
            assert!(rest.contains(&Of::OutputEnded(ChildOutput::Stderr)));
            assert!(rest.iter().any(|of| matches!(of, Of::Exited(Some(status)) if status.code() == Some(3))));
        });
    }

    #[test]
    fn a_child_is_killed_and_one_that_has_ended_is_left_alone() {
        run(|| {
            let (child, told) = shell("exec cat");
            child.kill().unwrap();
            let exited = std::iter::from_fn(|| told.get().ok()).find_map(|of| match of {
                Of::Exited(status) => status,
                _ => None,
            });
            use std::os::unix::process::ExitStatusExt;
            assert_eq!(exited.unwrap().signal(), Some(9));
            child.kill().unwrap();
            child.signal(15).unwrap();
        });
    }

    #[test]
    fn a_child_that_outlives_the_run_is_told_of_all_the_same() {
        let (child, told) = run(|| shell("exec cat"));
        let told: Vec<Of> = std::iter::from_fn(|| told.try_get().ok()).collect();
        assert_eq!(told.last(), Some(&Of::Ended));
        assert!(told.contains(&Of::Exited(None)));
        drop(child);
    }

    #[test]
    fn tasklets_and_child_protocols_run_side_by_side() {
        run(|| {
            let children: Vec<_> = (0..10)
                .map(|n| {
                    spawn(move || {
                        let (_child, told) = shell(&format!("echo {n}"));
                        std::iter::from_fn(|| told.get().ok()).take_while(|of| *of != Of::Ended).count()
                    })
                })
                .collect();
            children.into_iter().for_each(|child| assert!(child.join().unwrap() >= 5));
        });
    }
}
