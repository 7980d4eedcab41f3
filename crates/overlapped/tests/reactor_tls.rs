//! TLS on connections of the reactor.

mod support;

use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind, Read, Write};
use std::net::Shutdown;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use overlapped::net::{SocketAddr, TcpListener, TcpStream};
use overlapped::reactor::{Listening, Protocol, Tls, Transport};
use overlapped::{Queue, spawn};
use rustls::server::WebPkiClientVerifier;
use rustls::version::TLS12;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, ClientConnection, ProtocolVersion, RootCertStore, ServerConfig,
    StreamOwned,
};
use support::protocols::{Echo, Tells, Told, bytes, next, turns};
use support::tls::{client, client_config, client_of, own, roots, server, server_config};
use support::{pattern, run, stream_pair};

/// A client in blocking style.
fn blocking<S: Read + Write>(stream: S) -> StreamOwned<ClientConnection, S> {
    StreamOwned::new(ClientConnection::new(Arc::new(client_config()), "localhost".try_into().unwrap()).unwrap(), stream)
}

fn listen<P: Protocol>(factory: impl FnMut() -> P + 'static) -> (Listening, SocketAddr) {
    let listening = server().listen(TcpListener::bind("127.0.0.1:0").unwrap(), factory).unwrap();
    let address = listening.local_addr().unwrap().ip().unwrap();
    (listening, address)
}

/// The two ends of a connection that has been made.
fn pair(client: Tells, server_protocol: Tells) -> (Transport, Transport) {
    let (near, far) = stream_pair();
    let far = server().attach(far, server_protocol).unwrap();
    (self::client().attach(near, client).unwrap(), far)
}

/// A protocol that waits for its end, and passes on why it came.
struct Ends(Queue<io::Result<()>>);

impl Ends {
    fn new() -> (Ends, Queue<io::Result<()>>) {
        let ended = Queue::new();
        (Ends(ended.clone()), ended)
    }
}

impl Protocol for Ends {
    fn connection_made(&mut self, _: &Transport) {
        self.0.try_put(Ok(())).unwrap();
    }
    fn data_received(&mut self, _: &Transport, _: &[u8]) {}
    fn connection_lost(&mut self, reason: io::Result<()>) {
        self.0.try_put(reason).unwrap();
    }
}

/// What rustls said.
fn cause(ended: &Queue<io::Result<()>>) -> rustls::Error {
    let error = ended.get().unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData, "{error}");
    error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()).expect("rustls's own error").clone()
}

#[test]
fn a_megabyte_goes_both_ways_however_the_records_are_cut() {
    run(|| {
        let (near, mut relay_near) = stream_pair();
        let (far, mut relay_far) = stream_pair();
        let (mut near_in, mut far_in) = (relay_near.try_clone().unwrap(), relay_far.try_clone().unwrap());
        let relay = |from: &mut support::Stream, to: &mut support::Stream, seed| {
            let mut cuts = fastrand::Rng::with_seed(seed);
            let mut piece = [0; 20_000];
            loop {
                let most = [1, 7, 600, piece.len()][cuts.usize(..4)];
                match from.read(&mut piece[..most]).unwrap() {
                    0 => break to.shutdown(Shutdown::Write).unwrap_or_default(),
                    count => to.write_all(&piece[..count]).unwrap(),
                }
            }
        };
        let there = spawn(move || relay(&mut near_in, &mut relay_far, 1));
        let back = spawn(move || relay(&mut far_in, &mut relay_near, 2));
        let (tells, told) = Tells::half_open();
        server().attach(far, Echo).unwrap();
        let transport = client().attach(near, tells).unwrap();
        let sent = pattern(0, 1 << 20);
        let mut from = 0;
        for length in [1, 5, 16_384, 16_385, 100_000].into_iter().cycle() {
            transport.write(&sent[from..sent.len().min(from + length)]);
            from += length;
            if from >= sent.len() {
                break;
            }
        }
        transport.write_eof();
        assert_eq!(next(&told), Told::Made);
        let mut came = Vec::new();
        loop {
            match next(&told) {
                Told::Data(bytes) => came.extend(bytes),
                Told::End => break,
                Told::Pause | Told::Resume => {}
                Told::Lost(_) | Told::Made => panic!("it is not over after {} bytes", came.len()),
            }
        }
        assert!(came == sent, "other bytes came back than were sent");
        assert_eq!(next(&told), Told::Lost(Ok(())), "both sides have ended in order");
        there.join().unwrap();
        back.join().unwrap();
    });
}

