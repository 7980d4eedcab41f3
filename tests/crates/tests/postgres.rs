//! postgres has a runtime of tokio's inside and opens its own connections: it blocks its thread, and so it is offloaded. What it
//! is made of, tokio-postgres, needs no runtime where it is given a stream.

use std::io::{self, Read, Write};
use std::net::SocketAddr;

use overlapped::ecosystem::PolledStream;
use overlapped::net::TcpStream;
use overlapped::{block_on, offload, spawn};
use overlapped_with_crates::{run, serve};
use tokio_postgres::{Config, NoTls, SimpleQueryMessage};
use tokio_util::compat::FuturesAsyncReadCompatExt;

/// A message of the server's: its type, its length, its body.
fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap();
    [&[kind][..], &length.to_be_bytes(), body].concat()
}

fn receive(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut body = vec![0; u32::from_be_bytes(length) as usize - 4];
    stream.read_exact(&mut body)?;
    Ok(body)
}

/// Answers each query with its own text (PostgreSQL's documentation, chapter "Frontend/Backend Protocol").
fn small_server() -> SocketAddr {
    serve(|mut stream| {
        receive(&mut stream)?;
        let (welcome, ready) = (message(b'R', &[0; 4]), message(b'Z', b"I"));
        stream.write_all(&[&*welcome, &*ready].concat())?;
        loop {
            let mut kind = [0];
            stream.read_exact(&mut kind)?;
            let body = receive(&mut stream)?;
            if kind != *b"Q" {
                return io::Result::Ok(());
            }
            let text = &body[..body.len() - 1];
            // One column, of the type text (25), in text.
            let columns = [&b"\0\x01said\0"[..], &[0; 6], &25_u32.to_be_bytes(), &[0xff; 6], &[0; 2]].concat();
            let row = [&b"\0\x01"[..], &u32::try_from(text.len()).unwrap().to_be_bytes(), text].concat();
            let answer = [message(b'T', &columns), message(b'D', &row), message(b'C', b"SELECT 1\0"), ready.clone()];
            stream.write_all(&answer.concat())?;
        }
    })
}

fn first_column(answer: &[SimpleQueryMessage]) -> Option<&str> {
    answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    })
}

#[test]
fn tokio_postgres_speaks_over_our_streams_without_a_runtime() {
    run(|| {
        let server = small_server();
        let clients: Vec<_> = (0..20)
            .map(|number| {
                spawn(move || {
                    let stream = PolledStream::from(TcpStream::connect(server).unwrap()).compat();
                    let mut config = Config::new();
                    let (client, connection) = block_on(config.user("somebody").connect_raw(stream, NoTls)).unwrap();
                    let connection = spawn(move || block_on(connection));
                    for round in 0..10 {
                        let text = format!("{number}:{round}");
                        assert_eq!(first_column(&block_on(client.simple_query(&text)).unwrap()), Some(&*text));
                    }
                    drop(client);
                    connection.join().unwrap().unwrap();
                })
            })
            .collect();
        clients.into_iter().for_each(|client| client.join().unwrap());
    });
}

#[test]
fn postgres_is_offloaded_and_others_run_meanwhile() {
    run(|| {
        // Its server is a tasklet of the thread that waits.
        let server = small_server();
        let ask = move || {
            let mut config = postgres::Config::new();
            config.host("127.0.0.1").port(server.port()).user("somebody");
            let mut client = config.connect(NoTls)?;
            client.simple_query("who is there?")
        };
        assert_eq!(first_column(&offload(ask).unwrap().unwrap()), Some("who is there?"));
    });
}
