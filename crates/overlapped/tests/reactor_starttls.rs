//! TLS that starts in the middle of a conversation of the reactor's.

mod support;

use std::cell::Cell;
use std::io::{self, ErrorKind, Read, Write};
use std::rc::Rc;
use std::sync::Arc;

use overlapped::Queue;
use overlapped::io::framing::Lines;
use overlapped::reactor::{self, AtEnd, FrameProtocol, FrameTransport, Frames, Protocol, Tls, Transport};
use rustls::{ClientConnection, StreamOwned};
use support::protocols::{Tells, Told, bytes, next, turns};
use support::tls::{client, client_config, server};
use support::{pattern, run, stream_pair};

/// A client's side of TLS that has said nothing yet.
fn session() -> ClientConnection {
    ClientConnection::new(Arc::new(client_config()), "localhost".try_into().unwrap()).unwrap()
}

/// A client and the protocol that is told at the server's end hear each other by TLS.
fn talk_in_secret(client: &mut (impl Read + Write), told: &Queue<Told>) {
    client.write_all(b"hello").unwrap();
    let mut secret = [0; 9];
    client.read_exact(&mut secret).unwrap();
    assert_eq!(&secret, b"in secret");
    assert_eq!(next(told), Told::Made);
    assert_eq!(bytes(told, 5), b"hello");
}

/// Speaks plainly until its peer has said `until`, answers, and starts TLS.
struct Starts {
    tls: Tls,
    until: &'static [u8],
    answer: &'static [u8],
    heard: Vec<u8>,
    then: Option<Tells>,
    started: Queue<Transport>,
    lives: Rc<Cell<u32>>,
}

impl Protocol for Starts {
    fn data_received(&mut self, transport: &Transport, bytes: &[u8]) {
        self.heard.extend(bytes);
        if let Some(rest) = self.heard.strip_prefix(self.until) {
            transport.write(self.answer);
            let started = self.tls.start(transport, rest, self.then.take().unwrap()).unwrap();
            started.write(b"in secret");
            self.started.try_put(started).unwrap();
        }
    }
    fn connection_lost(&mut self, _: io::Result<()>) {
        unreachable!("it is told nothing more");
    }
}

impl Drop for Starts {
    fn drop(&mut self) {
        self.lives.set(self.lives.get() - 1);
    }
}

#[test]
fn tls_starts_in_the_middle_of_a_plain_conversation() {
    run(|| {
        let lives = Rc::new(Cell::new(2));
        let starts = |tls, until: &'static [u8], answer: &'static [u8]| {
            let ((tells, told), started) = (Tells::new(), Queue::new());
            let (heard, lives) = (Vec::new(), Rc::clone(&lives));
            (Starts { tls, until, answer, heard, then: Some(tells), started: started.clone(), lives }, told, started)
        };
        let (near, far) = stream_pair();
        let (far_protocol, far_told, _) = starts(server(), b"STARTTLS\n", b"220 go ahead\n");
        let (near_protocol, near_told, near_started) = starts(client(), b"220 go ahead\n", b"");
        reactor::attach(far, far_protocol).unwrap();
        let near = reactor::attach(near, near_protocol).unwrap();
        near.write(b"STAR");
        turns();
        near.write(b"TTLS\n");
        for told in [&near_told, &far_told] {
            assert_eq!(next(told), Told::Made);
            assert_eq!(bytes(told, 9), b"in secret");
        }
        assert_eq!(lives.get(), 0, "the plain ones are dropped");
        near_started.try_get().unwrap().close();
        assert_eq!(next(&near_told), Told::Lost(Ok(())));
        assert_eq!((next(&far_told), next(&far_told)), (Told::End, Told::Lost(Ok(()))));
    });
}

#[test]
fn tls_starts_with_what_came_of_it_in_one_piece_with_the_last_plain_bytes() {
    run(|| {
        let ((tells, told), started) = (Tells::new(), Queue::new());
        let (until, answer, heard) = (&b"PROXY TCP4 ...\r\n"[..], &b""[..], Vec::new());
        let lives = Rc::new(Cell::new(1));
        let (mut near, far) = stream_pair();
        let mut session = session();
        let mut first = until.to_vec();
        session.write_tls(&mut first).unwrap();
        near.write_all(&first).unwrap();
        let starts = Starts { tls: server(), until, answer, heard, then: Some(tells), started, lives };
        reactor::attach(far, starts).unwrap();
        let mut stream = StreamOwned::new(session, near);
        talk_in_secret(&mut stream, &told);
    });
}