#[test]
fn a_client_in_blocking_style_on_a_tasklet_talks_to_a_server_of_protocols_on_the_same_thread() {
    run(|| {
        let (_listening, address) = listen(|| Echo);
        let asks = spawn(move || {
            let mut stream = blocking(TcpStream::connect(address).unwrap());
            for round in 0..20 {
                let sent = pattern(round * 10_000, 30_000);
                stream.write_all(&sent).unwrap();
                let mut came = vec![0; sent.len()];
                stream.read_exact(&mut came).unwrap();
                assert!(came == sent);
            }
            stream.conn.send_close_notify();
            stream.flush().unwrap();
            assert_eq!(stream.read(&mut [0]).unwrap(), 0, "its close_notify is answered with the server's");
        });
        asks.join().unwrap();
    });
}

#[test]
fn the_handshake_tells_both_what_they_have_agreed_on() {
    run(|| {
        let (mut theirs, mut ours) = (server_config(), client_config());
        theirs.alpn_protocols = vec![b"h2".to_vec(), b"echo".to_vec()];
        ours.alpn_protocols = vec![b"echo".to_vec()];
        let (near, far) = stream_pair();
        let ((near_protocol, near_told), (far_protocol, far_told)) = (Tells::new(), Tells::new());
        let far = Tls::server(Arc::new(theirs)).attach(far, far_protocol).unwrap();
        let near = client_of(ours).attach(near, near_protocol).unwrap();
        assert!(near.negotiated().is_none(), "nothing is before the handshake");
        assert_eq!((next(&near_told), next(&far_told)), (Told::Made, Told::Made));
        let (near, far) = (near.negotiated().unwrap(), far.negotiated().unwrap());
        assert_eq!((near.version, far.version), (ProtocolVersion::TLSv1_3, ProtocolVersion::TLSv1_3));
        assert_eq!((near.alpn.as_deref(), far.alpn.as_deref()), (Some(&b"echo"[..]), Some(&b"echo"[..])));
        assert_eq!((near.peer_certificates, far.peer_certificates), (vec![own().0], vec![]));
        assert_eq!((near.server_name, far.server_name.as_deref()), (None, Some("localhost")));
    });
}

#[test]
fn what_is_written_and_ended_before_the_handshake_goes_out_after_it() {
    run(|| {
        let ((near, near_told), (far, far_told)) = (Tells::half_open(), Tells::half_open());
        let (near, far) = pair(near, far);
        near.write(b"early");
        near.write_eof();
        assert_eq!(near.buffered(), 5);
        assert_eq!((next(&near_told), next(&far_told)), (Told::Made, Told::Made));
        assert_eq!(bytes(&far_told, 5), b"early");
        assert_eq!(next(&far_told), Told::End);
        far.write(b"the other half is open");
        assert_eq!(bytes(&near_told, 22), b"the other half is open");
        far.write_eof();
        assert_eq!(next(&near_told), Told::End);
        assert_eq!((next(&near_told), next(&far_told)), (Told::Lost(Ok(())), Told::Lost(Ok(()))));
    });
}

