//! Echo on Overlapped, in blocking style: `echo-overlapped [READ_SIZE]`.

use std::io::{Read, Write};

use overlapped::net::{TcpListener, TcpStream};
use overlapped_benches::{READ_SIZE, announce, argument};

fn echo(mut stream: TcpStream, size: usize) -> std::io::Result<()> {
    let mut buffer = vec![0; size];
    loop {
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            length => stream.write_all(&buffer[..length])?,
        }
    }
}

fn main() -> std::io::Result<()> {
    let size = argument(1, READ_SIZE);
    overlapped::run(move || {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        announce(listener.local_addr()?.port());
        loop {
            let (stream, _) = listener.accept()?;
            overlapped::spawn(move || echo(stream, size));
        }
    })
}