#[test]
fn tls_starts_from_a_tasklet_though_reading_was_paused_and_on_tls_as_well() {
    run(|| {
        let (near, far) = stream_pair();
        let ((near_protocol, near_told), (far_protocol, far_told)) = (Tells::new(), Tells::new());
        let near = reactor::attach(near, near_protocol).unwrap();
        let far = reactor::attach(far, far_protocol).unwrap();
        assert_eq!((next(&near_told), next(&far_told)), (Told::Made, Told::Made));
        far.pause_reading();
        let (mut near, mut far) = (near, far);
        for layers in 0..3 {
            let ((near_protocol, near_told), (far_protocol, far_told)) = (Tells::new(), Tells::new());
            near = client().start(&near, b"", near_protocol).unwrap();
            far = server().start(&far, b"", far_protocol).unwrap();
            assert_eq!((next(&near_told), next(&far_told)), (Told::Made, Told::Made));
            let sent = pattern(layers, 200_000);
            near.write(&sent);
            assert!(bytes(&far_told, sent.len()) == sent);
        }
    });
}

#[test]
fn on_a_connection_that_is_over_tls_does_not_start() {
    run(|| {
        let (near, _far) = stream_pair();
        let (tells, told) = Tells::new();
        let near = reactor::attach(near, tells).unwrap();
        assert_eq!(next(&told), Told::Made);
        near.close();
        let (tells, never) = Tells::new();
        let error = client().start(&near, b"", tells).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotConnected);
        assert_eq!(next(&told), Told::Lost(Ok(())), "who was told is told on");
        assert!(never.is_empty());
    });
}

/// Speaks in lines until one of them starts TLS.
struct Lined(Option<Tells>);

impl FrameProtocol<Lines> for Lined {
    fn frame_received(&mut self, transport: &FrameTransport<Lines>, line: String) {
        if line == "STARTTLS" {
            let then = self.0.take().expect("it is told nothing more");
            server().start(transport.transport(), b"", then).unwrap().write(b"in secret");
        } else {
            transport.write_frame(&line.to_uppercase()).unwrap();
        }
    }
    fn eof_received(&mut self, _: &FrameTransport<Lines>) -> AtEnd {
        unreachable!("it is told nothing more");
    }
    fn connection_lost(&mut self, _: io::Result<()>) {
        unreachable!("it is told nothing more");
    }
}

#[test]
fn what_follows_the_frame_that_starts_tls_goes_to_tls_and_not_to_the_codec() {
    run(|| {
        let (tells, told) = Tells::new();
        let (mut near, far) = stream_pair();
        let mut session = session();
        // A line, the one that starts TLS, and the first of its records, in one piece.
        let mut first = b"ehlo\nSTARTTLS\n".to_vec();
        session.write_tls(&mut first).unwrap();
        near.write_all(&first).unwrap();
        reactor::attach(far, Frames::new(Lines::new(), Lined(Some(tells)))).unwrap();
        let mut answer = [0; 5];
        near.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"EHLO\n");
        let mut stream = StreamOwned::new(session, near);
        talk_in_secret(&mut stream, &told);
    });
}

#[test]
fn within_tls_a_frame_starts_another_layer_and_what_follows_it_goes_there() {
    run(|| {
        let (tells, told) = Tells::new();
        let (near, far) = stream_pair();
        server().attach(far, Frames::new(Lines::new(), Lined(Some(tells)))).unwrap();
        let outer = session();
        let mut outer = StreamOwned::new(outer, near);
        let mut inner = session();
        let mut first = b"STARTTLS\n".to_vec();
        inner.write_tls(&mut first).unwrap();
        outer.write_all(&first).unwrap();
        let mut stream = StreamOwned::new(inner, outer);
        talk_in_secret(&mut stream, &told);
    });
}

#[test]
fn what_follows_in_the_clear_is_no_frame_any_more_but_a_broken_handshake() {
    run(|| {
        let (tells, told) = Tells::new();
        let (mut near, far) = stream_pair();
        near.write_all(b"STARTTLS\nfrom somebody in between\n").unwrap();
        reactor::attach(far, Frames::new(Lines::new(), Lined(Some(tells)))).unwrap();
        assert_eq!(next(&told), Told::Lost(Err(ErrorKind::InvalidData)));
    });
}