#[test]
fn a_write_after_the_end_of_this_side_panics_and_one_after_the_close_is_dropped() {
    run(|| {
        let ((near, near_told), (far, _told)) = (Tells::half_open(), Tells::half_open());
        let (near, _far) = pair(near, far);
        assert_eq!(next(&near_told), Told::Made);
        near.write_eof();
        let wrote = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| near.write(b"late")));
        assert!(wrote.is_err());
        near.close();
        near.write(b"dropped");
        assert!(near.is_closing());
        assert_eq!(next(&near_told), Told::Lost(Ok(())));
    });
}

#[test]
fn in_tls_1_2_an_end_is_answered_with_an_end() {
    run(|| {
        let (certificate, key) = own();
        let theirs = ServerConfig::builder_with_protocol_versions(&[&TLS12]);
        let theirs = theirs.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
        let (near, far) = stream_pair();
        let ((near_protocol, near_told), (far_protocol, far_told)) = (Tells::half_open(), Tells::half_open());
        let far = Tls::server(Arc::new(theirs)).attach(far, far_protocol).unwrap();
        let near = client().attach(near, near_protocol).unwrap();
        near.write(b"all");
        near.write_eof();
        assert_eq!((next(&near_told), next(&far_told)), (Told::Made, Told::Made));
        assert_eq!(bytes(&far_told, 3), b"all");
        assert_eq!((next(&far_told), next(&far_told)), (Told::End, Told::Lost(Ok(()))));
        assert_eq!((next(&near_told), next(&near_told)), (Told::End, Told::Lost(Ok(()))));
        assert!(far.is_closing());
    });
}

#[test]
fn a_close_sends_what_was_written_and_its_end() {
    run(|| {
        let ((near, near_told), (far, far_told)) = (Tells::new(), Tells::new());
        let (near, _far) = pair(near, far);
        assert_eq!((next(&near_told), next(&far_told)), (Told::Made, Told::Made));
        let sent = pattern(0, 300_000);
        near.write(&sent);
        near.close();
        assert!(near.is_closing());
        assert!(bytes(&far_told, sent.len()) == sent);
        assert_eq!((next(&far_told), next(&far_told)), (Told::End, Told::Lost(Ok(()))));
        loop {
            match next(&near_told) {
                Told::Lost(reason) => break assert_eq!(reason, Ok(())),
                Told::Pause | Told::Resume => {}
                other => panic!("{other:?} after the close"),
            }
        }
    });
}

#[test]
fn a_peer_that_does_not_wait_for_the_answer_to_its_end_has_ended_in_order_unless_more_was_to_be_sent() {
    run(|| {
        for (last_words, expected) in [(&b""[..], Ok(())), (b"unheard", Err(ErrorKind::BrokenPipe))] {
            let (near, far) = stream_pair();
            let (tells, told) = Tells::half_open();
            let far = server().attach(far, tells).unwrap();
            far.write(b"!");
            let mut stream = blocking(near);
            // Nothing is left that it has not received: it closes, and does not reset.
            stream.read_exact(&mut [0]).unwrap();
            stream.conn.send_close_notify();
            stream.flush().unwrap();
            assert_eq!((next(&told), next(&told)), (Told::Made, Told::End));
            drop(stream);
            far.write(last_words);
            far.write_eof();
            assert_eq!(next(&told), Told::Lost(expected));
        }
    });
}

#[test]
fn a_stream_that_ends_without_close_notify_is_an_error() {
    run(|| {
        let (near, far) = stream_pair();
        let (tells, told) = Tells::half_open();
        server().attach(far, tells).unwrap();
        let mut stream = blocking(near);
        stream.write_all(b"the half of it").unwrap();
        assert_eq!(next(&told), Told::Made);
        assert_eq!(bytes(&told, 14), b"the half of it");
        stream.sock.shutdown(Shutdown::Write).unwrap();
        assert_eq!(next(&told), Told::Lost(Err(ErrorKind::UnexpectedEof)));
    });
}

