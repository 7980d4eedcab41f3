//! A port forwarder: who connects to it talks with another server, both ways at once, each way until its end.
//!
//! ```sh
//! cargo run --release --example forward                                # the forwarder, an echo behind it, and clients
//! cargo run --release --example forward 127.0.0.1:8080 localhost:80    # from here to there, until Ctrl-C
//! ```

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::rc::Rc;

use overlapped::io::{copy, copy_bidirectional};
use overlapped::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use overlapped::spawn;

const CLIENTS: usize = 50;
const BYTES: usize = 200_000;

/// Both ways of one connection; returns how many bytes went by.
fn forward(client: TcpStream, server: TcpStream) -> io::Result<u64> {
    let (there, back) = copy_bidirectional(client, server)?;
    Ok(there + back)
}

fn accept(
    listener: &TcpListener,
    target: impl ToSocketAddrs + Clone + 'static,
    moved: &Rc<Cell<u64>>,
) -> io::Result<()> {
    for client in listener.incoming() {
        let (client, target, moved) = (client?, target.clone(), Rc::clone(moved));
        spawn(move || match TcpStream::connect(target).and_then(|server| forward(client, server)) {
            Ok(bytes) => moved.set(moved.get() + bytes),
            Err(error) => eprintln!("a connection has ended: {}", overlapped::attempted(&error)),
        });
    }
    Ok(())
}

/// Sends back what comes, to everyone.
fn echo(listener: &TcpListener) -> io::Result<()> {
    for stream in listener.incoming() {
        // What comes is sent back, and the half that writes ends its direction when it is dropped.
        let (mut reads, mut writes) = stream?.into_split();
        spawn(move || copy(&mut reads, &mut writes));
    }
    Ok(())
}

/// Sends, ends its side, and finds all of it in the answer.
fn client(forwarder: SocketAddr, number: usize) -> io::Result<usize> {
    let (mut reads, mut writes) = TcpStream::connect(forwarder)?.into_split();
    let sent: Rc<[u8]> = (0..BYTES).map(|at| ((at + number).wrapping_mul(2_654_435_761) >> 11) as u8).collect();
    let what = Rc::clone(&sent);
    let writer = spawn(move || writes.write_all(&what));
    let mut answer = Vec::new();
    reads.read_to_end(&mut answer)?;
    writer.join()??;
    assert!(answer == *sent, "client {number} got {} bytes back", answer.len());
    Ok(answer.len())
}

fn main() -> io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    overlapped::run(|| {
        let moved = Rc::new(Cell::new(0));
        if let (Some(here), Some(there)) = (arguments.next(), arguments.next()) {
            let listener = TcpListener::bind(&*here)?;
            println!("from {} to {there}", listener.local_addr()?);
            return accept(&listener, there, &moved);
        }
        let (behind, listener) = (TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?);
        let (target, forwarder) = (behind.local_addr()?, listener.local_addr()?);
        let counts = Rc::clone(&moved);
        spawn(move || echo(&behind));
        spawn(move || accept(&listener, target, &counts));
        let clients: Vec<_> = (0..CLIENTS).map(|number| spawn(move || client(forwarder, number))).collect();
        let mut bytes = 0;
        for client in clients {
            bytes += client.join()??;
        }
        println!("forward: {CLIENTS} connections, {bytes} bytes there and back");
        Ok(())
    })
}
