//! native-tls is generic over `Read` and `Write`: it takes our streams as they are.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::LazyLock;
use std::time::Duration;

use native_tls::{Certificate, Identity, TlsAcceptor, TlsConnector, TlsStream};
use overlapped::net::TcpStream;
use overlapped::{spawn, timeout};
use overlapped_with_crates::{run, serve};

/// A certificate for `localhost`, and its key, as PEM.
static OWN: LazyLock<(String, String)> = LazyLock::new(|| {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    (made.cert.pem(), made.signing_key.serialize_pem())
});

fn acceptor() -> TlsAcceptor {
    let (certificate, key) = &*OWN;
    TlsAcceptor::new(Identity::from_pkcs8(certificate.as_bytes(), key.as_bytes()).unwrap()).unwrap()
}

fn connect(server: SocketAddr) -> TlsStream<TcpStream> {
    // It reads all that the system believes in.
    static CONNECTOR: LazyLock<TlsConnector> = LazyLock::new(|| {
        let certificate = Certificate::from_pem(OWN.0.as_bytes()).unwrap();
        TlsConnector::builder().add_root_certificate(certificate).build().unwrap()
    });
    let stream = TcpStream::connect(server).unwrap();
    stream.set_nodelay(true).unwrap();
    CONNECTOR.connect("localhost", stream).unwrap()
}

/// Sends back what comes, until the client has said that no more does.
fn echo() -> SocketAddr {
    let acceptor = acceptor();
    serve(move |stream| {
        // A record is a write: the last of several would wait until the peer has acknowledged those before (RFC 896).
        stream.set_nodelay(true)?;
        let mut tls = acceptor.accept(stream).map_err(io::Error::other)?;
        let mut room = vec![0; 100_000];
        loop {
            match tls.read(&mut room)? {
                0 => return tls.shutdown(),
                count => tls.write_all(&room[..count])?,
            }
        }
    })
}

#[test]
fn ten_megabytes_come_back_unharmed_and_the_end_is_told() {
    run(|| {
        let mut tls = connect(echo());
        let piece: Vec<u8> = (0..1_000_003_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        for _ in 0..10 {
            // More than the sockets hold: so it is sent in parts that do.
            for part in piece.chunks(50_000) {
                tls.write_all(part).unwrap();
                let mut back = vec![0; part.len()];
                tls.read_exact(&mut back).unwrap();
                assert!(back == part, "other bytes than were sent");
            }
        }
        tls.shutdown().unwrap();
        assert_eq!(tls.read(&mut [0]).unwrap(), 0, "a close_notify, not the end of the connection");
    });
}

#[test]
fn many_handshakes_at_once_hold_each_other_back_nowhere() {
    run(|| {
        let server = echo();
        let _silent: Vec<TcpStream> = (0..10).map(|_| TcpStream::connect(server).unwrap()).collect();
        let clients: Vec<_> = (0..30_u8)
            .map(|number| {
                spawn(move || {
                    let mut tls = connect(server);
                    tls.write_all(&[number; 10]).unwrap();
                    let mut back = [0; 10];
                    tls.read_exact(&mut back).unwrap();
                    assert_eq!(back, [number; 10]);
                })
            })
            .collect();
        clients.into_iter().for_each(|client| client.join().unwrap());
    });
}

#[test]
fn a_read_that_is_told_of_a_time_out_says_so_and_the_stream_goes_on() {
    run(|| {
        let mut tls = connect(echo());
        let told = timeout(Duration::from_millis(20), || tls.read(&mut [0]).unwrap_err().kind());
        assert!(told.is_err(), "the block says it too");
        tls.write_all(b"still").unwrap();
        let mut back = [0; 5];
        tls.read_exact(&mut back).unwrap();
        assert_eq!(&back, b"still");
    });
}