#[test]
fn a_peer_that_ends_or_resets_within_the_handshake_is_an_error() {
    run(|| {
        for resets in [false, true] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let (tells, told) = Tells::new();
            let transport = client().connect(listener.local_addr().unwrap(), tells).unwrap();
            transport.write(b"never sent");
            let (mut peer, _) = listener.accept().unwrap();
            peer.read_exact(&mut [0; 5]).unwrap();
            let expected = match resets {
                true => {
                    peer.set_linger(Some(Duration::ZERO)).unwrap();
                    drop(peer);
                    ErrorKind::ConnectionReset
                }
                false => {
                    peer.shutdown(Shutdown::Write).unwrap();
                    ErrorKind::UnexpectedEof
                }
            };
            assert_eq!(next(&told), Told::Lost(Err(expected)));
            assert!(transport.is_closing());
        }
    });
}

#[test]
fn a_connection_that_never_comes_about_is_lost_with_the_reason() {
    run(|| {
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (tells, told) = Tells::new();
        client().connect(nobody, tells).unwrap().write(b"never sent");
        assert_eq!(next(&told), Told::Lost(Err(ErrorKind::ConnectionRefused)));
        let (tells, told) = Tells::new();
        client().connect(nobody, tells).unwrap().close();
        assert_eq!(next(&told), Told::Lost(Ok(())), "it was closed before it was made");
    });
}

#[test]
fn a_peer_that_never_answers_is_given_up_on_either_side() {
    run(|| {
        let limit = Duration::from_millis(50);
        let sides = [client().handshake_limit(limit), server().handshake_limit(limit)];
        for side in sides {
            let (near, _silent) = stream_pair();
            let (ends, ended) = Ends::new();
            side.attach(near, ends).unwrap();
            let error = ended.get().unwrap().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
            assert_eq!(error.to_string(), "the TLS handshake was not over after 50ms");
        }
    });
}

#[test]
fn the_limit_is_the_handshakes_and_not_the_connections() {
    run(|| {
        let limit = Duration::from_secs(2);
        let (near, far) = stream_pair();
        let (tells, told) = Tells::new();
        server().handshake_limit(limit).attach(far, Echo).unwrap();
        let near = client().handshake_limit(limit).attach(near, tells).unwrap();
        assert_eq!(next(&told), Told::Made);
        overlapped::sleep(limit + Duration::from_millis(100));
        near.write(b"still there");
        assert_eq!(bytes(&told, 11), b"still there");
    });
}

#[test]
fn a_certificate_that_is_not_believed_loses_both_sides_with_the_reason() {
    run(|| {
        let strangers = ClientConfig::builder().with_root_certificates(RootCertStore {
            roots: vec![rustls::pki_types::TrustAnchor {
                subject: b"nobody".as_slice().into(),
                subject_public_key_info: b"".as_slice().into(),
                name_constraints: None,
            }],
        });
        let strangers = client_of(strangers.with_no_client_auth());
        let others = Tls::client(Arc::new(client_config()), "elsewhere".try_into().unwrap());
        for (side, its_name) in [(strangers, true), (others, false)] {
            let (near, far) = stream_pair();
            let ((near_protocol, near_ended), (far_protocol, far_ended)) = (Ends::new(), Ends::new());
            server().attach(far, far_protocol).unwrap();
            side.attach(near, near_protocol).unwrap();
            match (cause(&near_ended), its_name) {
                (rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer), true) => {}
                (rustls::Error::InvalidCertificate(CertificateError::NotValidForNameContext { .. }), false) => {}
                (other, _) => panic!("{other}"),
            }
            let rustls::Error::AlertReceived(alert) = cause(&far_ended) else { panic!("it is told by an alert") };
            let expected = if its_name { AlertDescription::UnknownCA } else { AlertDescription::BadCertificate };
            assert_eq!(alert, expected);
        }
    });
}

