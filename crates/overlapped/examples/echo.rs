//! An echo server and a hundred clients, all of them tasklets of one thread.
//!
//! ```sh
//! cargo run --release --example echo              # the server and its clients
//! cargo run --release --example echo 127.0.0.1:7  # the server alone, until Ctrl-C
//! ```

use std::io::{self, Read, Write};
use std::time::Instant;

use overlapped::net::{SocketAddr, TcpListener, TcpStream};
use overlapped::spawn;

const CLIENTS: usize = 100;
const ROUNDS: usize = 50;

/// Sends back what comes, to everyone.
fn serve(listener: &TcpListener) -> io::Result<()> {
    for stream in listener.incoming() {
        let mut stream = stream?;
        spawn(move || {
            let mut buffer = vec![0; 16 << 10];
            loop {
                match stream.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(length) => stream.write_all(&buffer[..length])?,
                    Err(error) => return Err(error),
                }
            }
            io::Result::Ok(())
        });
    }
    Ok(())
}

/// Sends messages and checks that each comes back as it was.
fn client(server: SocketAddr, number: usize) -> io::Result<usize> {
    let mut stream = TcpStream::connect(server)?;
    stream.set_nodelay(true)?;
    let mut bytes = 0;
    for round in 0..ROUNDS {
        let message = format!("client {number}, round {round}: {}", "x".repeat(round));
        stream.write_all(message.as_bytes())?;
        let mut back = vec![0; message.len()];
        stream.read_exact(&mut back)?;
        if back != message.as_bytes() {
            return Err(io::Error::other(format!("client {number} got back something else in round {round}")));
        }
        bytes += back.len();
    }
    Ok(bytes)
}

fn main() -> io::Result<()> {
    let address = std::env::args().nth(1);
    overlapped::run(|| {
        let listener = TcpListener::bind(address.as_deref().unwrap_or("127.0.0.1:0"))?;
        let server = listener.local_addr()?;
        if address.is_some() {
            println!("echo on {server}");
            return serve(&listener);
        }
        spawn(move || serve(&listener));
        let start = Instant::now();
        let clients: Vec<_> = (0..CLIENTS).map(|number| spawn(move || client(server, number))).collect();
        let mut bytes = 0;
        for client in clients {
            bytes += client.join()??;
        }
        let seconds = start.elapsed().as_secs_f64();
        let messages = CLIENTS * ROUNDS;
        println!("echo: {CLIENTS} clients, {messages} messages, {bytes} bytes back as sent, in {seconds:.3} s");
        Ok(())
    })
}
