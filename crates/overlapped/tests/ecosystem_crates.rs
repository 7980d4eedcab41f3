//! Crates that know blocking streams alone (rustls, httparse), on tasklets as they are. tungstenite: `ecosystem_websocket`.

mod support;

use std::cell::RefCell;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::rc::Rc;
use std::sync::Arc;

use overlapped::net::{OwnedReadHalf, OwnedWriteHalf, TcpListener, TcpStream};
use overlapped::{Lock, spawn};
use rustls::{ClientConnection, Connection, ServerConnection, StreamOwned};
use support::tls::{client_config, client_config_of, server_config};
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

/// A connection of rustls whose two directions belong to two tasklets. Neither has the connection while it waits.
struct Shared {
    connection: RefCell<Connection>,
    output: Lock<OwnedWriteHalf<TcpStream>>,
}

impl Shared {
    /// Shakes hands, and divides the stream.
    fn new(mut connection: Connection, mut stream: TcpStream) -> (Rc<Shared>, Incoming) {
        while connection.is_handshaking() {
            connection.complete_io(&mut stream).unwrap();
        }
        let (input, output) = stream.into_split();
        let shared = Rc::new(Shared { connection: connection.into(), output: Lock::new(output) });
        (Rc::clone(&shared), Incoming { shared, input: BufReader::with_capacity(64 << 10, input) })
    }

    /// Sends records, those that were made first before the others.
    fn flush(&self) -> io::Result<()> {
        let mut output = self.output.acquire();
        let mut records = Vec::new();
        while self.connection.borrow().wants_write() {
            self.connection.borrow_mut().write_tls(&mut records)?;
            output.write_all(&records)?;
            records.clear();
        }
        Ok(())
    }

    /// Says that nothing more comes.
    fn end(&self) -> io::Result<()> {
        self.connection.borrow_mut().send_close_notify();
        self.flush()
    }
}

impl Write for &Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.connection.borrow_mut().writer().write(bytes)?;
        (*self).flush()?;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        (*self).flush()
    }
}

/// The direction that is read.
struct Incoming {
    shared: Rc<Shared>,
    input: BufReader<OwnedReadHalf<TcpStream>>,
}

impl Read for Incoming {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.shared.connection.borrow_mut().reader().read(room) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // The end, where the other side has said so; where it has not, an error.
                read => return read,
            }
            self.input.fill_buf()?;
            let mut connection = self.shared.connection.borrow_mut();
            // What has come already: this waits for nothing.
            let mut come = self.input.buffer();
            let taken = connection.read_tls(&mut come)?;
            self.input.consume(taken);
            connection.process_new_packets().map_err(io::Error::other)?;
            if connection.wants_write() {
                let shared = Rc::clone(&self.shared);
                spawn(move || shared.flush());
            }
        }
    }
}

#[test]
fn rustls_moves_a_hundred_megabytes_both_ways_at_once_unharmed() {
    run_long(6, || {
        const LARGE: usize = 100_000_000;
        for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let server = listener.accept().unwrap().0;
            let client_config = client_config_of(&[version]);
            let sides = [
                (ServerConnection::new(Arc::new(server_config())).unwrap().into(), server),
                (
                    ClientConnection::new(Arc::new(client_config), "localhost".try_into().unwrap()).unwrap().into(),
                    client,
                ),
            ];
            // Each side sends what the other expects, and knows its own by where it begins.
            let pieces = [pattern(11, 300_007), pattern(12, 299_993)];
            let tasklets = sides.map({
                let mut own = pieces.clone().into_iter();
                let mut others = pieces.into_iter().rev();
                move |(connection, stream): (Connection, _)| {
                    let (own, other) = (own.next().unwrap(), others.next().unwrap());
                    spawn(move || {
                        let (shared, mut incoming) = Shared::new(connection, stream);
                        assert_eq!(shared.connection.borrow().protocol_version(), Some(version.version));
                        let sender = spawn(move || {
                            send_large(&mut &*shared, &own, LARGE);
                            shared.end().unwrap();
                        });
                        receive_large(&mut incoming, &other, LARGE);
                        // In order: without a close_notify this were an error.
                        assert_eq!(incoming.read(&mut [0; 1]).unwrap(), 0);
                        sender.join().unwrap();
                    })
                }
            });
            tasklets.into_iter().for_each(|side| side.join().unwrap());
        }
    });
}

#[test]
fn a_stream_of_rustls_that_is_cut_off_is_no_end() {
    run(|| {
        let config = Arc::new(server_config());
        let server = serve(move |stream| {
            let mut tls = StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), stream);
            tls.write_all(b"half of what was to").unwrap();
            tls.flush().unwrap();
        });
        let connection = ClientConnection::new(Arc::new(client_config()), "localhost".try_into().unwrap()).unwrap();
        let (_shared, mut incoming) = Shared::new(connection.into(), TcpStream::connect(server).unwrap());
        let mut came = Vec::new();
        assert_eq!(incoming.read_to_end(&mut came).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(came, b"half of what was to");
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
            if input.read_until(b'\n', &mut head)? == 0 {
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