#[test]
fn a_client_without_the_certificate_that_is_asked_for_is_lost_after_it_was_made() {
    run(|| {
        let (certificate, key) = own();
        let verifier = WebPkiClientVerifier::builder(Arc::new(roots())).build().unwrap();
        let strict = ServerConfig::builder().with_client_cert_verifier(verifier);
        let strict = Tls::server(Arc::new(strict.with_single_cert(vec![certificate], key).unwrap()));
        let (near, far) = stream_pair();
        let ((near_protocol, near_ended), (far_protocol, far_ended)) = (Ends::new(), Ends::new());
        strict.attach(far, far_protocol).unwrap();
        client().attach(near, near_protocol).unwrap();
        assert!(matches!(cause(&far_ended), rustls::Error::NoCertificatesPresented));
        // In TLS 1.3 the client's handshake is over before the server has looked (RFC 8446, 2).
        near_ended.get().unwrap().unwrap();
        let alert = rustls::Error::AlertReceived(AlertDescription::CertificateRequired);
        assert_eq!(cause(&near_ended), alert);
    });
}

#[test]
fn bytes_that_are_no_tls_cost_their_own_connection_and_are_answered_with_an_alert() {
    run(|| {
        let ends = Queue::new();
        let given = ends.clone();
        let (_listening, address) = listen(move || Ends(given.clone()));
        let mut random = fastrand::Rng::with_seed(7);
        for round in 0..50 {
            let mut stream = TcpStream::connect(address).unwrap();
            let mut sent: Vec<u8> = (0..random.usize(5..400)).map(|_| random.u8(..)).collect();
            if round % 2 == 0 {
                // A record's header that is right, of a handshake.
                sent.splice(..3, [22, 3, 1]);
            }
            stream.write_all(&sent).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).unwrap();
            let error = ends.get().unwrap().unwrap_err();
            match error.kind() {
                ErrorKind::InvalidData => assert_eq!(answer.first(), Some(&21), "an alert: {answer:?}"),
                kind => assert_eq!(kind, ErrorKind::UnexpectedEof, "{error}"),
            }
        }
        let mut stream = blocking(TcpStream::connect(address).unwrap());
        stream.conn.complete_io(&mut stream.sock).unwrap();
        ends.get().unwrap().unwrap();
    });
}

#[test]
fn a_record_that_was_changed_on_its_way_loses_the_connection_after_those_before_it() {
    run(a_changed_record);
}

/// Also while something that was written before is still on its way.
#[cfg(unix)]
#[test]
fn the_alert_goes_out_after_what_was_written_before_it() {
    overlapped::sim::explore(0..30, a_changed_record);
}

fn a_changed_record() {
    let (near, far) = stream_pair();
    let (tells, told) = Tells::new();
    server().attach(far, tells).unwrap();
    let mut stream = blocking(near);
    stream.conn.complete_io(&mut stream.sock).unwrap();
    assert_eq!(next(&told), Told::Made);
    let mut records = Vec::new();
    for text in [b"right", b"wrong"] {
        stream.conn.writer().write_all(text).unwrap();
        stream.conn.write_tls(&mut records).unwrap();
    }
    *records.last_mut().unwrap() ^= 1;
    stream.sock.write_all(&records).unwrap();
    assert_eq!(next(&told), Told::Data(b"right".to_vec()));
    assert_eq!(next(&told), Told::Lost(Err(ErrorKind::InvalidData)));
    let error = stream.read(&mut [0]).unwrap_err();
    let alert = rustls::Error::AlertReceived(AlertDescription::BadRecordMac);
    assert_eq!(error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()), Some(&alert));
}

#[test]
fn who_writes_too_much_is_asked_to_pause_and_told_to_go_on_and_a_pause_of_reading_holds_back_the_peer() {
    run(|| {
        let ((near, near_told), (far, far_told)) = (Tells::new(), Tells::new());
        let (near, far) = pair(near, far);
        far.pause_reading();
        assert_eq!((next(&near_told), next(&far_told)), (Told::Made, Told::Made));
        near.set_write_limits(100_000, 50_000);
        let mut sent = Vec::new();
        while near_told.is_empty() {
            let piece = pattern(sent.len(), 50_000);
            near.write(&piece);
            sent.extend(piece);
            turns();
        }
        assert_eq!(next(&near_told), Told::Pause);
        assert!(near.buffered() > 100_000);
        assert!(far_told.is_empty(), "it has paused");
        far.resume_reading();
        assert!(bytes(&far_told, sent.len()) == sent);
        assert_eq!(next(&near_told), Told::Resume);
    });
}

