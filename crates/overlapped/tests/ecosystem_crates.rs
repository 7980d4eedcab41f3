//! Crates that know blocking streams alone (rustls, httparse), on tasklets as they are. tungstenite: `ecosystem_websocket`.

mod support;

use std::io::{self, BufReader, Read, Write};
use std::sync::Arc;

use overlapped::net::TcpStream;
use overlapped::spawn;
use rustls::{ClientConnection, ServerConnection, StreamOwned};
use support::tls::{client_config, server_config};
use support::{pattern, run, run_long, serve};

fn send_large(stream: &mut impl Write, piece: &[u8], length: usize) {
    let mut left = length;
    while left > 0 {
        let part = left.min(piece.len());
        stream.write_all(&piece[..part]).unwrap();
        left -= part;
    }
    stream.flush().unwrap();
}

fn receive_large(stream: &mut impl Read, piece: &[u8], length: usize) {
    let mut room = vec![0; piece.len()];
    let mut left = length;
    while left > 0 {
        let part = left.min(piece.len());
        stream.read_exact(&mut room[..part]).unwrap();
        assert!(room[..part] == piece[..part], "other bytes than were sent, {left} before the end");
        left -= part;
    }
}

#[test]
fn rustls_moves_a_hundred_megabytes_each_way_unharmed() {
    run_long(4, || {
        const LARGE: usize = 100_000_000;
        let piece = Arc::new(pattern(11, 300_007));
        let (theirs, config) = (Arc::clone(&piece), Arc::new(server_config()));
        let server = serve(move |stream| {
            let mut tls = StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream);
            receive_large(&mut tls, &theirs, LARGE);
            send_large(&mut tls, &theirs, LARGE);
            tls.conn.send_close_notify();
            tls.flush().unwrap();
        });
        let connection = ClientConnection::new(Arc::new(client_config()), "localhost".try_into().unwrap()).unwrap();
        let mut tls = StreamOwned::new(connection, TcpStream::connect(server).unwrap());
        send_large(&mut tls, &piece, LARGE);
        receive_large(&mut tls, &piece, LARGE);
        // In order: without a close_notify this were an error.
        assert_eq!(tls.read(&mut [0; 1]).unwrap(), 0);
    });
}

#[test]
fn many_handshakes_of_rustls_at_once_hold_each_other_back_nowhere() {
    run_long(2, || {
        let config = Arc::new(server_config());
        let server = serve(move |stream| {
            let mut tls = StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream);
            let mut question = [0; 5];
            // One that never says anything waits here alone.
            if tls.read_exact(&mut question).is_ok() {
                tls.write_all(&question).unwrap();
            }
        });
        let _silent: Vec<TcpStream> = (0..10).map(|_| TcpStream::connect(server).unwrap()).collect();
        let config = Arc::new(client_config());
        let clients: Vec<_> = (0..30)
            .map(|number| {
                let config = Arc::clone(&config);
                spawn(move || {
                    let connection = ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap();
                    let mut tls = StreamOwned::new(connection, TcpStream::connect(server).unwrap());
                    let question = format!("{number:05}");
                    tls.write_all(question.as_bytes()).unwrap();
                    let mut answer = [0; 5];
                    tls.read_exact(&mut answer).unwrap();
                    assert_eq!(answer, question.as_bytes());
                })
            })
            .collect();
        clients.into_iter().for_each(|client| client.join().unwrap());
    });
}

/// Answers requests, one after the other, as a server does that knows httparse and a stream.
fn answer(stream: TcpStream) -> io::Result<()> {
    let mut input = BufReader::new(&stream);
    let mut head = Vec::new();
    loop {
        head.clear();
        while !head.ends_with(b"\r\n\r\n") {
            if io::BufRead::read_until(&mut input, b'\n', &mut head)? == 0 {
                return Ok(());
            }
        }
        let mut headers = [httparse::EMPTY_HEADER; 16];
        let mut request = httparse::Request::new(&mut headers);
        request.parse(&head).map_err(io::Error::other)?;
        let length = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
        let length = length.and_then(|header| std::str::from_utf8(header.value).ok()?.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        input.read_exact(&mut body)?;
        let path = request.path.unwrap_or("");
        write!(&stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{path}", path.len() + body.len())?;
        (&stream).write_all(&body)?;
    }
}

#[test]
fn a_server_of_httparse_answers_many_clients_request_after_request() {
    run(|| {
        let server = serve(|stream| drop(answer(stream)));
        let clients: Vec<_> = (0..50)
            .map(|number| {
                spawn(move || {
                    let mut stream = TcpStream::connect(server).unwrap();
                    for round in 0..20 {
                        let (path, body) = (format!("/{number}/{round}"), "x".repeat(round * 100));
                        write!(stream, "POST {path} HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
                        let expected = format!(
                            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{path}{body}",
                            path.len() + body.len()
                        );
                        let mut answer = vec![0; expected.len()];
                        stream.read_exact(&mut answer).unwrap();
                        assert_eq!(answer, expected.as_bytes());
                    }
                })
            })
            .collect();
        clients.into_iter().for_each(|client| client.join().unwrap());
    });
}
