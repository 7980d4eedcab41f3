//! Crates that know blocking streams alone (rustls, tungstenite, httparse), on tasklets as they are.

mod support;

use std::io::{self, BufReader, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;

use overlapped::net::{TcpListener, TcpStream};
use overlapped::{spawn, yield_now};
use rustls::{ClientConnection, ServerConnection, StreamOwned};
use support::tls::{client_config, server_config};
use support::{pattern, run, run_long};
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Error, Message, WebSocket};

/// Serves each connection in a tasklet of its own, until the run ends.
fn serve(handler: impl Fn(TcpStream) + Clone + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    spawn(move || {
        for stream in listener.incoming() {
            let (stream, handler) = (stream?, handler.clone());
            spawn(move || handler(stream));
        }
        io::Result::Ok(())
    });
    address
}

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

/// Sends back what comes; says why it closes where the client breaks the protocol (RFC 6455, 7.4.1).
fn echo(stream: TcpStream) {
    let Ok(mut socket) = tungstenite::accept(stream) else { return };
    loop {
        let code = match socket.read() {
            Ok(message @ (Message::Text(_) | Message::Binary(_))) => match socket.send(message) {
                Ok(()) => continue,
                Err(_) => return,
            },
            // The answers to these are tungstenite's.
            Ok(_) => continue,
            Err(Error::Utf8(_)) => CloseCode::Invalid,
            Err(Error::Protocol(_)) => CloseCode::Protocol,
            Err(_) => return,
        };
        let _ = socket.close(Some(CloseFrame { code, reason: "".into() }));
        let _ = socket.flush();
        // What the client still sends is let in: a reset could take the reason from it.
        let _ = socket.get_ref().disconnect();
        return;
    }
}

fn connect(server: SocketAddr) -> WebSocket<TcpStream> {
    tungstenite::client("ws://localhost/", TcpStream::connect(server).unwrap()).unwrap().0
}

const CONTINUES: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const LAST: u8 = 0x80;

/// A frame of a client's, masked as RFC 6455, 5.2 has it.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x12, 0xab, 0x00, 0xff];
    let mut frame = vec![first];
    match payload.len() {
        length @ ..=125 => frame.push(0x80 | length as u8),
        length @ ..=0xffff => {
            frame.push(0x80 | 126);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

fn is_closed_with(message: &Message, code: CloseCode) -> bool {
    matches!(message, Message::Close(Some(frame)) if frame.code == code)
}

#[test]
fn tungstenite_echoes_messages_of_every_kind_of_length() {
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
        socket.close(Some(CloseFrame { code: CloseCode::Normal, reason: "done".into() })).unwrap();
        assert!(is_closed_with(&socket.read().unwrap(), CloseCode::Normal));
        assert!(matches!(socket.read(), Err(Error::ConnectionClosed)));
    });
}

#[test]
fn tungstenite_puts_a_message_in_parts_together_round_a_ping_and_answers_that() {
    run(|| {
        let server = serve(echo);
        let mut socket = connect(server);
        // A character is cut, too.
        let text = "hällo".as_bytes();
        let parts = [
            frame(TEXT, &text[..2]),
            frame(LAST | PING, b"are you there?"),
            frame(CONTINUES, &text[2..4]),
            frame(CONTINUES, b""),
            frame(LAST | CONTINUES, &text[4..]),
        ];
        for byte in parts.concat().chunks(3) {
            socket.get_mut().write_all(byte).unwrap();
            yield_now();
        }
        assert_eq!(socket.read().unwrap(), Message::Pong(b"are you there?"[..].into()));
        assert_eq!(socket.read().unwrap(), Message::text("hällo"));
        let large = pattern(0, 1 << 20);
        let stream = socket.get_mut();
        stream.write_all(&frame(BINARY, &large[..500_000])).unwrap();
        stream.write_all(&frame(LAST | CONTINUES, &large[500_000..])).unwrap();
        assert!(socket.read().unwrap() == Message::binary(large));
    });
}

#[test]
fn a_client_that_breaks_the_protocol_is_told_how_and_others_go_on() {
    run(|| {
        let server = serve(echo);
        let mut other = connect(server);
        let unmasked = [&[LAST | TEXT, 2][..], b"hi"].concat();
        let cases = [
            ("text that is no UTF-8", frame(LAST | TEXT, b"\xff\xfe"), CloseCode::Invalid),
            ("a surrogate", frame(LAST | TEXT, b"\xed\xa0\x80"), CloseCode::Invalid),
            ("a frame without a mask", unmasked, CloseCode::Protocol),
            ("an opcode that is reserved", frame(LAST | 3, b""), CloseCode::Protocol),
            ("a bit that is reserved", frame(LAST | 0x40 | TEXT, b""), CloseCode::Protocol),
            ("a ping in parts", frame(PING, b""), CloseCode::Protocol),
            ("a ping that is too long", frame(LAST | PING, &[0; 126]), CloseCode::Protocol),
            ("a part of nothing", frame(LAST | CONTINUES, b"x"), CloseCode::Protocol),
            ("a message within another", [frame(TEXT, b"a"), frame(LAST | TEXT, b"b")].concat(), CloseCode::Protocol),
            ("a close in order", frame(LAST | CLOSE, &1000_u16.to_be_bytes()), CloseCode::Normal),
        ];
        for (what, bytes, code) in cases {
            let mut socket = connect(server);
            socket.get_mut().write_all(&bytes).unwrap();
            let answer = socket.read().unwrap_or_else(|error| panic!("{what}: {error}"));
            assert!(is_closed_with(&answer, code), "{what}: {answer:?}");
        }
        // One that is gone in the middle of a frame.
        connect(server).get_mut().write_all(&frame(LAST | TEXT, b"half")[..5]).unwrap();
        other.send(Message::text("still here")).unwrap();
        assert_eq!(other.read().unwrap(), Message::text("still here"));
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