#[test]
fn what_comes_with_the_handshake_waits_while_reading_is_paused_and_nothing_is_lost() {
    struct Pauses(Tells, Rc<RefCell<Option<Transport>>>);
    impl Protocol for Pauses {
        fn connection_made(&mut self, transport: &Transport) {
            transport.pause_reading();
            self.0.connection_made(transport);
            *self.1.borrow_mut() = Some(transport.clone());
        }
        fn data_received(&mut self, transport: &Transport, bytes: &[u8]) {
            self.0.data_received(transport, bytes);
        }
        fn connection_lost(&mut self, reason: io::Result<()>) {
            self.0.connection_lost(reason);
        }
    }
    run(|| {
        let (near, far) = stream_pair();
        let (tells, told) = Tells::new();
        let transport = Rc::default();
        server().attach(far, Pauses(tells, Rc::clone(&transport))).unwrap();
        let mut stream = blocking(near);
        // With the last of the handshake's records goes the first of the others.
        stream.write_all(b"at once").unwrap();
        assert_eq!(next(&told), Told::Made);
        stream.write_all(b", and more").unwrap();
        stream.conn.send_close_notify();
        stream.flush().unwrap();
        turns();
        assert!(told.is_empty(), "it has paused");
        let transport = transport.take().unwrap();
        transport.resume_reading();
        assert_eq!(bytes(&told, 17), b"at once, and more");
        assert_eq!(next(&told), Told::Lost(Ok(())));
    });
}

#[test]
fn a_callback_that_panics_costs_its_own_connection_alone() {
    struct Panics(Tells);
    impl Protocol for Panics {
        fn data_received(&mut self, _: &Transport, _: &[u8]) {
            panic!("as asked");
        }
        fn connection_lost(&mut self, reason: io::Result<()>) {
            self.0.connection_lost(reason);
        }
    }
    run(|| {
        let (near, far) = stream_pair();
        let ((tells, told), (near_protocol, near_told)) = (Tells::new(), Tells::new());
        server().attach(far, Panics(tells)).unwrap();
        let near = client().attach(near, near_protocol).unwrap();
        near.write(b"panic");
        assert_eq!(next(&told), Told::Lost(Err(ErrorKind::Other)));
        assert_eq!(next(&near_told), Told::Made);
        assert!(matches!(next(&near_told), Told::Lost(Err(_))), "it was not ended in order");
    });
}

#[test]
fn at_the_end_of_the_run_every_tls_connection_is_lost_and_its_protocol_dropped() {
    let lost = Rc::new(Cell::new(0));
    struct Counts(Rc<Cell<u32>>);
    impl Protocol for Counts {
        fn data_received(&mut self, _: &Transport, _: &[u8]) {}
        fn connection_lost(&mut self, reason: io::Result<()>) {
            assert_eq!(reason.unwrap_err().kind(), ErrorKind::ConnectionAborted);
            self.0.set(self.0.get() + 1);
        }
    }
    run(|| {
        let (near, far) = stream_pair();
        let (tells, told) = Tells::new();
        server().attach(far, Counts(Rc::clone(&lost))).unwrap();
        client().attach(near, tells).unwrap();
        assert_eq!(next(&told), Told::Made);
        let (silent, _other) = stream_pair();
        client().attach(silent, Counts(Rc::clone(&lost))).unwrap();
    });
    assert_eq!((lost.get(), Rc::strong_count(&lost)), (2, 1));
}
