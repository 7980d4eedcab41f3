//! A WebSocket server that sends back what comes, and a hundred clients: tungstenite as it is, on tasklets of one thread.
//!
//! ```sh
//! cargo run --release --example websocket_echo                 # the server and its clients
//! cargo run --release --example websocket_echo 127.0.0.1:9001  # the server alone, until Ctrl-C
//! ```

use std::error::Error;
use std::time::Instant;

use overlapped::net::{SocketAddr, TcpListener, TcpStream};
use overlapped::spawn;
use tungstenite::{Message, accept, client};

const CLIENTS: usize = 100;
const ROUNDS: usize = 20;

/// Sends back what comes, until the client closes.
fn echo(stream: TcpStream) -> Result<(), Box<dyn Error>> {
    let mut socket = accept(stream)?;
    loop {
        let message = socket.read()?;
        if message.is_text() || message.is_binary() {
            socket.send(message)?;
        }
    }
}

fn serve(listener: &TcpListener) -> std::io::Result<()> {
    for stream in listener.incoming() {
        let stream = stream?;
        // That a client has closed is an error of tungstenite's, and the end of its tasklet.
        spawn(move || drop(echo(stream)));
    }
    Ok(())
}

/// Sends messages of all sizes, and checks that each comes back as it was.
fn talk(server: SocketAddr, number: usize) -> Result<usize, Box<dyn Error>> {
    let (mut socket, _) = client(format!("ws://{server}/"), TcpStream::connect(server)?)?;
    let mut bytes = 0;
    for round in 0..ROUNDS {
        let message = Message::text(format!("client {number}, round {round}: {}", "x".repeat(round * 100)));
        socket.send(message.clone())?;
        let back = socket.read()?;
        if back != message {
            return Err(format!("client {number} got back something else in round {round}").into());
        }
        bytes += back.len();
    }
    socket.close(None)?;
    while socket.read().is_ok() {}
    Ok(bytes)
}

fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1);
    overlapped::run(|| {
        let listener = TcpListener::bind(address.as_deref().unwrap_or("127.0.0.1:0"))?;
        let server = listener.local_addr()?;
        if address.is_some() {
            println!("WebSocket echo on ws://{server}/");
            return Ok(serve(&listener)?);
        }
        spawn(move || serve(&listener));
        let start = Instant::now();
        let clients: Vec<_> =
            (0..CLIENTS).map(|number| spawn(move || talk(server, number).map_err(|error| error.to_string()))).collect();
        let mut bytes = 0;
        for client in clients {
            bytes += client.join()??;
        }
        let (messages, seconds) = (CLIENTS * ROUNDS, start.elapsed().as_secs_f64());
        println!(
            "websocket echo: {CLIENTS} clients, {messages} messages, {bytes} bytes back as sent, in {seconds:.3} s"
        );
        Ok(())
    })
}
