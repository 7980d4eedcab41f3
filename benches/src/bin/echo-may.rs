//! Echo on may's coroutines with one worker thread: `echo-may [READ_SIZE]`.

use std::io::{Read, Write};

use may::net::{TcpListener, TcpStream};
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

fn serve(size: usize) -> std::io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    announce(listener.local_addr()?.port());
    loop {
        let (stream, _) = listener.accept()?;
        may::go!(move || echo(stream, size));
    }
}

fn main() -> std::io::Result<()> {
    may::config().set_workers(1);
    let size = argument(1, READ_SIZE);
    may::go!(move || serve(size)).join().expect("the server does not panic")
}
